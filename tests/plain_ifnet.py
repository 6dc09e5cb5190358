"""IFNet written down plainly, every step at full size in fp32: what post/nets/ifnet.py must draw; with tiny weights.

After IFNet_HDv3.py of github.com/hzwer/Practical-RIFE and the versions of it that github.com/HolyWu/vs-rife keeps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812 (the field's habit)
from torch import Tensor

State = dict[str, Tensor]
FP16_TAG = 0x01306B47


@dataclass(frozen=True)
class Kind:
    """A version as it is published, but narrower. `outputs`: channels of a block; `head`: its kind and features."""

    version: str
    widths: tuple[int, ...]
    outputs: int
    head: tuple[str, int] | None
    scales: tuple[int, ...]
    adds_mask: bool = False


FINE, COARSE = (8, 4, 2, 1), (16, 8, 4, 2, 1)
KINDS = {
    "4.5": Kind("4.6", (24, 16, 16, 8), 5, None, FINE, adds_mask=True),
    "4.6": Kind("4.6", (24, 16, 16, 8), 6, None, FINE, adds_mask=True),
    "4.7": Kind("4.7", (24, 16, 16, 8), 6, ("pair", 4), FINE),
    "4.26": Kind("4.26", (24, 16, 16, 8, 8), 13, ("cnn", 4), COARSE),
    "4.26-heavy": Kind("4.26", (24, 16, 16, 8, 8), 13, ("cnn", 16), COARSE),
    "4.25-lite": Kind("4.26", (24, 16, 16, 8, 24), 13, ("cnn", 4), (32, 16, 8, 4, 1)),
}


def layers(kind: Kind) -> list[tuple[str, int, int, bool]]:
    """Name, channels in and out, and whether it is turned round, in the order in which they are run."""
    found: list[tuple[str, int, int, bool]] = []
    features = kind.head[1] if kind.head else 0
    if kind.head and kind.head[0] == "pair":
        found += [("encode.0", 3, 16, False), ("encode.1", 16, features, True)]
    elif kind.head:
        found += [(f"encode.cnn{at}", 3 if at == 0 else 16, 16, False) for at in range(3)]
        found += [("encode.cnn3", 16, features, True)]
    carried = kind.outputs - 4 if len(kind.widths) == 5 else 1
    for at, width in enumerate(kind.widths):
        inputs = 7 + 2 * features + (4 + carried if at else 0)
        found += [
            (f"block{at}.conv0.0.0", inputs, width // 2, False),
            (f"block{at}.conv0.1.0", width // 2, width, False),
        ]
        found += [(f"block{at}.convblock.{res}.conv", width, width, False) for res in range(8)]
        found += [(f"block{at}.lastconv.0", width, 4 * kind.outputs, True)]
    return found


def zeros(kind: Kind) -> State:
    """A net that moves nothing and gives the mean of both frames."""
    return _state(kind, lambda shape, fan: torch.zeros(shape))


def random(kind: Kind, seed: int = 0) -> State:
    """A net whose flow is a few pixels long."""
    generator = torch.Generator().manual_seed(seed)
    state = _state(kind, lambda shape, fan: torch.randn(shape, generator=generator) / fan**0.5)
    for key in state:
        if key.endswith(".beta"):
            state[key] = state[key] * 0.3 + 0.5
        elif key.endswith("lastconv.0.weight"):
            state[key] = state[key] * 2
    return state


def _state(kind: Kind, draw: Callable[[tuple[int, ...], float], Tensor]) -> State:
    state: State = {}
    for name, inputs, outputs, turned in layers(kind):
        side = 4 if turned else 3
        shape = (inputs, outputs, side, side) if turned else (outputs, inputs, side, side)
        state[f"{name}.weight"] = draw(shape, inputs * (4 if turned else 9))
        state[f"{name}.bias"] = draw((outputs,), 100)
        if ".convblock." in name:
            state[name.removesuffix("conv") + "beta"] = draw((1, outputs, 1, 1), 1)
    return state


def drawn(state: State, kind: Kind, before: Tensor, after: Tensor, times: Tensor) -> Tensor:
    """The frame between two, (n, 3, h, w), sides multiples of 128."""
    time = times.view(-1, 1, 1, 1).expand(-1, 1, *before.shape[-2:])
    heads = [_encoded(state, frame) for frame in (before, after)]
    flow, mask, carried = torch.zeros(len(before), 4, *before.shape[-2:]), torch.zeros(1), torch.zeros(1)
    for at, scale in enumerate(kind.scales):
        ends = [warped(frame, flow[:, 2 * side : 2 * side + 2]) for side, frame in enumerate((before, after))]
        seen = [warped(head, flow[:, 2 * side : 2 * side + 2]) for side, head in enumerate(heads)]
        known = [] if at == 0 else [mask, carried]
        x = _resized(torch.cat([*ends, *seen, time, *known], 1), 1 / scale)
        if at:
            x = torch.cat((x, _resized(flow, 1 / scale) / scale), 1)
        raw = _resized(_block(state, f"block{at}", x), scale)
        flow = flow + raw[:, :4] * scale
        mask = mask + raw[:, 4:5] if kind.adds_mask else raw[:, 4:5]
        carried = raw[:, 5:] if len(kind.widths) == 5 else raw[:, :0]
    share = torch.sigmoid(mask)
    return warped(before, flow[:, :2]) * share + warped(after, flow[:, 2:]) * (1 - share)


def warped(frame: Tensor, flow: Tensor) -> Tensor:
    height, width = frame.shape[-2:]
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    x = (columns + flow[:, 0]) / (width - 1) * 2 - 1
    y = (rows + flow[:, 1]) / (height - 1) * 2 - 1
    return F.grid_sample(frame, torch.stack((x, y), -1), padding_mode="border", align_corners=True)


def _resized(x: Tensor, factor: float) -> Tensor:
    return F.interpolate(x, scale_factor=factor, mode="bilinear")


def _encoded(state: State, frame: Tensor) -> Tensor:
    if "encode.0.weight" in state:
        return _turned(state, "encode.1", _conv(state, "encode.0", frame, 2))
    if "encode.cnn0.weight" not in state:
        return frame[:, :0]
    for at in range(3):
        frame = F.leaky_relu(_conv(state, f"encode.cnn{at}", frame, 1 if at else 2), 0.2)
    return _turned(state, "encode.cnn3", frame)


def _block(state: State, block: str, x: Tensor) -> Tensor:
    for at in range(2):
        x = F.leaky_relu(_conv(state, f"{block}.conv0.{at}.0", x, 2), 0.2)
    for at in range(8):
        name = f"{block}.convblock.{at}"
        x = F.leaky_relu(_conv(state, f"{name}.conv", x, 1) * state[f"{name}.beta"] + x, 0.2)
    return F.pixel_shuffle(_turned(state, f"{block}.lastconv.0", x), 2)


def _conv(state: State, name: str, x: Tensor, stride: int) -> Tensor:
    return F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], stride, 1)


def _turned(state: State, name: str, x: Tensor) -> Tensor:
    return F.conv_transpose2d(x, state[f"{name}.weight"], state[f"{name}.bias"], 2, 1)


def write_ncnn(state: State, kind: Kind, folder: Path, folded: bool) -> Path:
    """As exporters write it: the head twice; `beta` folded into the convolutions, or before everything else."""
    folder.mkdir(parents=True, exist_ok=True)
    lines, records = ["Input in0 0 1 in0", "Input in1 0 1 in1", "Input in2 0 1 in2"], bytearray()
    if not folded:
        for name in [key for key in state if key.endswith(".beta")]:
            lines.append(f"MemoryData {name} 0 1 {name} 0=1 1=1 2={state[name].numel()}")
            records += state[name].numpy().astype("<f4").tobytes()
    head = [layer for layer in layers(kind) if layer[0].startswith("encode.")]
    for number, (name, inputs, outputs, turned) in enumerate([*head, *head, *layers(kind)[len(head) :]]):
        weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
        beta = state.get(name.removesuffix("conv") + "beta")
        if folded and beta is not None:
            weight, bias = weight * beta.view(-1, 1, 1, 1), bias * beta.flatten()
        values = (weight.transpose(0, 1) if turned else weight).contiguous().numpy().astype("<f2").tobytes()
        records += FP16_TAG.to_bytes(4, "little") + values + bytes(-len(values) % 4)
        records += bias.numpy().astype("<f4").tobytes()
        kind_of, side = ("Deconvolution", 4) if turned else ("Convolution", 3)
        lines.append(f"{kind_of} layer{number} 1 1 a b 0={outputs} 1={side} 5=1 6={inputs * outputs * side * side}")
        lines.append(f"ReLU relu{number} 1 1 b c 0=2.000000e-01")
    lines += ["rife.Warp warp 2 1 a b c", "Crop crop 1 1 c d -23309=1,0", "Sigmoid sigmoid 1 1 d out0"]
    (folder / "flownet.param").write_text("\n".join(["7767517", f"{len(lines)} 9", *lines]) + "\n")
    (folder / "flownet.bin").write_bytes(records)
    return folder
