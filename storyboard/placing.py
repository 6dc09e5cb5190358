"""On which device clips are finished while others are drawn, and whether the two fit into one GPU together."""

from __future__ import annotations

import re
from dataclasses import dataclass

from post.budget import plan_finishing
from post.devices import gpu_of, gpus
from post.interpolate import Rife
from post.upscale import Lanczos
from post.weights import Lacking
from scenes.shot import MachineLacks, Shot
from scenes.wan.budget import GIB, HEADROOM, MemoryPlan, Needs, plan_memory
from scenes.wan.compiling import compile_lacks
from scenes.wan.needs import free_ram, needs_of
from scenes.wan.renderer import Wan
from storyboard.gear import Gear
from storyboard.options import Options
from storyboard.story import Story

LEANER = 2 * GIB
"""What finishing is asked to get by with before it has to wait for the drawing: it then takes smaller bites."""


@dataclass(frozen=True, slots=True)
class Workplace:
    """Where clips are finished. `vram`: bytes it may take there, None for what is free. `turns`: drawing and finishing
    take turns on the device; `aside`: bytes that drawing leaves to finishing all the while. `says` it in a few words;
    empty where there is no choice."""

    device: str | None
    vram: int | None = None
    turns: bool = False
    aside: int = 0
    says: str = ""


def workplace(story: Story, gear: Gear, options: Options, shots: list[tuple[Shot, Wan]]) -> Workplace:
    """Where this run finishes its clips. `shots`: those that WAN draws meanwhile.

    Raises:
        MachineLacks: no such device, or not even the leanest way fits there.
        CheckpointError: a file of the weights is not what it should be.
    """
    on = options.finish_on or options.device
    here = gpu_of(options.device)
    if not _takes_device(gear) or not shots or options.device == "cpu" or here is None:
        return Workplace(on, options.vram)
    mine = _index(options.device)
    if options.finish_on is None:
        return _on_another(story, gear, mine) or _shared(story, gear, options, shots)
    if not options.finish_on.startswith("cuda"):
        return Workplace(on, None, says=f"clips are finished on {on}")
    if _index(options.finish_on) != mine:
        return Workplace(on, None, says=f"clips are finished on {_named(_index(options.finish_on))}")
    return _shared(story, gear, options, shots)


def _takes_device(gear: Gear) -> bool:
    """Whether a net works on the clips."""
    upscaled = gear.upscale is not None and not isinstance(gear.upscale.by, Lanczos)
    return upscaled or (gear.interpolate is not None and isinstance(gear.interpolate.by, Rife))


def _index(device: str | None) -> int:
    named = re.fullmatch(r"cuda:(\d+)", device or "")
    return int(named[1]) if named else 0


def _named(index: int) -> str:
    return f"cuda:{index} ({gpus()[index].name})"


def _on_another(story: Story, gear: Gear, mine: int) -> Workplace | None:
    """The first other GPU with room to work there as widely as is of use; None where there is none."""
    try:
        wanted = plan_finishing(gear.upscale, gear.interpolate, story.size, None).bytes
    except Lacking:
        return None
    for index, gpu in enumerate(gpus()):
        if index != mine and wanted * HEADROOM <= gpu.bytes:
            return Workplace(f"cuda:{index}", None, says=f"clips are finished on {_named(index)}")
    return None


def _shared(story: Story, gear: Gear, options: Options, shots: list[tuple[Shot, Wan]]) -> Workplace:
    """Drawing and finishing on one GPU: side by side where both fit, else in turns."""
    gpu = gpu_of(options.device)
    assert gpu is not None
    whole = min(options.vram or gpu.bytes, gpu.bytes)
    needs, ram = needs_of(shots), options.ram or free_ram()
    for most in (None, LEANER):
        try:
            wanted = plan_finishing(gear.upscale, gear.interpolate, story.size, most).bytes
        except Lacking:
            continue
        if _fits(needs, whole - int(wanted * HEADROOM), ram) is not None:
            says = f"clips are finished beside the drawing, in {wanted / GIB:.1f} GiB"
            return Workplace(options.device, wanted, aside=int(wanted * HEADROOM), says=says)
    plan = plan_memory(needs, whole, ram)
    left = int((whole - plan.weights * HEADROOM) / HEADROOM)
    try:
        wanted = plan_finishing(gear.upscale, gear.interpolate, story.size, left).bytes
    except Lacking as error:
        raise MachineLacks(str(error)) from error
    says = f"drawing and finishing take turns, the latter in {wanted / GIB:.1f} GiB: together they do not fit"
    return Workplace(options.device, wanted, turns=True, says=says)


def _fits(needs: Needs, vram: int, ram: int | None) -> MemoryPlan | None:
    try:
        return plan_memory(needs, vram, ram)
    except MachineLacks:
        return None


def compiles(asked: bool) -> bool:
    """Whether nets are compiled: asked for, and this machine has what it takes."""
    return asked and compile_lacks() is None


def drawn_by_wan(shots: dict[str, Shot], names: set[str]) -> list[tuple[Shot, Wan]]:
    """The named shots that WAN draws."""
    missing = [shot for name, shot in shots.items() if name in names]
    return [(shot, shot.renderer) for shot in missing if isinstance(shot.renderer, Wan)]
