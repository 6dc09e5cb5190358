"""Other ways to run RRDBNet's sums, for scripts/bench_nets.py to compare: what post/nets keeps was chosen among these.

Each is made of a plain net and gives what that gives, up to rounding.
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from post.nets import RRDBNet
from post.nets.dense import GroupedBlock, Plan
from post.nets.rrdb import DenseBlock

PUSH: Plan = (
    ((0,), (1, 2, 3, 4, 5)),
    ((1,), (2, 3, 4, 5)),
    ((2,), (3, 4, 5)),
    ((3,), (4, 5)),
    ((4,), (5,)),
)
"""Each input, once it is there, convolved for all that is still to come."""


class SlicesBlock(nn.Module):
    """One buffer: each convolution sees its first channels and is written beside them."""

    def __init__(self, block: DenseBlock) -> None:
        super().__init__()
        self.convs = nn.ModuleList(block.convs)

    def forward(self, x: Tensor) -> Tensor:
        count, features, height, width = x.shape
        growth = (self.convs[4].in_channels - features) // 4
        shape = (count, features + 4 * growth, height, width)
        buffer = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
        buffer[:, :features] = x
        for turn, conv in enumerate(self.convs[:4]):
            start = features + turn * growth
            buffer[:, start : start + growth] = F.leaky_relu(conv(buffer[:, :start]), 0.2)
        return self.convs[4](buffer) * 0.2 + x


class ZerosBlock(nn.Module):
    """The same, but each convolution sees the whole buffer, with weights of nought for what is not there yet.

    No copies: cuDNN takes no part of a channels_last tensor's channels as it lies. A third more work.
    """

    def __init__(self, block: DenseBlock) -> None:
        super().__init__()
        channels = block.conv5.in_channels
        widened = [F.pad(conv.weight.detach(), (0, 0, 0, 0, 0, channels - conv.in_channels)) for conv in block.convs]
        self.kernels = nn.ParameterList(nn.Parameter(weight, False) for weight in widened)
        self.biases = nn.ParameterList(nn.Parameter(conv.bias.detach(), False) for conv in block.convs)

    def forward(self, x: Tensor) -> Tensor:
        count, features, height, width = x.shape
        growth = self.kernels[0].shape[0]
        shape = (count, features + 4 * growth, height, width)
        buffer = torch.zeros(shape, dtype=x.dtype, device=x.device).to(memory_format=torch.channels_last)
        buffer[:, :features] = x
        for turn in range(4):
            start = features + turn * growth
            made = F.conv2d(buffer, self.kernels[turn], self.biases[turn], padding=1)
            buffer[:, start : start + growth] = F.leaky_relu(made, 0.2)
        return F.conv2d(buffer, self.kernels[4], self.biases[4], padding=1) * 0.2 + x


def formed(net: RRDBNet, block: str) -> RRDBNet:
    """A copy of the net with blocks of a kind: cat, slices, zeros, push or pairs."""
    kinds = {
        "cat": lambda plain: plain,
        "slices": SlicesBlock,
        "zeros": ZerosBlock,
        "push": lambda plain: GroupedBlock(plain, PUSH),
        "pairs": GroupedBlock,
    }
    made = copy.deepcopy(net)
    for rrdb in made.residuals:
        for name in ("rdb1", "rdb2", "rdb3"):
            setattr(rrdb, name, kinds[block](getattr(rrdb, name)))
    return made
