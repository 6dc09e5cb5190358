"""The denoise loop: from a seed, a picture and words to the latents of a clip.

Which expert, guidance and LoRA strengths each step has is in the recipe. Where diffusers' WanImageToVideoPipeline can
say the same thing, the latents are the same bits in float32 on a CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from scenes.wan.recipes import Recipe, Step
from scenes.wan.samplers import gaussian, model_time, sample


class Predict(Protocol):
    """One evaluation of the step's expert, at the step's LoRA strengths.

    latents: (1, 36, T, h, w), or (1, 48, T, h, w) for the 5B, float32. timestep: (1,), or for the 5B (1, tokens).
    text: (1, tokens, dim), twice as many tokens where guidance acts inside attention. Gives the velocity in any dtype.
    """

    def __call__(self, latents: Tensor, timestep: Tensor, text: Tensor, step: Step) -> Tensor: ...


def denoise(
    recipe: Recipe,
    *,
    condition: Tensor,
    text: Tensor,
    negative: Tensor | None,
    predict: Predict,
    seed: int,
    shape: Sequence[int],
    device: torch.device,
    told: Callable[[int], None],
) -> Tensor:
    """The latents of a clip, of `shape` (1, channels, T, h, w), in float32, normalised as the model has them.

    condition: (1, 20, T, h, w) of mask and latents, or the 5B's opening picture as latents, (1, 48, 1, h, w); on
        `device`, as text and negative, (1, tokens, dim) each.
    told: takes the index of each step that is done; what it raises ends the work.
    """
    if recipe.negative_acts and negative is None:
        raise ValueError("this recipe needs a negative text, if only that of an empty prompt")
    place = _Opened(condition, shape) if condition.shape[1] == shape[1] else _Beside(condition)
    # NAG takes both texts in one context; where cfg acts, its second pass has the negative one.
    both = torch.cat([text, negative], dim=1) if recipe.nag is not None and negative is not None else text

    def velocity(latents: Tensor, sigma: float, step: Step) -> Tensor:
        given = place.given(latents)
        timestep = place.timestep(model_time(recipe.sampler, sigma))
        if step.cfg == 1 or negative is None:
            return predict(given, timestep, both, step).float()
        towards = predict(given, timestep, text, step).float()
        away = predict(given, timestep, negative, step).float()
        return away + step.cfg * (towards - away)

    noise = torch.Generator("cpu").manual_seed(seed)
    with torch.no_grad():
        return place.kept(sample(recipe, gaussian(shape, noise, device), velocity, noise, told))


class _Beside:
    """The A14B's way: the condition lies beside the latents, as channels."""

    def __init__(self, condition: Tensor) -> None:
        self.condition = condition.float()

    def given(self, latents: Tensor) -> Tensor:
        return torch.cat([latents, self.condition], dim=1)

    def timestep(self, time: float) -> Tensor:
        return torch.full((1,), time, dtype=torch.float32, device=self.condition.device)

    def kept(self, latents: Tensor) -> Tensor:
        return latents


class _Opened:
    """The 5B's way: the first latent frame is the opening picture's, at time 0; the others are at the step's."""

    def __init__(self, opening: Tensor, shape: Sequence[int]) -> None:
        self.opening = opening.float()
        frames, height, width = shape[2:]
        of_frame = (height // 2) * (width // 2)  # the model takes patches of 2 x 2
        self.moving = torch.ones(1, frames * of_frame, dtype=torch.float32, device=opening.device)
        self.moving[:, :of_frame] = 0

    def given(self, latents: Tensor) -> Tensor:
        return torch.cat([self.opening, latents[:, :, 1:]], dim=2)

    def timestep(self, time: float) -> Tensor:
        return self.moving * time

    def kept(self, latents: Tensor) -> Tensor:
        return self.given(latents)
