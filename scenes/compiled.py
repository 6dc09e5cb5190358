"""Functions that torch compiles, in a process where several threads call some.

torch.compile is not made for that: tracing changes state of the whole process, and what other threads call meanwhile
may fail or be traced along. Source: github.com/pytorch/pytorch/issues/118260 and 168042.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from threading import RLock
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])

_ALONE = RLock()


def compiled(function: F, **options: Any) -> F:
    """`torch.compile`, for functions that may be called while another thread compiles: they wait for it.

    A call puts kernels in line and waits for none of them, so that this costs nothing but while something is compiled:
    on a function's first call, and on shapes that are new to it.
    """
    import torch

    run = torch.compile(function, **options)

    @wraps(run)
    def alone(*given: Any) -> Any:
        with _ALONE:
            return run(*given)

    return cast(F, alone)
