"""Frames in numbers: the colour, light and sharpness of one, the drift and motion between two.

ΔE2000 is scikit-image's (the extra `seams`), flow OpenCV's dense inverse search. Motion is in per cent of the picture's
width a frame, so that no number depends on the size that frames are rendered or measured at.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from scenes.footage import Frame

WIDTH = 416
"""Frames are measured at this width, at most: half of 832, where colour and motion are all still there."""

GRID = (4, 6)
"""Rows and columns of the grid: cells of about 70 by 60 pixels at 416 x 240."""

FLAT = 0.05
"""Contrast, saturation and sharpness below this are noise: ratios are of at least so much."""

Lab = NDArray[np.float64]
Grey = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """One frame in numbers, and the small picture that flow is found on (about 100 kB).

    lab: mean CIELAB (D65): L 0 to 100, a and b about -100 to 100.
    cells: the same of each cell of the grid, shape (4, 6, 3).
    contrast: standard deviation of L, 0 to 50.
    saturation: mean chroma, 0 to about 100.
    sharpness: standard deviation of the Laplacian of luma at the frame's own size, divided by that of the luma: above
        0, so that a grade leaves it as it is.
    """

    lab: Lab
    cells: Lab
    contrast: float
    saturation: float
    sharpness: float
    grey: Grey


@dataclass(frozen=True, slots=True)
class Drift:
    """How one look differs from another. A ratio is the second one's share of the first one's: 1 is the same.

    delta_e: ΔE2000 of the mean colours, from 0; about 1 can just be seen.
    cells_mean, cells_max: ΔE2000 of the grid's cells.
    luma: mean L of the second less the first's, -100 to 100.
    """

    delta_e: float
    cells_mean: float
    cells_max: float
    luma: float
    contrast: float
    saturation: float
    sharpness: float


@dataclass(frozen=True, slots=True)
class Step:
    """From one frame to the next.

    flow: mean length of the optical flow, per cent of the width, from 0; pixels count by their contrast, for on what is
        flat the search finds the motion of its grain.
    mismatch: 1 less the correlation of the first frame's luma with the second's fetched back along the flow: about 0
        where both show one scene, whatever their grade; 0.5 to 1 and more across a cut.
    """

    flow: float
    mismatch: float


def sharpness(frame: Frame) -> float:
    """As in a look."""
    import cv2

    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    return _sharpness(grey)


def look_at(frame: Frame) -> Look:
    import cv2

    height, width = frame.shape[:2]
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    sharp, small = _sharpness(grey), frame
    if width > WIDTH:
        size = (WIDTH, max(16, round(height * WIDTH / width)))  # the search for flow needs 12 pixels
        small, grey = (cv2.resize(each, size, interpolation=cv2.INTER_AREA) for each in (frame, grey))
    lab = cv2.cvtColor(small.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
    cells = cv2.resize(lab, GRID[::-1], interpolation=cv2.INTER_AREA)
    return Look(
        lab=np.array(cast("tuple[float, ...]", cv2.mean(lab))[:3]),
        cells=np.asarray(cells, dtype=np.float64),
        contrast=_deviation(lab[..., 0]),
        saturation=float(cv2.magnitude(lab[..., 1], lab[..., 2]).mean()),
        sharpness=sharp,
        grey=np.asarray(grey, dtype=np.uint8),
    )


def drift(first: Look, second: Look) -> Drift:
    """Symmetric in ΔE; `luma` changes its sign and ratios turn over where the two change places."""
    cells = _delta_e(first.cells, second.cells)
    return Drift(
        delta_e=float(_delta_e(first.lab, second.lab)),
        cells_mean=float(cells.mean()),
        cells_max=float(cells.max()),
        luma=float(second.lab[0] - first.lab[0]),
        contrast=ratio(first.contrast, second.contrast),
        saturation=ratio(first.saturation, second.saturation),
        sharpness=ratio(first.sharpness, second.sharpness),
    )


def carried_on(earlier: Look, last: Look, first: Look, later: Look) -> Look:
    """The last look, one step on, number by number as far as the two looks that follow go the same way.

    The smaller of the two steps and no mean of them: a flash beside the seam must not count.
    """

    def on(values: Sequence[Any]) -> Any:
        before, after = np.asarray(values[1] - values[0]), np.asarray(values[3] - values[2])
        smaller = np.where(np.abs(before) < np.abs(after), before, after)
        return values[1] + np.where(before * after > 0, smaller, 0.0)

    looks = (earlier, last, first, later)
    return replace(
        last,
        lab=on([look.lab for look in looks]),
        cells=on([look.cells for look in looks]),
        contrast=float(on([look.contrast for look in looks])),
        saturation=float(on([look.saturation for look in looks])),
        sharpness=float(on([look.sharpness for look in looks])),
    )


def steps(looks: Sequence[Look]) -> Iterator[Step]:
    """One fewer than looks."""
    import cv2

    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    # At half the measured size. At the preset's quarter a frame skipped reads as 1.4 times the motion, not 1.7 to 2.
    search.setFinestScale(1)
    for first, second in pairwise(looks):
        start, end = first.grey, _graded_like(second.grey, first.grey)
        found = search.calc(start, end, None)  # type: ignore[call-overload]  # None asks for a new field
        flow = np.asarray(found, dtype=np.float32)
        slopes = cv2.magnitude(cv2.Sobel(start, cv2.CV_32F, 1, 0), cv2.Sobel(start, cv2.CV_32F, 0, 1))
        length = np.average(cv2.magnitude(flow[..., 0], flow[..., 1]), weights=np.asarray(slopes) + 1)
        yield Step(100 * float(length) / start.shape[1], _mismatch(start, end, flow))


def share_of_usual(value: float, others: Sequence[float]) -> float:
    """The value to the median of the others."""
    return ratio(float(np.median(others)), value)


def standing_out(values: Sequence[float]) -> Iterator[float]:
    """Signed, for every one to three values in a row that have a neighbour on either side: by how much all of them lie
    above both neighbours, or below; 0 if they do not."""
    for start in range(1, len(values) - 1):
        for stop in range(start + 1, min(start + 4, len(values))):
            over = min(values[start:stop]) - max(values[start - 1], values[stop])
            under = max(values[start:stop]) - min(values[start - 1], values[stop])
            yield over if over > 0 else min(under, 0.0)


def ratio(first: float, second: float) -> float:
    return max(second, FLAT) / max(first, FLAT)


def _sharpness(grey: Any) -> float:
    import cv2

    return _deviation(cv2.Laplacian(grey, cv2.CV_32F)) / max(_deviation(grey), 1.0)


def _deviation(values: Any) -> float:
    """Standard deviation; OpenCV finds it some ten times as fast as NumPy."""
    import cv2

    _, deviation = cast("Any", cv2).meanStdDev(values)
    return float(deviation.item())


def _delta_e(first: Lab, second: Lab) -> Lab:
    import skimage.color

    color = cast("Any", skimage.color)  # its own parameters are untyped

    return np.asarray(color.deltaE_ciede2000(first, second), dtype=np.float64)


def _graded_like(grey: Grey, other: Grey) -> Grey:
    """With the mean and contrast of the other: a change of grade must not pass for motion."""
    import cv2

    gain = max(float(other.std()), 1.0) / max(float(grey.std()), 1.0)
    shift = float(other.mean()) - gain * float(grey.mean())
    graded = cv2.addWeighted(grey, gain, grey, 0, shift)  # rounds and stays within 0 to 255
    return np.asarray(graded, dtype=np.uint8)


def _mismatch(start: Grey, end: Grey, flow: NDArray[np.float32]) -> float:
    import cv2

    height, width = start.shape
    across = flow[..., 0] + np.arange(width, dtype=np.float32)
    down = flow[..., 1] + np.arange(height, dtype=np.float32)[:, None]
    fetched = cv2.remap(end, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    first, second = (each.astype(np.float32) - each.mean() for each in (start, fetched))
    # A picture that is nearly flat shows nothing to compare: one level of noise is added to both.
    return 1 - float(((first * second).mean() + 1) / np.sqrt(((first**2).mean() + 1) * ((second**2).mean() + 1)))
