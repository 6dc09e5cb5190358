"""Colour that drifts from clip to clip, found where two clips show the same: one bounded affine transform each.

A chained clip's frame 0 redraws the frame that the clip before handed on. What of it differs all over is drift, and is
taken back; what differs here and there is content, and is left. Fitted on the means of small blocks: the grain of
single pixels would pass for contrast that is gone, a little at every hop. On levels as they are encoded, not on light:
means of blocks are then what the transform makes of means, and dark parts count as they are seen.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from post.grade import IDENTITY, Matrix
from scenes.footage import Frame

BLOCK, BLOCKS = 16, 128
"""The side of a block in pixels, at most; less where a frame would have fewer blocks than this."""

CLIPPED, COMPARED = 0.05, 0.05
"""A block with more of its pixels than this at either end of the range, in either frame, has lost what to compare; and
the share of all blocks that must be left."""

ALIKE = (24.0, 16.0, 12.0, 8.0, 6.0, 4.0, 4.0, 4.0, 4.0)
"""Levels by which a block may miss the transform before its weight is halved. The first transform is the usual shift,
as drift is small beside what shows something else; weights and transform then follow each other."""

LEAST = 0.25
"""The weight of a match below which two frames do not show the same, and nothing is fitted."""

RIDGE = 4.0
"""Variance, in squared levels, of the evidence for no change: hues and contrasts that a picture lacks stay."""

HOP, RUN = 32.0, 96.0
"""Levels by which no colour is moved further, from one clip to the next and over a whole run."""

SHIFT, CONTRAST = 8.0, 0.05
"""The most that is taken back of a drift within a clip: levels of a channel, and the share of the contrast."""

LUMA = np.array([0.2126, 0.7152, 0.0722])  # Rec. ITU-R BT.709
CORNERS = np.array([(*corner, 1.0) for corner in product((0.0, 255.0), repeat=3)])


@dataclass(frozen=True, slots=True)
class Match:
    """A frame as drawn beside the frame that it redraws, by weighted blocks.

    mean: six levels, R'G'B' of the one, then of the other. spread: their covariance, 6 x 6, row by row.
    weight: the share that shows the same of the blocks that can be compared, 0 to 1; 0 where few can be.
    """

    mean: tuple[float, ...]
    spread: tuple[float, ...]
    weight: float

    def text(self) -> str:
        return json.dumps([*self.mean, *self.spread, self.weight])

    @classmethod
    def read(cls, text: str) -> Match:
        """Raises ValueError where it is no text of a match."""
        numbers: list[float] = json.loads(text)
        if len(numbers) != 43:
            raise ValueError(f"{len(numbers)} numbers")
        return cls(tuple(numbers[:6]), tuple(numbers[6:42]), numbers[42])

    @property
    def parts(self) -> tuple[Matrix, Matrix, Matrix, Matrix, Matrix]:
        """Means of what is drawn and of what it redraws; their covariances, and that of the second with the first."""
        mean, spread = np.array(self.mean), np.reshape(self.spread, (6, 6))
        return mean[:3], mean[3:], spread[:3, :3], spread[3:, 3:], spread[3:, :3]


def match(drawn: Frame, redrawn: Frame) -> Match:
    """Two frames of one size, of which the first should show the second."""
    both = np.concatenate([drawn, redrawn], axis=2)
    within_range = np.all((both > 1) & (both < 254), axis=2)
    blocks, whole = _means(both.astype(np.float32)), _means(np.asarray(within_range, dtype=np.float32))
    usable = whole.ravel() >= 1 - CLIPPED
    levels = blocks.reshape(-1, 6)[usable].astype(np.float64)
    if usable.mean() < COMPARED:
        return Match((0.0,) * 6, (0.0,) * 36, 0.0)
    usual = np.median(levels[:, 3:] - levels[:, :3], axis=0)
    found, fitted = None, np.column_stack([np.eye(3), usual])
    for alike in ALIKE:
        missed = levels[:, 3:] - applied(fitted, levels[:, :3])
        found = _moments(levels, 1 / (1 + (missed**2).max(1) / alike**2))
        fitted = fit(found, least=0.0)
    assert found is not None
    return found


def _means(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of blocks, which are of one size as nearly as the frame allows."""
    import cv2

    height, width = values.shape[:2]
    side = max(1, min(BLOCK, int((width * height / BLOCKS) ** 0.5)))
    size = max(1, width // side), max(1, height // side)
    channels = [cv2.resize(part, size, interpolation=cv2.INTER_AREA) for part in cv2.split(values)]
    return np.stack([np.asarray(part, dtype=np.float32) for part in channels], axis=-1)


def _moments(levels: NDArray[np.float64], weights: NDArray[np.float64]) -> Match:
    total = weights.sum()
    mean = weights @ levels / total
    away = levels - mean
    spread = (away * weights[:, None]).T @ away / total

    def rounded(values: Matrix) -> tuple[float, ...]:
        """To what no two machines' sums differ in."""
        return tuple(round(float(value), 6) for value in values.ravel())

    return Match(rounded(mean), rounded(spread), round(float(total / len(weights)), 6))


def same(of: Match) -> bool:
    """Whether the two frames show the same, as one that redraws another should."""
    return of.weight > LEAST


def fit(of: Match, least: float = LEAST) -> Matrix:
    """What makes the frame as drawn look like the one that it redraws, as far as they show the same; the identity where
    they do not. In the mean over the picture it moves no colour further than the two are apart."""
    if of.weight <= least:
        return IDENTITY
    drawn, redrawn, own, _, cross = of.parts
    change = np.linalg.solve(own + RIDGE * np.eye(3), (cross - own).T).T
    found = np.eye(3) + change
    return np.column_stack([found, redrawn - found @ drawn])


def next_in_run(before: Matrix, of: Match, strength: float) -> Matrix:
    """The transform of a clip whose match is with the last frame of one that is shown through `before`."""
    whole = within(after(within(_hop(of, strength), HOP), before), RUN)
    shown, needed = _moved(whole, of), _apart(before, of)
    return whole if shown <= needed else IDENTITY + (needed / shown) * (whole - IDENTITY)


def bounded(before: Matrix, of: Match, strength: float) -> bool:
    """Whether next_in_run goes less far than it should."""
    hop = _hop(of, strength)
    return furthest(hop) > HOP or furthest(after(hop, before)) > RUN


def _hop(of: Match, strength: float) -> Matrix:
    return IDENTITY + strength * (fit(of) - IDENTITY)


def _moved(by: Matrix, of: Match) -> float:
    """Root mean square of the levels by which a transform moves the frame as drawn."""
    drawn, _, own, _, _ = of.parts
    change = by - IDENTITY
    shift = change[:, :3] @ drawn + change[:, 3]
    return float(np.sqrt(max(0.0, shift @ shift + np.trace(change[:, :3] @ own @ change[:, :3].T))))


def _apart(before: Matrix, of: Match) -> float:
    """The same between the frame as drawn and the one that it redraws, as that is shown."""
    drawn, redrawn, own, others, cross = of.parts
    gain = before[:, :3]
    shift = gain @ redrawn + before[:, 3] - drawn
    spread = gain @ others @ gain.T - gain @ cross - (gain @ cross).T + own
    return float(np.sqrt(max(0.0, shift @ shift + np.trace(spread))))


@dataclass(frozen=True, slots=True)
class Ends:
    """A clip's first frame and its last in numbers: mean R'G'B' levels, and the standard deviation of luma."""

    first: tuple[float, float, float, float]
    last: tuple[float, float, float, float]

    def text(self) -> str:
        return json.dumps([*self.first, *self.last])

    @classmethod
    def read(cls, text: str) -> Ends:
        """Raises ValueError where it is no text of ends."""
        a, b, c, d, e, f, g, h = json.loads(text)
        return cls((a, b, c, d), (e, f, g, h))


def ends(first: Frame, last: Frame) -> Ends:
    return Ends(_global(first), _global(last))


def _global(frame: Frame) -> tuple[float, float, float, float]:
    blocks = _means(frame.astype(np.float32)).reshape(-1, 3).astype(np.float64)
    red, green, blue = (round(float(value), 3) for value in blocks.mean(0))
    return red, green, blue, round(float((blocks @ LUMA).std()), 3)


def easing(of: Ends, share: float) -> Matrix:
    """What takes back so much of the drift within a clip, at its last frame."""
    first, last = np.array(of.first), np.array(of.last)
    gain = 1 + share * float(np.clip(max(first[3], 1.0) / max(last[3], 1.0) - 1, -CONTRAST, CONTRAST))
    shift = share * np.clip(first[:3] - last[:3], -SHIFT, SHIFT)
    return np.column_stack([gain * np.eye(3), last[:3] + shift - gain * last[:3]])


def after(first: Matrix, then: Matrix) -> Matrix:
    """One transform for two, one after the other."""
    return np.column_stack([then[:, :3] @ first[:, :3], then[:, :3] @ first[:, 3] + then[:, 3]])


def within(matrix: Matrix, levels: float) -> Matrix:
    """A transform nearer the identity where it would move some colour further than so many levels a channel."""
    far = furthest(matrix)
    return matrix if far <= levels else IDENTITY + (levels / far) * (matrix - IDENTITY)


def furthest(matrix: Matrix) -> float:
    """Levels of a channel by which it moves any colour at all, at most."""
    return float(np.abs(CORNERS @ (matrix - IDENTITY).T).max())


def applied(matrix: Matrix, levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Levels (n, 3), transformed."""
    return levels @ matrix[:, :3].T + matrix[:, 3]
