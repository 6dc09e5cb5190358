"""The recipes of the field under their names, before their LoRAs' files are found. Free of torch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from scenes.wan.families import FAMILIES, LIGHTNING, LIGHTX2V, LoraFamily
from scenes.wan.models import WanModel
from scenes.wan.recipes import RecipeError, SamplingSpec


@dataclass(frozen=True, slots=True)
class NamedRecipe:
    """A recipe as published. `cfg` and `strengths` (of the LoRA it was made for) are on the high and the low-noise
    expert; cfg may have one a step instead. `high_steps` None: the model's boundary. `nag`: usual where a scene has a
    negative prompt."""

    name: str
    sampler: str
    scheduler: str
    steps: int
    shift: float
    cfg: tuple[float, ...]
    high_steps: int | None = None
    family: LoraFamily | None = None
    strengths: tuple[float, float] = (1.0, 1.0)
    nag: bool = False

    @property
    def spec(self) -> SamplingSpec:
        return SamplingSpec(
            self.sampler, self.scheduler, self.steps, self.shift, None, self.cfg, high_steps=self.high_steps
        )


NAMED = {
    recipe.name: recipe
    for recipe in (
        # lightx2v/Wan2.2-Lightning: wan/configs/wan_i2v_A14B.py (4 steps, shift 5, guidance 1, boundary 0.9), and
        # ComfyUI's template for these LoRAs (euler, simple, 2 + 2). Trained at the times 1000, 937.5, 833.3 and 625:
        # ModelTC/LightX2V-Wan2.2-Lightning, issue 3.
        NamedRecipe("lightning-4", "euler", "simple", 4, 5.0, (1.0, 1.0), 2, LIGHTNING, nag=True),
        # lightx2v distils models that step by drawing noise anew: their model cards ask for an LCM scheduler (read in
        # ModelTC/LightX2V, issue 138), and users sample the 2.2 LoRAs so too (deepbeepmeep/Wan2GP, pull request 984).
        # Shift 8 is that of ComfyUI's own Wan 2.2 workflows (ModelTC/LightX2V-Wan2.2-Lightning, issue 11).
        NamedRecipe("lcm-4", "lcm", "beta", 4, 8.0, (1.0, 1.0), 2, LIGHTNING, nag=True),
        # kijai/ComfyUI-WanVideoWrapper, example_workflows/wanvideo_2_2_I2V_A14B_example_WIP.json: dpm++_sde (which is
        # ComfyUI's dpmpp_2m_sde), its even times, 6 steps of which 3 high, shift 8, cfg 2 at the first only, and
        # lightx2v_I2V_14B_480p_cfg_step_distill_rank64 at 3 and 1. Strength 3 brings back motion that LoRAs slow down.
        NamedRecipe(
            "motion-6",
            "dpmpp_2m_sde",
            "simple",
            6,
            8.0,
            (2.0, 1.0, 1.0, 1.0, 1.0, 1.0),
            3,
            LIGHTX2V,
            (3.0, 1.0),
            nag=True,
        ),
        # Users' remedy for the slow motion of 4-step LoRAs (ModelTC/LightX2V-Wan2.2-Lightning, issue 13; threads on
        # r/StableDiffusion, 2025): the high-noise expert as it was trained, the LoRA on the low-noise one alone.
        NamedRecipe("hybrid-12", "euler", "simple", 12, 8.0, (3.5, 1.0), 10, LIGHTX2V, (0.0, 1.0)),
        # Wan-AI's own: Wan2.2, wan/configs/wan_i2v_A14B.py (sample_steps 40, sample_shift 5, sample_guide_scale
        # (3.5, 3.5), boundary 0.9), with UniPC, generate.py's sample_solver.
        NamedRecipe("quality-40", "uni_pc", "simple", 40, 5.0, (3.5, 3.5)),
    )
}
ONE_EXPERT = {
    # Wan2.2, wan/configs/wan_ti2v_5B.py: sample_shift 5, sample_guide_scale 5; it takes 50 steps where ours takes the
    # 40 of its name.
    "quality-40": NamedRecipe("quality-40", "uni_pc", "simple", 40, 5.0, (5.0, 5.0)),
}


def named_recipe(name: str, model: WanModel) -> NamedRecipe:
    """The recipe of that name for a model.

    Raises:
        RecipeError: it has none for this model.
    """
    if model.experts > 1:
        return NAMED[name]
    if name not in ONE_EXPERT:
        instead = " or ".join(f'"{other}"' for other in ONE_EXPERT)
        raise RecipeError(
            f"recipe {name} is made with LoRAs for the two experts of the A14B, which do not fit {model.name}: "
            f"write recipe = {instead}, or a [recipe.NAME] of your own"
        )
    return ONE_EXPERT[name]


@dataclass(frozen=True, slots=True)
class FoundLoras:
    """A named recipe's LoRA among the files that are here, for each expert; one and the same where it is undivided."""

    high: str
    low: str
    warning: str | None


def find_loras(recipe: NamedRecipe, file_names: Iterable[str]) -> FoundLoras | None:
    """A recipe's LoRA files, of the family it was made for or else of another, with a warning; None if it has none.

    file_names: as they lie in the LoRA folders, with sub-folders.

    Raises:
        RecipeError: there is no such LoRA here; with the remedy.
    """
    if recipe.family is None:
        return None
    there = tuple(file_names)
    for family in (recipe.family, *(other for other in FAMILIES if other is not recipe.family)):
        if picked := family.pick(there):
            return FoundLoras(*picked, None if family is recipe.family else _warning(recipe, family, picked))
    files = " and ".join(PurePosixPath(path).name for path in recipe.family.files)
    raise RecipeError(
        f"recipe {recipe.name} needs {recipe.family.title}, {files}: put them in a loras folder, or run "
        f"`storyboard models pull {recipe.family.name}`"
    )


def _warning(recipe: NamedRecipe, family: LoraFamily, picked: tuple[str, str]) -> str:
    made_for = recipe.family.title if recipe.family else ""
    files = " and ".join(dict.fromkeys(PurePosixPath(name).name for name in picked))
    return (
        f"recipe {recipe.name} was made for {made_for}, not found here: with {files} ({family.title}) "
        "motion and colours come out differently"
    )
