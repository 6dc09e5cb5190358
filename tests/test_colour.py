"""Colour: what goes in comes out, through finishing and the film, as a player that heeds the tags shows it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from skimage.color import deltaE_ciede2000, rgb2lab

from post.encode import FORMATS, Encode, SegmentFile, works
from post.finish import Finish, load_segment, write_segment
from post.interpolate import Flow, Interpolate, Rife
from post.join import About, Join, write_film
from post.picture import Picture
from post.suite import Place, Suite
from scenes.files import load_clip, write_clip
from scenes.footage import Clip, Frame, Span
from tests.playing import played, probe

DEFAULT = Encode("h264", 16.0, "medium")
MEASURED = {
    "h264": DEFAULT,
    "hevc": Encode("hevc", 16.0, "medium"),
    "av1": Encode("av1", 16.0),
    "prores": Encode("prores"),
    "prores-4444": Encode("prores-4444"),
}
PATCH = 32
PHOTOGRAPHS = ("chelsea", "astronaut", "coffee")
# Range, matrix, primaries, transfer.
VIDEO = ("tv", "bt709", "bt709", "bt709")
TAGS = {
    "h264": ("h264", "yuv420p", VIDEO),
    "hevc": ("hevc", "yuv420p10le", VIDEO),
    "av1": ("av1", "yuv420p10le", VIDEO),
    "prores": ("prores", "yuv422p10le", VIDEO),
    "prores-4444": ("prores", "yuv444p12le", VIDEO),  # decoders give 12 bits, whatever was encoded
    "h264_nvenc": ("h264", "yuv420p", VIDEO),
    "hevc_nvenc": ("hevc", "yuv420p10le", VIDEO),
    "ffv1": ("ffv1", "bgr0", ("pc", "gbr", "bt709", "bt709")),
}
NVENC = pytest.mark.skipif(not works("h264_nvenc"), reason="no GPU with a video encoder is here")
EVERY = [pytest.param(name, marks=NVENC if "nvenc" in name else ()) for name in FORMATS]


def chart() -> Frame:
    """Patches of 32 pixels: greys, the corners of the cube, skin, and colours from all over it."""
    greys = [(level, level, level) for level in (0, 8, 16, 32, 64, 96, 128, 160, 192, 224, 240, 255)]
    corners = [(r, g, b) for r in (0, 255) for g in (0, 255) for b in (0, 255)]
    skin = [(197, 140, 133), (236, 188, 180), (141, 85, 36), (80, 51, 53)]
    drawn = np.random.default_rng(1).integers(0, 256, (72, 3)).tolist()
    colours = np.array(greys + corners + skin + drawn, np.uint8).reshape(8, 12, 3)
    return colours.repeat(PATCH, 0).repeat(PATCH, 1)


def photograph(name: str, right: int = 0) -> Frame:
    """A part of it, so many pixels from the left."""
    whole: Frame = getattr(skimage.data, name)()
    return np.ascontiguousarray(whole[20 : 20 + 256, 10 + right : 10 + right + 384])


def kept_clip(folder: Path, frames: list[Frame]) -> Clip:
    folder.mkdir()
    write_clip(frames, folder, Fraction(16), len(frames), {})
    return load_clip(folder)


def filmed(clip: Clip, folder: Path, interpolate: Interpolate | None = None, encode: Encode = DEFAULT) -> Path:
    """The clip, finished without upscaling and joined as a film."""
    finish = Finish(Span(clip, 0, clip.frames), None, None, interpolate, encode)
    made = folder / "segment"
    made.mkdir()
    write_segment(finish, finished_pictures(finish), made, {})
    segment = load_segment(made)
    write_film(Join((segment,), About("", (("one", segment.frames),), ()), None), folder / "film.mp4")
    return folder / "film.mp4"


def patch_insides(frame: Frame) -> Frame:
    """The middle 24×24 of each patch: 4:2:0 mixes the colours of two patches along their edge."""
    rows, columns = frame.shape[0] // PATCH, frame.shape[1] // PATCH
    patches = frame.reshape(rows, PATCH, columns, PATCH, 3).swapaxes(1, 2)
    return patches[:, :, 4:-4, 4:-4].reshape(rows * columns, -1, 3)


def block_means(frame: Frame) -> np.ndarray:
    """Means of 16×16 blocks, 0 to 1: (rows, columns, 3)."""
    rows, columns = frame.shape[0] // 16, frame.shape[1] // 16
    return frame.reshape(rows, 16, columns, 16, 3).mean(axis=(1, 3)) / 255


def block_difference(made: Frame, wanted: Frame) -> float:
    """Mean ΔE2000 between 16×16 blocks."""
    return float(deltaE_ciede2000(rgb2lab(block_means(made)), rgb2lab(block_means(wanted))).mean())


def lab_shift(made: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    return np.abs((rgb2lab(made) - rgb2lab(wanted)).reshape(-1, 3).mean(axis=0))


def test_a_charts_patches_keep_their_colours(tmp_path: Path):
    frames = [chart()] * 6
    film = filmed(kept_clip(tmp_path / "clip", frames), tmp_path)
    for made, wanted in zip(played(film, (384, 256)), frames, strict=True):
        inside, original = patch_insides(made), patch_insides(wanted)
        apart = deltaE_ciede2000(rgb2lab(inside), rgb2lab(original))
        assert apart.mean() <= 0.4  # measured: 0.21, much of it 219 levels for 256
        assert apart.mean(axis=1).max() <= 1  # measured: 0.68: no patch is lost in the mean
        assert lab_shift(inside, original).max() <= 0.1


@pytest.mark.parametrize("step", [0, 2], ids=["still", "panning"])
@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_photographs_keep_their_colours(name: str, step: int, tmp_path: Path):
    frames = [photograph(name, step * index) for index in range(12)]
    film = filmed(kept_clip(tmp_path / "clip", frames), tmp_path)
    for made, wanted in zip(played(film, (384, 256)), frames, strict=True):
        assert block_difference(made, wanted) <= 0.4  # measured: 0.21 at most
        assert lab_shift(block_means(made), block_means(wanted)).max() <= 0.1  # measured: 0.05 at most


@pytest.fixture
def a_net_that_mixes(monkeypatch: pytest.MonkeyPatch) -> Rife:
    """Stands for RIFE: whatever a net has a part in stays on its device until the encoder."""
    torch.set_num_threads(1)
    net = lambda before, after, times: torch.lerp(before, after, times.view(-1, 1, 1, 1))  # noqa: E731
    monkeypatch.setattr("post.rife.open_rife", lambda *args: net)
    return Rife("mixes", Path())


def test_a_chart_keeps_its_colours_on_a_device(a_net_that_mixes: Rife, tmp_path: Path):
    frames = [chart()] * 4
    film = filmed(kept_clip(tmp_path / "clip", frames), tmp_path, Interpolate(a_net_that_mixes, 2))
    for made, wanted in zip(played(film, (384, 256))[1::2], frames, strict=True):
        inside, original = patch_insides(made), patch_insides(wanted)
        apart = deltaE_ciede2000(rgb2lab(inside), rgb2lab(original))
        assert apart.mean() <= 0.4
        assert apart.mean(axis=1).max() <= 1
        assert lab_shift(inside, original).max() <= 0.1


SITED = {"yuv420p": "4:2:0", "yuv420p10le": "4:2:0", "yuv422p10le": "4:2:2", "yuv444p10le": ""}


@pytest.mark.parametrize("codec", MEASURED)
@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_photographs_keep_their_colours_on_a_device(name: str, codec: str, a_net_that_mixes: Rife, tmp_path: Path):
    clip = kept_clip(tmp_path / "clip", [photograph(name)] * 4)
    finish = Finish(Span(clip, 0, 4), None, None, Interpolate(a_net_that_mixes, 2), MEASURED[codec])
    write_segment(finish, finished_pictures(finish), tmp_path, {})
    sited = SITED[FORMATS[codec].pixels]
    for made in played(load_segment(tmp_path).path, (384, 256), sited=sited):
        assert block_difference(made, photograph(name)) <= 0.3  # measured: 0.24 at most; chroma beside its place, 0.3
        assert lab_shift(block_means(made), block_means(photograph(name))).max() <= 0.15  # ProRes's own is 0.12


def finished_pictures(finish: Finish) -> Iterator[Picture]:
    with closing(Suite(Place("cpu"))) as suite:
        yield from suite.pictures(finish, lambda done: None, FORMATS[finish.encode.format].pixels)


@pytest.mark.parametrize(("codec", "most", "shift"), [("h264", 0.8, 0.7), ("hevc", 0.4, 0.1)])
@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_colours_in_motion(name: str, codec: str, most: float, shift: float, tmp_path: Path):
    """H.264 predicts moving chroma in 8 bits and rounds halves up, at any CRF: pictures without noise that pan by odd
    pixels redden by half a unit of Lab at the worst. HEVC in 10 bits has no such drift."""
    frames = [photograph(name, 2 * index) for index in range(8)]
    film = filmed(kept_clip(tmp_path / "clip", frames), tmp_path, Interpolate(Flow(), 2), Encode(codec, 16.0, "medium"))
    for made, wanted in zip(played(film, (384, 256))[1::2], frames, strict=True):
        assert block_difference(made, wanted) <= most
        assert lab_shift(block_means(made), block_means(wanted)).max() <= shift


@pytest.mark.parametrize("name", EVERY)
def test_every_format_says_and_keeps_its_colours(name: str, tmp_path: Path):
    frames = [photograph("chelsea", 2 * index) for index in range(4)]
    form = FORMATS[name]
    path = tmp_path / f"film{form.suffix}"
    with SegmentFile(path, Encode(name, 12.0 if form.crf_most else None, "fast"), (384, 256), Fraction(32)) as file:
        for frame in frames:
            file.encoder.write(frame)
    facts = probe(path)
    assert (facts.codec, facts.pixels, facts.colour) == TAGS[name]
    assert (facts.size, facts.rate, len(facts.pts)) == ((384, 256), 32, 4)
    for made, wanted in zip(played(path, (384, 256)), frames, strict=True):
        assert block_difference(made, wanted) <= (0 if name == "ffv1" else 0.4)


def test_each_prores_frame_carries_the_tags(tmp_path: Path):
    """Editors read them from the frames: byte 14 on of each frame header are primaries, transfer and matrix."""
    path = tmp_path / "film.mov"
    with SegmentFile(path, Encode("prores"), (384, 256), Fraction(24)) as file:
        for index in range(3):
            file.encoder.write(photograph("coffee", index))
    data = path.read_bytes()
    starts = [at for at in range(len(data) - 32) if data[at : at + 4] == b"icpf"]
    assert len(starts) == 3
    for at in starts:  # SMPTE RDD 36: the header begins after the frame's size and "icpf"
        assert data[at + 4 + 14 : at + 4 + 17] == bytes([1, 1, 1])


def test_a_player_without_the_tags_would_see_other_colours(tmp_path: Path):
    """The measure is sharp enough: BT.601, which untagged video of this size is taken for, fails by far."""
    film = filmed(kept_clip(tmp_path / "clip", [photograph("astronaut")] * 2), tmp_path)
    assert block_difference(played(film, (384, 256), "bt601")[0], photograph("astronaut")) > 1
