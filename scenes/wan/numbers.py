"""Single numbers out of checkpoints: LoRAs' alphas, fp8 scales. Free of torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scenes.wan.checkpoint import CheckpointError, TensorInfo

_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "U8": "u1"}


def read_numbers(info: TensorInfo) -> NDArray[np.float64]:
    """A small tensor's numbers.

    Raises:
        CheckpointError: its type is none that scales and alphas have, or the file ends before it.
    """
    with info.path.open("rb") as file:
        file.seek(info.offset)
        raw = file.read(info.nbytes)
    if len(raw) < info.nbytes:
        raise CheckpointError(f"{info.path} ends before {info.name}: it is cut short, get it again")
    if info.dtype == "BF16":  # the upper half of an fp32
        return (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    if info.dtype not in _DTYPES:
        raise CheckpointError(f"{info.path}: {info.name} is {info.dtype}, where a number was expected")
    return np.frombuffer(raw, _DTYPES[info.dtype]).astype(np.float64)
