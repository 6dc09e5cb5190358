"""Planes made on a device: the standards' own formulas to the level, one rounding, chroma where players look for it."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import skimage.data
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from post.encode import FORMATS, Encode, SegmentFile
from post.picture import LAYOUTS, Planes, converted, picture_bytes, picture_of
from post.yuv import planes, rgb
from scenes.footage import Frame
from tests.playing import played
from tests.test_colour import block_difference

torch.set_num_threads(1)
Doubles = NDArray[np.float64]
YUV = [name for name in LAYOUTS if name != "p010le"]


def photograph(name: str, width: int = 384, height: int = 256) -> Frame:
    whole: Frame = getattr(skimage.data, name)()
    return np.ascontiguousarray(whole[20 : 20 + height, 10 : 10 + width])


def tensor(*frames: Frame) -> torch.Tensor:
    """As finishing has them: channels last, 0 to 1."""
    return torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).float() / 255


def made(frame: Frame, pixels: str) -> Planes:
    y, u, v = (each[0].numpy().view(LAYOUTS[pixels].type) for each in planes(tensor(frame), pixels))
    return Planes(y, u, v)


# The reference, in doubles: ITU-R BT.709-6, items 3.2 (E'Y), 3.3 (E'CB, E'CR) and 3.4, 3.5 (quantising).


def derived(colours: Doubles) -> tuple[Doubles, Doubles, Doubles]:
    red, green, blue = np.moveaxis(colours, -1, 0)
    luma = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return luma, (blue - luma) / 1.8556, (red - luma) / 1.5748


def quantised(values: Doubles, gain: int, offset: int, bits: int) -> Doubles:
    """Before INT[], which rounds to the nearest, halves up."""
    return (gain * values + offset) * 2 ** (bits - 8)


def catmull_rom(distance: Doubles) -> Doubles:
    t = np.abs(distance)
    near = 1.5 * t**3 - 2.5 * t**2 + 1
    far = -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
    return np.where(t < 1, near, np.where(t < 2, far, 0))


def sampled(chroma: Doubles, at: Doubles, axis: int) -> Doubles:
    """Chroma of half as many samples, each at its place among the pixels, edges held."""
    side = chroma.shape[axis]
    pixels = np.arange(-8, side + 8)
    weights = catmull_rom((pixels[None, :] - at[:, None]) / 2)
    weights /= weights.sum(axis=1, keepdims=True)
    padded = np.take(chroma, np.clip(pixels, 0, side - 1), axis=axis)
    return np.moveaxis(np.tensordot(weights, padded, axes=(1, axis)), 0, axis)


def reference(frame: Frame, pixels: str) -> list[tuple[Doubles, float, float]]:
    """Each plane before rounding, with its nominal range. H.264, figure E-1: type 0 lies on the left, between rows."""
    layout = LAYOUTS[pixels]
    luma, *chromas = derived(frame / 255.0)
    level = 2 ** (layout.bits - 8)
    height, width = luma.shape
    found = [(quantised(luma, 219, 16, layout.bits), 16.0 * level, 235.0 * level)]
    for chroma in chromas:
        if layout.across == 2:
            chroma = sampled(chroma, np.arange(0, width, 2.0), 1)
        if layout.down == 2:
            chroma = sampled(chroma, np.arange(0, height, 2.0) + 0.5, 0)
        found.append((quantised(chroma, 224, 128, layout.bits), 16.0 * level, 240.0 * level))
    return found


def agrees(frame: Frame, pixels: str) -> None:
    """Every sample is the reference's, rounded once; only where that lies on the edge between two may it be either."""
    found = made(frame, pixels)
    for plane, (exact, least, most) in zip((found.y, found.u, found.v), reference(frame, pixels), strict=True):
        assert plane.shape == exact.shape
        assert np.abs(plane - np.clip(exact, least, most)).max() <= 0.5 + 1e-3


@pytest.mark.parametrize("pixels", YUV)
@pytest.mark.parametrize("name", ["chelsea", "astronaut"])
def test_photographs_are_the_standards_to_the_level(name: str, pixels: str):
    agrees(photograph(name), pixels)


@given(st.integers(1, 11), st.integers(1, 11), st.sampled_from(YUV), st.integers(0, 2**32 - 1))
@settings(max_examples=80, deadline=None)
def test_noise_of_any_size_too(width: int, height: int, pixels: str, seed: int):
    agrees(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8), pixels)


@pytest.mark.parametrize("pixels", YUV)
def test_every_grey_is_its_own_level_without_colour(pixels: str):
    greys = np.arange(256, dtype=np.uint8).reshape(16, 16).repeat(4, 0).repeat(4, 1)
    layout = LAYOUTS[pixels]
    found = made(np.stack([greys] * 3, axis=-1), pixels)
    level = 2 ** (layout.bits - 8)
    wanted = np.floor((219 * (np.arange(256) / 255) + 16) * level + 0.5)
    np.testing.assert_array_equal(found.y[::4, ::4].reshape(-1), wanted)
    assert (found.y.min(), found.y.max()) == (16 * level, 235 * level)
    assert np.all(found.u == 128 * level)
    assert np.all(found.v == 128 * level)


def test_the_corners_of_the_cube_are_bt709s_own_numbers():
    """8-bit 75 % or 100 % bars of BT.709, as instruments show them (100 %): Y, Cb, Cr."""
    bars = {
        (255, 255, 255): (235, 128, 128),
        (255, 255, 0): (219, 16, 138),
        (0, 255, 255): (188, 154, 16),
        (0, 255, 0): (173, 42, 26),
        (255, 0, 255): (78, 214, 230),
        (255, 0, 0): (63, 102, 240),
        (0, 0, 255): (32, 240, 118),
        (0, 0, 0): (16, 128, 128),
    }
    for colour, wanted in bars.items():
        found = made(np.full((4, 4, 3), colour, np.uint8), "yuv420p")
        assert (found.y[0, 0], found.u[0, 0], found.v[0, 0]) == wanted


@pytest.mark.parametrize("pixels", YUV)
def test_batches_are_their_frames(pixels: str):
    frames = [photograph(name, 64, 48) for name in ("chelsea", "astronaut", "coffee")]
    together = planes(tensor(*frames), pixels)
    for index, frame in enumerate(frames):
        alone = planes(tensor(frame), pixels)
        for many, one in zip(together, alone, strict=True):
            assert torch.equal(many[index], one[0])


def test_halves_in_fp16_come_back_as_they_were():
    """Frames of 8 bits live on the GPU in fp16: every level survives, in RGB and as planes of 8 bits."""
    levels = torch.arange(256, dtype=torch.uint8)
    frames = levels.view(1, 1, 16, 16).expand(1, 3, 16, 16)
    half = frames.to(torch.float16) / 255
    assert torch.equal(rgb(half), frames.permute(0, 2, 3, 1))
    for made_half, made_whole in zip(planes(half, "yuv420p"), planes(frames / 255, "yuv420p"), strict=True):
        assert (made_half.int() - made_whole.int()).abs().max() <= 1
    y, exact = planes(half, "yuv420p10le")[0], (219 * (levels.double() / 255) + 16) * 4
    assert (y.reshape(-1) - exact).abs().max() <= 0.5 + 0.25  # of a level in 10 bits: fp16 is that fine


def test_rgb_is_rounded_once():
    values = torch.tensor([0.0, 0.4 / 255, 0.6 / 255, 1.0, 1.2, -0.1, 127.4 / 255, 127.6 / 255])
    found = rgb(values.view(1, 1, 1, 8).expand(1, 3, 1, 8))
    assert found[0, 0, :, 0].tolist() == [0, 0, 1, 255, 255, 0, 127, 128]
    assert found.shape == (1, 1, 8, 3)


# Beside swscale


@pytest.mark.parametrize("pixels", YUV)
@pytest.mark.parametrize("name", ["chelsea", "astronaut", "coffee"])
def test_swscale_is_near(name: str, pixels: str):
    """Luma is the same but where swscale's 15 bits fall short; it takes chroma from the middle of two pixels, as its
    own reader does, and we from the left, as streams say that say nothing."""
    frame = photograph(name)
    layout = LAYOUTS[pixels]
    ours, theirs = picture_of(made(frame, pixels), pixels, (384, 256), ""), converted(frame, pixels)
    for index, (a, b) in enumerate(zip(samples(ours), samples(theirs), strict=True)):
        apart = (a.astype(int) - b) / 2 ** (layout.bits - 8)  # levels of 8 bits
        filtered = index > 0 and layout.across == 2
        assert np.abs(apart).mean() <= (0.6 if filtered else 0.01)  # measured: 0.51 to 0.59 on coffee, 0.008
        assert abs(apart.mean()) <= 0.03  # neither is darker, nor of another tint
        assert filtered or np.abs(apart).max() <= 1


def samples(frame: av.VideoFrame) -> list[NDArray[np.generic]]:
    kind = LAYOUTS[frame.format.name].type
    found = []
    for plane in frame.planes:
        found.append(np.frombuffer(plane, kind).reshape(plane.height, -1)[:, : plane.width])
    return found


@pytest.mark.parametrize(("axis", "at"), [(1, 0.0), (0, 0.5)], ids=["across", "down"])
def test_chroma_lies_on_the_left_between_two_rows(axis: int, at: float):
    """Of colour that rises evenly, each sample says where it was taken."""
    frame = np.zeros((64, 64, 3), np.uint8)
    frame[..., 0] = 3 * (np.arange(64)[None, :] if axis == 1 else np.arange(64)[:, None])
    found = np.moveaxis(made(frame, "yuv420p10le").v, axis, 0)[4:-4, 16]
    _, _, rising = derived(np.array([[3 / 255, 0.0, 0.0]]))
    places = (found / 4 - 128) / (224 * rising[0])
    assert places - np.arange(8, 56, 2) == pytest.approx(at, abs=0.2)


@pytest.mark.parametrize("name", [n for n, f in FORMATS.items() if f.pixels in YUV and "nvenc" not in n])
@pytest.mark.parametrize("photo", ["chelsea", "astronaut", "coffee"])
def test_decoded_colours_are_right(name: str, photo: str, tmp_path: Path):
    frame = photograph(photo)
    path = tmp_path / f"film{FORMATS[name].suffix}"
    crf = 12.0 if FORMATS[name].crf_most else None
    with SegmentFile(path, Encode(name, crf, "fast"), (384, 256), Fraction(16)) as file:
        for _ in range(3):
            file.encoder.write(made(frame, FORMATS[name].pixels))
    for shown in played(path, (384, 256)):
        assert block_difference(shown, frame) <= 0.4


# Into the encoder


def flat(height: int, width: int, kind: type = np.uint8) -> NDArray[np.generic]:
    return np.full((height, width), 100, kind)


@pytest.mark.parametrize("pixels", LAYOUTS)
@pytest.mark.parametrize("size", [(70, 50), (16, 16), (7, 5)])
def test_planes_arrive_in_the_encoders_frame_as_they_are(pixels: str, size: tuple[int, int]):
    width, height = size
    layout = LAYOUTS[pixels]
    rng = np.random.default_rng(0)
    wide, high = -(-width // layout.across), -(-height // layout.down)
    y, u, v = (
        rng.integers(0, 2**layout.bits, shape).astype(layout.type) for shape in [(height, width)] + [(high, wide)] * 2
    )
    frame = picture_of(Planes(y, u, v), pixels, size, "it")
    if pixels == "p010le":
        np.testing.assert_array_equal(samples(frame)[0][:, :width], y << 6)
        both = np.frombuffer(frame.planes[1], np.uint16).reshape(high, -1)
        np.testing.assert_array_equal(both[:, 0 : 2 * wide : 2], u << 6)
        np.testing.assert_array_equal(both[:, 1 : 2 * wide : 2], v << 6)
    else:
        for found, wanted in zip(samples(frame), (y, u, v), strict=True):
            np.testing.assert_array_equal(found, wanted)
    like = converted(np.zeros((16, 16, 3), np.uint8), pixels)
    assert (frame.colorspace, frame.color_range) == (like.colorspace, like.color_range)
    assert (frame.color_primaries, frame.color_trc) == (like.color_primaries, like.color_trc)


@pytest.mark.parametrize(
    ("planes", "pixels", "what"),
    [
        (
            Planes(flat(16, 18), flat(8, 8), flat(8, 8)),
            "yuv420p",
            r"frame 0 has a plane \(16, 18\) uint8, not \(16, 16\)",
        ),
        (Planes(flat(16, 16), flat(16, 8), flat(8, 8)), "yuv420p", r"\(16, 8\) uint8, not \(8, 8\) uint8"),
        (Planes(flat(16, 16), flat(8, 8), flat(8, 8)), "yuv420p10le", r"\(16, 16\) uint8, not \(16, 16\) uint16"),
        (Planes(flat(16, 16), flat(8, 8), flat(8, 8)), "bgr0", "planes of Y'CbCr where bgr0 is RGB"),
    ],
)
def test_planes_of_another_shape_are_refused(planes: Planes, pixels: str, what: str):
    with pytest.raises(ValueError, match=what):
        picture_of(planes, pixels, (16, 16), "frame 0")


def test_a_picture_is_counted_in_bytes():
    assert picture_bytes(np.zeros((4, 6, 3), np.uint8)) == 72
    assert picture_bytes(Planes(flat(4, 6, np.uint16), flat(2, 3, np.uint16), flat(2, 3, np.uint16))) == 72
