"""What shots will ask of this machine's memory, from the heads of the files alone. Free of torch."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from scenes.shot import Shot
from scenes.wan.anatomy import is_linear, parameters, stays_fp32
from scenes.wan.budget import ExpertBytes, Needs
from scenes.wan.checkpoint import Checkpoint, read_checkpoint
from scenes.wan.identify import expert_names, expert_shape
from scenes.wan.models import MODELS
from scenes.wan.renderer import Wan
from scenes.wan.vae_shape import vae_shape

# LoRA files hold little but their factors.
LORA_OVERHEAD = 1.02


def needs_of(shots: Sequence[tuple[Shot, Wan]]) -> Needs:
    """Of these shots together: the longest clip, the most calls, the largest set of LoRAs.

    Raises:
        CheckpointError: a file of the weights is not what it should be.
    """
    wan = shots[0][1]
    longest = max((shot for shot, _ in shots), key=lambda shot: shot.frames * shot.size[0] * shot.size[1])
    calls = Counter[str]()
    for _, each in shots:
        calls.update(step.expert for step in each.recipe.calls)
    files = [wan.weights.high, *([wan.weights.low] if wan.weights.low is not None else [])]
    experts = tuple(
        expert_bytes(read_checkpoint(file.path), calls[name], wan.precision)
        for file, name in zip(files, ("high", "low"), strict=False)
    )
    text = 2 if any(each.recipe.nag is not None for _, each in shots) else 1
    loras = max(_lora_bytes(shot, each) for shot, each in shots)
    shape = vae_shape(read_checkpoint(wan.weights.vae.path))
    return Needs(MODELS[wan.model], longest.size, longest.frames, wan.vae, shape, experts, loras, text)


def expert_bytes(checkpoint: Checkpoint, calls: int, precision: str | None) -> ExpertBytes:
    names, shape = expert_names(checkpoint), expert_shape(checkpoint)
    sizes: Counter[str] = Counter()
    for name, dimensions in parameters(shape).items():
        wide = 4 if stays_fp32(name) else 2
        if precision == "fp8" and name.startswith("blocks.") and is_linear(name):
            wide = 1
        sizes[_part(name)] += math.prod(dimensions) * wide
    raw = sum(info.nbytes for name, info in names.items() if name.startswith("blocks."))
    block = max(size for part, size in sizes.items() if part.startswith("blocks."))
    return ExpertBytes(shape.layers, raw, block, sizes["rest"], shape.dim, max(1, calls))


def _part(name: str) -> str:
    return ".".join(name.split(".")[:2]) if name.startswith("blocks.") else "rest"


def _lora_bytes(shot: Shot, wan: Wan) -> int:
    """Of the files that one expert runs with at once, the two counted together."""
    paths: set[Path] = {lora.path for lora in (*shot.loras, *wan.recipe.loras)}
    return int(sum(path.stat().st_size for path in paths if path.is_file()) * LORA_OVERHEAD)


def free_ram() -> int | None:
    """Bytes of RAM that can be taken without swapping; None where nothing tells."""
    try:
        import psutil
    except ImportError:  # planning needs none of WAN's packages
        return None
    return int(psutil.virtual_memory().available)
