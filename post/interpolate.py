"""Frames between frames: the rate rises by a whole factor, and no frame is drawn across a cut."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from scenes.footage import Frame, Frames

Flow2 = NDArray[np.float32]
"""Pixels to the right and down, shape (height, width, 2)."""

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


class FlowInterpolator:
    """Warps both neighbours to the time between and blends them by how well their flows agree.

    Source: Jiang et al., Super SloMo, arXiv:1712.00080, equation 4, for the flow seen from the middle.
    """

    # Flow is found on pictures of about this many pixels: an upscaled frame holds no motion its source lacks.
    SEARCH = 480 * 832

    def __init__(self) -> None:
        self._search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self._pair: tuple[Frame, Frame] | None = None
        self._flows: tuple[Flow2, Flow2] | None = None

    def __call__(self, before: Frame, after: Frame, time: float) -> Frame:
        if before is after or np.array_equal(before, after):
            return after
        there, back = self._flow(before, after)
        height, width = before.shape[:2]
        to_before = (-(1 - time) * time * there + time * time * back).astype(np.float32, copy=False)
        to_after = ((1 - time) ** 2 * there - time * (1 - time) * back).astype(np.float32, copy=False)
        doubt = _doubt(there, back, to_before, to_after, width / there.shape[1])
        size = (width, height)
        warped = cv2.addWeighted(_warp(before, to_before, size), 1 - time, _warp(after, to_after, size), time, 0)
        if not doubt.any():
            return np.asarray(warped, dtype=np.uint8)
        # Where the two flows contradict each other something was covered or laid bare: a plain mix is the least wrong.
        plain = cv2.addWeighted(before, 1 - time, after, time, 0)
        weight = cv2.resize(doubt, size, interpolation=cv2.INTER_LINEAR)
        return np.asarray(cv2.blendLinear(plain, warped, weight, 1 - weight), dtype=np.uint8)

    def _flow(self, before: Frame, after: Frame) -> tuple[Flow2, Flow2]:
        """Flow there and back on the small pictures, found once a pair."""
        if self._pair is not None and self._pair[0] is before and self._pair[1] is after and self._flows:
            return self._flows
        small = [_small_grey(frame, self.SEARCH) for frame in (before, after)]
        there = np.asarray(self._search.calc(small[0], small[1], None), dtype=np.float32)  # type: ignore[call-overload]
        back = np.asarray(self._search.calc(small[1], small[0], None), dtype=np.float32)  # type: ignore[call-overload]
        self._pair, self._flows = (before, after), (there, back)
        return there, back


def _small_grey(frame: Frame, pixels: int) -> NDArray[np.uint8]:
    height, width = frame.shape[:2]
    scale = min(1.0, (pixels / (height * width)) ** 0.5)
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    size = (max(16, round(width * scale)), max(16, round(height * scale)))  # the search needs 12 pixels
    if size != (width, height):
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    return np.asarray(grey, dtype=np.uint8)


def _warp(frame: Frame, flow: Flow2, size: tuple[int, int]) -> Frame:
    """The frame sampled where `flow` (of a small picture) points, at full size."""
    width, height = size
    scale = width / flow.shape[1], height / flow.shape[0]
    full = cv2.resize(flow, size, interpolation=cv2.INTER_LINEAR) if flow.shape[:2] != (height, width) else flow
    across = full[..., 0] * np.float32(scale[0]) + np.arange(width, dtype=np.float32)
    down = full[..., 1] * np.float32(scale[1]) + np.arange(height, dtype=np.float32)[:, None]
    return np.asarray(cv2.remap(frame, across, down, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE), dtype=np.uint8)


def _doubt(there: Flow2, back: Flow2, to_before: Flow2, to_after: Flow2, scale: float) -> NDArray[np.float32]:
    """Where the flows do not cancel out, 0 (they do) to 1 (12 pixels of the full picture apart)."""
    height, width = there.shape[:2]
    grid_x = np.arange(width, dtype=np.float32)
    grid_y = np.arange(height, dtype=np.float32)[:, None]

    def seen(flow: Flow2, way: Flow2) -> Flow2:
        warped = cv2.remap(
            flow, grid_x + way[..., 0], grid_y + way[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        return np.asarray(warped, dtype=np.float32)

    apart = np.linalg.norm(seen(there, to_before) + seen(back, to_after), axis=2) * scale
    return np.clip((apart - 4) / 8, 0, 1).astype(np.float32)
