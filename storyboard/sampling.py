"""The recipes and LoRAs an author writes: what fits together and what does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from scenes.wan.families import side_of
from scenes.wan.models import RECIPES, WanModel
from scenes.wan.named import NAMED, ONE_EXPERT, NamedRecipe, named_recipe
from scenes.wan.recipes import Nag, RecipeError, SamplingSpec, recipe
from storyboard.mistakes import Place, did_you_mean, written
from storyboard.reading import Reading
from storyboard.schema import LoraTable, NagTable, RecipeTable, SplitCfg, StoryTable
from storyboard.story import LoraUse, Sampling, Tuned

STEPS, SHIFT = 20, 5.0


def usual_recipe(model: WanModel) -> str:
    return RECIPES[0] if model.experts > 1 else next(iter(ONE_EXPERT))


def recipes_of(
    table: StoryTable, model: WanModel, reading: Reading
) -> tuple[tuple[tuple[str, Sampling], ...], tuple[tuple[str, Tuned], ...]]:
    """The recipes of the story's own, and what it says of ours."""
    own: list[tuple[str, Sampling]] = []
    tuned: list[tuple[str, Tuned]] = []
    for name, each in table.recipe.items():
        check_lora_files(each.loras, ("recipe", name, "loras"), reading)
        if name in RECIPES:
            tuned.append((name, _tuned(name, each, model, reading)))
        else:
            own.append((name, sampling(each, ("recipe", name), model, reading)))
    return tuple(own), tuple(tuned)


def check_recipes(table: StoryTable, model: WanModel, reading: Reading) -> None:
    """What scenes are sampled by: whether there is such a recipe, for this model."""
    known = {*RECIPES, *table.recipe}
    look: Place = ("look", "recipe")
    tables = [(look, table.look.recipe), *((("scene", i, "recipe"), s.recipe) for i, s in enumerate(table.scene))]
    for place, name in tables:
        if name is not None and name not in known:
            hint = did_you_mean(name, known) or f" (there are: {', '.join(sorted(known))})"
            reading.complain(place, f"there is no recipe {written(name)}{hint}")
        if name in RECIPES and (place != look or any(scene.recipe is None for scene in table.scene)):
            try:
                named_recipe(name, model)
            except RecipeError as error:
                reading.complain(place, str(error))


def sampling(table: RecipeTable, place: Place, model: WanModel, reading: Reading) -> Sampling:
    """A [recipe.NAME] with its defaults; what contradicts itself is complained of."""
    before = len(reading.found)
    steps = len(table.sigmas) - 1 if table.sigmas else table.steps or STEPS
    _check_schedule(table, place, reading)
    _check_experts(table, steps, place, model, reading)
    match table.cfg:
        case SplitCfg():
            cfg = (table.cfg.high, table.cfg.low)
        case list():
            cfg = tuple(table.cfg)
        case _:
            cfg = (table.cfg, table.cfg)
    found = Sampling(
        sampler=table.sampler,
        scheduler=None if table.sigmas else table.scheduler or "simple",
        steps=steps,
        shift=None if table.sigmas else table.shift or SHIFT,
        sigmas=tuple(table.sigmas) if table.sigmas else None,
        cfg=cfg,
        boundary=table.boundary,
        high_steps=table.high_steps,
        loras=loras_used(table.loras, (*place, "loras"), model, reading),
        nag=_nag(table.nag),
        per_step=isinstance(table.cfg, list),
    )
    if len(reading.found) == before:
        try:
            recipe(spec_of(found), (), model, None)
        except RecipeError as error:
            reading.complain(place, str(error))
    return found


def spec_of(found: Sampling) -> SamplingSpec:
    return SamplingSpec(
        found.sampler,
        found.scheduler,
        found.steps,
        found.shift,
        found.sigmas,
        found.cfg,
        found.boundary,
        found.high_steps,
        found.per_step,
    )


def _tuned(name: str, table: RecipeTable, model: WanModel, reading: Reading) -> Tuned:
    """A recipe of ours with the story's own LoRA files or NAG; its strengths are the recipe's unless written."""
    place: Place = ("recipe", name)
    if other := table.model_fields_set - {"loras", "nag"}:
        drop = ", ".join(sorted(other))
        what = f'"{name}" is a recipe of ours that takes loras and nag: drop {drop}, or give yours another name'
        reading.complain(place, what)
    ours = NAMED[name]
    if table.loras and ours.family is None:
        reading.complain((*place, "loras"), f"{name} is made without a LoRA: name it in [look] or in a scene")
    elif len(table.loras) > 1:
        reading.complain((*place, "loras"), f"{name} has one LoRA: name others in [look] or in a scene")
    used = loras_used(table.loras, (*place, "loras"), model, reading)
    if table.loras and ours.family is not None:
        _check_both_experts(table.loras[0], ours, (*place, "loras", 0), reading)
    return Tuned(tuple(_at_its_strength(u, t, ours) for u, t in zip(used, table.loras, strict=True)), _nag(table.nag))


def _check_both_experts(table: LoraTable, ours: NamedRecipe, place: Place, reading: Reading) -> None:
    """Few steps without their LoRA on one expert come out as noise: that is written, not forgotten."""
    if table.file is not None or not (table.high_file or table.low_file):
        return
    for side, strength in zip(("high", "low"), ours.strengths, strict=True):
        if strength and getattr(table, f"{side}_file") is None and side not in table.model_fields_set:
            what = f"{ours.name} needs its LoRA on the {side}-noise expert too: add {side}_file, or write {side} = 0"
            reading.complain(place, what)


def _at_its_strength(use: LoraUse, table: LoraTable, ours: NamedRecipe) -> LoraUse:
    high, low = ours.strengths
    said = table.model_fields_set
    return replace(use, high=use.high if "high" in said else high, low=use.low if "low" in said else low)


def _nag(asked: bool | NagTable | None) -> bool | Nag | None:
    return replace(Nag(), **asked.model_dump(exclude_none=True)) if isinstance(asked, NagTable) else asked


def _check_schedule(table: RecipeTable, place: Place, reading: Reading) -> None:
    if table.sigmas is None:
        return
    for key in ("scheduler", "steps", "shift"):
        if getattr(table, key) is not None:
            what = f"sigmas stand instead of scheduler, steps and shift: drop {key}, or the sigmas"
            reading.complain((*place, key), what)
    if len(table.sigmas) < 2:
        reading.complain((*place, "sigmas"), "sigmas needs at least two numbers: each step goes from one to the next")
    elif any(a <= b for a, b in zip(table.sigmas, table.sigmas[1:], strict=False)):
        what = "sigmas must fall from step to step, as in [1.0, 0.94, 0.83, 0.6, 0.0]"
        reading.complain((*place, "sigmas"), what)


def _check_experts(table: RecipeTable, steps: int, place: Place, model: WanModel, reading: Reading) -> None:
    if table.boundary is not None and table.high_steps is not None:
        what = "boundary and high_steps both say where the experts change: keep one"
        reading.complain((*place, "high_steps"), what)
    if table.high_steps is not None and table.high_steps > steps:
        what = f"high_steps = {table.high_steps} is more than the {steps} steps there are"
        reading.complain((*place, "high_steps"), what)
    if model.experts == 1:
        _check_one_expert(table, place, model, reading)
    if isinstance(table.cfg, list) and len(table.cfg) != steps:
        what = f"cfg lists {len(table.cfg)} numbers for {steps} steps: one a step, or one for all"
        reading.complain((*place, "cfg"), what)


def _check_one_expert(table: RecipeTable, place: Place, model: WanModel, reading: Reading) -> None:
    for key in ("boundary", "high_steps"):
        if getattr(table, key) is not None:
            reading.complain((*place, key), f"{model.name} has one expert: drop {key}")
    if isinstance(table.cfg, SplitCfg):
        reading.complain((*place, "cfg"), f"{model.name} has one expert: give cfg one number, not high and low")


def check_lora_files(loras: Sequence[LoraTable], place: Place, reading: Reading) -> None:
    for index, lora in enumerate(loras):
        for key in ("file", "high_file", "low_file"):
            if getattr(lora, key) is not None:
                reading.path((*place, index, key), getattr(lora, key))


def loras_used(loras: Sequence[LoraTable], place: Place, model: WanModel, reading: Reading) -> tuple[LoraUse, ...]:
    """LoRAs with their files and strengths on both experts; those that name no file are complained of."""
    used: list[LoraUse] = []
    for index, lora in enumerate(loras):
        at = (*place, index)
        if lora.file is not None and (lora.high_file or lora.low_file):
            reading.complain(at, "file is for both experts: drop it, or drop high_file and low_file")
        elif lora.file is None and not (lora.high_file or lora.low_file):
            reading.complain(at, 'a LoRA needs file = "...", or high_file and low_file')
        elif model.experts == 1 and {"low", "high_file", "low_file"} & lora.model_fields_set:
            reading.complain(at, f"{model.name} has one expert: name file and high (its strength) only")
        elif side_of(lora.high_file or "") == "low" and side_of(lora.low_file or "") == "high":
            reading.complain(at, "by their names high_file and low_file are each other's: swap them")
        high, low = lora.high_file or lora.file or "", lora.low_file or lora.file or ""
        used.append(LoraUse(high, low, lora.high if high else 0.0, lora.low if low else 0.0))
    return tuple(used)
