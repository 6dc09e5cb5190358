"""What a clip is conditioned on: its pictures, encoded as diffusers' WanImageToVideoPipeline does."""

from __future__ import annotations

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
from torch import Tensor

from scenes.footage import Frame
from scenes.wan.encode import encode
from scenes.wan.vae import scale_of


@torch.no_grad()
def condition(vae: AutoencoderKLWan, opening: Frame, last: Frame | None, frames: int, strips: int = 1) -> Tensor:
    """For the A14B: (1, 4 + z, t, h, w) in fp32, a mask of the frames that are given and the normalised latents.

    `strips`: how many parts the encoder works in, one after another.
    """
    latents = _normalised(vae, encode(vae, _chunks(opening, last, frames), strips))
    mask = latents.new_zeros(1, 4, *latents.shape[2:])
    mask[:, :, 0] = 1  # the first latent is of one frame, which the mask counts four times
    if last is not None:
        mask[:, -1, -1] = 1
    return torch.cat([mask, latents], dim=1)


@torch.no_grad()
def image_latent(vae: AutoencoderKLWan, opening: Frame) -> Tensor:
    """For TI2V-5B: (1, z, 1, h, w) in fp32, normalised."""
    return _normalised(vae, encode(vae, [picture(opening)]))


def picture(frame: Frame) -> Tensor:
    """(1, 3, 1, height, width) in -1 to 1: bit for bit diffusers' VideoProcessor.preprocess of a picture of this size.

    On the CPU: a GPU would divide by multiplying with the inverse, which rounds otherwise.
    """
    pixels = torch.from_numpy(np.array(frame)).permute(2, 0, 1)[None, :, None]
    return 2.0 * (pixels.float() / 255.0) - 1.0


def _chunks(opening: Frame, last: Frame | None, frames: int) -> list[Tensor]:
    """The frames as the encoder takes them, the first and then four and four; the empty chunks are one tensor."""
    first = picture(opening)
    blank = first.new_zeros(*first.shape[:2], 4, *first.shape[3:])
    end = blank
    if last is not None:
        end = blank.clone()
        end[:, :, -1:] = picture(last)
    return [first, *[blank] * ((frames - 1) // 4 - 1), end]


def _normalised(vae: AutoencoderKLWan, latents: Tensor) -> Tensor:
    mean, inverse = scale_of(vae)
    return (latents.float() - mean) * inverse
