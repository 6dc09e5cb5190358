"""Latents become frames, latent by latent: one frame, then four and four; exactly what the VAE gives at once.

The middle block, with the only attention, sees the whole picture. What comes after it, nearly all of the work and of
the memory, may go strip by strip: one strip through all of the clip, then the next, so that the memory of one is taken.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
from numpy.typing import NDArray
from torch import Tensor

from scenes.shot import Tell
from scenes.streams import lasting_stream
from scenes.wan.strips import Level, Strip, cut
from scenes.wan.vae import longer_side, memory_of, reach, remembering, scale_of, unfolded


def decode(
    vae: AutoencoderKLWan, latents: Tensor, strips: int = 1, tell: Tell | None = None
) -> Iterator[NDArray[np.uint8]]:
    """Frames (n, height, width, 3) of latents (1, z, t, h, w) as the denoiser leaves them: n is 1, then 4 and 4.

    With one strip, frames come as their latent is decoded; with more, while the last strip is. `tell` takes the part
    that is done, after each latent of each strip, and may raise.
    """
    side = longer_side(latents)
    seen = middle(vae, latents)
    parts = cut(decoder_levels(vae), latents.shape[side], strips)
    clip: deque[NDArray[np.uint8]] = deque()
    for number, strip in enumerate(parts):
        frames = (_quantised(chunk) for chunk in upper(vae, seen, strip, side))
        for index, part in enumerate(_on_host(frames, vae.device)):
            if number == 0:
                clip.append(_room(part, parts, side))
            last = number == len(parts) - 1
            whole = clip.popleft() if last else clip[index]
            _paste(part, strip, whole, side)
            if tell is not None:
                tell((number + (index + 1) / len(seen)) / len(parts))
            if last:
                yield whole


def _room(part: NDArray[np.uint8], parts: tuple[Strip, ...], side: int) -> NDArray[np.uint8]:
    """Whole frames, of which this is the first strip."""
    lines = parts[-1].own[0] + parts[-1].own[1]
    shape = list(part.shape)
    shape[side - 2] = shape[side - 2] * lines // parts[0].own[1]
    return np.empty(shape, np.uint8)


def _paste(part: NDArray[np.uint8], strip: Strip, whole: NDArray[np.uint8], side: int) -> None:
    """A strip into its place. A line of the decoder is one pixel, or as many as a patch has."""
    axis = side - 2
    start = strip.own[0] * part.shape[axis] // strip.own[1]
    place = slice(start, start + part.shape[axis])
    whole[(slice(None),) * axis + (place,)] = part


@torch.no_grad()
def middle(vae: AutoencoderKLWan, latents: Tensor) -> list[Tensor]:
    """What the decoder's first layers and its middle block make of each latent, at the latents' own size."""
    decoder: Any = vae.decoder
    mean, inverse = scale_of(vae)
    # In fp32 whatever the VAE works in: a bf16 one would round three times.
    z = vae.post_quant_conv((latents.to(vae.device, torch.float32) / inverse + mean).to(vae.dtype))
    memory = memory_of(decoder.conv_in, decoder.mid_block)
    out: list[Tensor] = []
    for index in range(z.shape[2]):
        at = [0]
        chunk = remembering(decoder.conv_in, z[:, :, index : index + 1], memory, at)
        out.append(decoder.mid_block(chunk, feat_cache=memory, feat_idx=at))
    return out


@torch.no_grad()
def upper(vae: AutoencoderKLWan, seen: list[Tensor], strip: Strip, side: int) -> Iterator[Tensor]:
    """A strip's frames (1, 3, n, height, width), in -1 to 1, latent by latent."""
    decoder: Any = vae.decoder
    memory = memory_of(decoder.up_blocks, decoder.conv_out)
    for index, chunk in enumerate(seen):
        at = [0]
        for block, crop in zip(decoder.up_blocks, strip.crops[:-1], strict=True):
            chunk = block(chunk.narrow(side, *crop), feat_cache=memory, feat_idx=at, first_chunk=index == 0)
        chunk = decoder.nonlinearity(decoder.norm_out(chunk))
        chunk = remembering(decoder.conv_out, chunk, memory, at).narrow(side, *strip.crops[-1])
        yield unfolded(vae, chunk).clamp(-1.0, 1.0)


def decoder_levels(vae: AutoencoderKLWan) -> list[Level]:
    """Each up block, and with the last the layers that follow it."""
    decoder: Any = vae.decoder
    levels: list[Level] = []
    for block in decoder.up_blocks:
        sees = sum(reach(resnet) for resnet in block.resnets)
        doubles = block.upsampler if hasattr(block, "upsampler") else (block.upsamplers or [None])[0]
        if doubles is None:
            levels.append(Level(sees + decoder.conv_out.kernel_size[1] // 2))
        else:
            levels.append(Level(sees, "up", doubles.resample[1].kernel_size[0] // 2))
    return levels


def _quantised(frames: Tensor) -> Tensor:
    """uint8 (n, height, width, 3), with the arithmetic of diffusers' VideoProcessor and numpy_to_pil."""
    values = (frames[0].float() * 0.5 + 0.5).clamp(0, 1) * 255
    return values.round().to(torch.uint8).permute(1, 2, 3, 0).contiguous()


def _on_host(frames: Iterator[Tensor], device: torch.device) -> Iterator[NDArray[np.uint8]]:
    """Each on the host; from a GPU one late, copied and used while the GPU is at the next."""
    copier = lasting_stream(device, "landing")
    if copier is None:
        yield from (chunk.numpy() for chunk in frames)
        return
    waiting: tuple[Tensor, torch.cuda.Event] | None = None
    for chunk in frames:
        arriving = _sent(chunk, copier)
        if waiting is not None:
            yield _arrived(*waiting)
        waiting = arriving
    if waiting is not None:
        yield _arrived(*waiting)


def _sent(chunk: Tensor, copier: torch.cuda.Stream) -> tuple[Tensor, torch.cuda.Event]:
    """A copy under way to pinned memory."""
    host = torch.empty(chunk.shape, dtype=chunk.dtype, pin_memory=True)
    arrived = torch.cuda.Event()
    copier.wait_stream(torch.cuda.current_stream(chunk.device))
    with torch.cuda.stream(copier):
        host.copy_(chunk, non_blocking=True)
        arrived.record(copier)
    chunk.record_stream(copier)
    return host, arrived


def _arrived(host: Tensor, arrived: torch.cuda.Event) -> NDArray[np.uint8]:
    arrived.synchronize()
    return host.numpy()
