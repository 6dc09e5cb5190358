"""Frames between frames: how many, at which moments, by what; and no frame is drawn across a cut."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import ClassVar, Protocol, TypeVar

T = TypeVar("T")

Between = Callable[[list[tuple[T, T, float]]], list[T]]
"""The frame at a time from 0 to 1 between two, for many pairs at once."""


@dataclass(frozen=True, slots=True)
class Flow:
    """Dense inverse search optical flow: no weights. Source: Kroeger et al., arXiv:1603.03590."""

    kind: ClassVar[str] = "flow/1"


@dataclass(frozen=True, slots=True)
class Rife:
    """A net of RIFE's. `weights` is the SHA-256 of the file that holds them (an ncnn model's `.bin`).

    version: the architecture where its name tells, "4.6"; None where the weights tell when they are opened.
    Source: Huang et al., arXiv:2011.06294.
    """

    kind: ClassVar[str] = "rife/1"
    weights: str
    path: Path = field(compare=False)
    version: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class RifeNcnn:
    """RIFE by rife-ncnn-vulkan, on a Vulkan device. `weights`: SHA-256 of the model's `.bin`; `path`: its folder."""

    kind: ClassVar[str] = "rife-ncnn/1"
    model: str
    weights: str
    path: Path = field(compare=False)


class Rule(Protocol):
    """At which moments frames are shown, and what draws those that lie between frames."""

    @property
    def by(self) -> Flow | Rife | RifeNcnn: ...

    def times(self, index: int, /) -> Sequence[Fraction]:
        """The moments that belong to source frame `index`, as parts of the way to it from the one before: rising,
        above 0; 1 is the frame itself. None where no frame is shown there. `index` counts a scene's own frames, and
        those of the scene played before it backwards from -1.
        """
        ...

    def frames(self, source: int, /) -> int:
        """How many frames so many source frames give."""
        ...

    def rate(self, fps: Fraction, /) -> Fraction: ...


@dataclass(frozen=True, slots=True)
class Interpolate:
    """`factor` frames for each one: source frame i lies at slot factor * i + factor - 1."""

    kind: ClassVar[str] = "interpolate/1"
    by: Flow | Rife | RifeNcnn
    factor: int

    def times(self, index: int, /) -> Sequence[Fraction]:
        return [Fraction(step, self.factor) for step in range(1, self.factor + 1)]

    def frames(self, source: int, /) -> int:
        return self.factor * source

    def rate(self, fps: Fraction, /) -> Fraction:
        return fps * self.factor


def interpolated(
    frames: Iterator[T], lead: T | None, rule: Rule, between: Between[T], at_once: int, first: int = 0
) -> Iterator[T]:
    """The frames that `rule` shows, in order.

    Before the first come those between `lead`, what was played just before, and it; without a lead it is held instead.

    at_once: so many pairs are drawn together. first: the number of the first frame, as `Rule.times` counts them.
    """
    before = lead
    shown: list[T | None] = []  # None where a pair's frame belongs, which is yet to be drawn
    pairs: list[tuple[T, T, float]] = []
    for index, frame in enumerate(frames, first):
        for time in rule.times(index):
            if time == 1 or before is None:
                shown.append(frame)
            else:
                shown.append(None)
                pairs.append((before, frame, float(time)))
            if len(pairs) in (0, at_once):
                yield from _drawn(shown, pairs, between)
        before = frame
    yield from _drawn(shown, pairs, between)


def _drawn(shown: list[T | None], pairs: list[tuple[T, T, float]], between: Between[T]) -> Iterator[T]:
    """What is held, with the pairs' frames in their places; afterwards nothing is held."""
    drawn = iter(between(pairs) if pairs else ())
    frames = [next(drawn) if frame is None else frame for frame in shown]
    shown.clear()
    pairs.clear()
    yield from frames
