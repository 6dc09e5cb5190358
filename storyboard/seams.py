"""What a story says of the seam before a scene: a cut, or what is drawn over it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

from scenes.picture import Colour, parse_colour
from storyboard.mistakes import did_you_mean, written

BLACK: Colour = (0, 0, 0)
NAMED: dict[Colour, str] = {BLACK: "black", (255, 255, 255): "white"}


@dataclass(frozen=True, slots=True)
class Cut:
    """Nothing is drawn over it. So too where a scene is chained, and there is no cut."""

    seconds: ClassVar[Fraction] = Fraction(0)

    def __str__(self) -> str:
        return "cut"


CUT = Cut()


@dataclass(frozen=True, slots=True)
class Dissolve:
    """The scene before turns into this one: both are played at once, and the film is shorter by it."""

    seconds: Fraction = Fraction(1, 2)

    def __str__(self) -> str:
        return f"dissolve {_said(self.seconds)}"


@dataclass(frozen=True, slots=True)
class Fade:
    """The scene before goes into a colour in half of the time, this one comes out of it in the other half."""

    seconds: Fraction = Fraction(1)
    colour: Colour = BLACK

    def __str__(self) -> str:
        red, green, blue = self.colour
        return f"fade {NAMED.get(self.colour, f'#{red:02x}{green:02x}{blue:02x}')} {_said(self.seconds)}"


Seam = Cut | Dissolve | Fade

KINDS = ("cut", "dissolve", "fade")
MEANT = dict.fromkeys(("crossfade", "cross", "xfade", "mix", "blend"), "dissolve") | {"none": "cut", "hard": "cut"}
FORMS = '"cut", "dissolve 0.5s" or "fade black 1s"'
TIME = r"([0-9]{1,6}(?:\.[0-9]{1,9})?|\.[0-9]{1,9})\s*s?"
PATTERN = rf"^\s*(cut|dissolve(\s+{TIME})?|fade(\s+[^\s0-9.]\S*)?(\s+{TIME})?)\s*$"
"""Of every seam, for editors; what is no colour is found when the story is read."""


class SeamError(ValueError):
    """The text names no seam; the message says what to write instead."""


def parse_seam(text: str) -> Seam:
    """Raises SeamError."""
    kind, *words = text.split() or [""]
    rest = " ".join(words)
    match kind:
        case "cut":
            return _cut(text, rest)
        case "dissolve":
            return _dissolve(text, rest)
        case "fade":
            return _fade(text, rest)
        case _:
            hint = f' (did you mean "{MEANT[kind]}"?)' if kind in MEANT else did_you_mean(kind, KINDS)
            raise SeamError(f"seam = {written(text)} names no seam{hint}: write {FORMS}")


def _cut(text: str, rest: str) -> Cut:
    if rest:
        raise SeamError(f'seam = {written(text)}: a cut takes no time: write "cut", or "dissolve 0.5s"')
    return CUT


def _dissolve(text: str, rest: str) -> Dissolve:
    return Dissolve(_seconds(text, rest, lambda time: f"dissolve {time}")) if rest else Dissolve()


def _fade(text: str, rest: str) -> Fade:
    if not rest or re.fullmatch(TIME, rest):
        return Fade(_seconds(text, rest, lambda time: f"fade black {time}")) if rest else Fade()
    name, _, time = rest.partition(" ")
    try:
        colour = parse_colour(name)
    except ValueError:
        hint = did_you_mean(name, NAMED.values()) or ': write "fade black 1s", "fade white 1s" or "fade #rrggbb 1s"'
        raise SeamError(f"seam = {written(text)}: {written(name)} is no colour{hint}") from None
    return Fade(_seconds(text, time, lambda time: f"fade {name} {time}"), colour) if time else Fade(colour=colour)


def _seconds(text: str, said: str, form: Callable[[str], str]) -> Fraction:
    """form: how a seam of such a time is written."""
    found = re.fullmatch(TIME, said)
    if found is None:
        raise SeamError(f'seam = {written(text)}: {written(said)} is no time: write seconds, as in "{form("0.5s")}"')
    seconds = Fraction(found[1])
    if seconds == 0:
        raise SeamError(f'seam = {written(text)} takes no time: write "cut", or more, as in "{form("0.5s")}"')
    return seconds


def _said(seconds: Fraction) -> str:
    return f"{float(seconds):.10g}s"
