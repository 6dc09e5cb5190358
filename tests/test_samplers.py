"""Samplers: the same bits as diffusers' schedulers, and the right answer where it is known."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import pytest
import torch
from diffusers import (
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    FlowMatchLCMScheduler,
    UniPCMultistepScheduler,
)
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from scenes.shot import Stopped
from scenes.wan.recipes import SAMPLERS, Recipe, Step
from scenes.wan.samplers import SOLVERS, gaussian, model_time, sample
from scenes.wan.schedules import sigmas

torch.set_num_threads(1)
SHAPE = (1, 4, 3, 6, 5)
CPU = torch.device("cpu")
STOCHASTIC = ("lcm", "dpmpp_2m_sde", "dpmpp_sde")
STEPPED = ("euler", "lcm", "uni_pc", "dpmpp_2m", "dpmpp_2m_sde")  # one evaluation a step


def recipe_of(sampler: str, levels: Sequence[float]) -> Recipe:
    return Recipe(sampler, tuple(Step(sigma, "high", 1.0) for sigma in levels[:-1]), levels[-1])


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def untold(index: int) -> None:
    pass


def curved(latents: Tensor, sigma: float) -> Tensor:
    """Some velocity that is no straight line anywhere."""
    return torch.sin(3 * latents) + latents.roll(1, -1) * (sigma - 0.3)


def scheduled(scheduler: FlowMatchEulerDiscreteScheduler, latents: Tensor, noise: torch.Generator | None) -> Tensor:
    """A scheduler of diffusers, driven as its pipelines do."""
    for index, time in enumerate(scheduler.timesteps):
        velocity = curved(latents, float(scheduler.sigmas[index]))
        extra = {} if noise is None else {"generator": noise}
        latents = scheduler.step(velocity, time, latents, return_dict=False, **extra)[0]
    return latents


def stock(sampler: str, levels: Sequence[float]) -> FlowMatchEulerDiscreteScheduler:
    given = torch.tensor(levels[:-1], dtype=torch.float64).numpy()
    match sampler:
        case "euler":
            scheduler = FlowMatchEulerDiscreteScheduler(shift=1.0)
        case "lcm":
            scheduler = FlowMatchLCMScheduler(shift=1.0)
        case "uni_pc":
            scheduler = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True)
        case _:
            return stock_dpm("sde-dpmsolver++" if sampler.endswith("sde") else "dpmsolver++", levels)
    scheduler.set_timesteps(sigmas=given if sampler == "uni_pc" else given.tolist())
    return scheduler


def stock_dpm(algorithm: str, levels: Sequence[float]) -> DPMSolverMultistepScheduler:
    """It takes no sigmas: they are put in its place afterwards."""
    scheduler = DPMSolverMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, algorithm_type=algorithm
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of NumPy 2, about how it makes its own sigmas
        scheduler.set_timesteps(len(levels) - 1)
    inside = [levels[0] - 1e-6 if levels[0] == 1 else levels[0], *levels[1:]]
    scheduler.sigmas = torch.tensor(inside, dtype=torch.float64).float()
    scheduler.timesteps = torch.arange(len(levels) - 1, 0, -1)
    return scheduler


class TestStock:
    """Our solvers against diffusers', bit for bit in float32."""

    @pytest.mark.parametrize(("scheduler", "steps", "shift"), [("simple", 4, 5), ("beta", 6, 8), ("simple", 20, 5)])
    @pytest.mark.parametrize("sampler", STEPPED)
    def test_the_same_bits(self, sampler: str, scheduler: str, steps: int, shift: float) -> None:
        levels = sigmas(scheduler, steps, shift)
        start = torch.randn(SHAPE, generator=seeded(1))
        reference = stock(sampler, levels)
        noise = seeded(2) if sampler in STOCHASTIC else None
        theirs = scheduled(reference, start, noise)
        inside = [float(sigma) for sigma in reference.sigmas]
        at = iter(inside)

        def velocity(latents: Tensor, sigma: float, step: Step) -> Tensor:
            expected = next(at)
            assert sigma == pytest.approx(expected, abs=1e-7)
            return curved(latents, expected)

        ours = sample(recipe_of(sampler, levels), start, velocity, seeded(2), untold)
        assert torch.equal(ours, theirs)

    def test_the_first_level_of_a_schedule_may_lie_below_one(self) -> None:
        levels = (0.9, 0.7, 0.5, 0.2, 0.0)
        start = torch.randn(SHAPE, generator=seeded(1))
        reference = stock("uni_pc", levels)
        inside = {round(float(sigma), 6): float(sigma) for sigma in reference.sigmas}
        theirs = scheduled(reference, start, None)
        ours = sample(
            recipe_of("uni_pc", levels), start, lambda x, s, _: curved(x, inside[round(s, 6)]), seeded(), untold
        )
        assert torch.equal(ours, theirs)


class TestTraps:
    def test_euler_and_lcm_take_sigmas_as_they_are(self) -> None:
        """With shift=5 diffusers' schedulers shift twice; LoRAs were trained at these."""
        stock_sigmas = FlowMatchEulerDiscreteScheduler(shift=5.0)
        stock_sigmas.set_timesteps(4)
        assert [round(float(s), 3) for s in stock_sigmas.sigmas] == [1, 0.91, 0.717, 0.024, 0]
        for sampler in ("euler", "lcm"):
            seen: list[float] = []

            def velocity(latents: Tensor, sigma: float, step: Step, seen: list[float] = seen) -> Tensor:
                seen.append(sigma)
                return latents

            sample(recipe_of(sampler, sigmas("simple", 4, 5)), torch.zeros(SHAPE), velocity, seeded(), untold)
            assert [round(sigma, 4) for sigma in seen] == [1.0, 0.9375, 0.8333, 0.625]

    @pytest.mark.parametrize("sampler", sorted(SOLVERS))
    @pytest.mark.parametrize("shift", [3.0, 8.0])
    def test_beta_heeds_the_shift_and_gives_numbers(self, sampler: str, shift: float) -> None:
        levels = sigmas("beta", 6, shift)
        found = sample(
            recipe_of(sampler, levels),
            torch.randn(SHAPE, generator=seeded()),
            lambda x, s, _: curved(x, s),
            seeded(),
            untold,
        )
        assert torch.isfinite(found).all()
        assert levels != sigmas("beta", 6, shift + 1)

    @pytest.mark.parametrize("sampler", STOCHASTIC)
    def test_step_noise_comes_from_the_generator_alone(self, sampler: str) -> None:
        recipe, start = recipe_of(sampler, sigmas("simple", 5, 8)), torch.randn(SHAPE, generator=seeded())

        def run(seed: int) -> Tensor:
            torch.rand(seed + 3)  # whatever else draws random numbers meanwhile
            return sample(recipe, start, lambda x, s, _: curved(x, s), seeded(seed), untold)

        assert torch.equal(run(4), run(4))
        assert not torch.equal(run(4), run(5))

    @pytest.mark.parametrize("sampler", sorted(SOLVERS))
    def test_latents_stay_in_float32_whatever_the_model_computes_in(self, sampler: str) -> None:
        recipe, start = recipe_of(sampler, sigmas("simple", 5, 8)), torch.randn(SHAPE, generator=seeded())
        half = sample(recipe, start, lambda x, s, _: curved(x, s).bfloat16(), seeded(), untold)
        same = sample(recipe, start, lambda x, s, _: curved(x, s).bfloat16().float(), seeded(), untold)
        assert half.dtype == torch.float32
        assert torch.equal(half, same)
        assert not torch.equal(half, half.bfloat16().float())


MEAN, SPREAD = 0.7, 0.4


def spread_at(sigma: float) -> float:
    return ((1 - sigma) ** 2 * SPREAD**2 + sigma**2) ** 0.5


def gaussian_velocity(latents: Tensor, sigma: float, step: Step) -> Tensor:
    """Exact where pictures are N(MEAN, SPREAD squared): the expected noise minus the expected picture."""
    off = (latents - (1 - sigma) * MEAN) / spread_at(sigma) ** 2
    return sigma * off - (MEAN + (1 - sigma) * SPREAD**2 * off)


def consistency_velocity(latents: Tensor, sigma: float, step: Step) -> Tensor:
    """What a perfect consistency model of the same Gaussian gives: straight to the end of the exact path."""
    end = MEAN + SPREAD * (latents - (1 - sigma) * MEAN) / spread_at(sigma)
    return (latents - end) / sigma


def error(sampler: str, steps: int, end: float = 0.0, samples: int = 300_000) -> tuple[float, float]:
    """How far it ends from where the exact path from the same noise does, and how far its spread is from the exact."""
    start = torch.randn(samples, generator=seeded())
    levels = [end + (1 - end) * sigma for sigma in sigmas("simple", steps, 3)]
    found = sample(recipe_of(sampler, levels), start, gaussian_velocity, seeded(1), untold)
    exact = (1 - end) * MEAN + spread_at(end) * start
    spread = abs(float(found.mean()) - (1 - end) * MEAN) + abs(float(found.std()) - spread_at(end))
    return float((found - exact).abs().mean()), spread


class TestConvergence:
    """On a Gaussian, whose exact path is known. The last step, down to 0, is of first order with all of them."""

    @pytest.mark.parametrize(("sampler", "fourfold"), [("euler", 3.5), ("dpmpp_2m", 12), ("uni_pc", 9)])
    def test_of_the_deterministic_ones_along_the_path(self, sampler: str, fourfold: float) -> None:
        assert error(sampler, 64, samples=2000)[0] < 0.02
        assert error(sampler, 16, 0.3, 2000)[0] / error(sampler, 64, 0.3, 2000)[0] > fourfold

    @pytest.mark.parametrize(("sampler", "fourfold"), [("dpmpp_2m_sde", 5), ("dpmpp_sde", 5)])
    def test_of_the_stochastic_ones_in_distribution(self, sampler: str, fourfold: float) -> None:
        assert error(sampler, 64)[1] < 0.02
        assert error(sampler, 8, 0.3)[1] / error(sampler, 32, 0.3)[1] > fourfold

    @pytest.mark.parametrize("steps", [1, 4, 8])
    def test_of_lcm_with_a_consistency_model(self, steps: int) -> None:
        start = torch.randn(300_000, generator=seeded())
        recipe = recipe_of("lcm", sigmas("beta", steps, 8))
        found = sample(recipe, start, consistency_velocity, seeded(1), untold)
        assert float(found.mean()) == pytest.approx(MEAN, abs=0.003)
        assert float(found.std()) == pytest.approx(SPREAD, abs=0.003)


class TestCalls:
    @pytest.mark.parametrize("sampler", STEPPED)
    def test_one_evaluation_a_step(self, sampler: str) -> None:
        assert len(self.evaluations(sampler, 5)) == 5

    def test_dpmpp_sde_takes_two_but_one_at_the_last(self) -> None:
        found = self.evaluations("dpmpp_sde", 3)
        assert [index for _, index in found] == [0, 0, 1, 1, 2]
        levels = [sigma for sigma, _ in found]
        assert levels == sorted(levels, reverse=True)

    def evaluations(self, sampler: str, steps: int) -> list[tuple[float, int]]:
        recipe, seen = recipe_of(sampler, sigmas("simple", steps, 5)), []

        def velocity(latents: Tensor, sigma: float, step: Step) -> Tensor:
            seen.append((sigma, recipe.steps.index(step)))
            return latents

        sample(recipe, torch.zeros(SHAPE), velocity, seeded(), untold)
        return seen

    @pytest.mark.parametrize("sampler", sorted(SOLVERS))
    def test_steps_are_told_and_a_stop_passes(self, sampler: str) -> None:
        told: list[int] = []

        def tell(index: int) -> None:
            told.append(index)
            if index == 2:
                raise Stopped

        recipe = recipe_of(sampler, sigmas("simple", 5, 5))
        with pytest.raises(Stopped):
            sample(recipe, torch.zeros(SHAPE), lambda x, *_: x, seeded(), tell)
        assert told == [0, 1, 2]

    @pytest.mark.parametrize("sampler", sorted(SOLVERS))
    def test_a_schedule_may_end_above_zero(self, sampler: str) -> None:
        found = sample(
            recipe_of(sampler, (1.0, 0.9, 0.8, 0.5)),
            torch.randn(20_000, generator=seeded()),
            gaussian_velocity,
            seeded(1),
            untold,
        )
        assert torch.isfinite(found).all()
        if sampler != "lcm":
            assert float(found.std()) == pytest.approx(spread_at(0.5), abs=0.03)


class Copies(TorchDispatchMode):
    """Counts what would make a host wait for a device: copies between them, and numbers read back."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket in (torch.ops.aten._to_copy, torch.ops.aten._local_scalar_dense, torch.ops.aten.copy_):
            self.seen.append(str(func))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("sampler", sorted(SOLVERS))
def test_nothing_waits_for_the_device_and_only_noise_goes_to_it(sampler: str) -> None:
    """On the meta device reading a number back raises; copies to it are counted."""
    steps = 6
    with Copies() as copies:
        sample(
            recipe_of(sampler, sigmas("simple", steps, 5)),
            torch.empty(SHAPE, device="meta"),
            lambda x, s, _: x * s,
            seeded(),
            untold,
        )
    drawn = {"lcm": steps, "dpmpp_2m_sde": steps, "dpmpp_sde": 2 * (steps - 1)}.get(sampler, 0)
    assert copies.seen == ["aten._to_copy.default"] * drawn


def test_a_recipe_may_name_every_sampler_there_is() -> None:
    assert tuple(SOLVERS) == SAMPLERS


def test_noise_is_drawn_on_the_cpu_as_the_pipelines_do() -> None:
    from diffusers.utils.torch_utils import randn_tensor

    theirs = randn_tensor(SHAPE, generator=seeded(9), device=CPU, dtype=torch.float32)
    assert torch.equal(gaussian(SHAPE, seeded(9), CPU), theirs)


@pytest.mark.parametrize(("scheduler", "steps", "shift"), [("simple", 40, 5), ("beta", 4, 8), ("normal", 7, 3)])
def test_the_time_told_is_that_of_the_stock_schedulers(scheduler: str, steps: int, shift: float) -> None:
    levels = sigmas(scheduler, steps, shift)
    euler, unipc = stock("euler", levels), stock("uni_pc", levels)
    assert [model_time("euler", sigma) for sigma in levels[:-1]] == euler.timesteps.tolist()
    first, *others = levels[:-1]
    assert [model_time("uni_pc", sigma) for sigma in (first - 1e-6, *others)] == unipc.timesteps.tolist()
    assert unipc.timesteps.dtype == torch.int64  # whole numbers
