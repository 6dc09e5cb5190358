"""SRVGGNetCompact: Real-ESRGAN's small net for video. Source: arXiv:2107.10833 (Wang et al., 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from math import isqrt

import torch.nn.functional as F
from torch import Tensor, nn


class SRVGGNetCompact(nn.Module):
    """Convolutions at the source's size, one pixel shuffle, and the nearest-neighbour picture added.

    Takes and gives RGB of shape (batch, 3, height, width), 0 to 1, `scale` times larger; what comes out is not clamped.
    """

    multiple = 1  # sides of any length

    def __init__(self, features: int = 64, convs: int = 16, scale: int = 4) -> None:
        super().__init__()
        self.scale = scale
        # Each 3×3 convolution sees one pixel further, and all of them work at the source's size.
        self.overlap = convs + 2
        layers: list[nn.Module] = [nn.Conv2d(3, features, 3, padding=1), nn.PReLU(features)]
        for _ in range(convs):
            layers += [nn.Conv2d(features, features, 3, padding=1), nn.PReLU(features)]
        layers.append(nn.Conv2d(features, 3 * scale**2, 3, padding=1))
        self.body = nn.ModuleList(layers)  # upstream's keys: body.0, body.1, ...

    @classmethod
    def shaped_as(cls, state: Mapping[str, Tensor]) -> SRVGGNetCompact:
        """The net that these weights are of. Where they are of another: KeyError, ValueError or IndexError."""
        last = max(int(key.split(".")[1]) for key in state if key.startswith("body."))
        channels = state[f"body.{last}.weight"].shape[0]
        return cls(state["body.0.weight"].shape[0], convs=last // 2 - 1, scale=isqrt(channels // 3))

    def forward(self, image: Tensor) -> Tensor:
        x = image
        for layer in self.body:
            x = layer(x)
        return F.pixel_shuffle(x, self.scale) + F.interpolate(image, scale_factor=self.scale, mode="nearest")
