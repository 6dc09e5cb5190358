"""Frames between frames by optical flow, on the CPU and without weights: what stands in where RIFE is not."""

from __future__ import annotations

from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from scenes.footage import Frame

FlowField = NDArray[np.float32]
"""Pixels to the right and down, shape (height, width, 2)."""

Grey = NDArray[np.uint8]


class FlowInterpolator:
    """Warps both neighbours to the time between and blends them by how well their flows agree.

    Source: Jiang et al., Super SloMo, arXiv:1712.00080, equation 4, for the flow seen from the middle.
    """

    # Flow is found on pictures of about this many pixels: an upscaled frame holds no motion its source lacks.
    SEARCH = 480 * 832

    def __init__(self) -> None:
        self._search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self._pair: tuple[Frame, Frame] | None = None
        self._flows: tuple[FlowField, FlowField] | None = None

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

    def _flow(self, before: Frame, after: Frame) -> tuple[FlowField, FlowField]:
        """Flow there and back on the small pictures, found once a pair."""
        if self._pair is not None and self._pair[0] is before and self._pair[1] is after and self._flows:
            return self._flows
        small = [small_grey(frame, self.SEARCH) for frame in (before, after)]
        self._pair = (before, after)
        self._flows = self._found(small[0], small[1]), self._found(small[1], small[0])
        return self._flows

    def _found(self, start: Grey, end: Grey) -> FlowField:
        flow = self._search.calc(start, end, None)  # type: ignore[call-overload]  # None asks for a new field
        return with_camera(np.asarray(flow, dtype=np.float32), start, end)


def small_grey(frame: Frame, pixels: int) -> Grey:
    height, width = frame.shape[:2]
    scale = min(1.0, (pixels / (height * width)) ** 0.5)
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    size = (max(16, round(width * scale)), max(16, round(height * scale)))  # the search needs 12 pixels
    if size != (width, height):
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    return np.asarray(grey, dtype=np.uint8)


def with_camera(flow: FlowField, start: Grey, end: Grey) -> FlowField:
    """The flow, with the camera's own motion wherever that explains the second picture as well or better.

    Dense search loses what is thinner than its patches (a mast, a railing): the camera's motion, fitted to the whole
    field, does not. Measured on a pan over a mast: the worst 2,000 pixels of a middle frame rose from 10 to 30 dB.
    """
    height, width = start.shape
    grid = flow[4::12, 4::12]
    if grid.shape[0] * grid.shape[1] < 12:  # too small a picture to tell a camera from anything else
        return flow
    points = np.empty_like(grid)
    points[..., 0] = np.arange(4, width, 12, dtype=np.float32)
    points[..., 1] = np.arange(4, height, 12, dtype=np.float32)[:, None]
    pairs = points.reshape(-1, 2), (points + grid).reshape(-1, 2)
    fitted, _ = cv2.estimateAffine2D(*pairs, method=cv2.RANSAC, ransacReprojThreshold=0.5)
    affine = cast("NDArray[np.float64] | None", fitted)
    if affine is None:  # no three points agree
        return flow
    across, down = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
    camera = np.empty_like(flow)
    camera[..., 0] = affine[0, 0] * across + affine[0, 1] * down + affine[0, 2] - across
    camera[..., 1] = affine[1, 0] * across + affine[1, 1] * down + affine[1, 2] - down
    # One level of grey in the camera's favour: where nothing tells the two apart, the simpler motion is right.
    better = _unlike(camera, start, end) < _unlike(flow, start, end) + 1
    share = cv2.GaussianBlur(better.astype(np.float32), (0, 0), 3)[..., None]
    return np.asarray(flow + (camera - flow) * share, dtype=np.float32)


def _unlike(flow: FlowField, start: Grey, end: Grey) -> NDArray[np.float32]:
    """How far the second picture, fetched back along a flow, is from the first: levels, smoothed."""
    return cv2.GaussianBlur(cv2.absdiff(start, _fetched(end, flow)).astype(np.float32), (0, 0), 3).astype(np.float32)


def _fetched(picture: NDArray[Any], flow: FlowField) -> NDArray[Any]:
    """A picture or field of a flow's own size, sampled where the flow points."""
    height, width = flow.shape[:2]
    across = flow[..., 0] + np.arange(width, dtype=np.float32)
    down = flow[..., 1] + np.arange(height, dtype=np.float32)[:, None]
    return np.asarray(cv2.remap(picture, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


def _warp(frame: Frame, flow: FlowField, size: tuple[int, int]) -> Frame:
    """The frame sampled where `flow` (of a small picture) points, at full size."""
    width, height = size
    scale = width / flow.shape[1], height / flow.shape[0]
    full = cv2.resize(flow, size, interpolation=cv2.INTER_LINEAR) if flow.shape[:2] != (height, width) else flow
    across = full[..., 0] * np.float32(scale[0]) + np.arange(width, dtype=np.float32)
    down = full[..., 1] * np.float32(scale[1]) + np.arange(height, dtype=np.float32)[:, None]
    return np.asarray(cv2.remap(frame, across, down, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE), dtype=np.uint8)


def _doubt(
    there: FlowField, back: FlowField, to_before: FlowField, to_after: FlowField, scale: float
) -> NDArray[np.float32]:
    """Where the flows do not cancel out, 0 (they do) to 1 (12 pixels of the full picture apart)."""
    apart = np.linalg.norm(_fetched(there, to_before) + _fetched(back, to_after), axis=2) * scale
    return np.clip((apart - 4) / 8, 0, 1).astype(np.float32)
