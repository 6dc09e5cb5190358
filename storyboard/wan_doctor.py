"""What WAN would find on this machine: precisions, a compiler, attention kernels, its recipes' LoRAs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from post.devices import Gpu, gpus, installed
from scenes.shot import Machine
from scenes.wan.compiling import UNCOMPILED, compile_lacks
from scenes.wan.named import NAMED, NamedRecipe, find_loras
from scenes.wan.recipes import RecipeError
from scenes.wan.weights import lora_files, troubles
from storyboard.finding import MISSING, NOTE, OK, Finding
from storyboard.machine import FP8_SM


def sm_written(sm: int) -> str:
    """A compute capability as people write it: 8.9."""
    return f"{sm // 10}.{sm % 10}"


def precisions() -> Iterator[Finding]:
    """Whether WAN's linear layers can be computed in fp8, which stories ask for by name."""
    for index, gpu in enumerate(gpus()):
        if not gpu.sm:
            continue
        if gpu.sm >= FP8_SM:
            yield Finding("precision", OK, f'cuda:{index}: precision = "fp8" can be asked for')
        else:
            says = f'cuda:{index}: precision = "fp8" needs sm {sm_written(FP8_SM)}; fp8 files render without it'
            yield Finding("precision", NOTE, says)


def compiler() -> Iterator[Finding]:
    """What compiling WAN's blocks takes, which happens on GPUs only."""
    if not gpus():
        return
    lacking = compile_lacks()
    if lacking is None:
        yield Finding("compile", OK, f"triton {installed('triton', 'triton')}")
    else:
        yield Finding("compile", NOTE, f"{lacking[0]}: {UNCOMPILED}", lacking[1])


# A pre-release; later versions of what it compiles with lack files (docs/LOG.md).
FLASH_4 = "pip install flash-attn-4==4.0.0b12 quack-kernels==0.4.0 nvidia-cutlass-dsl==4.4.2"


def kernels() -> Iterator[Finding]:
    """Each kernel on a small problem, torch's own first: one that fails badly may spoil those after it."""
    try:
        from scenes.wan.attention import KERNELS, choose_kernel, why_not
        from scenes.wan.cast import device_of

        device = device_of(Machine())
        problems = {name: why_not(name, device) for name in KERNELS}
        chosen = choose_kernel(None, device).name
    except Exception as error:  # a driver too old, libraries that do not go together: whatever they raise
        says = f"torch cannot use the GPU here: {str(error).partition(chr(10))[0] or type(error).__name__}"
        yield Finding("attention", MISSING, says, "update NVIDIA's driver, or install torch for the CUDA it knows")
        return
    for kernel in KERNELS.values():
        problem = problems[kernel.name]
        if problem is None:
            use = "renders use it" if kernel.name == chosen else f"--attention {kernel.name}"
            yield Finding("attention", OK, f"{kernel.name} works{'' if kernel.exact else ', rounding coarsely'}: {use}")
        elif "is not installed" not in problem:
            yield Finding("attention", NOTE, f"{kernel.name}: {problem}")
        elif kernel.name == "flash-4" and _hopper(gpus()):
            yield Finding("attention", NOTE, "flash-4 is not installed: the fastest exact one on an H200", FLASH_4)


def _hopper(found: Sequence[Gpu]) -> bool:
    return bool(found) and 90 <= found[0].sm < 120


def recipes(models: Sequence[Path]) -> Iterator[Finding]:
    """The acceleration LoRAs of the recipes that have one."""
    made_for: dict[str, list[NamedRecipe]] = {}
    for recipe in NAMED.values():
        if recipe.family is not None:
            made_for.setdefault(recipe.family.name, []).append(recipe)
    known = troubles(models)  # which the doctor tells of the folders themselves
    told = [*known]
    there = lora_files(models, told)
    for trouble in told[len(known) :]:
        yield Finding("recipe", NOTE, trouble)
    for family, each in made_for.items():
        names = " and ".join(recipe.name for recipe in each)
        remedy = f"storyboard models pull {family}"
        try:
            found = find_loras(each[0], there)
        except RecipeError:
            yield Finding("recipe", NOTE, f"{names} lack their LoRA", remedy)
            continue
        files = " and ".join(dict.fromkeys((found.high, found.low))) if found else "none needed"
        if found and found.warning:
            yield Finding("recipe", NOTE, f"{names}: {files}, which is another LoRA than they were made for", remedy)
        else:
            yield Finding("recipe", OK, f"{names}: {files}")
