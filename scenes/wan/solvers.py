"""The samplers' arithmetic: how each gets from one sigma to the next. Latents are float32.

Coefficients are 0-dim float32 tensors on the CPU, in diffusers' order of operations: the same bits as its schedulers on
a CPU. On a GPU they go into the kernels' arguments, so no step waits for the device; diffusers' UniPC copies its sigmas
there and solves there, and waits each time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor

from scenes.wan.recipes import Step

Denoiser = Callable[[Tensor, float, Step], Tensor]
"""Latents, the sigma they are at and the step give the velocity, noise minus picture. A sampler may ask for it at a
sigma in between."""
Draw = Callable[[Tensor], Tensor]
"""Standard normal noise in the shape and on the device of the latents."""

solve = cast("Callable[..., Tensor]", torch.linalg.solve)
NEAR_ONE = 1e-6
"""Solvers in logSNR, which is infinite at sigma 1, start this much below it, as diffusers' UniPC does."""


class Level:
    """A sigma with its signal share and half-logSNR."""

    def __init__(self, value: float) -> None:
        self.value = value
        self.sigma = torch.tensor(value, dtype=torch.float32, device="cpu")
        self.alpha = 1 - self.sigma
        self.snr = torch.log(self.alpha) - torch.log(self.sigma)


def below_one(sigmas: Sequence[float]) -> list[float]:
    first, *others = sigmas
    return [first - NEAR_ONE if abs(first - 1) < NEAR_ONE else first, *others]


class Euler:
    """Source: FlowMatchEulerDiscreteScheduler."""

    def __init__(self, sigmas: Sequence[float], draw: Draw) -> None:
        self.levels = [Level(sigma) for sigma in sigmas]

    def __call__(self, index: int, step: Step, latents: Tensor, velocity: Denoiser) -> Tensor:
        now, after = self.levels[index : index + 2]
        return latents + (after.sigma - now.sigma) * velocity(latents, now.value, step).float()


class Lcm:
    """To the picture and back to the next sigma by new noise. Source: FlowMatchLCMScheduler, ComfyUI's sample_lcm."""

    def __init__(self, sigmas: Sequence[float], draw: Draw) -> None:
        self.levels = [Level(sigma) for sigma in sigmas]
        self.draw = draw

    def __call__(self, index: int, step: Step, latents: Tensor, velocity: Denoiser) -> Tensor:
        now, after = self.levels[index : index + 2]
        picture = latents - now.sigma * velocity(latents, now.value, step).float()
        return (1 - after.sigma) * picture + after.sigma * self.draw(latents)


class UniPC:
    """UniPC of order 2, B(h) = expm1, predicting the picture. Source: arXiv 2302.04867, UniPCMultistepScheduler."""

    def __init__(self, sigmas: Sequence[float], draw: Draw) -> None:
        self.levels = [Level(sigma) for sigma in below_one(sigmas)]
        self.pictures: list[Tensor] = []
        self.order = 0
        self.before = torch.empty(0)

    def __call__(self, index: int, step: Step, latents: Tensor, velocity: Denoiser) -> Tensor:
        now = self.levels[index]
        picture = latents - now.sigma * velocity(latents, now.value, step).float()
        if index > 0:
            latents = self._corrected(index, picture)
        self.pictures = [*self.pictures[-1:], picture]
        self.order = min(2, len(self.levels) - 1 - index, index + 1)
        self.before = latents
        return self._predicted(index)

    def _predicted(self, index: int) -> Tensor:
        now, after = self.levels[index : index + 2]
        h = after.snr - now.snr
        reach = torch.expm1(-h)
        found = after.sigma / now.sigma * self.before - after.alpha * reach * self.pictures[-1]
        if self.order == 1:
            return found
        return found - after.alpha * reach * (0.5 * self._slope(index, h))

    def _corrected(self, index: int, picture: Tensor) -> Tensor:
        """Where the step before should have led, now that the picture at its end is known."""
        start, now = self.levels[index - 1 : index + 1]
        h = now.snr - start.snr
        reach = torch.expm1(-h)
        found = now.sigma / start.sigma * self.before - now.alpha * reach * self.pictures[-1]
        change = picture - self.pictures[-1]
        if self.order == 1:
            return found - now.alpha * reach * (0.5 * change)
        weights = self._weights(index, h)
        return found - now.alpha * reach * (weights[0] * self._slope(index - 1, h) + weights[1] * change)

    def _slope(self, index: int, h: Tensor) -> Tensor:
        """How the picture changed over the step that led to `index`, in units of a step of `h`."""
        ratio = (self.levels[index - 1].snr - self.levels[index].snr) / h
        return (self.pictures[-2] - self.pictures[-1]) / ratio

    def _weights(self, index: int, h: Tensor) -> Tensor:
        ratio = (self.levels[index - 2].snr - self.levels[index - 1].snr) / h
        first = torch.expm1(-h) / -h - 1
        second = first / -h - 0.5
        one = torch.ones(())
        rows = torch.stack([torch.stack([one, one]), torch.stack([ratio, one])])
        return solve(rows, torch.stack([first, second * 2]) / torch.expm1(-h))


class Dpmpp2M:
    """DPM-Solver++(2M), the midpoint form. Source: arXiv 2211.01095, DPMSolverMultistepScheduler."""

    def __init__(self, sigmas: Sequence[float], draw: Draw) -> None:
        self.levels = [Level(sigma) for sigma in below_one(sigmas)]
        self.draw = draw
        self.picture: Tensor | None = None

    def __call__(self, index: int, step: Step, latents: Tensor, velocity: Denoiser) -> Tensor:
        now, after = self.levels[index : index + 2]
        picture = latents - now.sigma * velocity(latents, now.value, step).float()
        h = after.snr - now.snr
        slope = None
        if self.picture is not None and after.value > 0:
            ratio = (now.snr - self.levels[index - 1].snr) / h
            slope = (1.0 / ratio) * (picture - self.picture)
        self.picture = picture
        return self._next(now, after, h, latents, picture, slope)

    def _next(
        self, now: Level, after: Level, h: Tensor, latents: Tensor, picture: Tensor, slope: Tensor | None
    ) -> Tensor:
        share = after.alpha * (torch.exp(-h) - 1.0)
        found = (after.sigma / now.sigma) * latents - share * picture
        return found if slope is None else found - 0.5 * share * slope


class Dpmpp2MSde(Dpmpp2M):
    """SDE-DPM-Solver++(2M): ComfyUI's dpmpp_2m_sde, WanVideoWrapper's dpm++_sde."""

    def _next(
        self, now: Level, after: Level, h: Tensor, latents: Tensor, picture: Tensor, slope: Tensor | None
    ) -> Tensor:
        share = after.alpha * (1 - torch.exp(-2.0 * h))
        found = (after.sigma / now.sigma * torch.exp(-h)) * latents + share * picture
        if slope is not None:
            found = found + 0.5 * share * slope
        return found + after.sigma * torch.sqrt(1.0 - torch.exp(-2 * h)) * self.draw(latents)


class DpmppSde:
    """SDE-DPM-Solver++(2S): ComfyUI's dpmpp_sde with r = 1/2 and eta = 1; two evaluations a step, one at the last.

    Noise is drawn for each half of a step, and the whole step's is made of both, as on one Brownian path. ComfyUI takes
    both from a Brownian tree over sigma. Source: arXiv 2211.01095, algorithm 1, with k-diffusion's noise.
    """

    def __init__(self, sigmas: Sequence[float], draw: Draw) -> None:
        self.sigmas = below_one(sigmas)
        self.draw = draw

    def __call__(self, index: int, step: Step, latents: Tensor, velocity: Denoiser) -> Tensor:
        now, after = self.sigmas[index : index + 2]
        picture = latents - now * velocity(latents, now, step).float()
        if after == 0:
            return picture
        h = (math.log((1 - after) / after) - math.log((1 - now) / now)) / 2  # of half a step
        middle = 1 / (1 + math.exp(h) * (1 - now) / now)
        kept, drawn = math.exp(-h), math.sqrt(-math.expm1(-2 * h))
        noise = drawn * self.draw(latents)
        half = middle / now * kept * latents + (1 - middle) * -math.expm1(-2 * h) * picture + middle * noise
        picture = half - middle * velocity(half, middle, step).float()
        noise = kept * noise + drawn * self.draw(latents)
        return after / now * kept**2 * latents + (1 - after) * -math.expm1(-4 * h) * picture + after * noise
