"""The film in another format, from lossless frames: never from the film."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from post.encode import FORMATS, MASTER, Encode, Encoder
from post.finish import Finish, Segment, finished_frames, load_segment, write_segment
from post.join import FilmFile
from scenes.files import read_video, write_still
from scenes.footage import Frames
from scenes.shot import MachineLacks
from storyboard.identity import digest
from storyboard.manifest import Manifest
from storyboard.production import Rehearsed, about, mode_of, soundtrack_of
from storyboard.store import SEGMENTS, Store

TARGETS = (*FORMATS, "png", "master")
# Sharp enough to be graded and cut again; where the story gives a CRF, h264 keeps it.
CRF = {"h264": 12.0, "hevc": 14.0, "av1": 20.0}

Tell = Callable[[str, float], None]


class NotRendered(Exception):  # noqa: N818
    """Some scene of the film is not rendered yet."""


@dataclass(frozen=True, slots=True)
class Export:
    target: str
    path: Path
    crf: float | None = None
    preset: str | None = None


def export_path(rehearsed: Rehearsed, target: str) -> Path:
    """out/NAME.hevc.mp4 and the like: beside the film, never over it."""
    film = rehearsed.options.film or rehearsed.story.film
    draft = ".draft" if rehearsed.gear.draft else ""
    suffix = "" if target == "png" else FORMATS[target].suffix
    return film.with_name(f"{film.stem}{draft}.{target}{suffix}")


def finishes_of(rehearsed: Rehearsed) -> list[Finish]:
    """Each scene's finish in play order. Raises NotRendered."""
    missing = [s.name for s in rehearsed.story.scenes if s.name in rehearsed.crew.missing_clips]
    if missing:
        what = f"not rendered yet: {', '.join(missing)}"
        raise NotRendered(f"{what}. An export is made from kept clips: run `storyboard render` first")
    if rehearsed.gear.lacks and not rehearsed.gear.draft:
        raise MachineLacks("; ".join(rehearsed.gear.lacks))
    return [rehearsed.crew.finishes[scene.name] for scene in rehearsed.story.scenes]


def keep_master(rehearsed: Rehearsed, store: Store, tell: Tell) -> int:
    """The finished frames, kept losslessly scene by scene; gives the bytes they take."""
    manifest = Manifest(store, rehearsed.story.path)
    total = 0
    for scene, finish in zip(rehearsed.story.scenes, finishes_of(rehearsed), strict=True):
        master = replace(finish, encode=MASTER)

        def make(into: Path, finish: Finish = master, name: str = scene.name) -> None:
            frames = finished_frames(finish, rehearsed.options.device, lambda done: tell(name, done))
            write_segment(finish, frames, into, {})

        segment = load_segment(store.keep(SEGMENTS, master, make))
        manifest.note(mode_of(rehearsed.gear.draft), scene=scene.name, keys={"master": digest(master)})
        total += segment.path.stat().st_size
    return total


def export(rehearsed: Rehearsed, store: Store, wanted: Export, tell: Tell) -> int:
    """Write the film's frames in another format; gives their number. Whole when it returns, else not there."""
    finishes = finishes_of(rehearsed)
    aside = wanted.path.with_name(f".{wanted.path.stem}.{os.getpid()}.tmp{wanted.path.suffix}")
    wanted.path.parent.mkdir(parents=True, exist_ok=True)
    pairs = zip(rehearsed.story.scenes, finishes, strict=True)
    frames = chain.from_iterable(_frames(s.name, finish, rehearsed, store, tell) for s, finish in pairs)
    try:
        count = (
            _pictures(frames, aside)
            if wanted.target == "png"
            else _video(frames, finishes, aside, wanted, rehearsed, store)
        )
        if wanted.path.is_dir():
            shutil.rmtree(wanted.path)
        aside.replace(wanted.path)
    finally:
        shutil.rmtree(aside, ignore_errors=True) if aside.is_dir() else aside.unlink(missing_ok=True)
    return count


def _frames(name: str, finish: Finish, rehearsed: Rehearsed, store: Store, tell: Tell) -> Frames:
    """A scene's finished frames: from its master where there is one, else finished again from its clip."""
    master = store.find(SEGMENTS, digest(replace(finish, encode=MASTER)))
    if master is None:
        yield from finished_frames(finish, rehearsed.options.device, lambda done: tell(name, done))
        return
    segment: Segment = load_segment(master)
    for index, frame in enumerate(read_video(segment.path, 0, segment.frames)):
        yield frame
        tell(name, (index + 1) / segment.frames)


def _pictures(frames: Frames, folder: Path) -> int:
    folder.mkdir()
    count = 0
    for count, frame in enumerate(frames, start=1):
        write_still(frame, folder / f"{count:06d}.png")
    return count


def _video(
    frames: Frames, finishes: list[Finish], path: Path, wanted: Export, rehearsed: Rehearsed, store: Store
) -> int:
    form = FORMATS[wanted.target]
    crf = wanted.crf if wanted.crf is not None else CRF.get(wanted.target)
    encode = Encode(wanted.target, crf if form.has_crf else None, wanted.preset)
    said = about(rehearsed.story, rehearsed.gear, [finish.frames for finish in finishes])
    fps = finishes[0].fps
    film = FilmFile(path, form.container, said, fps, soundtrack_of(rehearsed.story, store))
    try:
        encoder = Encoder(film.container, encode, finishes[0].size, fps)
        film.begin()
        for frame in frames:
            film.sound_until(encoder.frames)
            encoder.write(frame)
        encoder.finish()
    finally:
        film.close()
    return encoder.frames
