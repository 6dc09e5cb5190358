"""Weights from an ncnn model, as far as Real-ESRGAN's and RIFE's files need it: a `.param` (text) and a `.bin` (data).

The `.bin` holds no names and no shapes: its records follow one another in the order of the `.param`'s layers. A
convolution's kernel opens with a 4-byte tag that says how it is stored; biases and PReLU slopes are bare fp32.
Source: github.com/Tencent/ncnn/wiki/param-and-model-file-structure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isqrt, prod
from pathlib import Path

import torch
from torch import Tensor

from post.nets import RRDBNet, SRVGGNetCompact, Upscaler

MAGIC = "7767517"
RAW_FP32 = 0
FP16 = 0x01306B47
WITHOUT_WEIGHTS = {
    *("Input", "Split", "Concat", "Interp", "PixelShuffle", "BinaryOp", "Eltwise"),
    *("Crop", "Slice", "ReLU", "Sigmoid", "rife.Warp"),
}


@dataclass(frozen=True, slots=True)
class Layer:
    """One that has weights, in fp32: a kernel as torch keeps it and its bias, slopes, or whatever a name was given."""

    kind: str
    name: str
    tensors: tuple[Tensor, ...]


class Records:
    """The bytes of a `.bin`, read from the front. Raises ValueError where they end too early."""

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        self._offset = 0

    def take(self, count: int) -> bytearray:
        part = bytearray(self._data[self._offset : self._offset + count])
        if len(part) < count:
            raise ValueError(f"ends after {len(self._data)} bytes, inside a record of {count} at {self._offset}")
        self._offset += count
        return part

    def floats(self, count: int) -> Tensor:
        return torch.frombuffer(self.take(4 * count), dtype=torch.float32)

    def kernel(self, shape: tuple[int, ...]) -> Tensor:
        count = prod(shape)
        tag = int.from_bytes(self.take(4), "little")
        if tag == RAW_FP32:
            return self.floats(count).reshape(shape)
        if tag == FP16:
            padded = (2 * count + 3) // 4 * 4  # every record begins at a multiple of 4
            return torch.frombuffer(self.take(padded), dtype=torch.float16, count=count).float().reshape(shape)
        raise ValueError(f"holds weights stored as {tag:#010x}; fp32 ({RAW_FP32:#x}) and fp16 ({FP16:#010x}) are known")

    def end(self) -> None:
        if self._offset < len(self._data):
            raise ValueError(f"has {len(self._data) - self._offset} bytes after its last record")


def read_ncnn(param: Path, data: Path) -> list[Tensor]:
    """Kernels (out, in, side, side), biases and PReLU slopes in fp32, in the order of the graph.

    Raises:
        ValueError: as read_layers.
    """
    return [tensor for layer in read_layers(param, data) for tensor in layer.tensors]


def read_layers(param: Path, data: Path) -> list[Layer]:
    """The layers that have weights, in the order of the graph.

    Raises:
        ValueError: it is no ncnn model, is cut short or too long, or has layers or weights of a kind that is not known.
    """
    if not param.is_file():
        raise ValueError(f"{data} lacks {param.name} beside it, which says what its numbers are: put both there")
    try:
        lines = param.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        lines = []
    if not lines or lines[0].strip() != MAGIC:
        raise ValueError(f"{param} is not an ncnn model in text form")
    if not data.is_file():
        raise ValueError(f"{param} lacks {data.name} beside it, which holds its weights: put both there")
    records = Records(data.read_bytes())
    try:
        layers = [layer for line in lines[2:] if line.strip() and (layer := _layer(line, records)) is not None]
        records.end()
    except ValueError as error:
        raise ValueError(f"{data} {error}") from error
    return layers


def _layer(line: str, records: Records) -> Layer | None:
    """One line, `type name inputs outputs blob... key=value...`; None where that layer has no weights."""
    try:
        kind, name, inputs, outputs, *words = line.split()
        given = dict(word.split("=", 1) for word in words[int(inputs) + int(outputs) :])
        tensors = _tensors(kind, given, records)
    except KeyError as error:
        raise ValueError(f"goes with a layer that lacks its number {error}: {line}") from error
    if tensors is None and kind not in WITHOUT_WEIGHTS:
        raise ValueError(f"goes with a layer {kind}, which neither Real-ESRGAN nor RIFE has")
    return Layer(kind, name, tensors) if tensors else None


def _tensors(kind: str, given: Mapping[str, str], records: Records) -> tuple[Tensor, ...] | None:
    if kind == "PReLU":  # 0: channels
        return (records.floats(int(given["0"])),)
    if kind == "MemoryData":  # 0, 1, 2: width, height, channels; 21: bare fp32 unless it says otherwise
        sides = [side for side in (int(given.get(key, 0)) for key in "210") if side]
        shape = tuple(sides) or (1,)
        return (records.floats(prod(shape)).reshape(shape) if given.get("21", "1") == "1" else records.kernel(shape),)
    if kind not in ("Convolution", "Deconvolution"):
        return None
    # 0: channels out, 1: side of the kernel, 5: has a bias, 6: number of weights
    channels, side, count = int(given["0"]), int(given["1"]), int(given["6"])
    if channels < 1 or side < 1:
        raise ValueError(f"goes with a kernel of no size: {kind} {channels}×{side}")
    kernel = records.kernel((channels, count // (channels * side**2), side, side))
    if kind == "Deconvolution":  # torch keeps the channels that go in first
        kernel = kernel.transpose(0, 1).contiguous()
    return (kernel, records.floats(channels)) if given.get("5") == "1" else (kernel,)


def net_of(tensors: Sequence[Tensor]) -> Upscaler:
    """The net that these weights are of, told from their number and shapes, with the weights in it.

    Raises:
        ValueError: they are of neither.
    """
    if len(tensors) < 3:
        raise ValueError(f"holds {len(tensors)} tensors, too few for an upscaler")
    features = tensors[0].shape[0]
    with torch.device("meta"):  # no memory and no random numbers for weights that are replaced at once
        if tensors[2].ndim == 1:  # a kernel, its bias, then PReLU slopes; RRDBNet has kernels and biases only
            convs, scale = (len(tensors) - 5) // 3, isqrt(tensors[-1].shape[0] // 3)
            net = SRVGGNetCompact(features, convs, scale)
        else:
            net = RRDBNet(features, blocks=(len(tensors) // 2 - 6) // 15, growth=tensors[2].shape[0])
    load_in_order(net, tensors)
    return net


def load_in_order(net: Upscaler, tensors: Sequence[Tensor]) -> None:
    """Tensors in the order of the graph, which is the order in which these nets declare their layers.

    Raises:
        ValueError: their number or a shape differs.
    """
    wanted = net.state_dict()
    if len(wanted) != len(tensors):
        raise ValueError(f"holds {len(tensors)} tensors where {type(net).__name__} has {len(wanted)}")
    for (key, want), tensor in zip(wanted.items(), tensors, strict=True):
        if want.shape != tensor.shape:
            raise ValueError(f"holds {tuple(tensor.shape)} for {key}, which is {tuple(want.shape)}")
    net.load_state_dict(dict(zip(wanted, tensors, strict=True)), assign=True)
