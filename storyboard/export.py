"""The film in another format, from lossless frames: never from the film."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import typer

from post.encode import FORMATS, MASTER, Encode, Encoder
from post.finish import Finish, finished_frames, load_segment, write_segment
from post.join import FilmFile
from scenes.files import read_video, write_still
from scenes.footage import Frames
from scenes.shot import MachineLacks
from storyboard.crew import explained
from storyboard.delivery import about, film_path, out_path, soundtrack_of
from storyboard.identity import digest
from storyboard.manifest import Manifest, mode_of
from storyboard.production import Rehearsed
from storyboard.publish import published
from storyboard.room import free_bytes, gigabytes
from storyboard.store import SEGMENTS, Store
from storyboard.story import Story

TARGETS = (*FORMATS, "png", "master")
# Sharp enough to be graded and cut again.
CRF = {"h264": 12.0, "hevc": 14.0, "av1": 20.0}
# For the check of free space, on the safe side; others take less than LOSSY.
BYTES_PER_PIXEL = {"ffv1": 1.5, "master": 1.5, "png": 2.0, "prores": 0.7, "prores-4444": 1.0}
LOSSY = 0.3

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
    """Each scene's finish in play order. Raises NotRendered and MachineLacks."""
    rehearsed.check_known()
    missing = [s.name for s in rehearsed.story.scenes if s.name in rehearsed.crew.missing_clips]
    if missing:
        what = f"not rendered yet: {', '.join(missing)}"
        raise NotRendered(f"{what}. An export is made from kept clips: run `storyboard render` first")
    if rehearsed.gear.lacks and not rehearsed.gear.draft:
        raise MachineLacks("\n".join(rehearsed.gear.lacks))
    return [rehearsed.crew.finishes[scene.name] for scene in rehearsed.story.scenes]


def keep_master(rehearsed: Rehearsed, store: Store, tell: Tell) -> int:
    """The finished frames, kept losslessly scene by scene; gives the bytes they take."""
    manifest = Manifest(store, rehearsed.story.path)
    masters = [replace(finish, encode=MASTER) for finish in finishes_of(rehearsed)]
    _check_room(store.root, "master", [m for m in masters if not store.home(SEGMENTS, digest(m)).is_dir()])
    total = 0
    for scene, master in zip(rehearsed.story.scenes, masters, strict=True):

        def make(into: Path, finish: Finish = master, name: str = scene.name) -> None:
            with store.damage_set_aside():
                frames = finished_frames(finish, rehearsed.options.device, lambda done: tell(name, done))
                write_segment(finish, frames, into, {})

        home = explained(lambda master=master, make=make: store.keep(SEGMENTS, master, make))
        manifest.note(mode_of(rehearsed.gear.draft), scene=scene.name, keys={"master": digest(master)})
        total += load_segment(home).path.stat().st_size
    return total


def export(rehearsed: Rehearsed, store: Store, wanted: Export, tell: Tell) -> int:
    """Write the film's frames in another format; gives their number. Whole when it returns, else not there.

    Raises:
        NotRendered, MachineLacks, typer.BadParameter: before anything is written.
        DamagedFile: kept work was damaged, and has been set aside.
    """
    finishes = finishes_of(rehearsed)
    _check_crf(wanted)
    _check_place(wanted, rehearsed.story)
    _check_room(wanted.path.parent, wanted.target, finishes)
    pairs = zip(rehearsed.story.scenes, finishes, strict=True)
    frames = chain.from_iterable(_frames(s.name, finish, rehearsed, store, tell) for s, finish in pairs)
    with published(wanted.path) as aside:
        if wanted.target == "png":
            count = explained(lambda: _pictures(frames, aside))
        else:
            count = explained(lambda: _video(frames, finishes, aside, wanted, rehearsed, store))
        if wanted.path.is_dir():  # a folder is renamed onto an empty one only
            shutil.rmtree(wanted.path)
    return count


def _check_crf(wanted: Export) -> None:
    """Raises typer.BadParameter."""
    most = FORMATS[wanted.target].crf_most if wanted.target in FORMATS else None
    if wanted.crf is not None and (most is None or wanted.crf > most):
        takes = f"takes 0 to {most}" if most is not None else "has no such setting"
        raise typer.BadParameter(f"--crf {wanted.crf:g}: {wanted.target} {takes}")


def _check_place(wanted: Export, story: Story) -> None:
    """Nothing but an earlier export may be overwritten.

    Raises:
        typer.BadParameter: the place is taken, or its name promises another format.
    """
    path, target = wanted.path, wanted.target
    if target == "png":
        sequence = path.is_dir() and all(re.fullmatch(r"\d{6,}\.png", each.name) for each in path.iterdir())
        if path.exists() and not sequence:
            raise typer.BadParameter(f"{path} is there and is no PNG sequence: name a new folder with --output")
        return
    if path.is_dir():
        raise typer.BadParameter(f"{path} is a folder: name a file with --output")
    suffix = FORMATS[target].suffix
    if path.suffix.lower() != suffix:
        raise typer.BadParameter(f"--output {path}: {target} goes into a {suffix} file")
    ours = [
        story.film,
        film_path(story, True),
        *(out_path(story, s.name, d) for s in story.scenes for d in (True, False)),
    ]
    taken = [*ours, *([story.finishing.soundtrack] if story.finishing.soundtrack else [])]
    if path.absolute() in {other.absolute() for other in taken}:
        raise typer.BadParameter(f"{path} is the film's, a scene's or the soundtrack's own file: name another")


def _check_room(folder: Path, target: str, finishes: Sequence[Finish]) -> None:
    needed = sum(f.frames * f.size[0] * f.size[1] for f in finishes) * BYTES_PER_PIXEL.get(target, LOSSY)
    free = free_bytes(folder)
    if needed > free:
        raise MachineLacks(f"about {gigabytes(needed)} of disk are needed and {gigabytes(free)} are free in {folder}")


def _frames(name: str, finish: Finish, rehearsed: Rehearsed, store: Store, tell: Tell) -> Frames:
    """A scene's finished frames: from its master where there is one, else finished again from its clip."""
    with store.damage_set_aside():
        master = store.find(SEGMENTS, digest(replace(finish, encode=MASTER)))
        if master is None:
            yield from finished_frames(finish, rehearsed.options.device, lambda done: tell(name, done))
            return
        segment = load_segment(master)
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
    frames: Frames, finishes: Sequence[Finish], path: Path, wanted: Export, rehearsed: Rehearsed, store: Store
) -> int:
    form = FORMATS[wanted.target]
    crf = wanted.crf if wanted.crf is not None else CRF.get(wanted.target)
    encode = Encode(wanted.target, crf, wanted.preset)
    said = about(rehearsed.story, rehearsed.gear, [finish.frames for finish in finishes])
    fps = finishes[0].fps
    with FilmFile(path, form.container, said, fps, soundtrack_of(rehearsed.story, store)) as film:
        encoder = Encoder(film.container, encode, finishes[0].size, fps)
        film.begin(sum(finish.frames for finish in finishes))
        for frame in frames:
            film.sound_until(encoder.frames)
            encoder.write(frame)
        encoder.finish()
    return encoder.frames
