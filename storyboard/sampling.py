"""The recipes and LoRAs an author writes: what fits together and what does not."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from scenes.wan.models import WanModel
from storyboard.mistakes import Place
from storyboard.schema import LoraTable, RecipeTable, SplitCfg
from storyboard.story import LoraUse, Sampling

Complain = Callable[[Place, str], None]
STEPS, SHIFT = 20, 5.0


def sampling(recipe: RecipeTable, place: Place, model: WanModel, complain: Complain) -> Sampling:
    """A [recipe.NAME] with its defaults; what contradicts itself is complained of."""
    _check_schedule(recipe, place, complain)
    steps = len(recipe.sigmas) - 1 if recipe.sigmas else recipe.steps or STEPS
    if recipe.boundary is not None and recipe.high_steps is not None:
        complain((*place, "high_steps"), "boundary and high_steps both say where the experts change: keep one")
    if recipe.high_steps is not None and recipe.high_steps > steps:
        complain((*place, "high_steps"), f"high_steps = {recipe.high_steps} is more than the {steps} steps there are")
    if model.experts == 1:
        _check_one_expert(recipe, place, model, complain)
    if isinstance(recipe.cfg, list) and len(recipe.cfg) != steps:
        complain((*place, "cfg"), f"cfg lists {len(recipe.cfg)} numbers for {steps} steps: one a step, or one for all")
    match recipe.cfg:
        case SplitCfg():
            cfg = (recipe.cfg.high, recipe.cfg.low)
        case list():
            cfg = tuple(recipe.cfg)
        case _:
            cfg = (recipe.cfg, recipe.cfg)
    return Sampling(
        sampler=recipe.sampler,
        scheduler=None if recipe.sigmas else recipe.scheduler or "simple",
        steps=steps,
        shift=None if recipe.sigmas else recipe.shift or SHIFT,
        sigmas=tuple(recipe.sigmas) if recipe.sigmas else None,
        cfg=cfg,
        boundary=recipe.boundary,
        high_steps=recipe.high_steps,
        loras=loras_used(recipe.loras, (*place, "loras"), model, complain),
    )


def _check_schedule(recipe: RecipeTable, place: Place, complain: Complain) -> None:
    if recipe.sigmas is None:
        return
    for key in ("scheduler", "steps", "shift"):
        if getattr(recipe, key) is not None:
            complain((*place, key), f"sigmas stand instead of scheduler, steps and shift: drop {key}, or the sigmas")
    if len(recipe.sigmas) < 2:
        complain((*place, "sigmas"), "sigmas needs at least two numbers: each step goes from one to the next")
    elif any(a <= b for a, b in zip(recipe.sigmas, recipe.sigmas[1:], strict=False)):
        complain((*place, "sigmas"), "sigmas must fall from step to step, as in [1.0, 0.94, 0.83, 0.6, 0.0]")


def _check_one_expert(recipe: RecipeTable, place: Place, model: WanModel, complain: Complain) -> None:
    for key in ("boundary", "high_steps"):
        if getattr(recipe, key) is not None:
            complain((*place, key), f"{model.name} has one expert: drop {key}")
    if isinstance(recipe.cfg, SplitCfg):
        complain((*place, "cfg"), f"{model.name} has one expert: give cfg one number, not high and low")


def loras_used(loras: Sequence[LoraTable], place: Place, model: WanModel, complain: Complain) -> tuple[LoraUse, ...]:
    """LoRAs with their files and strengths on both experts; those that name no file are complained of."""
    used: list[LoraUse] = []
    for index, lora in enumerate(loras):
        at = (*place, index)
        if lora.file is not None and (lora.high_file or lora.low_file):
            complain(at, "file is for both experts: drop it, or drop high_file and low_file")
        elif lora.file is None and not (lora.high_file or lora.low_file):
            complain(at, 'a LoRA needs file = "...", or high_file and low_file')
        elif model.experts == 1 and {"low", "high_file", "low_file"} & lora.model_fields_set:
            complain(at, f"{model.name} has one expert: name file and high (its strength) only")
        high, low = lora.high_file or lora.file or "", lora.low_file or lora.file or ""
        used.append(LoraUse(high, low, lora.high if high else 0.0, lora.low if low else 0.0))
    return tuple(used)
