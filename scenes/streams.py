"""CUDA streams beside the one in which a model draws."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@cache
def lasting_stream(device: torch.device, use: str) -> torch.cuda.Stream | None:
    """The stream that serves a use; None on a CPU.

    One for the whole process: cuBLAS keeps a workspace of 32 MiB for every stream that it ever worked in.
    """
    import torch

    return torch.cuda.Stream(device) if device.type == "cuda" else None
