"""A dense block's convolutions regrouped: wider ones, for the same sums.

In a dense block each convolution sees all that came before it. A convolution of joined inputs is a sum of convolutions,
one for each input; so an input may be convolved for several outputs at once, as soon as it is there. Matrix units like
many channels: 192, 32, 128, 32 and 64 come out here, where the block as written has 32, 32, 32, 32 and 64; and what is
joined to be seen again is 128 channels in all, not 480.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from post.nets.rrdb import DenseBlock, RRDBNet

Plan = tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]
"""Convolutions in turn: which inputs each sees (0 the block's own, 1 to 4 what was made) and which outputs (1 to 4, and
5 the block's residual) it adds to. The turn i completes output i + 1."""

PAIRS: Plan = (((0,), (1, 2, 3, 4, 5)), ((1,), (2,)), ((1, 2), (3, 4, 5)), ((3,), (4,)), ((3, 4), (5,)))


def regrouped(block: DenseBlock, plan: Plan = PAIRS) -> list[Tensor]:
    """The weights (out, in, 3, 3) of the plan's convolutions."""
    features, growth = block.conv1.in_channels, block.conv1.out_channels

    def part(output: int, inputs: tuple[int, ...]) -> Tensor:
        weight = block.convs[output - 1].weight.detach()
        own = [weight[:, :features]] if 0 in inputs else []
        made = [features + (index - 1) * growth for index in inputs if index]
        return torch.cat([*own, *(weight[:, start : start + growth] for start in made)], 1)

    return [torch.cat([part(output, inputs) for output in outputs]) for inputs, outputs in plan]


def biases(block: DenseBlock) -> list[Tensor]:
    """The biases of all five outputs."""
    return [conv.bias.detach() for conv in block.convs if conv.bias is not None]


def regroup(net: RRDBNet) -> None:
    """Puts regrouped blocks in the place of a net's own."""
    for rrdb in net.residuals:
        for name in ("rdb1", "rdb2", "rdb3"):
            setattr(rrdb, name, GroupedBlock(getattr(rrdb, name)))


class GroupedBlock(nn.Module):
    """A dense block, its convolutions regrouped by a plan."""

    def __init__(self, block: DenseBlock, plan: Plan = PAIRS) -> None:
        super().__init__()
        self._plan = plan
        self._features, self._growth = block.conv1.in_channels, block.conv1.out_channels
        self.kernels = nn.ParameterList(nn.Parameter(weight, False) for weight in regrouped(block, plan))
        # Apart from the convolutions: a compiler adds them where the sums are read, and writes nothing for them.
        self.biases = nn.ParameterList(nn.Parameter(bias[None, :, None, None], False) for bias in biases(block))

    def forward(self, x: Tensor) -> Tensor:
        growth, features = self._growth, self._features
        made: list[Tensor] = [x]
        sums: dict[int, Tensor] = {}
        for turn, (inputs, outputs) in enumerate(self._plan):
            seen = torch.cat([made[index] for index in inputs], 1) if inputs[1:] else made[inputs[0]]
            given = F.conv2d(seen, self.kernels[turn], padding=1)
            sizes = [features if output == 5 else growth for output in outputs]
            parts: Sequence[Tensor] = torch.split(given, sizes, 1)
            for output, part in zip(outputs, parts, strict=True):
                sums[output] = part + (sums[output] if output in sums else self.biases[output - 1])
            if turn < 4:
                made.append(F.leaky_relu(sums[turn + 1], 0.2))
        return x + sums[5] * 0.2
