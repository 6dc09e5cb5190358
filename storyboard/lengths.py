"""How long a film is, and what its transitions take of it, to the frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from post.finish import Finish
from post.interpolate import Rule
from storyboard.identity import UNMADE
from storyboard.seams import Cut, Dissolve, Fade
from storyboard.transitions import (
    Scenes,
    closes_over,
    dissolves_from,
    film_rate,
    footage,
    footage_at_least,
    opens_over,
    segment_frames,
)


@dataclass(frozen=True, slots=True)
class PlannedSeam:
    """What is drawn over the cut before a scene: in frames of the film, and the seconds that these come to."""

    kind: str
    frames: int
    seconds: float
    says: str


def planned_seam(scenes: Scenes, index: int, fps: Fraction) -> PlannedSeam | None:
    """None where nothing is drawn over it. `fps` is the film's rate."""
    seam, opens = scenes[index].seam, opens_over(scenes, index, fps)
    before = scenes[index - 1].name if index else None
    match seam:
        case Cut():
            return None
        case Dissolve():
            kind, frames, where = "dissolve", opens, f"of {before} and of it at once: the film is shorter by them"
        case Fade():
            out = closes_over(scenes, index - 1, fps) if index else 0
            kind, frames = "fade", out + opens
            where = f"{out} of {before} and {opens} of it" if before else "the film's first"
    seconds = round(float(frames / fps), 3)
    return PlannedSeam(kind, frames, seconds, f"{seam}: {frames} frames, {seconds:g} s, {where}")


@dataclass(frozen=True, slots=True)
class Length:
    """A film's: at most `frames` and at least `least`, which differ where it is not known yet which frames scenes hand
    on. `dissolved` are the frames by which dissolves make it shorter."""

    frames: int
    least: int
    dissolved: int
    fps: Fraction


def film_length(scenes: Scenes, fps: Fraction, rule: Rule | None, finishes: Mapping[str, Finish]) -> Length:
    """From the finishes, and for scenes that have none yet from what these would be. `fps` is the clips' rate."""
    rate = film_rate(fps, rule)
    frames = least = dissolved = 0
    for index, scene in enumerate(scenes):
        finish = finishes.get(scene.name)
        if finish is not None and not finish.span.clip.digest.startswith(UNMADE):
            frames, least = frames + finish.frames, least + finish.frames
        else:
            frames += segment_frames(scenes, index, rate, rule, footage(scenes, index))
            least += segment_frames(scenes, index, rate, rule, footage_at_least(scenes, index))
        dissolved += opens_over(scenes, index, rate) if dissolves_from(scenes, index) else 0
    return Length(frames, least, dissolved, rate)
