"""What a render will ask of the machine's memory: the renderer's own plan, made before anything is loaded."""

from __future__ import annotations

from post.devices import device_problem, gpu_of
from scenes.shot import MachineLacks
from scenes.wan.budget import plan_memory
from scenes.wan.checkpoint import CheckpointError
from scenes.wan.needs import free_ram, needs_of
from scenes.wan.renderer import Wan
from storyboard.identity import UNMADE
from storyboard.placing import drawn_by_wan, workplace
from storyboard.rehearsal import Rehearsed


def footprint(rehearsed: Rehearsed) -> tuple[str | None, str | None]:
    """Where WAN's weights will lie while it draws, with the peaks foreseen; or what does not fit.

    Neither where nothing is to be drawn, weights are missing or a device asked for is not here. Without a GPU it is
    the widest plan.
    """
    options, crew = rehearsed.options, rehearsed.crew
    drawn = drawn_by_wan(crew.shots, crew.undrawn)
    asked = [device for device in (options.device, options.finish_on) if device and not device.startswith("vulkan")]
    wrong = any(device_problem(device) is not None for device in asked)
    if wrong or not drawn or any(_missing(wan) for _, wan in drawn):
        return None, None
    gpu = gpu_of(options.device)
    vram = options.vram or (gpu.bytes if gpu is not None else None)
    try:
        place = workplace(rehearsed.story, rehearsed.gear, options, drawn)
        usable = vram - place.aside if vram is not None else None
        plan = plan_memory(needs_of(drawn), usable, options.ram or free_ram(), options.device != "cpu")
        return "; ".join(filter(None, (plan.says(), place.says))), None
    except (MachineLacks, CheckpointError) as error:
        return None, str(error)


def _missing(wan: Wan) -> bool:
    weights = wan.weights
    files = (weights.high, weights.low, weights.vae, weights.text_encoder)
    return any(file is not None and file.digest.startswith(UNMADE) for file in files)
