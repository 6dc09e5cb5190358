"""The streams that drawing works in: the GPU serves them before what else this process has for it.

CUDA starts the thread blocks of a stream of higher priority first, so that clips which are finished on the same GPU
meanwhile take what drawing leaves free. Source: CUDA C++ Programming Guide, Stream Priorities.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from functools import cache

import torch

URGENT = -1
"""Lower numbers go first; 0, the default stream's, is the lowest priority there is."""


@cache
def urgent_stream(device: torch.device, use: str) -> torch.cuda.Stream | None:
    """The stream of higher priority than the default one that serves a use; None on a CPU.

    One for the whole process: cuBLAS keeps a workspace of 32 MiB for every stream that it ever worked in.
    """
    return torch.cuda.Stream(device, priority=URGENT) if device.type == "cuda" else None


@contextmanager
def working_in(stream: torch.cuda.Stream | None) -> Generator[None]:
    """Kernels of this thread go into the stream, where there is one."""
    if stream is None:
        yield
        return
    with torch.cuda.stream(stream):
        yield
