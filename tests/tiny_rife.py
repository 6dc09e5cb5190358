"""An IFNet 4.6 of full size as an ncnn model, with weights made from a seed: the same bytes on every machine.

The graph is that of rife-ncnn-vulkan's models/rife-v4.6/flownet.param (inputs in0, in1, in2: two pictures and the time;
output out0). The weights are random but tamed, so that the flow is a few pixels long and differs from place to place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

MAGIC = "7767517"
FP16_TAG = 0x01306B47
BLOCKS = ((7, 192, 8), (12, 128, 4), (12, 96, 2), (12, 64, 1))  # channels in, channels inside, scale
LEAKY = "0=2.000000e-01"


def write_rife46(folder: Path, seed: int = 46) -> Path:
    """Writes flownet.param and flownet.bin (11 MB) into `folder`, which is made, and gives it back."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "flownet.param").write_text(graph().text(), encoding="ascii")
    (folder / "flownet.bin").write_bytes(b"".join(weights(seed)))
    return folder


@dataclass
class Graph:
    """Layers in order: type, inputs, outputs, parameters."""

    layers: list[tuple[str, list[str], list[str], str]] = field(default_factory=list)

    def add(self, kind: str, *inputs: str, parameters: str = "", name: str = "") -> str:
        output = name or str(len(self.layers))
        self.layers.append((kind, list(inputs), [output], parameters))
        return output

    def text(self) -> str:
        """ncnn's text form. A blob that several layers read is split for them, as ncnn demands."""
        readers = Counter(blob for _, inputs, _, _ in self.layers for blob in inputs)
        taken: Counter[str] = Counter()
        lines: list[tuple[str, Sequence[str], Sequence[str], str]] = []
        for kind, inputs, outputs, parameters in self.layers:
            read: list[str] = []
            for blob in inputs:
                read.append(f"{blob}_{taken[blob]}" if readers[blob] > 1 else blob)
                taken[blob] += 1
            lines.append((kind, read, outputs, parameters))
            for blob in outputs:
                if readers[blob] > 1:
                    lines.append(("Split", [blob], [f"{blob}_{i}" for i in range(readers[blob])], ""))
        blobs = sum(len(outputs) for _, _, outputs, _ in lines)
        written = [MAGIC, f"{len(lines)} {blobs}"]
        for number, (kind, inputs, outputs, parameters) in enumerate(lines):
            words = (f"{len(inputs)} {len(outputs)}", *inputs, *outputs, parameters)
            written.append(f"{kind:<24} {f'{kind.lower()}_{number}':<24} {' '.join(words)}".rstrip())
        return "\n".join(written) + "\n"


def graph() -> Graph:
    net = Graph()
    before, after, time = (net.add("Input", name=f"in{i}") for i in range(3))
    flow, mask = "", ""
    for channels, inside, scale in BLOCKS:
        if flow:
            to_before, to_after = crop(net, flow, 0, 2), crop(net, flow, 2, 4)
            seen = [net.add("rife.Warp", before, to_before), net.add("rife.Warp", after, to_after), time, mask]
            small = resized(net, net.add("Concat", *seen), 1 / scale)
            short = resized(net, flow, 1 / scale)
            short = net.add("BinaryOp", short, parameters=f"0=3 1=1 2={scale:e}") if scale > 1 else short
            block = body(net, net.add("Concat", small, short), channels, inside)
        else:
            block = body(net, resized(net, net.add("Concat", before, after, time), 1 / scale), channels, inside)
        block = resized(net, block, scale)
        longer, more = crop(net, block, 0, 4), crop(net, block, 4, 5)
        if flow:
            flow = net.add("Eltwise", flow, longer, parameters=f"0=1 -23301=2,1.000000e+00,{scale:e}")
            mask = net.add("BinaryOp", mask, more)
        else:
            flow, mask = net.add("BinaryOp", longer, parameters=f"0=2 1=1 2={scale:e}"), more
    share = net.add("Sigmoid", mask)
    first = net.add("rife.Warp", before, crop(net, flow, 0, 2))
    second = net.add("rife.Warp", after, crop(net, flow, 2, 4))
    first = net.add("BinaryOp", first, share, parameters="0=2")
    second = net.add(
        "BinaryOp", second, net.add("BinaryOp", share, parameters="0=7 1=1 2=1.000000e+00"), parameters="0=2"
    )
    net.add("BinaryOp", first, second, name="out0")
    return net


def body(net: Graph, blob: str, channels: int, inside: int) -> str:
    """Two strides down, eight residual convolutions, and up again to five channels at twice the last stride's size."""
    for width_in, width in ((channels, inside // 2), (inside // 2, inside)):
        strided = f"0={width} 1=3 3=2 4=1 5=1 6={width_in * width * 9} 9=2 -23310=1,2.000000e-01"
        blob = net.add("Convolution", blob, parameters=strided)
    for _ in range(8):
        drawn = net.add("Convolution", blob, parameters=f"0={inside} 1=3 4=1 5=1 6={inside * inside * 9}")
        blob = net.add("ReLU", net.add("BinaryOp", drawn, blob), parameters=LEAKY)
    blob = net.add("Deconvolution", blob, parameters=f"0=24 1=4 3=2 4=1 5=1 6={inside * 24 * 16}")
    return net.add("PixelShuffle", blob, parameters="0=2")


def crop(net: Graph, blob: str, start: int, stop: int) -> str:
    """Some of the channels."""
    return net.add("Crop", blob, parameters=f"-23309=1,{start} -23310=1,{stop} -23311=1,0")


def resized(net: Graph, blob: str, factor: float) -> str:
    return net.add("Interp", blob, parameters=f"0=2 1={factor:e} 2={factor:e}") if factor != 1 else blob


def weights(seed: int) -> list[bytes]:
    """The records of the `.bin`: fp16 kernels under their tag, fp32 biases."""
    numbers = Numbers(seed)
    records: list[bytes] = []
    for channels, inside, scale in BLOCKS:
        # Kernels of the first layer sum to nothing: they see edges, and no flow comes from brightness alone.
        first = numbers.kernel((inside // 2, channels, 3, 3), 6.0)
        first -= first.mean(axis=(2, 3), keepdims=True)
        first[:, 7:] *= 0.1  # mask and flow, which are larger than colours
        records += [kernel(first), numbers.biases(inside // 2)]
        records += [kernel(numbers.kernel((inside, inside // 2, 3, 3), 1.4)), numbers.biases(inside)]
        for _ in range(8):
            records += [kernel(numbers.kernel((inside, inside, 3, 3), 0.6)), numbers.biases(inside)]
        last = numbers.kernel((24, inside, 4, 4), 1.0)
        # After the shuffle, channels 0 to 3 are the flow in steps of `scale` pixels, and 4 is the mask.
        last[:16] *= 4.0 / scale
        last[16:20] *= 2.0
        records += [kernel(last), numbers.biases(24)]
    return records


def kernel(values: NDArray[np.float32]) -> bytes:
    data = values.astype("<f2").tobytes()
    return FP16_TAG.to_bytes(4, "little") + data + bytes(-len(data) % 4)


class Numbers:
    """Uniform numbers from the raw stream of PCG64, which NumPy never changes; its distributions may change.

    Source: NumPy enhancement proposal 19.
    """

    def __init__(self, seed: int) -> None:
        self._stream = np.random.PCG64(seed)

    def uniform(self, count: int) -> NDArray[np.float32]:
        """From -1 to 1."""
        raw = np.asarray(self._stream.random_raw(count), dtype=np.uint64)
        return ((raw >> np.uint64(40)).astype(np.float32) / np.float32(2**23)) - np.float32(1)

    def kernel(self, shape: tuple[int, int, int, int], gain: float) -> NDArray[np.float32]:
        """Of standard deviation gain / sqrt(inputs of one output)."""
        spread = gain * (3 / (shape[1] * shape[2] * shape[3])) ** 0.5
        return self.uniform(int(np.prod(shape))).reshape(shape) * np.float32(spread)

    def biases(self, count: int) -> bytes:
        return (self.uniform(count) * np.float32(0.05)).astype("<f4").tobytes()
