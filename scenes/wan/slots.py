"""Places for blocks on a device: all of an expert's blocks, or two that are filled in turn.

With two, one is computed with while a copy stream fills the other. Each slot has an event for either side: computing
waits until the slot is filled, filling until what was computed with it is done. The waiting is the GPU's, so the host
may run far ahead.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn

from scenes.compiled import compiled
from scenes.streams import lasting_stream
from scenes.wan.anatomy import HEAD, stays_fp32
from scenes.wan.arrive import Target
from scenes.wan.fp8 import with_rowwise_linears
from scenes.wan.recipes import Nag

ALIGNMENT = 256
"""Of each parameter within a slot: what compiled kernels and cuBLAS read widest."""

Run = Callable[..., torch.Tensor]


@dataclass(frozen=True, slots=True)
class Load:
    """What a slot is filled with: a block of an expert, merged with these LoRAs' factors at these strengths."""

    expert: object
    index: int
    merged: tuple[tuple[object, float], ...]

    def replaces(self, other: Load | None) -> bool:
        """Whether it is the same block."""
        return other is not None and other.expert is self.expert and other.index == self.index


class Slot:
    """One block on the device, its parameters views of one piece of memory."""

    def __init__(self, block: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
        self.block = block
        self.targets = _place_parameters(block, device, dtype)
        self.load: Load | None = None
        cuda = device.type == "cuda"
        self.filled = torch.cuda.Event() if cuda else None
        self.done = torch.cuda.Event() if cuda else None


class Slots:
    """`count` slots for blocks of one shape, in one precision; experts that take turns share them.

    compile: one graph serves all slots, and all experts, of a shape.
    attention: a backend of diffusers' dispatch_attention_fn ("native", "_native_cudnn", "sage", "_flash_3", ...).
    """

    def __init__(
        self,
        dim: int,
        ffn: int,
        count: int,
        device: torch.device,
        dtype: torch.dtype,
        fp8: bool,
        compile: bool,
        attention: str,
    ) -> None:
        self.spec = (dim, ffn, count, device, dtype, fp8, compile, attention)
        self.users = 1
        self._device = device
        self._attention = attention
        self._nag: Nag | None = None
        self._run: Run = compiled(_run, fullgraph=True) if compile else _run
        self._slots = [Slot(_block(dim, ffn, fp8), device, dtype) for _ in range(count)]
        self._next = 0
        self._copying = lasting_stream(device, "filling")
        if self._copying is not None:  # the slots' memory may have been someone's whose kernels still run
            self._copying.wait_stream(torch.cuda.current_stream(device))
        self._set_attention()

    def hold(self, load: Load, fill: Callable[[Mapping[str, Target]], None]) -> Slot:
        """The slot that holds this; filled now if there is none: what was filled longest ago makes place, or the same
        block as it was with other LoRAs.

        fill: fills the parameters, in the stream that is current.
        """
        for slot in self._slots:
            if slot.load == load:
                return slot
        place = next((at for at, slot in enumerate(self._slots) if load.replaces(slot.load)), self._next)
        slot = self._slots[place]
        slot.load = None  # what it holds is unsure until it is filled
        with self.copying():
            if self._copying is not None and slot.done is not None:
                self._copying.wait_event(slot.done)
            fill(slot.targets)
            if self._copying is not None and slot.filled is not None:
                slot.filled.record(self._copying)
        slot.load = load
        self._next = (place + 1) % len(self._slots)
        return slot

    def run(self, slot: Slot, *inputs: Any) -> torch.Tensor:
        """The block's output, computed in the current stream."""
        if slot.filled is None or slot.done is None:
            return self._run(slot.block, *inputs)
        computing = torch.cuda.current_stream(self._device)
        computing.wait_event(slot.filled)
        out = self._run(slot.block, *inputs)
        slot.done.record(computing)
        return out

    @contextmanager
    def copying(self) -> Generator[None]:
        """Work in the stream that fills slots."""
        if self._copying is None:
            yield
            return
        with torch.cuda.stream(self._copying):
            yield

    def set_nag(self, nag: Nag | None) -> None:
        """Let cross-attention guide by the negative prompt, or not."""
        if nag == self._nag:
            return
        from diffusers.models.transformers.transformer_wan import WanAttnProcessor

        from scenes.wan.nag import NagProcessor

        self._nag = nag
        for slot in self._slots:
            processor = WanAttnProcessor() if nag is None else NagProcessor(nag)
            cast(Any, slot.block).attn2.set_processor(processor)
        self._set_attention()

    def settle(self) -> None:
        """Wait, on the host, until no copy into a slot is under way."""
        if self._copying is not None:
            self._copying.synchronize()

    def leave(self) -> None:
        """The last expert to leave gives the memory back, once nothing uses it any more."""
        self.users -= 1
        if self.users:
            return
        if self._copying is not None:
            torch.cuda.synchronize(self._device)
        self._slots = []

    def _set_attention(self) -> None:
        # Named even where it is the usual one: diffusers' default comes from an environment variable.
        for slot in self._slots:
            for attention in (cast(Any, slot.block).attn1, cast(Any, slot.block).attn2):
                attention.set_attention_backend(self._attention)


def _run(block: nn.Module, *inputs: Any) -> torch.Tensor:
    return block(*inputs)


def _block(dim: int, ffn: int, fp8: bool) -> nn.Module:
    """A block without memory."""
    from diffusers.models.transformers.transformer_wan import WanTransformerBlock

    with torch.device("meta"):
        block = cast(nn.Module, WanTransformerBlock(dim, ffn, dim // HEAD, cross_attn_norm=True))
    return (with_rowwise_linears(block) if fp8 else block).eval()


def _place_parameters(block: nn.Module, device: torch.device, dtype: torch.dtype) -> dict[str, Target]:
    """Give a block's parameters memory, all in one piece, and say where each is to be filled."""
    places: list[tuple[str, torch.Size, torch.dtype, int]] = []
    end = 0
    for name, parameter in block.named_parameters():
        own = kept_dtype(name, parameter.dtype, dtype)
        places.append((name, parameter.shape, own, end))
        end += -(-parameter.numel() * own.itemsize // ALIGNMENT) * ALIGNMENT
    memory = torch.empty(end, dtype=torch.uint8, device=device)
    made: dict[str, nn.Parameter] = {}
    for name, shape, own, start in places:
        view = memory[start : start + shape.numel() * own.itemsize].view(own).view(shape)
        made[name] = nn.Parameter(view, requires_grad=False)
        module, _, leaf = name.rpartition(".")
        setattr(block.get_submodule(module), leaf, made[name])
    # `scale`: of the rows of the fp8 weight beside it, and filled with it.
    return {
        name: Target(parameter.data, scale.data if scale is not None else None)
        for name, parameter in made.items()
        if not name.endswith(".scale")
        for scale in [made.get(f"{name.removesuffix('weight')}scale") if name.endswith(".weight") else None]
    }


def kept_dtype(name: str, own: torch.dtype, dtype: torch.dtype) -> torch.dtype:
    """What a parameter is kept in: fp8 where it is, fp32 as the reference keeps it, else `dtype`."""
    if own == torch.float8_e4m3fn:
        return own
    return torch.float32 if name.endswith(".scale") or stays_fp32(name) else dtype
