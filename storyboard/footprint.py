"""What a render will ask of the machine's memory: the renderer's own plan, made before anything is loaded."""

from __future__ import annotations

from post.devices import device_problem, gpu_of
from scenes.shot import MachineLacks
from scenes.wan.budget import plan_memory
from scenes.wan.checkpoint import CheckpointError
from scenes.wan.needs import free_ram, needs_of
from scenes.wan.renderer import Wan
from storyboard.identity import UNMADE
from storyboard.production import Rehearsed


def footprint(rehearsed: Rehearsed) -> tuple[str | None, str | None]:
    """Where WAN's weights will lie while it draws, with the peaks foreseen; or what does not fit.

    Neither where nothing is to be drawn, weights are missing or the device asked for is not here. Without a GPU it is
    the widest plan.
    """
    options, crew = rehearsed.options, rehearsed.crew
    missing = [shot for name, shot in crew.shots.items() if name in crew.missing_clips]
    drawn = [(shot, shot.renderer) for shot in missing if isinstance(shot.renderer, Wan)]
    wrong = options.device is not None and device_problem(options.device) is not None
    if wrong or not drawn or any(_missing(wan) for _, wan in drawn):
        return None, None
    gpu = gpu_of(options.device)
    vram = options.vram or (gpu.bytes if gpu is not None else None)
    try:
        needs = needs_of(drawn)
        return plan_memory(needs, vram, options.ram or free_ram(), options.device != "cpu").says(), None
    except (MachineLacks, CheckpointError) as error:
        return None, str(error)


def _missing(wan: Wan) -> bool:
    weights = wan.weights
    files = (weights.high, weights.low, weights.vae, weights.text_encoder)
    return any(file is not None and file.digest.startswith(UNMADE) for file in files)
