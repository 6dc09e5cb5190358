"""Recipes: how a shot is sampled, step by step, as data. Free of torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import ClassVar, Literal

from scenes.shot import Lora
from scenes.wan.models import WanModel
from scenes.wan.schedules import SCHEDULERS, sigmas

Expert = Literal["high", "low"]
SAMPLERS = ("euler", "lcm", "uni_pc", "dpmpp_2m", "dpmpp_2m_sde", "dpmpp_sde")
BOUNDARY = 0.9  # of I2V-A14B: Wan-AI's own wan_i2v_A14B.py, `boundary`


class RecipeError(ValueError):
    """A recipe that cannot be used as it stands; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of sampling, from its sigma to the next one's. `loras`: the strength of each of the recipe's."""

    kind: ClassVar[str] = "step/1"
    sigma: float
    expert: Expert
    cfg: float
    loras: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Nag:
    """Normalized Attention Guidance: what a negative prompt does at the steps of cfg 1. Source: arXiv 2505.21179.

    `scale` (1 or more) pushes attention away from the negative prompt, `tau` limits how far it may grow by that,
    `alpha` (0 to 1) is how much of the outcome is blended in.
    """

    # The values that KJNodes' WanVideoNAG starts from, which the field uses with WAN.
    kind: ClassVar[str] = "nag/1"
    scale: float = 11.0
    tau: float = 2.5
    alpha: float = 0.25


@dataclass(frozen=True, slots=True)
class LoraFile:
    """A LoRA's file; `digest` is of its bytes."""

    kind: ClassVar[str] = "lora-file/1"
    digest: str
    path: Path = field(compare=False)


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a renderer's key holds of sampling: effective values only. `end`: the sigma after the last step."""

    kind: ClassVar[str] = "recipe/1"
    sampler: str
    steps: tuple[Step, ...]
    end: float = 0.0
    loras: tuple[LoraFile, ...] = ()
    nag: Nag | None = None

    @property
    def calls(self) -> tuple[Step, ...]:
        """The step of each evaluation of the model, in order: two where cfg acts; twice as many within dpmpp_sde."""
        calls: list[Step] = []
        for step in self.steps:
            halves = 2 if self.sampler == "dpmpp_sde" and step is not self.steps[-1] else 1
            calls += [step] * (halves * (1 if step.cfg == 1 else 2))
        return tuple(calls)

    @property
    def negative_acts(self) -> bool:
        """Whether a negative prompt changes anything."""
        return self.nag is not None or any(step.cfg != 1 for step in self.steps)


@dataclass(frozen=True, slots=True)
class SamplingSpec:
    """Sampling as it is asked for. Either `sigmas`, with the last one after the last step, or scheduler and shift.

    `cfg` has two numbers, for the high and the low-noise expert, or one a step; `per_step` says that two are for two
    steps. `high_steps` steps are the high-noise expert's, else those whose sigma is `boundary` or more.
    """

    sampler: str
    scheduler: str | None
    steps: int
    shift: float | None
    sigmas: tuple[float, ...] | None
    cfg: tuple[float, ...]
    boundary: float | None = None
    high_steps: int | None = None
    per_step: bool = False


def recipe(spec: SamplingSpec, loras: Sequence[Lora], model: WanModel, nag: Nag | None) -> Recipe:
    """The recipe that a model is sampled by, with what has no effect left out.

    Raises:
        RecipeError: it contradicts itself.
    """
    if spec.sampler not in SAMPLERS:
        raise RecipeError(f'there is no sampler "{spec.sampler}" (there are: {", ".join(SAMPLERS)})')
    *levels, end = _sigmas(spec)
    experts = _experts(spec, levels, model)
    cfg = _cfg(spec, experts)
    strengths = [[lora.high if expert == "high" else lora.low for expert in experts] for lora in loras]
    acting = [(lora, column) for lora, column in zip(loras, strengths, strict=True) if any(column)]
    steps = tuple(
        Step(sigma, expert, scale, tuple(float(column[index]) for _, column in acting))
        for index, (sigma, expert, scale) in enumerate(zip(levels, experts, cfg, strict=True))
    )
    guides = nag is not None and nag.scale != 1 and nag.alpha != 0 and any(step.cfg == 1 for step in steps)
    files = tuple(LoraFile(lora.digest, lora.path) for lora, _ in acting)
    return Recipe(spec.sampler, steps, end, files, nag if guides else None)


def _sigmas(spec: SamplingSpec) -> tuple[float, ...]:
    if spec.sigmas is None:
        if spec.scheduler not in SCHEDULERS or spec.shift is None or spec.shift <= 0 or spec.steps < 1:
            raise RecipeError(f"a recipe needs steps, a shift and a scheduler ({', '.join(SCHEDULERS)}), or sigmas")
        try:
            return sigmas(spec.scheduler, spec.steps, spec.shift)
        except ValueError as error:
            raise RecipeError(str(error)) from None
    found = tuple(float(sigma) for sigma in spec.sigmas)
    if len(found) < 2 or not all(1 >= before > after >= 0 for before, after in pairwise(found)):
        raise RecipeError("sigmas must be two or more and fall from step to step, as in [1.0, 0.94, 0.83, 0.6, 0.0]")
    return found


def _experts(spec: SamplingSpec, levels: Sequence[float], model: WanModel) -> list[Expert]:
    if model.experts == 1:
        if spec.high_steps is not None or spec.boundary is not None:
            raise RecipeError(f"{model.name} has one expert: drop boundary and high_steps")
        return ["high" for _ in levels]
    if spec.high_steps is not None and not 0 <= spec.high_steps <= len(levels):
        raise RecipeError(f"high_steps = {spec.high_steps} is more than the {len(levels)} steps there are")
    boundary = BOUNDARY if spec.boundary is None else spec.boundary
    # A sigma that is the boundary but for rounding is on it.
    high = spec.high_steps if spec.high_steps is not None else sum(sigma > boundary - 1e-6 for sigma in levels)
    return ["high" if index < high else "low" for index in range(len(levels))]


def _cfg(spec: SamplingSpec, experts: Sequence[Expert]) -> list[float]:
    if len(spec.cfg) == 2 and not spec.per_step:
        return [float(spec.cfg[0] if expert == "high" else spec.cfg[1]) for expert in experts]
    if len(spec.cfg) != len(experts):
        raise RecipeError(f"cfg lists {len(spec.cfg)} numbers for {len(experts)} steps: one a step, or high and low")
    return [float(scale) for scale in spec.cfg]


def divided(high: LoraFile, low: LoraFile, strengths: tuple[float, float]) -> tuple[Lora, ...]:
    """A LoRA's two files, or one and the same, at strengths on the high and the low-noise expert."""
    if high.digest == low.digest:
        return (Lora(high.digest, *strengths, high.path),)
    return Lora(high.digest, strengths[0], 0.0, high.path), Lora(low.digest, 0.0, strengths[1], low.path)


def nag_for(asked: bool | Nag | None, usual: bool, negative_prompt: str | None) -> Nag | None:
    """The guidance of a scene: as its recipe asks, else as is `usual` for it; none without a negative prompt."""
    if not negative_prompt or not (usual if asked is None else asked):
        return None
    return asked if isinstance(asked, Nag) else Nag()
