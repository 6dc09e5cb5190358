"""The condition, encoded without repeating what repeats, equal to the bit to the stock pipeline's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLWan, FlowMatchEulerDiscreteScheduler, WanImageToVideoPipeline
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from scenes.footage import Frame
from scenes.wan.condition import condition, image_latent, picture
from scenes.wan.encode import encode, encoder_groups
from scenes.wan.vae import spare_copies
from tests import tiny_wan as tiny

torch.set_num_threads(1)


def deep(residual: bool = False) -> Any:
    """As many layers at each resolution as the full-size VAE, few channels: it settles as late."""
    shape: dict[str, Any] = {"base_dim": 4, "num_res_blocks": 2, "dim_mult": [1, 2, 4, 4]}
    if residual:
        shape |= {"z_dim": 48, "is_residual": True, "patch_size": 2, "in_channels": 12, "out_channels": 12}
        shape |= {"latents_mean": [0.0] * 48, "latents_std": [1.0] * 48, "scale_factor_spatial": 16}
    model = AutoencoderKLWan(**shape)
    model.load_state_dict(tiny.random_state(model, 3))
    return model.eval().requires_grad_(False)


def lean(vae: Any) -> Any:
    """As load_vae leaves it."""
    spare_copies(vae)
    return vae


def noise(width: int, height: int, seed: int) -> Frame:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def stock(vae: Any, five: bool = False) -> Any:
    none: Any = None
    return WanImageToVideoPipeline(
        tokenizer=none,
        text_encoder=none,
        vae=vae,
        scheduler=FlowMatchEulerDiscreteScheduler(),
        expand_timesteps=five,
    )


def prepared(pipe: Any, opening: Frame, last: Frame | None, frames: int) -> Any:
    """As WanImageToVideoPipeline calls it on pictures of the right size."""
    height, width, _ = opening.shape
    given = [
        None if frame is None else pipe.video_processor.preprocess(Image.fromarray(frame), height=height, width=width)
        for frame in (opening, last)
    ]
    return pipe.prepare_latents(
        given[0],
        1,
        pipe.vae.config.z_dim,
        height,
        width,
        frames,
        torch.float32,
        torch.device("cpu"),
        torch.Generator().manual_seed(0),
        None,
        given[1],
    )


def test_every_pixel_is_as_the_processor_has_it() -> None:
    levels = np.arange(256, dtype=np.uint8)
    frame = np.stack([levels, levels[::-1], np.roll(levels, 7)], -1).reshape(16, 16, 3)
    want = stock(tiny.vae21()).video_processor.preprocess(Image.fromarray(frame), height=16, width=16)
    given = picture(frame)
    assert given.shape == (1, 3, 1, 16, 16)
    assert torch.equal(given[:, :, 0], want)
    frozen = frame.copy()
    frozen.setflags(write=False)
    assert torch.equal(picture(frozen), given)


@pytest.mark.parametrize("frames", [5, 9, 13, 21, 81])
@pytest.mark.parametrize("ends", [False, True])
@pytest.mark.parametrize("make", [tiny.vae21, deep])
def test_condition_is_the_pipelines(frames: int, ends: bool, make: Callable[[], Any]) -> None:
    opening, last = noise(32, 16, 1), noise(32, 16, 2) if ends else None
    _, want = prepared(stock(make()), opening, last, frames)
    given = condition(lean(make()), opening, last, frames)
    assert given.dtype == torch.float32
    assert given.shape == (1, 20, (frames - 1) // 4 + 1, 2, 4)
    assert torch.equal(given, want)


def test_condition_of_a_half_precision_vae_is_the_pipelines() -> None:
    vae = deep().to(torch.bfloat16)
    _, want = prepared(stock(vae), noise(16, 32, 1), None, 29)
    given = condition(lean(vae), noise(16, 32, 1), None, 29)
    assert given.dtype == torch.float32
    assert torch.equal(given, want)


def test_image_latent_is_the_pipelines() -> None:
    opening = noise(64, 32, 3)
    _, want, _ = prepared(stock(tiny.vae22(), five=True), opening, None, 9)
    given = image_latent(lean(tiny.vae22()), opening)
    assert given.shape == (1, 48, 1, 2, 4)
    assert torch.equal(given, want)


@pytest.mark.parametrize("residual", [False, True])
def test_encode_equals_the_whole(residual: bool) -> None:
    """Of chunks that repeat, stop repeating, and repeat again."""
    vae = deep(residual)
    generator = torch.Generator().manual_seed(0)
    first, other = torch.rand(1, 3, 1, 32, 48, generator=generator), torch.rand(1, 3, 4, 32, 48, generator=generator)
    blank = torch.zeros(1, 3, 4, 32, 48)
    chunks = [first, *[blank] * 12, other, *[blank] * 9, *[other] * 8, blank]
    whole = vae.encode(torch.cat(chunks, 2)).latent_dist.mode()
    assert torch.equal(encode(lean(vae), chunks), whole)
    assert whole.std() > 0.1


def runs(vae: Any, frames: int, last: Frame | None = None) -> list[int]:
    """How often the layers of each resolution above the latents' run."""
    counted: Counter[int] = Counter()
    hooks = [
        group[0].register_forward_hook(lambda *_, index=index: counted.update([index]))
        for index, group in enumerate(encoder_groups(vae)[:-1])
    ]
    condition(vae, noise(16, 16, 1), last, frames)
    for hook in hooks:
        hook.remove()
    return [counted[index] for index in sorted(counted)]


def test_what_repeats_is_not_run_again() -> None:
    """Of the 21 chunks of 81 frames, at each of the resolutions above the latents'."""
    vae = deep()
    assert runs(vae, 81) == [5, 7, 12]
    assert runs(vae, 81, noise(16, 16, 2)) == [6, 8, 13]
    assert runs(vae, 161) == [5, 7, 12]
    assert runs(vae, 5) == [2, 2, 2]


def test_a_third_of_the_work_is_left() -> None:
    vae = deep()
    video = torch.cat([picture(noise(64, 64, 1)), torch.zeros(1, 3, 80, 64, 64)], 2)
    with FlopCounterMode(display=False) as whole:
        vae.encode(video)
    with FlopCounterMode(display=False) as ours:
        condition(vae, noise(64, 64, 1), None, 81)
    share = ours.get_total_flops() / whole.get_total_flops()
    assert share < 0.36, share


def test_encoding_leaves_nothing_behind() -> None:
    vae = deep()
    first = condition(vae, noise(32, 16, 1), None, 13)
    condition(vae, noise(32, 16, 2), noise(32, 16, 3), 21)
    assert torch.equal(condition(vae, noise(32, 16, 1), None, 13), first)
