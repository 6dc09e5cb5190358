"""The film as an editor sees it: clips on a track, with handles under its dissolves, markers, sound and timecode."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from post.finish import Finish
from post.transition import Dissolve, Shortened
from scenes.footage import Size
from storyboard.conforming import RATES
from storyboard.story import Scene, Story

START = 3600
"""Seconds: programmes begin at 01:00:00:00, so that there is room for a leader."""

SOUND = "sound.wav"
SCENE_COLOUR, SEAM_COLOUR = "GREEN", "CYAN"


@dataclass(frozen=True, slots=True)
class Marker:
    """`frame` counts from the first of the clip's media."""

    frame: int
    colour: str
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Clip:
    """One scene. Its media hold `frames`, from number `starts` on; the first of them lies at frame `at` of the film.

    opens, closes: so many of its first and last frames lie under those of its neighbours, where they dissolve.
    """

    scene: Scene
    file: str
    reel: str
    frames: int
    starts: int
    at: int
    opens: int
    closes: int
    markers: tuple[Marker, ...]

    @property
    def head(self) -> int:
        """Frames before its cut, where the cut lies in the middle of a dissolve, as editors have it."""
        return self.opens // 2

    @property
    def tail(self) -> int:
        """Frames after its cut."""
        return self.closes - self.closes // 2

    @property
    def shown(self) -> int:
        """Frames from cut to cut."""
        return self.frames - self.head - self.tail


@dataclass(frozen=True, slots=True)
class Timeline:
    """`sound`: a file as long as the film."""

    title: str
    fps: Fraction
    size: Size
    clips: tuple[Clip, ...]
    sound: str | None

    @property
    def frames(self) -> int:
        return self.clips[-1].at + self.clips[-1].frames

    @property
    def origin(self) -> int:
        """The number of the film's first frame."""
        return int(START * self.fps)


def timeline_of(story: Story, finishes: Sequence[Finish], suffix: str) -> Timeline:
    """The timeline of a film whose clips are finished so. `suffix`: of the media's files."""
    fps = finishes[0].fps
    sound = SOUND if story.finishing.soundtrack else None
    return Timeline(said(story.title), fps, finishes[0].size, tuple(_clips(story, finishes, suffix)), sound)


def media_of(finish: Finish) -> Finish:
    """A scene's media: whole, since its dissolves are the timeline's to draw. A fade is in the pictures."""
    opens = None if isinstance(finish.opens, Dissolve) else finish.opens
    return replace(finish, opens=opens, closes=None if isinstance(finish.closes, Shortened) else finish.closes)


def _clips(story: Story, finishes: Sequence[Finish], suffix: str) -> Iterator[Clip]:
    fps = finishes[0].fps
    # Media count as the film does: their numbers are those of the timeline, and two media share some under a dissolve
    # alone. Without timecode each counts from 0.
    origin = int(START * fps) if counts_timecode(fps) else 0
    at = 0
    for index, (scene, finish) in enumerate(zip(story.scenes, finishes, strict=True)):
        opens = finish.opens.frames if isinstance(finish.opens, Dissolve) else 0
        closes = finish.closes.frames if isinstance(finish.closes, Shortened) else 0
        at -= opens
        frames = media_of(finish).frames
        chains = index + 1 < len(finishes) and finishes[index + 1].lead is not None
        goes_on = story.scenes[index + 1].name if chains else None
        file = f"{numbered(story, index)}{suffix}"
        starts = origin + at if origin else 0
        markers = tuple(_markers(scene, opens // 2, frames - 1, goes_on))
        yield Clip(scene, file, _reel(story, index), frames, starts, at, opens, closes, markers)
        at += frames


def _markers(scene: Scene, first: int, last: int, goes_on: str | None) -> Iterator[Marker]:
    yield Marker(first, SCENE_COLOUR, scene.name, said(f"seed {scene.seed}: {scene.prompt}"))
    if goes_on is not None:
        yield Marker(
            last, SEAM_COLOUR, f"seam to {goes_on}", f"{goes_on} opens on {scene.name}'s last frame, pixel for pixel"
        )


def numbered(story: Story, index: int) -> str:
    """A scene's name as files carry it, sorted as the film plays: 01-dock."""
    return f"{_number(story, index)}-{story.scenes[index].name}"


def _number(story: Story, index: int) -> str:
    return f"{index + 1:0{max(2, len(str(len(story.scenes))))}d}"


def _reel(story: Story, index: int) -> str:
    """Eight characters at most, as tapes were named; the number tells them apart."""
    return (_number(story, index) + re.sub(r"[^A-Z0-9]", "", story.scenes[index].name.upper()))[:8]


def counts_timecode(fps: Fraction) -> bool:
    return fps in RATES


def timecode(frame: int, fps: Fraction) -> str:
    """Hours, minutes, seconds and frames, none dropped."""
    seconds, rest = divmod(frame, int(fps))
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}:{rest:02d}"


def said(text: str) -> str:
    """A text in one line, of characters that every format can hold."""
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())
