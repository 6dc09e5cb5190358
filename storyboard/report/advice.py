"""Findings in plain words, and what to do about each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from post.seams import Finding, Seam
from scenes.camera import choose_move
from storyboard.handing import suggested
from storyboard.report.survey import Meeting
from storyboard.story import After, Opening, Scene, Story
from storyboard.typed import typed_render

HOLDING = "takes a drift of colour out in finishing, with no clip drawn again"
LOOK_AT_IT = "look at it: what the camera brings into view counts as drift, too"

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
        again = self._again(after)
        match finding.fault:
            case "hard cut":
                says = f"{after} does not go on from {before}: the two frames do not show one scene"
                return Advice(says, (again, f"or make it a cut: name an image in scene {after}"))
            case "colour step in part":
                return Advice(f"a part of the picture changes colour by ΔE {value:.1f}", (again,))
            case "colour step" | "luma step" | "contrast step" | "saturation step":
                return Advice(_changed(finding, "changes"), (*self._held_colour(after), again))
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

    def along(self, scene: str, finding: Finding) -> Advice:
        """Of what has drifted since the first frame of a scene's run."""
        says = f"in {scene} {_changed(finding, 'has drifted')} since its run began"
        return Advice(says, (LOOK_AT_IT, *self._held_colour(scene, along=True)))

    def _held_colour(self, name: str, *, along: bool = False) -> tuple[str, ...]:
        """What of `colour` is left to ask for: a run's first scene stays as it was drawn."""
        scenes, scene = self._story.scenes, self._story.scene(name)
        if self._story.lead(scenes.index(scene)) is None:
            return ()
        if scene.colour is None:
            where = f"scene {name}" if any(each.colour for each in scenes) else "[look]"
            return (f'`colour = "anchor"` in {where} {HOLDING}',)
        asked = replace(scene.colour, strength=1.0, drift=max(scene.colour.drift, 0.5 * along))
        if asked == scene.colour:
            return ()
        written = f"colour = {{ strength = {asked.strength:g}, drift = {asked.drift:g} }}"
        where = ", where camera and light hold still" if asked.drift > scene.colour.drift else ""
        return (f"`{written}` in scene {name}{where}",)

    def _another_end(self, name: str, frozen: int, *, blurred: bool) -> tuple[str, ...]:
        """How a scene may hand on another frame than its last: an earlier one, or the last of another drawing."""
        scene = self._story.scene(name)
        says = suggested(scene, frozen, blurred)
        if says:
            return (f"`{says}` in scene {name}",)
        return (f"drop `hold` in scene {name}, and {self._reroll(name)}" if scene.held else self._reroll(name),)

    def _frames(self, meeting: Meeting, finding: Finding) -> Told:
        """Of what is wrong with frames on one side."""
        before, after, value = meeting.before, meeting.after, finding.value
        sharper, again = self._another_end(before, 0, blurred=True), self._again(after)
        match finding.fault:
            case "sharpness step" if value < 1:
                return f"{after} begins {1 / value:.1f} times softer than {before} ends", (again,)
            case "sharpness step":
                return f"{after} begins {value:.1f} times sharper than {before} ends", (*sharper, again)
            case "blurred tail":
                return f"the last frame of {before} has {value:.0%} of the sharpness before it", sharper
            case "blurred head":
                says = f"the first frame of {after} has {value:.0%} of the sharpness after it"
                softer = any(found.fault == "sharpness step" for found in meeting.found)
                return says, (again,) if softer else (*sharper, again)
            case "frozen tail":
                shorter = self._another_end(before, round(value), blurred=False)
                return f"{_steps('last', meeting, finding)} of {before} stand still", shorter
            case "frozen head":
                return f"{_steps('first', meeting, finding)} of {after} stand still", (again,)
            case _:
                assert meeting.seam is not None
                scene = after if _flashes_in_head(meeting.seam) else before
                verb = "brighter" if value > 0 else "darker"
                return f"one to three frames of {scene} are {verb} by {abs(value):.1f} L", (self._again(scene),)

    def _again(self, scene: str) -> str:
        """The command that draws it again; what goes on from it stays where the model can be held to an end."""
        return self._reroll(scene, hold=self._followed(scene) and self._holds)

    def _reroll(self, scene: str, *, hold: bool = False) -> str:
        """hold: not where the last frame itself is at fault."""
        if self._draft and _moves_alike(self._story.scene(scene)):
            return f"another `camera` in scene {scene}, whose draft looks alike with every seed"
        command = typed_render(self._story.path, scene, draft=self._draft)
        return f"`{command} --reroll{' --hold' if hold else ''}`"

    @property
    def _holds(self) -> bool:
        return self._draft or self._story.model.takes_end_image

    def _followed(self, scene: str) -> bool:
        followers = [each for each in self._story.scenes if each.opens_on == After(scene)]
        ended_on = [each for each in self._story.scenes if each.ends_on == Opening(scene)]
        return bool(followers or ended_on)


def _moves_alike(scene: Scene) -> bool:
    """Whether its draft is the same with every seed: its camera's move is named, and no shake of a hand."""
    moves = {choose_move(scene.camera, scene.prompt, seed) for seed in (0, 1)}
    return len(moves) == 1 and moves != {"handheld"}


def _flashes_in_head(seam: Seam) -> bool:
    """Whether the frame that stands out most from those on its own side is of the second scene."""

    def most(side: tuple[float, ...]) -> float:
        usual = sorted(side)[len(side) // 2]
        return max(abs(luma - usual) for luma in side)

    return most(seam.luma[seam.frames :]) > most(seam.luma[: seam.frames])


def _steps(which: str, meeting: Meeting, finding: Finding) -> str:
    """With no motion in what was measured there may be more of them."""
    assert meeting.seam is not None
    least = "at least " if finding.value >= meeting.seam.frames - 1 else ""
    return f"{least}the {which} {finding.value:.0f} steps"


def _changed(finding: Finding, verb: str) -> str:
    value, what = finding.value, finding.fault.split()[0]
    if what == "colour":
        return f"the colour {verb} by ΔE {value:.1f}"
    if what == "luma":
        return f"the brightness {verb} by {value:+.1f} L"
    return f"the {what} {verb} by {value - 1:+.0%}"
