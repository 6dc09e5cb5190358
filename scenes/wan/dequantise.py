"""GGUF's quantised blocks as fp32, in torch: gguf-py's own arithmetic, to the bit.

diffusers' functions for the same make small constants on the host each time they run. On a GPU each of those waits for
the stream that fills blocks, and so for the computing that it waits for.
Source of the layouts: gguf-py's quants.py and ggml's ggml-common.h (github.com/ggml-org/llama.cpp).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch

Blocks = torch.Tensor
"""uint8 (blocks, bytes of a block)."""


def _halves(blocks: Blocks, start: int, count: int) -> tuple[torch.Tensor, ...]:
    """Half-precision numbers, each (blocks, 1) in fp32."""
    numbers = blocks[:, start : start + 2 * count].contiguous().view(torch.float16).to(torch.float32)
    return numbers.unsqueeze(-1).unbind(1)


def _shifted(bits: torch.Tensor, step: int, count: int, width: int) -> torch.Tensor:
    """Fields of 8 // count bits: (..., bytes) becomes (..., count, bytes), the lowest field first."""
    shifts = torch.arange(0, step * count, step, device=bits.device, dtype=torch.uint8)
    return (bits.unsqueeze(-2) >> shifts.unsqueeze(-1)) & ((1 << width) - 1)


def _grouped(blocks: Blocks, start: int, stop: int, group: int) -> torch.Tensor:
    return blocks[:, start:stop].reshape(blocks.shape[0], -1, group)


def _nibbles(blocks: Blocks, start: int, stop: int, group: int) -> torch.Tensor:
    """Numbers of four bits: for each group of bytes the lower ones, then the upper ones; (blocks, numbers)."""
    return _shifted(_grouped(blocks, start, stop, group), 4, 2, 4).flatten(1)


def _bits(blocks: Blocks, start: int, stop: int) -> torch.Tensor:
    """One bit for each number, in the numbers' order."""
    shifts = torch.arange(8, device=blocks.device, dtype=torch.uint8)
    return ((blocks[:, start:stop].unsqueeze(-1) >> shifts) & 1).flatten(1)


def _q4_0(blocks: Blocks) -> torch.Tensor:
    (d,) = _halves(blocks, 0, 1)
    return d * (_nibbles(blocks, 2, 18, 16).to(torch.int8) - 8)


def _q4_1(blocks: Blocks) -> torch.Tensor:
    d, m = _halves(blocks, 0, 2)
    return d * _nibbles(blocks, 4, 20, 16) + m


def _q5_0(blocks: Blocks) -> torch.Tensor:
    (d,) = _halves(blocks, 0, 1)
    q = _nibbles(blocks, 6, 22, 16) | (_bits(blocks, 2, 6) << 4)
    return d * (q.to(torch.int8) - 16)


def _q5_1(blocks: Blocks) -> torch.Tensor:
    d, m = _halves(blocks, 0, 2)
    return d * (_nibbles(blocks, 8, 24, 16) | (_bits(blocks, 4, 8) << 4)) + m


def _q8_0(blocks: Blocks) -> torch.Tensor:
    (d,) = _halves(blocks, 0, 1)
    return d * blocks[:, 2:34].view(torch.int8)


def _q2_k(blocks: Blocks) -> torch.Tensor:
    d, smallest = _halves(blocks, 80, 2)
    scales = blocks[:, :16]
    q = _shifted(_grouped(blocks, 16, 80, 32), 2, 4, 2).view(-1, 16, 16)
    return (d * (scales & 15)).unsqueeze(2) * q - (smallest * (scales >> 4)).unsqueeze(2)


def _q3_k(blocks: Blocks) -> torch.Tensor:
    (d,) = _halves(blocks, 108, 1)
    low, high = _shifted(blocks[:, 96:104], 4, 2, 4).flatten(1), _shifted(blocks[:, 104:108], 2, 4, 2).flatten(1)
    scales = (low | (high << 4)).to(torch.int8) - 32
    q = _shifted(_grouped(blocks, 32, 96, 32), 2, 4, 2).view(-1, 16, 16).to(torch.int8)
    unset = _shifted(blocks[:, :32], 1, 8, 1).view(-1, 16, 16) ^ 1
    return (d * scales).unsqueeze(2) * (q - (unset << 2).to(torch.int8))


def _k_scales(blocks: Blocks) -> tuple[torch.Tensor, torch.Tensor]:
    """The scales and minima of Q4_K and Q5_K, each (blocks, 8, 1)."""
    d, smallest = _halves(blocks, 0, 2)
    low, minima, high = blocks[:, 4:8], blocks[:, 8:12], blocks[:, 12:16]
    scales = torch.cat([low & 63, (high & 15) | ((low >> 2) & 48)], 1)
    minima = torch.cat([minima & 63, (high >> 4) | ((minima >> 2) & 48)], 1)
    return (d * scales).unsqueeze(2), (smallest * minima).unsqueeze(2)


def _q4_k(blocks: Blocks) -> torch.Tensor:
    scales, minima = _k_scales(blocks)
    return scales * _nibbles(blocks, 16, 144, 32).view(-1, 8, 32) - minima


def _q5_k(blocks: Blocks) -> torch.Tensor:
    scales, minima = _k_scales(blocks)
    high = _shifted(blocks[:, 16:48], 1, 8, 1) << 4
    return scales * (_nibbles(blocks, 48, 176, 32).view(-1, 8, 32) | high) - minima


def _q6_k(blocks: Blocks) -> torch.Tensor:
    (d,) = _halves(blocks, 208, 1)
    scales = d * blocks[:, 192:208].view(torch.int8)
    high = _shifted(_grouped(blocks, 128, 192, 32), 2, 4, 2).flatten(1)
    q = (_nibbles(blocks, 0, 128, 64) | (high << 4)).to(torch.int8) - 32
    return scales.unsqueeze(2) * q.view(-1, 16, 16)


IQ4 = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)


@cache
def _iq4_values(device: torch.device) -> torch.Tensor:
    return torch.tensor(IQ4, dtype=torch.int8, device=device)


def _iq4_nl(blocks: Blocks) -> torch.Tensor:
    (d,) = _halves(blocks, 0, 1)
    return d * _iq4_values(blocks.device)[_nibbles(blocks, 2, 18, 16).int()]


def _iq4_xs(blocks: Blocks) -> torch.Tensor:
    (d,) = _halves(blocks, 0, 1)
    high = _shifted(_grouped(blocks, 2, 4, 1), 2, 4, 2).flatten(1)
    scales = (_nibbles(blocks, 4, 8, 1) | (high << 4)).to(torch.int8) - 32
    q = _nibbles(blocks, 8, 136, 16).view(-1, 8, 32)
    return (d * scales).unsqueeze(2) * _iq4_values(blocks.device)[q.int()]


WIDTHS: dict[str, tuple[int, Callable[[Blocks], torch.Tensor]]] = {
    "Q4_0": (18, _q4_0),
    "Q4_1": (20, _q4_1),
    "Q5_0": (22, _q5_0),
    "Q5_1": (24, _q5_1),
    "Q8_0": (34, _q8_0),
    "Q2_K": (84, _q2_k),
    "Q3_K": (110, _q3_k),
    "Q4_K": (144, _q4_k),
    "Q5_K": (176, _q5_k),
    "Q6_K": (210, _q6_k),
    "IQ4_NL": (18, _iq4_nl),
    "IQ4_XS": (136, _iq4_xs),
}
"""Bytes of a block, and what widens blocks."""


def dequantised(raw: torch.Tensor, kind: str) -> torch.Tensor:
    """The numbers, in fp32, of whole blocks in bytes."""
    width, widen = WIDTHS[kind]
    return widen(raw.view(-1, width)).flatten()
