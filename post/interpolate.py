"""Frames between frames: the rate rises by a whole factor, and no frame is drawn across a cut."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

from scenes.footage import Frame, Frames

Between = Callable[[Frame, Frame, float], Frame]
"""The frame at a time from 0 to 1 between two."""


@dataclass(frozen=True, slots=True)
class Flow:
    """Dense inverse search optical flow: no weights. Source: Kroeger et al., arXiv:1603.03590."""

    kind: ClassVar[str] = "flow/1"


@dataclass(frozen=True, slots=True)
class Interpolate:
    """`factor` frames for each one."""

    kind: ClassVar[str] = "interpolate/1"
    by: Flow
    factor: int


def interpolated(frames: Frames, lead: Frame | None, factor: int, between: Between) -> Frames:
    """`factor` frames for each of `frames`: those before it, then itself.

    Source frame i lies at slot factor * i + factor - 1. Before the first come the frames between `lead`, what was
    played just before, and it; without a lead it is held instead.
    """
    before = lead
    for frame in frames:
        for step in range(1, factor):
            yield frame if before is None else between(before, frame, float(Fraction(step, factor)))
        yield frame
        before = frame
