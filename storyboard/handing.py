"""Which frame a scene hands on: its last, unless the story says otherwise; what comes after it leaves the film too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from storyboard.hand_on import LAST, HandOn, among_of
from storyboard.mistakes import Place, did_you_mean, written
from storyboard.reading import Reading
from storyboard.schema import Look, SceneTable, StoryTable
from storyboard.story import After, Scene

REMAIN = 5
"""Frames that must be left of a clip, at least: the fewest that a model draws."""


@dataclass(frozen=True, slots=True)
class _Said:
    """What a scene says and what [look] says, of which the scene's counts."""

    table: SceneTable
    look: Look
    place: Place

    def own(self, key: str) -> int | str | None:
        mine: int | str | None = getattr(self.table, key)
        return getattr(self.look, key) if mine is None else mine

    def whose(self, key: str) -> Place:
        return ("look", key) if getattr(self.table, key) is None else (*self.place, key)


def hand_on_of(table: SceneTable, look: Look, place: Place, frames: int, reading: Reading) -> HandOn:
    """What of a clip of `frames` is shown, and handed on. A scene that holds its end hands on that."""
    said = _Said(table, look, place)
    trim, among = int(said.own("trim_end") or 0), _among(str(said.own("hand_on") or "last"), said, reading)
    if table.hold is not None:
        for key, value in (("trim_end", table.trim_end or 0), ("hand_on", table.hand_on or "last")):
            if value not in (0, "last"):
                remedy = f"drop {key}, or drop hold"
                reading.complain((*place, key), f"{key} = {_value(value)}: this scene ends on what it holds: {remedy}")
        return LAST
    key = "trim_end" if trim > frames - REMAIN or among == 1 else "hand_on"
    left = frames - trim - among + 1
    if left < REMAIN and said.whose(key) in [place for place, _ in reading.found]:
        return LAST  # what [look] says is told once
    if left < REMAIN:
        value, named = _value(said.own(key)), written(table.name)
        may, remedy = "may leave" if among > 1 else "leaves", "name less, or make the scene longer"
        what = f"{key} = {value} {may} {max(0, left)} of the {frames} frames of {named}, and {REMAIN} must remain"
        reading.complain(said.whose(key), f"{what}: {remedy}")
        return LAST
    return HandOn(trim, among)


def _value(value: int | str | None) -> str:
    return written(value) if isinstance(value, str) else str(value)


def _among(text: str, said: _Said, reading: Reading) -> int:
    """Of how many frames the sharpest is handed on."""
    found = among_of(text)
    if found is not None:
        return found
    hint = ' (did you mean "sharpest of 5"?)' if "sharp" in text.lower() else did_you_mean(text, ("last",))
    forms = 'write "last" or "sharpest of 5"'
    reading.complain(said.whose("hand_on"), f"hand_on = {written(text)} names no frame{hint}: {forms}")
    return 1


def handing_on(scenes: Sequence[Scene], table: StoryTable, reading: Reading) -> list[Scene]:
    """The scenes, where what nobody opens on ends on its last frame: there is none to choose.

    Complains of a scene that says hand_on itself.
    """
    taken = {scene.opens_on.scene for scene in scenes if isinstance(scene.opens_on, After)}
    found: list[Scene] = []
    for index, (scene, part) in enumerate(zip(scenes, table.scene, strict=True)):
        idle = scene.name not in taken and scene.hand_on.among > 1
        if idle and part.hand_on is not None and not reading.unsure:
            remedy = "drop hand_on (trim_end shortens a scene)"
            reading.complain(
                ("scene", index, "hand_on"), f"hand_on = {written(part.hand_on)}: no scene opens on this one: {remedy}"
            )
        found.append(replace(scene, hand_on=replace(scene.hand_on, among=1)) if idle else scene)
    return found


def suggested(scene: Scene, frozen: int, blurred: bool) -> str | None:
    """What may help a scene whose shown frames end frozen, for so many steps, or blurred; None where nothing would."""
    trim = scene.hand_on.trim + frozen
    if scene.held or (not frozen and not blurred):
        return None
    if frozen and scene.frames - trim - scene.hand_on.among + 1 >= REMAIN:
        return f"trim_end = {trim}"
    room = scene.frames - scene.hand_on.trim - REMAIN + 1
    return f'hand_on = "sharpest of {min(5, room)}"' if blurred and scene.hand_on.among == 1 and room > 1 else None
