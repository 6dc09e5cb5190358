"""Findings in plain words, and what to do about each."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass

from post.seams import Finding, Seam
from storyboard.handing import suggested
from storyboard.report.survey import Meeting
from storyboard.story import After, Opening, Story

ANCHOR = '`colour = "anchor"` in [look] takes a drift of colour out in finishing, with no clip drawn again'

Told = tuple[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Advice:
    """says: what is seen. do: what may mend it, the likeliest first. Backticks hold commands and settings."""

    says: str
    do: tuple[str, ...]


def remedies(advice: Iterable[Advice]) -> list[str]:
    """Each once."""
    return list(dict.fromkeys(do for each in advice for do in each.do))


class Advising:
    """Speaks of one story's seams. draft: of its draft's."""

    def __init__(self, story: Story, *, draft: bool) -> None:
        self._story, self._draft = story, draft

    def at(self, meeting: Meeting, finding: Finding) -> Advice:
        """Of what was found at a seam that was measured."""
        before, after, value = meeting.before, meeting.after, finding.value
        again = self._reroll(after)
        match finding.fault:
            case "hard cut":
                says = f"{after} does not go on from {before}: the two frames do not show one scene"
                return Advice(says, (again, f"or make it a cut: name an image in scene {after}"))
            case "colour step in part":
                return Advice(f"a part of the picture changes colour by ΔE {value:.1f}", (again,))
            case "colour step" | "luma step" | "contrast step" | "saturation step":
                return Advice(_changed(finding, "changes"), (ANCHOR, again))
            case "duplicate frame":
                return Advice(f"the first frame of {after} repeats the last of {before}", (again,))
            case "skipped frame":
                says = f"motion over the seam is {value:.1f} times that beside it, as if frames were missing"
                return Advice(says, (again,))
            case "change of pace":
                says = (
                    f"{after} moves {f'{value:.1f}' if value > 1 else f'1/{1 / value:.1f}'} times as fast as {before}"
                )
                return Advice(says, ("say in both prompts how fast it moves", again))
            case _:
                return Advice(*self._frames(meeting, finding))

    def _another_end(self, name: str, frozen: int, *, blurred: bool) -> tuple[str, ...]:
        """Which frame a scene may hand on instead of its last."""
        says = suggested(self._story.scene(name), frozen, blurred)
        return (f"`{says}` in scene {name}",) if says else ()

    def along(self, scene: str, finding: Finding) -> Advice:
        """Of what has drifted since the first frame of a scene's run."""
        return Advice(f"in {scene} {_changed(finding, 'has drifted')} since its run began", (ANCHOR,))

    def _frames(self, meeting: Meeting, finding: Finding) -> Told:
        """Of what is wrong with frames on one side."""
        before, after, value = meeting.before, meeting.after, finding.value
        sharper, again = self._another_end(before, 0, blurred=True), self._reroll(after)
        match finding.fault:
            case "sharpness step" if value < 1:
                return f"{after} begins {1 / value:.1f} times softer than {before} ends", (again,)
            case "sharpness step":
                return f"{after} begins {value:.1f} times sharper than {before} ends", (*sharper, self._reroll(before))
            case "blurred tail":
                return f"the last frame of {before} has {value:.0%} of the sharpness before it", sharper or (
                    self._reroll(before),
                )
            case "blurred head":
                return f"the first frame of {after} has {value:.0%} of the sharpness after it", (*sharper, again)
            case "frozen tail":
                shorter = self._another_end(before, round(value), blurred=False)
                return f"the last {value:.0f} steps of {before} stand still", shorter or (self._reroll(before),)
            case "frozen head":
                return f"the first {value:.0f} steps of {after} stand still", (again,)
            case _:
                assert meeting.seam is not None
                scene = after if _flashes_in_head(meeting.seam) else before
                verb = "brighter" if value > 0 else "darker"
                return f"one to three frames of {scene} are {verb} by {abs(value):.1f} L", (self._reroll(scene),)

    def _reroll(self, scene: str) -> str:
        """The command that draws it again; what goes on from it stays where the model can be held to an end."""
        name = shlex.quote(str(self._story.path))
        command = f"storyboard render {name}{' --draft' if self._draft else ''} --scene {scene} --reroll"
        return f"`{command}{' --hold' if self._followed(scene) and self._holds else ''}`"

    @property
    def _holds(self) -> bool:
        return self._draft or self._story.model.takes_end_image

    def _followed(self, scene: str) -> bool:
        followers = [each for each in self._story.scenes if each.opens_on == After(scene)]
        ended_on = [each for each in self._story.scenes if each.ends_on == Opening(scene)]
        return bool(followers or ended_on)


def _flashes_in_head(seam: Seam) -> bool:
    """Whether the frame that stands out most from those on its own side is of the second scene."""

    def most(side: tuple[float, ...]) -> float:
        usual = sorted(side)[len(side) // 2]
        return max(abs(luma - usual) for luma in side)

    return most(seam.luma[seam.frames :]) > most(seam.luma[: seam.frames])


def _changed(finding: Finding, verb: str) -> str:
    value, what = finding.value, finding.fault.split()[0]
    if what == "colour":
        return f"the colour {verb} by ΔE {value:.1f}"
    if what == "luma":
        return f"the brightness {verb} by {value:+.1f} L"
    return f"the {what} {verb} by {value - 1:+.0%}"
