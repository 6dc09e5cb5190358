"""The film in other formats and for editors, from kept clips and lossless frames: never from the film."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import typer

from post.encode import FORMATS, MASTER, Encode, Encoder
from post.finish import Finish, load_segment, write_segment
from post.join import About, FilmFile
from scenes.files import write_still
from scenes.shot import MachineLacks, unheard
from storyboard.conforming import conformed, drawn_by, draws, timecode_rate
from storyboard.corrections import colours_said
from storyboard.delivery import about, soundtrack_of
from storyboard.film import SceneFailed
from storyboard.finished import Finished, Tell, finishing
from storyboard.identity import digest
from storyboard.manifest import Manifest, mode_of
from storyboard.publish import published
from storyboard.rehearsal import Rehearsed
from storyboard.shortage import explained
from storyboard.stills import write_stills
from storyboard.store import SEGMENTS, Store
from storyboard.targets import TIMELINES, Export, check, check_room
from storyboard.timeline import counts_timecode, timeline_of
from storyboard.timeline_folder import Media, write_folder, write_otioz

# Sharp enough to be graded and cut again.
CRF = {"h264": 12.0, "hevc": 14.0, "av1": 20.0, "h264_nvenc": 14.0, "hevc_nvenc": 16.0}

Item = TypeVar("Item")


class NotRendered(Exception):  # noqa: N818
    """Some scene of the film is not rendered yet."""


def finishes_of(rehearsed: Rehearsed) -> list[Finish]:
    """Each scene's finish in play order. Raises NotRendered, MachineLacks, and SceneFailed for a damaged picture."""
    rehearsed.check_known()
    for name, error in rehearsed.reel.failed.items():
        raise SceneFailed(name, error)
    missing = [s.name for s in rehearsed.story.scenes if s.name in rehearsed.crew.missing_clips]
    if missing:
        what = f"not rendered yet: {', '.join(missing)}"
        raise NotRendered(f"{what}. An export is made from kept clips: run `storyboard render` first")
    if rehearsed.gear.lacks and not rehearsed.gear.draft:
        raise MachineLacks("\n".join(rehearsed.gear.lacks))
    return [rehearsed.crew.finishes[scene.name] for scene in rehearsed.story.scenes]


def keep_master(rehearsed: Rehearsed, store: Store, tell: Tell, say: Callable[[str], None] = unheard) -> int:
    """The finished frames, kept losslessly scene by scene; gives the bytes they take."""
    manifest = Manifest(store, rehearsed.story.path)
    masters = [replace(finish, encode=MASTER) for finish in finishes_of(rehearsed)]
    check_room(store.root, "master", [m for m in masters if not store.home(SEGMENTS, digest(m)).is_dir()])
    total = 0
    with finishing(rehearsed.options, store, tell, say) as finished:
        for scene, master in zip(rehearsed.story.scenes, masters, strict=True):

            def make(into: Path, finish: Finish = master, name: str = scene.name) -> None:
                write_segment(finish, finished.anew(name, finish), into, {})

            home = explained(lambda master=master, make=make: store.keep(SEGMENTS, master, make))
            manifest.note(mode_of(rehearsed.gear.draft), scene=scene.name, keys={"master": digest(master)})
            total += load_segment(home).path.stat().st_size
    return total


def export(rehearsed: Rehearsed, store: Store, wanted: Export, tell: Tell, say: Callable[[str], None] = unheard) -> int:
    """Write the film as another format; gives its frames, or the number of stills. Whole when it returns, else not
    there. `say` hears what was chosen that nobody named.

    Raises:
        NotRendered, MachineLacks, SceneFailed, typer.BadParameter: before anything is written.
        DamagedFile: kept work was damaged, and has been set aside.
    """
    film = finishes_of(rehearsed)
    check(wanted, rehearsed.story)
    finishes = _at_rate(rehearsed, film, wanted, say)
    check_room(wanted.path.parent, wanted.format or wanted.target, finishes)
    making = _Making(rehearsed, store, wanted, finishes, film[0])
    earlier: Path | None = None
    with finishing(rehearsed.options, store, tell, say) as finished, published(wanted.path) as aside:
        count = explained(lambda: making.write(finished, aside, tell))
        if wanted.path.is_dir():  # a folder is renamed onto an empty one only
            earlier = wanted.path.rename(aside.with_name(f"{aside.stem}.earlier.tmp{aside.suffix}"))
    if earlier is not None:
        shutil.rmtree(earlier, ignore_errors=True)
    return count


def _at_rate(rehearsed: Rehearsed, film: list[Finish], wanted: Export, say: Callable[[str], None]) -> list[Finish]:
    """The film's finishes at the rate asked for, or at one that the format can count. Raises typer.BadParameter."""
    own = film[0].fps
    fps = wanted.fps or (timecode_rate(own) if wanted.target in ("edl", "fcpxml") else own)
    if wanted.fps is None and fps != own:
        counts = f"{wanted.target} counts timecode at 24, 25 or 30 frames a second, and the film has {own}"
        say(f"{counts}: conformed to {fps} (--fps names another)")
    elif wanted.target in TIMELINES and not counts_timecode(fps):
        say(f"the timeline has the film's own {fps} frames a second, which few editors play: --fps 24 conforms it")
    finishes = conformed(film, fps)
    empty = [s.name for s, f in zip(rehearsed.story.scenes, finishes, strict=True) if f.frames < 1]
    if empty:
        raise typer.BadParameter(f"--fps {fps}: nothing is left of {', '.join(empty)}: take a higher rate")
    if drawn_by(film[0]) is None and any(map(draws, finishes)):
        say("the story interpolates with none: frames between frames are drawn by flow (name another in [finish])")
    return finishes


class _Making:
    """One export under way. `before`: some finish of the film as it is rendered."""

    def __init__(
        self, rehearsed: Rehearsed, store: Store, wanted: Export, finishes: Sequence[Finish], before: Finish
    ) -> None:
        self._rehearsed, self._store, self._wanted = rehearsed, store, wanted
        self._finishes, self._before = finishes, before

    def write(self, finished: Finished, path: Path, tell: Tell) -> int:
        """Into a path that is not there yet; gives how many frames or stills."""
        story = self._rehearsed.story
        if self._wanted.target == "stills":
            return write_stills(story, self._finishes, path, self._store, tell)
        if self._wanted.target == "png":
            return self._sequence(finished, path)
        if self._wanted.target in TIMELINES:
            return self._timeline(finished, path)
        return self._video(finished, path)

    def _sequence(self, finished: Finished, folder: Path) -> int:
        folder.mkdir()
        count = 0
        with closing(self._each(finished.frames)) as frames:
            for count, frame in enumerate(frames, start=1):
                write_still(frame, folder / f"{count:06d}.png")
        return count

    def _video(self, finished: Finished, path: Path) -> int:
        encode, first = self._encode(), self._finishes[0]
        sound = soundtrack_of(self._rehearsed.story, self._store)
        pictures = self._each(lambda scene, finish: finished.pictures(scene, finish, encode.format))
        container = FORMATS[encode.format].container
        with closing(pictures), FilmFile(path, container, self._about(), first.fps, sound) as film:
            encoder = Encoder(film.container, encode, first.size, first.fps)
            film.begin(sum(finish.frames for finish in self._finishes))
            for picture in pictures:
                film.sound_until(encoder.frames)
                encoder.write(picture)
            encoder.finish()
        return encoder.frames

    def _timeline(self, finished: Finished, path: Path) -> int:
        story, encode = self._rehearsed.story, self._encode()
        timeline = timeline_of(story, self._finishes, FORMATS[encode.format].suffix)
        media = Media(self._finishes, encode, story.finishing.soundtrack)
        if self._wanted.timeline is not None:
            write_folder(timeline, media, finished, path / self._wanted.timeline)
        else:
            write_otioz(timeline, media, finished, path)
        return timeline.frames

    def _each(self, taken: Callable[[str, Finish], Iterator[Item]]) -> Generator[Item]:
        """Of all scenes, one after another."""
        for scene, finish in zip(self._rehearsed.story.scenes, self._finishes, strict=True):
            yield from taken(scene.name, finish)

    def _encode(self) -> Encode:
        format = self._wanted.format
        assert format is not None
        crf = self._wanted.crf if self._wanted.crf is not None else CRF.get(format)
        return Encode(format, crf, self._wanted.preset)

    def _about(self) -> About:
        story = self._rehearsed.story
        colours = colours_said(story, self._rehearsed.reel.shades)
        said = about(story, self._rehearsed.gear, [finish.frames for finish in self._finishes], colours)
        fps, before = self._finishes[0].fps, self._before
        if fps == before.fps:
            return said
        by = next((drawn_by(finish) for finish in self._finishes if draws(finish)), None)
        drawn = f" by {by.kind.partition('/')[0]}" if by else ""
        how = f"conformed from {before.fps} to {fps} fps{drawn}"
        tags = tuple((k, f"{v}; {how}" if k == "comment" else v) for k, v in said.tags)
        return replace(said, tags=tags)
