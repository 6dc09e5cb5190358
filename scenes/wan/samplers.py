"""Sampling: from noise to latents along a recipe's steps, in float32."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from scenes.wan.recipes import Recipe
from scenes.wan.solvers import Denoiser, Dpmpp2M, Dpmpp2MSde, DpmppSde, Euler, Lcm, UniPC

SOLVERS = {
    "euler": Euler,
    "lcm": Lcm,
    "uni_pc": UniPC,
    "dpmpp_2m": Dpmpp2M,
    "dpmpp_2m_sde": Dpmpp2MSde,
    "dpmpp_sde": DpmppSde,
}


def sample(
    recipe: Recipe, latents: Tensor, velocity: Denoiser, noise: torch.Generator, told: Callable[[int], None]
) -> Tensor:
    """The latents at the recipe's end.

    noise: a CPU generator, which stochastic samplers draw from at each step.
    told: takes the index of each step that is done; what it raises ends the sampling.
    """

    def draw(like: Tensor) -> Tensor:
        return gaussian(like.shape, noise, like.device)

    solver = SOLVERS[recipe.sampler]([*(step.sigma for step in recipe.steps), recipe.end], draw)
    for index, step in enumerate(recipe.steps):
        latents = solver(index, step, latents, velocity)
        told(index)
    return latents


def gaussian(shape: Sequence[int], noise: torch.Generator, device: torch.device) -> Tensor:
    """Standard normal float32 noise, drawn on the CPU, so that a seed gives the same on every device."""
    # From pinned memory the copy takes its place in the device's queue and the host goes on.
    drawn = torch.randn(
        tuple(shape), generator=noise, dtype=torch.float32, device="cpu", pin_memory=device.type == "cuda"
    )
    return drawn.to(device, non_blocking=True)


def model_time(sampler: str, sigma: float) -> float:
    """The time, 0 to 1000, that the model is told at a sigma.

    With UniPC it is a whole number, rounded down: so it is in Wan-AI's own code and in diffusers, where the recipes for
    it come from. The other samplers tell the exact one, as ComfyUI and diffusers' flow schedulers do.
    """
    return float(int(sigma * 1000)) if sampler == "uni_pc" else float(np.float32(sigma) * np.float32(1000))
