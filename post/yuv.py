"""RGB on a device becomes an encoder's own planes there, rounded once: Y'CbCr of BT.709, limited range.

Sources: ITU-R BT.709-6, items 3.2 to 3.5 (the equations and levels); ITU-T H.273, 8.3 (MatrixCoefficients 1,
VideoFullRangeFlag 0); ITU-T H.264, E.2.1: chroma_sample_loc_type 0, which holds where a stream says nothing, puts a
sample of chroma on the left of two pixels and between two rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from post.picture import LAYOUTS

RED, BLUE = 0.2126, 0.0722
GREEN = 1 - RED - BLUE

# Catmull-Rom at half the resolution: even taps lie on pixels, odd ones between. Each sums to 1.
ON = (-1 / 32, 0.0, 9 / 32, 16 / 32, 9 / 32, 0.0, -1 / 32)
BETWEEN = (-3 / 256, -9 / 256, 29 / 256, 111 / 256, 111 / 256, 29 / 256, -9 / 256, -3 / 256)


def planes(frames: Tensor, pixels: str) -> tuple[Tensor, Tensor, Tensor]:
    """Y', Cb and Cr of frames (n, 3, height, width) of values 0 to 1, each (n, height, width).

    pixels: one of LAYOUTS. Of 8 bits they are uint8, of 10 int16, which torch knows better than uint16.
    """
    layout = LAYOUTS[pixels]
    red, green, blue = frames.float().unbind(1)
    luma = RED * red + GREEN * green + BLUE * blue
    level = 2 ** (layout.bits - 8)
    made = [_levels(luma, 219 * level, 16 * level, 16 * level, 235 * level, layout.bits)]
    for part, weight in ((blue, BLUE), (red, RED)):
        chroma = (part - luma) / (2 * (1 - weight))  # -0.5 to 0.5
        if layout.across == 2:
            chroma = _halved(pad(chroma[:, None], (3, 3, 0, 0), "replicate")[:, 0], ON, -1)
        if layout.down == 2:
            chroma = _halved(pad(chroma[:, None], (0, 0, 3, 4), "replicate")[:, 0], BETWEEN, -2)
        made.append(_levels(chroma, 224 * level, 128 * level, 16 * level, 240 * level, layout.bits))
    return made[0], made[1], made[2]


def rgb(frames: Tensor) -> Tensor:
    """Frames (n, 3, height, width) of values 0 to 1 as uint8 RGB (n, height, width, 3), rounded once."""
    return frames.float().permute(0, 2, 3, 1).mul(255).round_().clamp_(0, 255).to(torch.uint8)


def _levels(values: Tensor, gain: int, offset: int, least: int, most: int, bits: int) -> Tensor:
    """Values as whole levels, halves rounded up; what the filter overshoots stays within the nominal range."""
    levels = values.mul(gain).add_(offset + 0.5).floor_().clamp_(least, most)
    return levels.to(torch.uint8 if bits == 8 else torch.int16)


def _halved(padded: Tensor, taps: Sequence[float], side: int) -> Tensor:
    """Every second sample of what the taps make of a side that is padded for them.

    Sums of slices, not a convolution: that would take TF32 or not as the whole process is set, and 10 bits need more.
    """
    count = (padded.shape[side] - len(taps)) // 2 + 1
    made: Tensor | None = None
    for index, tap in enumerate(taps):
        if tap:
            part = padded.narrow(side, index, 2 * count - 1)
            part = (part[..., ::2] if side == -1 else part[..., ::2, :]) * tap
            made = part if made is None else made.add_(part)
    assert made is not None
    return made
