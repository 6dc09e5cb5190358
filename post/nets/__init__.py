"""Small torch modules with upstream's key names, so that published weights load as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from post.nets.rrdb import RRDBNet
from post.nets.srvgg import SRVGGNetCompact

Upscaler = SRVGGNetCompact | RRDBNet


class Net(Protocol):
    """Enlarges RGB of shape (batch, 3, height, width), 0 to 1; what comes out need not be clamped.

    scale: how many times larger a side becomes. multiple: what both sides must be multiples of. overlap: how many
    pixels beyond its own edges a tile must see so that no edge shows.
    """

    @property
    def scale(self) -> int: ...
    @property
    def multiple(self) -> int: ...
    @property
    def overlap(self) -> int: ...
    def __call__(self, image: Tensor, /) -> Tensor: ...


def net_of_state(state: Mapping[str, Tensor]) -> Upscaler:
    """The net whose keys and shapes these are, with the weights in it. Raises ValueError."""
    for kind in (SRVGGNetCompact, RRDBNet):
        try:
            with torch.device("meta"):  # no memory and no random numbers for weights that are replaced at once
                net = kind.shaped_as(state)
            net.load_state_dict(state, assign=True)
        except (KeyError, ValueError, IndexError, RuntimeError):
            continue
        return net
    raise ValueError(f"its keys or shapes are another architecture's ({', '.join(sorted(state)[:3])}, ...)")
