#!/usr/bin/env python3
"""Writes a folder of models with the nets of finishing at full size and random weights, for benchmarks.

    scripts/random_nets.py FOLDER

upscale_models/RealESRGAN_x4plus.pth, realesr-animevideov3.pth, realesr-general-x4v3.pth; rife/rife46.pth and
rife426.pth: the layouts and names of the published files. Quality cannot be judged on such weights; speed and memory
are those of the real ones, and every layer shows in what comes out, which stays in range.
"""

import argparse
from pathlib import Path

import torch
from torch import nn

from post.nets import RRDBNet, SRVGGNetCompact

RIFE_46 = ((192, 128, 96, 64), 6, ())
RIFE_426 = ((192, 128, 96, 64, 32), 13, (16, 4))
"""Widths of the blocks, what each gives, and the head's width and features."""


def drawn(noise: torch.Generator, *shape: int, gain: float = 1.0) -> torch.Tensor:
    """Weights that keep values of a usual size, times a gain."""
    fan = torch.Size(shape[1:]).numel()
    return torch.randn(shape, generator=noise) * gain * fan**-0.5


def fill(net: nn.Module, gains: dict[str, float], seed: int) -> None:
    noise = torch.Generator().manual_seed(seed)
    for name, weights in net.named_parameters():
        gain = next((gain for key, gain in gains.items() if key in name), 1.0)
        if weights.ndim == 4:
            weights.data = drawn(noise, *weights.shape, gain=gain)
        elif isinstance(net.get_submodule(name.rpartition(".")[0]), nn.PReLU):
            weights.data = torch.rand(weights.shape, generator=noise) * 0.4
        else:
            weights.data = torch.randn(weights.shape, generator=noise) * 0.02


@torch.no_grad()
def random_rrdb(scale: int = 4, blocks: int = 23, seed: int = 1) -> RRDBNet:
    net = RRDBNet(blocks=blocks, scale=scale)
    # A block of blocks alone makes values 1.2 times as large: 23 of them 66 times.
    fill(net, {"rdb": 0.9, "conv_first": 1.5, "conv_body": 0.02, "conv_last": 0.5}, seed)
    net.conv_last.bias.data += 0.5
    return net.eval().requires_grad_(False)


@torch.no_grad()
def random_srvgg(convs: int = 16, seed: int = 2) -> SRVGGNetCompact:
    net = SRVGGNetCompact(convs=convs)
    fill(net, {f"body.{2 * convs + 2}": 0.2, "body": 1.3}, seed)
    return net.eval().requires_grad_(False)


def random_rife(widths: tuple[int, ...], outputs: int, head: tuple[int, ...], seed: int) -> dict[str, torch.Tensor]:
    """Upstream's names and shapes. What the blocks give is small: flow of some pixels."""
    noise = torch.Generator().manual_seed(seed)
    state: dict[str, torch.Tensor] = {}

    def layer(name: str, *shape: int, biases: int, gain: float = 1.4) -> None:
        state[f"module.{name}.weight"] = drawn(noise, *shape, gain=gain)
        state[f"module.{name}.bias"] = torch.randn(biases, generator=noise) * 0.02

    first = 7 + 2 * (head[1] if head else 0)
    later = first + 4 + (outputs - 4 if head else 1)
    for at, width in enumerate(widths):
        block, half = f"block{at}", width // 2
        layer(f"{block}.conv0.0.0", half, later if at else first, 3, 3, biases=half)
        layer(f"{block}.conv0.1.0", width, half, 3, 3, biases=width)
        for step in range(8):
            layer(f"{block}.convblock.{step}.conv", width, width, 3, 3, biases=width, gain=0.3)
            state[f"module.{block}.convblock.{step}.beta"] = 1 + 0.1 * torch.randn((1, width, 1, 1), generator=noise)
        layer(f"{block}.lastconv.0", width, 4 * outputs, 4, 4, biases=4 * outputs, gain=0.3)
    if head:
        width, features = head
        layer("encode.cnn0", width, 3, 3, 3, biases=width)
        for name in ("encode.cnn1", "encode.cnn2"):
            layer(name, width, width, 3, 3, biases=width)
        layer("encode.cnn3", width, features, 4, 4, biases=features)
    return state


def write_folder(folder: Path) -> None:
    upscalers, rife = folder / "upscale_models", folder / "rife"
    for each in (upscalers, rife):
        each.mkdir(parents=True, exist_ok=True)
    torch.save({"params_ema": random_rrdb().state_dict()}, upscalers / "RealESRGAN_x4plus.pth")
    torch.save({"params": random_srvgg().state_dict()}, upscalers / "realesr-animevideov3.pth")
    torch.save({"params": random_srvgg(convs=32).state_dict()}, upscalers / "realesr-general-x4v3.pth")
    torch.save(random_rife(*RIFE_46, seed=3), rife / "rife46.pth")
    torch.save(random_rife(*RIFE_426, seed=4), rife / "rife426.pth")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    write_folder(parser.parse_args().folder)
