"""Small torch modules with upstream's key names, so that published weights load as they are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from post.nets.rrdb import RRDBNet
from post.nets.srvgg import SRVGGNetCompact

Upscaler = SRVGGNetCompact | RRDBNet


def read_pth(path: Path) -> dict[str, Tensor]:
    """The weights in a `.pth`, bare or under one of upstream's names for them. Raises ValueError."""
    try:
        held: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a file of another kind raises whatever its bytes lead to: torch names no set
        raise ValueError(f"it does not open as a .pth ({type(error).__name__})") from error
    for wrapper in ("params_ema", "params"):  # the moving average first, as upstream's own inference does
        if isinstance(held, dict) and wrapper in held:
            held = cast("dict[str, Any]", held)[wrapper]
            break
    if not isinstance(held, dict):
        raise ValueError("it holds no dictionary of tensors")
    state = cast("dict[str, Any]", held)
    if not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError("it holds more than tensors")
    return state


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
