"""Nets made ready for a device: fp16 where that is fast, in the form that was measured to be the fastest there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor

from post.nets import Net, RRDBNet, SRVGGNetCompact
from post.nets.dense import regroup
from scenes.compiled import compiled

Draw = Callable[[Tensor], Tensor]


def prepared(net: Net, place: torch.device, pictures: int, compile: bool) -> Draw:
    """What draws as the net does, up to rounding; `pictures` at once at most, each time of one size or few.

    compile: seconds spent now are worth it. The net given is used up.
    """
    if place.type != "cuda" or not isinstance(net, RRDBNet | SRVGGNetCompact):
        return net
    if compile and isinstance(net, RRDBNet):
        regroup(net)
    half = cast(Draw, cast(Any, net.half()).to(memory_format=torch.channels_last))
    return Filled(compiled(half, dynamic=False), pictures) if compile else half


class Filled:
    """Draws batches of one number of pictures: fewer are filled up, so that nothing is compiled anew for them."""

    def __init__(self, draw: Draw, pictures: int) -> None:
        self._draw, self._pictures = draw, pictures

    def __call__(self, image: Tensor) -> Tensor:
        count = image.shape[0]
        if count >= self._pictures:
            return self._draw(image)
        shape = (self._pictures, *image.shape[1:])
        filled = torch.empty(shape, dtype=image.dtype, device=image.device, memory_format=torch.channels_last)
        filled[:count] = image
        filled[count:] = image[-1:]
        return self._draw(filled)[:count]
