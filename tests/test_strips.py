"""The VAE in strips: the same pixels, a part of the memory."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLWan
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from scenes.footage import Size
from scenes.wan import encode as encoding
from scenes.wan.condition import condition
from scenes.wan.decode import decode, decoder_levels, middle, upper
from scenes.wan.encode import encode, encoder_groups, group_level
from scenes.wan.strips import Level, Strip, cut, halos
from scenes.wan.vae import spare_copies
from scenes.wan.vae_memory import VAE_2_1, VAE_2_2, decode_elements, encode_elements
from scenes.wan.vae_shape import VaeShape
from tests import tiny_wan as tiny

torch.set_num_threads(1)
BOTH = pytest.mark.parametrize("make", [tiny.vae21, tiny.vae22], ids=["2.1", "2.2"])
SIDES = pytest.mark.parametrize("side", [3, 4], ids=["high", "wide"])
Make = Callable[..., Any]
LONG, SHORT = 17, 3


def full_size(shape: VaeShape) -> Any:
    with torch.device("meta"):
        vae = AutoencoderKLWan(**shape.config, latents_mean=[0.0] * shape.z, latents_std=[1.0] * shape.z)
    spare_copies(vae)
    return vae.requires_grad_(False)


def encoder_levels(vae: Any) -> list[Level]:
    return [group_level(group) for group in encoder_groups(vae)[:-1]]


def latents_for(vae: Any, side: int, count: int = 3) -> torch.Tensor:
    shape = (LONG, SHORT) if side == 3 else (SHORT, LONG)
    return torch.randn(1, vae.config.z_dim, count, *shape, generator=torch.Generator().manual_seed(1))


def decoded(vae: Any, latents: torch.Tensor, parts: tuple[Strip, ...], side: int) -> torch.Tensor:
    seen = middle(vae, latents)
    return torch.cat([torch.cat(list(upper(vae, seen, strip, side)), 2) for strip in parts], side)


# Geometry


@pytest.mark.parametrize("count", [1, 2, 3, 5, 16, 17, 40])
def test_strips_cover_everything_once(count: int) -> None:
    up = [Level(6, "up", 1), Level(6, "up", 1), Level(7)]
    down = [Level(5, "down", 1), Level(4, "down", 1)]
    for levels, whole in ((up, 4 * 17), (down, 17)):
        parts = cut(levels, 17, count)
        assert len(parts) == min(count, 17)
        assert [strip.own[0] for strip in parts] == [0, *(sum(strip.own) for strip in parts[:-1])]
        assert sum(parts[-1].own) == whole
        widths = [strip.own[1] for strip in parts]
        assert max(widths) - min(widths) <= whole // 17
        assert all(first >= 0 and length > 0 for strip in parts for first, length in strip.crops)
    assert cut(up, 17, 1) == (Strip(((0, 17), (0, 34), (0, 68), (0, 68)), (0, 68)),)


def test_halos_of_the_full_size_vae() -> None:
    """Three residual blocks of two convolutions a resolution, and one convolution in each doubling."""
    for shape in (VAE_2_1, VAE_2_2):
        vae = full_size(shape)
        assert decoder_levels(vae) == [*[Level(6, "up", 1)] * 3, Level(7)]
        assert halos(decoder_levels(vae)) == [(13, 13), (12, 12), (10, 10), (7, 7)]
        assert encoder_levels(vae) == [Level(5, "down", 1), *[Level(4, "down", 1)] * 2]
        assert halos(encoder_levels(vae)) == [(30, 42), (12, 18), (4, 6)]


def middle_strip(vae: Any, latents: torch.Tensor) -> Strip:
    """One that has all of its halo: no edge of the picture is near."""
    parts = cut(decoder_levels(vae), latents.shape[4], 13)
    (before, after), (first, length) = halos(decoder_levels(vae))[0], parts[6].crops[0]
    assert (first, length) == (18 - before, 3 + before + after)
    return parts[6]


def far_latents(vae: Any) -> torch.Tensor:
    return torch.randn(1, vae.config.z_dim, 3, SHORT, 39, generator=torch.Generator().manual_seed(2))


@BOTH
def test_what_lies_beyond_a_halo_is_not_seen(make: Make) -> None:
    """Of the whole's own run: lines at the halo's edge change a strip's pixels, those beyond it do not."""
    vae = make()
    latents = far_latents(vae)
    strip, (whole,) = middle_strip(vae, latents), cut(decoder_levels(vae), latents.shape[4], 1)
    first, length = strip.crops[0]
    seen = middle(vae, latents)

    def own(changed: int) -> torch.Tensor:
        others = [chunk.clone() for chunk in seen]
        for other in others:
            other[..., changed] += 10
        frames = torch.cat(list(upper(vae, others, whole, 4)), 2)
        patch = frames.shape[4] // whole.own[1]
        return frames.narrow(4, strip.own[0] * patch, strip.own[1] * patch)

    plain = own(0)
    assert torch.equal(plain, own(first - 1))
    assert torch.equal(plain, own(first + length))
    assert not torch.equal(plain, own(first))
    assert not torch.equal(plain, own(first + length - 1))


@BOTH
@pytest.mark.parametrize("line", [0, -1])
@pytest.mark.parametrize("at", range(4))
def test_every_line_of_a_halo_is_needed(make: Make, at: int, line: int) -> None:
    """At every resolution: what is cropped there could not be cropped more."""
    vae = make()
    latents = far_latents(vae)
    strip, seen = middle_strip(vae, latents), middle(vae, latents)
    plain = torch.cat(list(upper(vae, seen, strip, 4)), 2)

    def change(_: Any, args: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        other = args[0].clone()
        other[..., line] += 10
        return (other,)

    vae.decoder.up_blocks[at].register_forward_pre_hook(change)
    assert not torch.equal(torch.cat(list(upper(vae, seen, strip, 4)), 2), plain)


# Pixels


@BOTH
@SIDES
@pytest.mark.parametrize("count", [1, 2, 3, 5, 17, 99])
def test_decode_in_strips_is_the_whole(make: Make, side: int, count: int) -> None:
    vae = make()
    latents = latents_for(vae, side)
    mean = torch.tensor(vae.config.latents_mean).view(1, -1, 1, 1, 1)
    whole = vae.decode(latents * torch.tensor(vae.config.latents_std).view(1, -1, 1, 1, 1) + mean).sample
    given = decoded(vae, latents, cut(decoder_levels(vae), LONG, count), side)
    assert given.shape == whole.shape
    assert (given - whole).abs().max() < 1e-5
    assert whole.std() > 0.1


@BOTH
@SIDES
def test_frames_in_strips_are_the_frames(make: Make, side: int) -> None:
    vae = make()
    latents = latents_for(vae, side)
    whole = list(decode(vae, latents))
    for count in (2, 5):
        parts = list(decode(vae, latents, count))
        assert [part.shape for part in parts] == [frames.shape for frames in whole]
        # A value on the very edge between two levels may fall to either side.
        off = np.concatenate([np.abs(a.astype(int) - b) for a, b in zip(parts, whole, strict=True)])
        assert off.max() <= 1
        assert off.mean() < 1e-4


@BOTH
@SIDES
@pytest.mark.parametrize("count", [1, 2, 3, 5, 6, 99])
def test_encode_in_strips_is_the_whole(make: Make, side: int, count: int) -> None:
    vae = make()
    size = (6 * vae.config.scale_factor_spatial, 2 * vae.config.scale_factor_spatial)
    height, width = size if side == 3 else size[::-1]
    generator = torch.Generator().manual_seed(1)
    first, last = (torch.rand(1, 3, n, height, width, generator=generator) * 2 - 1 for n in (1, 4))
    chunks = [first, *[torch.zeros(1, 3, 4, height, width)] * 9, last]
    whole = vae.encode(torch.cat(chunks, 2)).latent_dist.mode()
    given = encode(vae, chunks, count)
    assert given.shape == whole.shape
    assert (given - whole).abs().max() < 1e-5
    assert whole.std() > 0.1


def test_an_encoders_halo_is_not_wider_than_it_must_be() -> None:
    """Two lines less, for it is even, are too few somewhere."""
    vae = tiny.vae21()
    chunks = [torch.rand(1, 3, 1, 16, 64, generator=torch.Generator().manual_seed(1)), torch.zeros(1, 3, 4, 16, 64)]
    whole = encode(vae, chunks)
    real = encoding.group_level
    for less in (1, 2):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(encoding, "group_level", lambda group, less=less: _shorter(real(group), less))
            assert (encode(vae, chunks, 4) - whole).abs().max() > 1e-4


def _shorter(level: Level, less: int) -> Level:
    return Level(level.reach - less, level.change, level.edge)


def test_condition_in_strips_is_the_whole() -> None:
    vae = tiny.vae21()
    opening, last = np.random.default_rng(0).integers(0, 256, (2, 32, 64, 3), np.uint8)
    whole = condition(vae, opening, last, 21)
    assert (condition(vae, opening, last, 21, strips=3) - whole).abs().max() < 1e-5


# Memory


class Live(TorchDispatchMode):
    """Counts the bytes of all tensors that are alive, without there being any: on the meta device."""

    def __init__(self) -> None:
        super().__init__()
        self.alive: dict[int, list[int]] = {}
        self.now = self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                self._add(tensor)
        self.peak = max(self.peak, self.now)
        return out

    def _add(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self.alive:
            self.alive[key] = [storage.nbytes(), 0]
            self.now += storage.nbytes()
        self.alive[key][1] += 1
        weakref.finalize(tensor, self._drop, key)

    def _drop(self, key: int) -> None:
        self.alive[key][1] -= 1
        if not self.alive[key][1]:
            self.now -= self.alive.pop(key)[0]


def decode_peak(vae: Any, size: Size, strips: int) -> int:
    stride = vae.config.scale_factor_spatial
    z = torch.empty(1, vae.config.z_dim, 21, size[1] // stride, size[0] // stride, device="meta")
    parts = cut(decoder_levels(vae), size[0] // stride, strips)
    with Live() as live:
        # All latents are kept; three chunks are enough to fill the memory.
        seen = [chunk.clone() for chunk in middle(vae, z)]
        live.peak = live.now
        for _ in upper(vae, seen[:3], parts[len(parts) // 2], 4):
            pass
    return live.peak


def encode_peak(vae: Any, size: Size, strips: int) -> int:
    first = torch.empty(1, 3, 1, size[1], size[0], device="meta")
    chunks = [first, *[torch.empty(1, 3, 4, size[1], size[0], device="meta")] * 3]
    with pytest.MonkeyPatch.context() as patch, Live() as live:
        patch.setattr(encoding, "_same", lambda before, after: True)
        encode(vae, chunks, strips)
    return live.peak


@pytest.mark.parametrize("strips", [1, 3, 8])
@pytest.mark.parametrize(("shape", "size"), [(VAE_2_1, (832, 480)), (VAE_2_1, (1280, 720)), (VAE_2_2, (1280, 704))])
def test_what_decoding_holds_is_foreseen(shape: VaeShape, size: Size, strips: int) -> None:
    peak = decode_peak(full_size(shape), size, strips)
    assert 4 * decode_elements(shape, size, 81, strips) == pytest.approx(peak, rel=0.04)


@pytest.mark.parametrize("strips", [1, 3])
@pytest.mark.parametrize("size", [(832, 480), (1280, 720)])
def test_what_encoding_holds_is_foreseen(size: Size, strips: int) -> None:
    assert 4 * encode_elements(VAE_2_1, size, strips) == pytest.approx(
        encode_peak(full_size(VAE_2_1), size, strips), rel=0.05
    )


def test_strips_save_memory() -> None:
    """In GiB of fp32, without workspaces."""
    size = (1280, 720)
    held = [round(4 * decode_elements(VAE_2_1, size, 81, strips) / 2**30, 1) for strips in (1, 2, 4, 8)]
    assert held == [16.1, 8.4, 4.7, 2.7]
    held = [round(4 * encode_elements(VAE_2_1, size, strips) / 2**30, 1) for strips in (1, 2, 4, 8)]
    assert held == [12.0, 6.5, 3.9, 2.5]
