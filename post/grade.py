"""A clip's colour corrected: an affine transform of its levels, in whole numbers, so that keys are stable."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from scenes.footage import Frame, Span

Matrix = NDArray[np.float64]
"""3 x 4: R'G'B' levels, 0 to 255 and as they are encoded, become these times the first three columns plus the last."""

Numbers = tuple[int, ...]
"""A matrix row by row, quantised."""

UNITS = np.array([4096, 4096, 4096, 16])
"""Steps to 1 of a gain, to one level of an offset. All roundings together move a colour by 0.13 levels at most."""

IDENTITY: Matrix = np.eye(3, 4)


def numbers_of(matrix: Matrix) -> Numbers:
    return tuple(int(number) for number in np.rint(matrix * UNITS).ravel())


def matrix_of(numbers: Numbers) -> Matrix:
    return np.reshape(numbers, (3, 4)) / UNITS


AS_DRAWN = numbers_of(IDENTITY)


@dataclass(frozen=True, slots=True)
class Grade:
    """`first` at a clip's frame 0, `last` at its frame `over` and after, in equal steps between; the same throughout
    where there is no `last`."""

    kind: ClassVar[str] = "grade/1"
    first: Numbers
    last: Numbers | None = None
    over: int | None = None

    def at(self, index: int) -> Matrix:
        first = matrix_of(self.first)
        if self.last is None or not self.over:
            return first
        return first + (matrix_of(self.last) - first) * min(index / self.over, 1.0)

    @property
    def end(self) -> Numbers:
        return self.first if self.last is None else self.last


@dataclass(frozen=True, slots=True)
class Graded:
    """The grades of all that one segment is made from; None for what stays as it was drawn.

    lead: of the still handed over, which belongs to the clip before. tail: of the clip that is dissolved from, by that
        clip's own count of frames.
    follows: digests of the clips before, from its run's anchor on, that `clip` comes from.
    """

    kind: ClassVar[str] = "graded/1"
    clip: Grade | None = None
    lead: Grade | None = None
    tail: Grade | None = None
    follows: tuple[str, ...] = field(default=(), compare=False)


def over(span: Span, grade: Grade | None) -> Iterator[Matrix | None]:
    """What each frame of a span is graded by."""
    return (None if grade is None else grade.at(index) for index in range(span.start, span.stop))


def graded(frame: Frame, by: Matrix | None) -> Frame:
    """A frame with its levels transformed, rounded once: up or down by a pattern that stands still.

    Rounded to the nearest, an even surface would take an easing grade in steps of a whole level. Whole levels stay.
    """
    if by is None:
        return frame
    import cv2

    height, width = frame.shape[:2]
    levels = cv2.transform(frame.astype(np.float32), by.astype(np.float32))
    pattern = np.tile(_PATTERN, (height // 8 + 1, width // 8 + 1))[:height, :width, None]
    return np.floor(np.clip(levels, 0, 255) + pattern).astype(np.uint8)


def _bayer(size: int) -> NDArray[np.float32]:
    """An ordered dither's thresholds, each number from 0 to size² - 1 once. Source: Bayer, 1973."""
    if size == 1:
        return np.zeros((1, 1), np.float32)
    part = 4 * _bayer(size // 2)
    return np.block([[part, part + 2], [part + 3, part + 1]])


_PATTERN = (_bayer(8) + 0.5) / 64
