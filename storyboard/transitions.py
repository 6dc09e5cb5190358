"""What the seams of a story come to, in frames of the film; and those that have no place or no room."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from math import floor
from typing import TYPE_CHECKING

from post.interpolate import Rule
from post.transition import Closes, FadeIn, FadeOut, Opens, Shortened, tail_of
from post.transition import Dissolve as Dissolving
from storyboard.mistakes import Place, written
from storyboard.reading import Reading
from storyboard.seams import Cut, Dissolve, Fade
from storyboard.story import After, Scene

if TYPE_CHECKING:
    from storyboard.handed import Handed

Scenes = Sequence[Scene]
"""Of a whole story, in play order."""


def film_rate(fps: Fraction, rule: Rule | None) -> Fraction:
    """The film's rate, where clips play at `fps`."""
    return rule.rate(fps) if rule else fps


def opens_over(scenes: Scenes, index: int, fps: Fraction) -> int:
    """How many of the first frames of a scene its seam is drawn over, at the film's rate."""
    return _split(scenes[index], fps, first=index == 0)[1]


def closes_over(scenes: Scenes, index: int, fps: Fraction) -> int:
    """How many of the last frames of a scene the next one's seam is drawn over."""
    return _split(scenes[index + 1], fps, first=False)[0] if index + 1 < len(scenes) else 0


def _split(scene: Scene, fps: Fraction, *, first: bool) -> tuple[int, int]:
    """Whole frames that a seam is drawn over: of the scene before, and of this one."""
    count = max(1, floor(scene.seam.seconds * fps + Fraction(1, 2)))
    match scene.seam:
        case Cut():
            return 0, 0
        case Dissolve():
            return count, count
        case Fade():
            before = 0 if first else max(1, count // 2)
            return before, max(1, count - before)


def chained(scenes: Scenes, index: int) -> bool:
    return index > 0 and scenes[index].opens_on == After(scenes[index - 1].name)


def footage(scenes: Scenes, index: int) -> int:
    """Source frames that are shown of a scene, at most: a chained one's first redraws the frame before it."""
    return scenes[index].hand_on.most(scenes[index].frames) - chained(scenes, index)


def footage_at_least(scenes: Scenes, index: int) -> int:
    """As many are shown whichever frame it hands on."""
    return scenes[index].hand_on.least(scenes[index].frames) - chained(scenes, index)


def dissolves_from(scenes: Scenes, index: int) -> str | None:
    """The scene whose last frames are drawn in this one's segment."""
    return scenes[index - 1].name if index and isinstance(scenes[index].seam, Dissolve) else None


def dissolves_into(scenes: Scenes, index: int) -> str | None:
    """The scene in whose segment this one's last frames are drawn."""
    return scenes[index + 1].name if index + 1 < len(scenes) and dissolves_from(scenes, index + 1) else None


def segment_frames(scenes: Scenes, index: int, fps: Fraction, rule: Rule | None, source: int) -> int:
    """How many frames the segment of a scene has of which `source` frames are shown. `fps` is the film's rate, to which
    `rule` brings the clips."""
    given_up = closes_over(scenes, index, fps) if dissolves_into(scenes, index) else 0
    return (rule.frames(source) if rule else source) - given_up


def opening(scenes: Scenes, index: int, fps: Fraction, rule: Rule | None, before: Handed | None) -> Opens | None:
    """What is drawn over a scene's first frames. `before`: what is played just before, where it dissolves from it."""
    frames = opens_over(scenes, index, fps)
    match scenes[index].seam:
        case Dissolve() if before is not None:
            return Dissolving(frames, tail_of(before.clip, frames, rule, before.stop))
        case Fade(colour=colour):
            return FadeIn(frames, colour)
        case _:
            return None


def closing(scenes: Scenes, index: int, fps: Fraction) -> Closes | None:
    """What becomes of a scene's last frames, as the scene after it says."""
    match scenes[index + 1].seam if index + 1 < len(scenes) else Cut():
        case Dissolve():
            return Shortened(closes_over(scenes, index, fps))
        case Fade(colour=colour):
            return FadeOut(closes_over(scenes, index, fps), colour)
        case Cut():
            return None


def check_places(scenes: Scenes, reading: Reading) -> None:
    """Complains of transitions where there is no cut to draw them over."""
    for index, scene in enumerate(scenes):
        if isinstance(scene.seam, Cut) or _unsure(index, reading):
            continue
        if chained(scenes, index):
            before = written(scenes[index - 1].name)
            why = f"there is no cut, this scene goes on from the last frame of {before}"
            remedy = "drop seam, or make a cut: name an image, or another scene in after"
        elif dissolves_from(scenes, index) is None and isinstance(scene.seam, Dissolve):
            why, remedy = "nothing is played before the first scene", f'fade it in: "{Fade()}"'
        else:
            continue
        reading.complain(_place(index), f'seam = "{scene.seam}": {why}: {remedy}')


def check_lengths(scenes: Scenes, fps: Fraction, factor: int, reading: Reading) -> None:
    """Complains of transitions longer than what they are drawn over. `fps`: the clips' rate; the film's is `factor`
    times that."""
    if reading.unsure:
        return  # lengths may be other than they seem
    rate = fps * factor
    known = {place for place, _ in reading.found}
    for index, message in _without_room(scenes, rate, factor):
        if _place(index) not in known:
            reading.complain(_place(index), f'seam = "{scenes[index].seam}" takes {message}')


def _without_room(scenes: Scenes, rate: Fraction, factor: int) -> Iterator[tuple[int, str]]:
    """The scenes whose seams take more than there is, and of what."""
    remedy = "name less, or make the scene longer"
    for index, scene in enumerate(scenes):
        room = footage_at_least(scenes, index) * factor
        opens, closes = opens_over(scenes, index, rate), closes_over(scenes, index, rate)
        least = 1 if dissolves_into(scenes, index) else 0  # what is left of it is its segment
        there = f"of {written(scene.name)}, which is shown for {_seconds(room, rate)}"
        if opens > room:
            yield index, f"{_seconds(opens, rate)} {there}: {remedy}"
        if closes > room - least:
            whole = "all " if closes == room else ""
            yield index + 1, f"{whole}{_seconds(closes, rate)} {there}: {remedy}"
        elif opens <= room < opens + closes:
            own = f'its own seam = "{scene.seam}" takes {_seconds(opens, rate)} of it'
            yield index + 1, f"{_seconds(closes, rate)} {there}, and {own}: {remedy}"


def _place(index: int) -> Place:
    return ("scene", index, "seam")


def _unsure(index: int, reading: Reading) -> bool:
    """Whether another mistake may make a scene seem chained."""
    wrong = [place for place in reading.unsure if place[0] == "scene"]
    links = ("name", "image", "after")
    return any(len(place) < 3 or (place[1] in (index, index - 1) and place[2] in links) for place in wrong)


def _seconds(frames: int, rate: Fraction) -> str:
    return f"{float(frames / rate):.3g} s"
