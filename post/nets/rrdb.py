"""RRDBNet: the large net of ESRGAN (arXiv:1809.00219), with the weights of Real-ESRGAN (arXiv:2107.10833)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# How far the trunk sees in effect, in its own pixels: all of 23 blocks see 347, but what lies beyond 64 moved no pixel
# of six photographs, a chart and noise by more than 0.6 of a level (48: 2.2, 32: 7, 10: 48). Six blocks: 48 gives 0.9.
TRUNK_OVERLAP = 64

# The tail works at 16 times the trunk's pixels: whole it would take 12 KB a pixel where the trunk takes 2; a strip
# takes 0.4 GB at most in fp32.
STRIP_PIXELS = 32 * 1024

# Exact: the tail's convolutions see 1/2 + 3/4 of a trunk's pixel further.
TAIL_OVERLAP = 2

CHANNELS = {3: 4, 12: 2}
"""Channels that the first convolution takes, and the scale that this means."""


class DenseBlock(nn.Module):
    """Five convolutions, each of which sees all that came before it."""

    def __init__(self, features: int, growth: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(features, growth, 3, padding=1)
        self.conv2 = nn.Conv2d(features + growth, growth, 3, padding=1)
        self.conv3 = nn.Conv2d(features + 2 * growth, growth, 3, padding=1)
        self.conv4 = nn.Conv2d(features + 3 * growth, growth, 3, padding=1)
        self.conv5 = nn.Conv2d(features + 4 * growth, features, 3, padding=1)

    @property
    def convs(self) -> tuple[nn.Conv2d, ...]:
        return self.conv1, self.conv2, self.conv3, self.conv4, self.conv5

    def forward(self, x: Tensor) -> Tensor:
        seen = x
        for conv in self.convs[:-1]:
            seen = torch.cat((seen, F.leaky_relu(conv(seen), 0.2, inplace=True)), 1)
        return self.conv5(seen) * 0.2 + x


class RRDB(nn.Module):
    """A residual over three dense blocks, which are residuals themselves."""

    def __init__(self, features: int, growth: int) -> None:
        super().__init__()
        self.rdb1 = DenseBlock(features, growth)
        self.rdb2 = DenseBlock(features, growth)
        self.rdb3 = DenseBlock(features, growth)

    @property
    def blocks(self) -> tuple[DenseBlock, DenseBlock, DenseBlock]:
        return self.rdb1, self.rdb2, self.rdb3

    def forward(self, x: Tensor) -> Tensor:
        return self.rdb3(self.rdb2(self.rdb1(x))) * 0.2 + x


class RRDBNet(nn.Module):
    """Residual dense blocks at the source's size, then two doublings: scale 4, or 2 where the picture is folded first.

    Takes and gives RGB of shape (batch, 3, height, width), 0 to 1; what comes out is not clamped.
    """

    def __init__(self, features: int = 64, blocks: int = 23, growth: int = 32, scale: int = 4) -> None:
        super().__init__()
        self.scale = scale
        self.multiple = 4 // scale  # both sides must be multiples of it: the picture is folded by so much
        self.overlap = TRUNK_OVERLAP * self.multiple
        self.conv_first = nn.Conv2d(3 * self.multiple**2, features, 3, padding=1)
        self.body = nn.Sequential(*(RRDB(features, growth) for _ in range(blocks)))
        self.conv_body = nn.Conv2d(features, features, 3, padding=1)
        self.conv_up1 = nn.Conv2d(features, features, 3, padding=1)
        self.conv_up2 = nn.Conv2d(features, features, 3, padding=1)
        self.conv_hr = nn.Conv2d(features, features, 3, padding=1)
        self.conv_last = nn.Conv2d(features, 3, 3, padding=1)

    @property
    def residuals(self) -> list[RRDB]:
        return cast("list[RRDB]", list(self.body))

    @classmethod
    def shaped_as(cls, state: Mapping[str, Tensor]) -> RRDBNet:
        """The net that these weights are of. Where they are of another: KeyError, ValueError or IndexError."""
        features, channels = state["conv_first.weight"].shape[:2]
        growth = state["body.0.rdb1.conv1.weight"].shape[0]
        blocks = 1 + max(int(key.split(".")[1]) for key in state if key.startswith("body."))
        return cls(features, blocks, growth, CHANNELS[channels])

    def forward(self, image: Tensor) -> Tensor:
        x = self.conv_first(F.pixel_unshuffle(image, self.multiple))
        x = x + self.conv_body(self.body(x))
        height, width = x.shape[-2:]
        step = max(1, STRIP_PIXELS // width)
        return torch.cat([self._enlarge(x, top, min(top + step, height)) for top in range(0, height, step)], 2)

    def _enlarge(self, x: Tensor, top: int, bottom: int) -> Tensor:
        """Rows `top` to `bottom` of the trunk's features as the picture's rows 4·top to 4·bottom."""
        first = max(0, top - TAIL_OVERLAP)
        x = x[:, :, first : bottom + TAIL_OVERLAP]
        for conv in (self.conv_up1, self.conv_up2):
            x = F.leaky_relu(conv(F.interpolate(x, scale_factor=2, mode="nearest")), 0.2, inplace=True)
        x = self.conv_last(F.leaky_relu(self.conv_hr(x), 0.2, inplace=True))
        return x[:, :, 4 * (top - first) : 4 * (bottom - first)]
