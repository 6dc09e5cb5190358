"""Whether this machine can draw with WAN, told without loading any of it."""

from __future__ import annotations

import re

from post.devices import gpus, has_gpu, installed
from storyboard.story import Story

WAN_PACKAGES = ("torch", "diffusers", "transformers", "sentencepiece", "tokenizers", "ftfy", "psutil")
FP8_SM = 89


def wan_problems(story: Story, device: str | None) -> list[str]:
    """Why it cannot, with the remedies. On a CPU it takes hours a clip, so only where that is asked for by name."""
    found = [_packages(), _device(device), _precision(story, device)]
    return [problem for problem in found if problem is not None]


def _packages() -> str | None:
    missing = [name for name in WAN_PACKAGES if not installed(name)]
    return f'WAN needs the packages {", ".join(missing)}: pip install "storyboard[wan]"' if missing else None


def _device(device: str | None) -> str | None:
    if device == "mps":
        return "WAN draws on CUDA devices, and on a CPU where --device cpu asks for it: not on mps"
    if device == "cpu" or has_gpu(device):
        return None
    here = "the torch installed here is a CPU build: install one with CUDA" if gpus() else "this machine has none"
    return f"WAN needs a CUDA device, and {here} (--draft draws without; --device cpu takes hours a clip)"


def _precision(story: Story, device: str | None) -> str | None:
    if story.precision != "fp8":
        return None
    remedy = "drop it: fp8 files render without it, widened to bf16"
    if device == "cpu":
        return f'precision = "fp8" needs a CUDA device, and --device cpu was asked for: {remedy}'
    number = re.fullmatch(r"cuda:(\d+)", device or "")
    index, found = int(number[1]) if number else 0, gpus()
    if index >= len(found) or not 0 < found[index].sm < FP8_SM:
        return None
    gpu = found[index]
    return f'precision = "fp8" needs sm 8.9 or newer, and {gpu.name} is sm {gpu.sm // 10}.{gpu.sm % 10}: {remedy}'
