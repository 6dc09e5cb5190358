"""RIFE's weights as people have them: upstream's files, ComfyUI's, safetensors, and ncnn models."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from post.ncnn import Layer, read_layers
from post.nets.ifnet import IFNet
from post.tensor_file import read_tensors

# In the order in which they are run, which is the order of an ncnn model's records.
HEADS = {2: ("encode.0", "encode.1"), 4: ("encode.cnn0", "encode.cnn1", "encode.cnn2", "encode.cnn3")}
BLOCK = ("conv0.0.0", "conv0.1.0", *(f"convblock.{at}.conv" for at in range(8)), "lastconv.0")


def load_rife(path: Path) -> IFNet:
    """The net whose weights a file holds, in fp32 on the CPU: `.pth`, `.pkl`, `.safetensors`, an ncnn model's `.bin`
    or the folder that it lies in.

    Raises:
        ValueError: it holds no net that is known; the message names the file.
    """
    if path.is_dir():
        path = path / "flownet.bin"
    try:
        if path.suffix.lower() in (".bin", ".param"):
            path = path.with_suffix(".bin")
            return IFNet.of(state_of_layers(read_layers(path.with_suffix(".param"), path)))
        return IFNet.of(read_tensors(path))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def state_of_layers(layers: Sequence[Layer]) -> dict[str, Tensor]:
    """An ncnn model's weights under upstream's names. Raises ValueError.

    Its graph runs through the head, once for each of the two frames, then through the blocks; each of these ends with
    a deconvolution. Some exporters fold the residuals' `beta` into the convolutions, others keep it under its name.
    """
    convs = [layer for layer in layers if layer.kind != "MemoryData"]
    ends = [at for at, layer in enumerate(convs, 1) if layer.kind == "Deconvolution"]
    parts = [convs[start:stop] for start, stop in itertools.pairwise([0, *ends])]
    heads, blocks = [part for part in parts if len(part) in HEADS], [part for part in parts if len(part) not in HEADS]
    whole = all(len(part) == len(BLOCK) for part in blocks) and ends[-1:] == [len(convs)] and len(heads) in (0, 2)
    if not whole or any(len(layer.tensors) != 2 for layer in convs):
        raise ValueError("its layers are another net's")
    state = {layer.name: layer.tensors[0] for layer in layers if layer.kind == "MemoryData"}
    named = list(zip(HEADS[len(heads[0])], heads[0], strict=True)) if heads else []  # the second head is the same again
    for at, block in enumerate(blocks):
        named += [(f"block{at}.{key}", layer) for key, layer in zip(BLOCK, block, strict=True)]
    for key, layer in named:
        state[f"{key}.weight"], state[f"{key}.bias"] = layer.tensors
    return state
