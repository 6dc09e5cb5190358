"""Raw bytes as they are on disk become weights, on the device that they are on: bf16, fp16, fp32, fp8, GGUF.

fp8 is widened to fp32, scaled and then cast, as ComfyUI does it; GGUF is dequantised in fp32, as gguf-py does it.
"""

from __future__ import annotations

from math import prod

import torch

from scenes.wan.checkpoint import TensorInfo
from scenes.wan.dequantise import dequantised

PLAIN = {
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}
ROWS_AT_ONCE = 8 * 2**20
"""Elements that are widened to fp32 at once: it bounds what is allocated, and the work stays in a GPU's cache."""


def as_stored(raw: torch.Tensor, info: TensorInfo) -> torch.Tensor:
    """A tensor of one of the plain types, out of its bytes."""
    dtype = PLAIN[info.dtype]
    if raw.storage_offset() % dtype.itemsize:  # tensors lie in files as it comes
        raw = raw.clone()
    return raw.view(dtype).view(info.shape)


def widened_rows(raw: torch.Tensor, info: TensorInfo, start: int, stop: int) -> torch.Tensor:
    """Rows of a tensor in fp32 without its scale, as (rows, numbers in a row): new memory that may be written to."""
    count = info.shape[0] if info.shape else 1
    bytes_per_row = info.nbytes // count
    part = raw[start * bytes_per_row : stop * bytes_per_row]
    if info.dtype not in PLAIN:
        return dequantised(part, info.dtype).view(stop - start, -1)
    dtype = PLAIN[info.dtype]
    if part.storage_offset() % dtype.itemsize:
        part = part.clone()
    return part.view(dtype).view(stop - start, -1).to(torch.float32, copy=True)


def rows_at_once(info: TensorInfo) -> int:
    """How many rows make a chunk."""
    return max(1, ROWS_AT_ONCE // max(1, prod(info.shape[1:])))
