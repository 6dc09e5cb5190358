"""Weights as torch files (`.pth`, `.pkl`, `.pt`) and as safetensors hold them: names and tensors, nothing that runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from post.damage import lookalike
from post.weight_names import HEAD_MOST

# Source: github.com/huggingface/safetensors, its format.
KINDS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}

# What some files keep their weights under: a moving average before what it is of, as Real-ESRGAN's own inference does.
WRAPPERS = ("state_dict", "model", "params_ema", "params")


def read_tensors(path: Path) -> dict[str, Tensor]:
    """By their names. Raises ValueError, which says what is wrong with the file, and OSError."""
    if not path.is_file():
        raise ValueError("is not there")
    with path.open("rb") as file:
        what = lookalike(file.read(64))
    if what is not None:
        raise ValueError(f"{what}: download it again")
    return _safetensors(path.read_bytes()) if path.suffix.lower() == ".safetensors" else _pickled(path)


def _pickled(path: Path) -> dict[str, Tensor]:
    try:
        held: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a file of another kind raises whatever its bytes lead to: torch names no set
        raise ValueError(f"does not open as torch's weights ({type(error).__name__}): download it again") from error
    for wrapper in WRAPPERS:
        if isinstance(held, dict) and isinstance(cast("dict[str, Any]", held).get(wrapper), dict):
            held = cast("dict[str, Any]", held)[wrapper]
    if not isinstance(held, Mapping):
        raise ValueError("holds no dictionary of tensors")
    tensors = dict(cast("Mapping[str, Any]", held))
    if not all(isinstance(value, Tensor) for value in tensors.values()):
        raise ValueError("holds more than tensors")
    return tensors


def _safetensors(data: bytes) -> dict[str, Tensor]:
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or size > min(HEAD_MOST, len(data) - 8):
        raise ValueError("is no safetensors file, or was cut short: download it again")
    try:
        told: dict[str, Any] = json.loads(data[8 : 8 + size])
        told.pop("__metadata__", None)
        body = bytearray(memoryview(data)[8 + size :])  # writable, as torch wants it
        return {name: _tensor(facts, body) for name, facts in told.items()}
    except (KeyError, TypeError, AttributeError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"has a head that is none of safetensors' ({type(error).__name__})") from error


def _tensor(facts: Any, body: bytearray) -> Tensor:
    shape, (start, stop) = tuple(map(int, facts["shape"])), map(int, facts["data_offsets"])
    kind = KINDS.get(facts["dtype"])
    if kind is None:
        raise ValueError(f"holds weights as {facts['dtype']}; {', '.join(KINDS)} are known")
    if not 0 <= start <= stop <= len(body) or stop - start != prod(shape) * kind.itemsize:
        raise ValueError("was cut short: download it again")
    if stop == start:
        return torch.empty(shape, dtype=kind)
    return torch.frombuffer(body, dtype=kind, offset=start, count=prod(shape)).reshape(shape).clone()
