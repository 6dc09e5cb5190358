"""Another frame rate than a whole multiple: which moments between source frames are shown, in exact arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from typing import ClassVar

from post.interpolate import Flow, Rife, RifeNcnn


@dataclass(frozen=True, slots=True)
class Conform:
    """One grid of `fps` over the whole film, of which this is one scene's part; no frame is repeated to fill it.

    Frame k of the film, counted from 0, lies at source position (k + 1) * source_fps / fps - 1: a whole multiple shows
    what Interpolate shows, and a film of n source frames has floor(n * fps / source_fps), within a frame of its
    duration. Each scene's count is a difference of two such floors, so that they add up over any number of seams.

    start: how many source frames the scenes before this one show, those that lie under a dissolve too.
    """

    kind: ClassVar[str] = "conform/1"
    by: Flow | Rife | RifeNcnn
    fps: Fraction
    source_fps: Fraction
    start: int

    def times(self, index: int, /) -> Sequence[Fraction]:
        at = self.start + index
        step = self.source_fps / self.fps
        return [number * step - at for number in range(self._before(at) + 1, self._before(at + 1) + 1)]

    def frames(self, source: int, /) -> int:
        return self._before(self.start + source) - self._before(self.start)

    def rate(self, fps: Fraction, /) -> Fraction:
        return self.fps

    def _before(self, source: int) -> int:
        """How many frames the film shows up to the end of so many source frames."""
        return floor(source * self.fps / self.source_fps)
