"""A clip drawn towards a frame, brought to end on it pixel for pixel: how far from it its end is, and the mending."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from post.look import look_at, steps
from scenes.files import read_span, read_still
from scenes.footage import Clip, Frame, Frames, Span, Still

OVER = 12
"""Last frames that are mended, at most: three quarters of a second of WAN's."""

DETAIL = 4
"""Of these the last, into which detail is blended too, and not colour alone: detail that moves would show twice."""

BOUND = 24
"""Levels by which a frame before the last is changed, at most."""

SPREAD = 24
"""Detail is what is finer than this part of the picture's width."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Up to here an end is near enough to be mended. Chosen by trial on photographs (docs/decisions/0027)."""

    colour: float = 4.0
    cell: float = 10.0
    moved: float = 1.0
    mismatch: float = 0.1


@dataclass(frozen=True, slots=True)
class Apart:
    """How far two frames are from each other, each from 0.

    colour: distance of their mean colours in CIELAB; about 2 can just be seen.
    cell: the same of the cell of a grid, four rows of six, where it is largest.
    moved: mean length of the optical flow from one to the other, per cent of the width.
    mismatch: 1 less the correlation of their luma along the flow; 0.5 to 1 and more: other pictures.
    """

    colour: float
    cell: float
    moved: float
    mismatch: float

    def over(self, limits: Limits) -> tuple[str, ...]:
        """The names of the numbers past their limits."""
        return tuple(each.name for each in fields(self) if getattr(self, each.name) > getattr(limits, each.name))

    def __str__(self) -> str:
        return ", ".join(f"{each.name} {getattr(self, each.name):.2g}" for each in fields(self))


def apart(first: Frame, second: Frame) -> Apart:
    looks = look_at(first), look_at(second)
    cells: NDArray[np.float64] = np.linalg.norm(looks[1].cells - looks[0].cells, axis=-1)
    (step,) = steps(looks)
    colour = np.linalg.norm(looks[1].lab - looks[0].lab)
    return Apart(float(colour), float(cells.max()), step.flow, max(0.0, step.mismatch))


@dataclass(frozen=True, slots=True)
class Mend:
    """A clip whose last `frames` come to end on `target`. Frames before these stay as they were drawn."""

    kind: ClassVar[str] = "mend/1"
    clip: Clip
    target: Still
    frames: int


def mend_of(clip: Clip, target: Still) -> Mend | None:
    """None where the clip ends on the target as it is."""
    return None if clip.last.digest == target.digest else Mend(clip, target, min(OVER, clip.frames - 1))


def mended(mend: Mend) -> Frames:
    """The clip's frames. What its last lacks of the target is blended in, colour first and detail at the end.

    Raises:
        DamagedFile: the clip or the still is not what was written.
    """
    target = read_still(mend.target)
    lack = np.clip(target.astype(np.float32) - read_still(mend.clip.last), -BOUND, BOUND)
    colour = _blurred(lack)
    last = mend.clip.frames - 1
    for index, frame in enumerate(read_span(Span(mend.clip, 0, mend.clip.frames))):
        to_go = last - index
        if to_go == 0:
            yield target
        elif to_go >= mend.frames:
            yield frame
        else:
            whole, fine = (_eased(1 - to_go / over) for over in (mend.frames, min(DETAIL, mend.frames)))
            changed = frame + whole * colour + fine * (lack - colour)
            yield np.rint(np.clip(changed, 0, 255)).astype(np.uint8)


def _eased(t: float) -> float:
    t = max(0.0, t)
    return t * t * (3 - 2 * t)


def _blurred(lack: NDArray[np.float32]) -> NDArray[np.float32]:
    import cv2

    sigma = lack.shape[1] / SPREAD
    return np.asarray(cv2.GaussianBlur(lack, (0, 0), sigma), dtype=np.float32)
