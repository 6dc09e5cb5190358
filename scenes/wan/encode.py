"""Frames become latents, chunk by chunk: one frame, then four and four; exactly what the VAE gives at once.

A clip's condition is mostly empty frames. Once what the layers of a resolution remember no longer changes, the same
input gives the same output, and that is used again: for the 81 frames of [picture, zeros ...] a third of the work is
left. The resolutions above the latents' may go strip by strip, as in decoding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import (
    AutoencoderKLWan,
    WanCausalConv3d,
    WanResample,
    WanResidualBlock,
    WanResidualDownBlock,
)
from torch import Tensor, nn

from scenes.wan.strips import Level, cut
from scenes.wan.vae import Memory, folded, longer_side, memory_of, reach, remembering


@torch.no_grad()
def encode(vae: AutoencoderKLWan, chunks: Sequence[Tensor], strips: int = 1) -> Tensor:
    """The mode (1, z, t, h, w) of vae.encode for chunks (1, 3, n, height, width), of which n is 1, then 4 and 4.

    A chunk that is the very tensor that the one before it is costs nothing where its result is known to repeat.
    """
    encoder: Any = vae.encoder
    taken = _each(chunks, lambda chunk: folded(vae, chunk.to(vae.device, vae.dtype)))
    groups = encoder_groups(vae)
    side = longer_side(taken[0])
    latents = taken[0].shape[side] >> (len(groups) - 1)
    done: list[list[Tensor]] = []
    for strip in cut([group_level(group) for group in groups[:-1]], latents, strips):
        stages = [Stage(group, crop, side) for group, crop in zip(groups[:-1], strip.crops[1:], strict=True)]
        cropped = _each(taken, lambda chunk, crop=strip.crops[0]: chunk.narrow(side, *crop))
        done.append([_through(stages, chunk) for chunk in cropped])
    low = (parts[0] if len(parts) == 1 else torch.cat(parts, side) for parts in zip(*done, strict=True))
    memory = [memory_of(layer) for layer in (*groups[-1], encoder.mid_block, encoder.conv_out)]
    out: list[Tensor] = []
    for chunk in low:
        for layer, kept in zip((*groups[-1], encoder.mid_block), memory, strict=False):
            chunk = _run(layer, chunk, kept)
        out.append(_run(encoder.conv_out, encoder.nonlinearity(encoder.norm_out(chunk)), memory[-1]))
    return vae.quant_conv(torch.cat(out, dim=2)).chunk(2, dim=1)[0]


class Stage:
    """The layers of a resolution, which do not run again where they would only repeat themselves."""

    def __init__(self, layers: Sequence[nn.Module], crop: tuple[int, int], side: int) -> None:
        self._layers = [(layer, memory_of(layer)) for layer in layers]
        self._crop, self._side = crop, side
        self._seen: Tensor | None = None
        self._given: Tensor | None = None
        self._settled = False  # whether the last run left all memory as it was

    def __call__(self, chunk: Tensor) -> Tensor:
        if self._given is not None and self._settled and chunk is self._seen:
            return self._given
        self._settled = chunk is self._seen
        self._seen, out = chunk, chunk
        for layer, memory in self._layers:
            before = list(memory) if self._settled else []
            out = _run(layer, out, memory)
            self._settled = self._settled and all(map(_same, before, memory))
        self._given = out.narrow(self._side, *self._crop)
        return self._given


def _same(before: object, after: object) -> bool:
    if isinstance(before, Tensor) and isinstance(after, Tensor):
        return before.shape == after.shape and torch.equal(before, after)
    return before is after


def _run(layer: nn.Module, chunk: Tensor, memory: Memory) -> Tensor:
    if isinstance(layer, WanCausalConv3d):
        return remembering(layer, chunk, memory, [0])
    return layer(chunk, feat_cache=memory, feat_idx=[0])


def _through(stages: Sequence[Stage], chunk: Tensor) -> Tensor:
    for stage in stages:
        chunk = stage(chunk)
    return chunk


def _each(chunks: Sequence[Tensor], change: Callable[[Tensor], Tensor]) -> list[Tensor]:
    """Changed, a tensor that comes several times once: it stays the same tensor."""
    changed: dict[int, Tensor] = {}
    for chunk in chunks:
        if id(chunk) not in changed:
            changed[id(chunk)] = change(chunk)
    return [changed[id(chunk)] for chunk in chunks]


def encoder_groups(vae: AutoencoderKLWan) -> list[list[nn.Module]]:
    """The encoder's layers by resolution, from the first convolution on; the last group has the latents'."""
    encoder: Any = vae.encoder
    groups: list[list[nn.Module]] = [[encoder.conv_in]]
    for layer in encoder.down_blocks:
        groups[-1].append(layer)
        if isinstance(layer, WanResample) or getattr(layer, "downsampler", None) is not None:
            groups.append([])
    return groups


def group_level(group: Sequence[nn.Module]) -> Level:
    """What a strip must see beyond itself for a group that ends by halving the size."""
    sees, halving = 0, cast(Any, group[-1])
    for layer in group:
        if isinstance(layer, WanCausalConv3d):
            sees += layer.kernel_size[1] // 2
        elif isinstance(layer, WanResidualBlock):
            sees += reach(layer)
        elif isinstance(layer, WanResidualDownBlock):
            sees += sum(reach(resnet) for resnet in layer.resnets)
            halving = cast(Any, layer.downsampler)
    conv = halving.resample[1]
    return Level(sees, "down", conv.kernel_size[0] - conv.stride[0])
