"""The memory plan: where weights lie and how the VAE decodes, so that a render fits its machine. Free of torch.

Streamed weights cost no time worth naming (docs/benchmarks.md), so leaner plans are nearly as fast as the widest one.
Nothing here changes what is computed: only where it is computed from, and in how many strips.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from scenes.footage import Size
from scenes.shot import MachineLacks
from scenes.wan.models import WanModel
from scenes.wan.vae_memory import decode_elements, encode_elements
from scenes.wan.vae_shape import VaeShape

GIB = 2**30
Source = Literal["ram", "disk"]

# Fitted on an H200 with full-size weights (scripts/bench_wan.py, docs/benchmarks.md); bytes unless said otherwise.
ACTIVATION_PER_TOKEN_AND_WIDTH = 13.5
"""Of one forward, for each token and each unit of the model's width."""
VAE_ITEM = {"fp32": 4, "bf16": 2}
VAE_FACTOR = {"fp32": 1.03, "bf16": 1.13}
"""Bytes at the VAE's fullest moment, of those that its elements come to: workspaces, and in bf16 its norms' fp32."""
VAE_BYTES = {"fp32": 508_000_000, "bf16": 254_000_000}
WORKSPACE = 200_000_000
"""cuBLAS's and cuDNN's own, and the part of a block that is being widened."""
HEADROOM = 1.12
"""Of the memory given, over the peak foreseen: what the allocator holds in pieces that nothing fits into."""
PROCESS_RAM = int(4.5 * GIB)
"""The interpreter, torch, CUDA's own and the frames under way."""
RING_BLOCKS = 3
MOST_STRIPS = 8


@dataclass(frozen=True, slots=True)
class Placement:
    """`resident`: every block has its own weights on the device, else two slots are filled in turn. `source`: what the
    slots are filled from, the checkpoint's own bytes in RAM or on disk."""

    resident: bool
    source: Source


@dataclass(frozen=True, slots=True)
class ExpertBytes:
    """Sizes of one expert. `raw`: all of its blocks as on disk; `block`: the largest block as computed with; `rest`:
    what is no block; `calls`: how often a clip runs it."""

    blocks: int
    raw: int
    block: int
    rest: int
    width: int
    calls: int


@dataclass(frozen=True, slots=True)
class Needs:
    """What a story asks of memory. `loras`: bytes of the LoRA factors of one expert."""

    model: WanModel
    size: Size
    frames: int
    vae: str
    vae_shape: VaeShape
    experts: tuple[ExpertBytes, ...]
    loras: int = 0
    text: int = 1

    @property
    def tokens(self) -> int:
        side = self.model.multiple
        latents = (self.frames - 1) // 4 + 1
        return latents * (self.size[0] // side) * (self.size[1] // side)

    def vae_bytes(self, strips: int) -> int:
        """What the VAE takes at its fullest moment, besides its weights."""
        elements = max(
            decode_elements(self.vae_shape, self.size, self.frames, strips),
            encode_elements(self.vae_shape, self.size, strips),
        )
        return int(VAE_ITEM[self.vae] * VAE_FACTOR[self.vae] * elements)


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Where each expert's weights lie, in how many strips the VAE works, and the peaks foreseen, in bytes.

    held: of an expert on disk, how many blocks are kept in RAM all the same. weights: what stays on the device between
    two clips.
    """

    placements: tuple[Placement, ...]
    held: tuple[int, ...]
    strips: int
    denoise: int
    decode: int
    ram: int
    gpu: bool = True
    weights: int = 0

    @property
    def vram(self) -> int:
        return max(self.denoise, self.decode)

    def says(self) -> str:
        """The plan in one line."""
        names = ("weights",) if len(self.placements) == 1 else ("high", "low")
        places = [_where(place, held) for place, held in zip(self.placements, self.held, strict=True)]
        if len(set(places)) == 1:
            where = f"weights {places[0]}"
        else:
            where = ", ".join(f"{name} {place}" for name, place in zip(names, places, strict=True))
        strips = "VAE whole" if self.strips == 1 else f"VAE in {self.strips} strips"
        if not self.gpu:
            return f"on the CPU, {where}; {strips}; peak: {self.ram / GIB:.1f} GiB of RAM"
        return (
            f"{where}; {strips}; peaks: {self.vram / GIB:.1f} GiB of GPU memory "
            f"(denoise {self.denoise / GIB:.1f}, decode {self.decode / GIB:.1f}), {self.ram / GIB:.1f} GiB of RAM"
        )


def _where(placement: Placement, held: int) -> str:
    if placement.resident:
        return "resident on the GPU"
    if placement.source == "ram":
        return "streamed from RAM"
    return f"read ahead from disk ({held} blocks in RAM)" if held else "read ahead from disk"


def plan_memory(needs: Needs, vram: int | None, ram: int | None, gpu: bool = True) -> MemoryPlan:
    """The widest plan within these bytes; None: without a limit. On a CPU all of it is RAM.

    Raises:
        MachineLacks: not even the leanest fits; the message says what would.
    """
    least: MemoryPlan | None = None
    if not gpu:
        plan = _plan(needs, False, 1, ram)
        return replace(plan, ram=plan.ram + plan.vram, gpu=False)  # what --ram allows is kept to at each step
    for resident in (True, False):
        for strips in (1, 2, 4, MOST_STRIPS):
            plan = _plan(needs, resident, strips, ram)
            if (vram is None or plan.vram * HEADROOM <= vram) and (ram is None or plan.ram <= ram):
                return plan
            least = plan
    assert least is not None
    raise MachineLacks(_too_small(least, vram, ram, needs))


def leaner(plan: MemoryPlan, needs: Needs, ram: int | None) -> MemoryPlan | None:
    """The next plan that asks for less memory to compute in; None where there is none."""
    if not plan.gpu:
        found = leaner(replace(plan, gpu=True), needs, ram)
        return None if found is None else replace(found, ram=found.ram + found.vram, gpu=False)
    if any(placement.resident for placement in plan.placements):
        return _plan(needs, False, min(MOST_STRIPS, plan.strips * 2), ram)
    if plan.strips < MOST_STRIPS:
        return _plan(needs, False, plan.strips * 2, ram)
    return None


def _plan(needs: Needs, resident: bool, strips: int, ram: int | None) -> MemoryPlan:
    places = [(Placement(True, "disk"), 0) for _ in needs.experts] if resident else _streamed(needs, ram)
    placements, held = tuple(place for place, _ in places), tuple(count for _, count in places)
    blocks = sum(e.block * e.blocks for e in needs.experts) if resident else 2 * max(e.block for e in needs.experts)
    merging = needs.loras * 2 // needs.experts[0].blocks  # LoRAs come with each block, and the next one's meanwhile
    weights = blocks + sum(expert.rest for expert in needs.experts) + merging + VAE_BYTES[needs.vae] + WORKSPACE
    width = needs.experts[0].width
    acting = int(ACTIVATION_PER_TOKEN_AND_WIDTH * width * (needs.tokens + 512 * needs.text))
    decoding = needs.vae_bytes(strips)
    in_ram = sum(_in_ram(expert, *place) for expert, place in zip(needs.experts, places, strict=True))
    reading = _ring(needs) if any(place.source == "disk" for place in placements) else 0
    total = PROCESS_RAM + in_ram + reading + needs.loras
    return MemoryPlan(placements, held, strips, weights + acting, weights + decoding, total, weights=weights)


def _in_ram(expert: ExpertBytes, place: Placement, held: int) -> int:
    if place.source == "ram":
        return expert.raw
    return expert.raw * held // expert.blocks


def _streamed(needs: Needs, ram: int | None) -> list[tuple[Placement, int]]:
    """In RAM what fits, the expert that runs most often first; of the others as many blocks as fit."""
    if ram is None or sum(expert.raw for expert in needs.experts) <= ram - PROCESS_RAM - needs.loras:
        return [(Placement(False, "ram"), 0) for _ in needs.experts]
    room = ram - PROCESS_RAM - needs.loras - _ring(needs)
    chosen: dict[int, tuple[Placement, int]] = {}
    for index in sorted(range(len(needs.experts)), key=lambda index: -needs.experts[index].calls):
        expert = needs.experts[index]
        if expert.raw <= room:
            chosen[index] = (Placement(False, "ram"), 0)
            room -= expert.raw
        else:
            held = max(0, min(expert.blocks, room * expert.blocks // expert.raw))
            chosen[index] = (Placement(False, "disk"), held)
            room -= expert.raw * held // expert.blocks
    return [chosen[index] for index in range(len(needs.experts))]


def _ring(needs: Needs) -> int:
    """Bytes of the buffers that blocks on disk go through."""
    return RING_BLOCKS * max(expert.raw // expert.blocks for expert in needs.experts)


def _too_small(least: MemoryPlan, vram: int | None, ram: int | None, needs: Needs) -> str:
    width, height = needs.size
    said = f"{needs.frames} frames of {width}x{height}"
    if ram is not None and least.ram > ram:
        return f"{said} need about {least.ram / GIB:.1f} GiB of RAM and {ram / GIB:.1f} GiB may be used: raise --ram"
    have = (vram or 0) / GIB
    remedies = ["fewer frames", "a smaller size"] + (['vae = "bf16"'] if needs.vae == "fp32" else [])
    least_gib = least.vram * HEADROOM / GIB
    return (
        f"{said} need about {least_gib:.1f} GiB of GPU memory at the leanest and {have:.1f} GiB may be used: "
        f"use {', '.join(remedies)}, or raise --vram"
    )
