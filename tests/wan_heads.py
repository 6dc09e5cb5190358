"""Checkpoints that are heads and nothing but holes after them: any model's keys and shapes in no time."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping
from math import prod
from pathlib import Path

from scenes.wan.anatomy import parameters
from scenes.wan.checkpoint import BITS
from scenes.wan.expert_names import original_name
from scenes.wan.identify import ExpertShape

Tensors = Mapping[str, tuple[str, tuple[int, ...]]]

TINY = ExpertShape(dim=256, ffn=512, layers=2, in_channels=36, out_channels=16, text_dim=256, freq_dim=256)


def write_head(path: Path, tensors: Tensors, metadata: Mapping[str, str] | None = None) -> Path:
    """A .safetensors file of zeros that take no room."""
    entries: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name, (dtype, shape) in tensors.items():
        start, end = end, end + prod(shape) * BITS[dtype] // 8
        entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}
    head = json.dumps(entries).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(head)) + head)
        file.truncate(8 + len(head) + end)
    return path


def expert_tensors(
    shape: ExpertShape = TINY, dtype: str = "BF16", prefix: str = "", ours: bool = False
) -> dict[str, tuple[str, tuple[int, ...]]]:
    """An expert's, under WAN's own names or diffusers' (`ours`)."""
    return {prefix + (name if ours else original_name(name)): (dtype, size) for name, size in parameters(shape).items()}


def some(
    names: Iterable[str], shape: tuple[int, ...] = (4, 4), dtype: str = "BF16"
) -> dict[str, tuple[str, tuple[int, ...]]]:
    return dict.fromkeys(names, (dtype, shape))
