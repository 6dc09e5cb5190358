"""Finishing: exact counts, nothing drawn across a cut, motion found, memory bounded, damage named."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st

from post.encode import Encode, SegmentFile
from post.finish import Finish, load_segment, write_segment
from post.flow import FlowInterpolator
from post.interpolate import Flow, Interpolate, interpolated
from post.join import About, Join, write_film
from post.suite import Place, Suite
from post.upscale import Lanczos, Upscale
from scenes.files import FACTS_FILE, load_clip, read_facts, read_still, write_clip, write_facts
from scenes.footage import Clip, DamagedFile, Frame, Frames, Span, Still

FAST = Encode("h264", 30.0, "ultrafast")
FPS = Fraction(16)


@dataclass(frozen=True)
class Scene:
    """`frames` of its clip; a chained one's first frame is what the scene before it ended on."""

    frames: int
    chained: bool


films = st.lists(st.builds(Scene, st.integers(2, 8), st.booleans()), min_size=1, max_size=5).map(
    lambda scenes: [replace(scenes[0], chained=False), *scenes[1:]]
)


def flat(level: int, size: tuple[int, int] = (16, 16)) -> Frame:
    return np.full((size[1], size[0], 3), level, np.uint8)


def kept(folder: Path, frames: Sequence[Frame]) -> Clip:
    folder.mkdir()
    write_clip(frames, folder, FPS, len(frames), {})
    return load_clip(folder)


def shoot(scenes: Sequence[Scene], folder: Path) -> list[Finish]:
    """Clips of flat frames, each of another level, so that every finished frame says where it comes from."""
    levels = iter(np.random.default_rng(len(scenes)).permutation(np.arange(2, 250)).tolist())
    finishes: list[Finish] = []
    for number, scene in enumerate(scenes):
        before = finishes[-1].span.clip if scene.chained else None
        drawn = [flat(next(levels)) for _ in range(scene.frames - scene.chained)]
        opening = [read_still(before.last)] if before else []
        clip = kept(folder / str(number), [*opening, *drawn])
        span = Span(clip, int(scene.chained), clip.frames)
        finishes.append(Finish(span, before.last if before else None, None, None, FAST))
    return finishes


def with_factor(finish: Finish, factor: int) -> Finish:
    return replace(finish, interpolate=Interpolate(Flow(), factor) if factor > 1 else None)


def finished(finish: Finish) -> list[Frame]:
    return list(frames_of(finish))


def frames_of(finish: Finish, tell: Callable[[float], None] = lambda done: None) -> Generator[Frame]:
    with closing(Suite(Place())) as suite:
        yield from suite.frames(finish, tell)


def levels(frames: Sequence[Frame]) -> list[int]:
    """What each frame shows, once it is seen to be flat."""
    assert all(frame.min() == frame.max() for frame in frames)
    return [int(frame[0, 0, 0]) for frame in frames]


# Counting


@settings(max_examples=60, deadline=None)
@given(scenes=films, factor=st.integers(1, 8))
def test_every_frame_has_its_slot(scenes: list[Scene], factor: int):
    with tempfile.TemporaryDirectory() as folder:
        before: list[int] = []
        for scene, plain in zip(scenes, shoot(scenes, Path(folder)), strict=True):
            finish = with_factor(plain, factor)
            source, made = levels(finished(plain)), levels(finished(finish))
            assert len(source) == scene.frames - scene.chained
            assert len(made) == finish.frames == factor * len(source)
            assert finish.fps == FPS * factor
            assert made[factor - 1 :: factor] == source  # source i at slot factor * i + factor - 1
            lead = before[-1] if scene.chained else source[0]
            assert made == pytest.approx(ramps([lead, *source], factor), abs=1)
            if not scene.chained:  # nothing of the scene before shows in it: it is held
                assert made[:factor] == [source[0]] * factor
            before = source


def ramps(source: Sequence[int], factor: int) -> list[float]:
    """The levels between each pair, then the second of it."""
    return [a + (b - a) * step / factor for a, b in pairwise(source) for step in range(1, factor + 1)]


@given(st.lists(st.integers(0, 255), min_size=1, max_size=9), st.booleans(), st.integers(1, 8), st.integers(1, 5))
def test_in_betweens_are_of_neighbours_at_rising_times(source: list[int], chained: bool, factor: int, at_once: int):
    asked: list[tuple[int, int, float]] = []

    def between(pairs: list[tuple[Frame, Frame, float]]) -> list[Frame]:
        assert len(pairs) <= at_once
        asked.extend((int(before[0, 0, 0]), int(after[0, 0, 0]), time) for before, after, time in pairs)
        return [after for _, after, _ in pairs]

    lead = flat(7, (2, 2)) if chained else None
    rule = Interpolate(Flow(), factor)
    made = list(interpolated((flat(level, (2, 2)) for level in source), lead, rule, between, at_once))
    assert levels(made) == [level for level in source for _ in range(factor)]
    pairs = list(pairwise([7, *source] if chained else source))
    assert asked == [(a, b, step / factor) for a, b in pairs for step in range(1, factor)]


@settings(max_examples=8, deadline=None)
@given(scenes=films, factor=st.integers(1, 4))
def test_a_film_has_factor_times_its_frames(scenes: list[Scene], factor: int):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        finishes = [with_factor(finish, factor) for finish in shoot(scenes, folder)]
        segments = []
        for number, finish in enumerate(finishes):
            made = folder / f"segment{number}"
            made.mkdir()
            write_segment(finish, iter(finished(finish)), made, {})
            segments.append(load_segment(made))
        film = folder / "film.mp4"
        chapters = tuple((str(i), segment.frames) for i, segment in enumerate(segments))
        write_film(Join(tuple(segments), About("", chapters, ()), None), film)
        count = factor * sum(scene.frames - scene.chained for scene in scenes)
        with av.open(film) as source:
            assert source.streams.video[0].average_rate == FPS * factor
            assert sum(1 for _ in source.decode(video=0)) == count
            assert source.duration == round(count / (FPS * factor) * 1_000_000)


def test_the_lead_is_upscaled_as_the_clip_is(tmp_path: Path):
    photo = skimage.data.chelsea()
    frames = [np.ascontiguousarray(photo[60:124, 100 + 2 * i : 196 + 2 * i]) for i in range(4)]
    lead = kept(tmp_path / "lead", frames[:2])
    clip = kept(tmp_path / "clip", frames[1:])
    both = kept(tmp_path / "both", frames)
    upscale, interpolate = Upscale(Lanczos(), (192, 128)), Interpolate(Flow(), 3)
    chained = Finish(Span(clip, 1, 3), lead.last, upscale, interpolate, FAST)
    whole = Finish(Span(both, 0, 4), None, upscale, interpolate, FAST)
    np.testing.assert_array_equal(finished(chained), finished(whole)[6:])  # a seam shows no trace
    assert chained.size == (192, 128)


# Motion


def pan(name: str, pixels: float, width: int = 360, height: int = 240) -> Frame:
    whole: Frame = getattr(skimage.data, name)()
    return np.ascontiguousarray(whole[20 : 20 + height, 30 + round(pixels) : 30 + round(pixels) + width])


def psnr(made: Frame, wanted: Frame) -> float:
    error = float(np.mean((made.astype(float) - wanted) ** 2))
    return 99.0 if error == 0 else 10 * float(np.log10(255**2 / error))


# What comes into the picture at its edge is most of the error.
@pytest.mark.parametrize(("pixels", "floor"), [(2, 48), (4, 42), (6, 39), (8, 36)])
@pytest.mark.parametrize("name", ["chelsea", "astronaut", "coffee"])
def test_the_middle_of_a_pan(name: str, pixels: int, floor: float):
    middle = FlowInterpolator()(pan(name, 0), pan(name, pixels), 0.5)
    true = pan(name, pixels / 2)
    assert psnr(middle, true) >= floor
    inner = np.s_[16:-16, 16:-16]  # where nothing comes into the picture
    assert psnr(middle[inner], true[inner]) >= 60


@pytest.mark.parametrize(("factor", "pixels"), [(3, 6), (4, 8)])
def test_times_between_are_where_they_should_be(factor: int, pixels: int):
    draw = FlowInterpolator()
    first, last = pan("coffee", 0), pan("coffee", pixels)
    made = [draw(first, last, step / factor) for step in range(1, factor)]
    for step, frame in enumerate(made, start=1):
        fits = [psnr(frame, pan("coffee", at)) for at in range(pixels + 1)]
        assert int(np.argmax(fits)) == step * pixels // factor
        assert max(fits) >= 39


def test_what_stands_still_is_returned_as_it_is():
    frame = pan("coffee", 0)
    draw = FlowInterpolator()
    for time in (0.25, 0.5, 0.75):
        assert np.array_equal(draw(frame, frame.copy(), time), frame)


def test_what_does_not_match_is_mixed_and_not_torn():
    """Between two pictures with nothing in common there is no motion to follow: their mix, as in a dissolve."""
    before, after = pan("coffee", 0), pan("astronaut", 0)
    made = FlowInterpolator()(before, after, 0.5)
    mix = (before.astype(int) + after + 1) // 2
    assert psnr(made, mix.astype(np.uint8)) > 24


@pytest.mark.parametrize("size", [(16, 16), (16, 48), (4, 4), (1, 1), (2, 90)])
def test_small_pictures_are_interpolated_too(size: tuple[int, int]):
    rng = np.random.default_rng(0)
    before, after = rng.integers(0, 256, (2, size[1], size[0], 3), dtype=np.uint8)
    made = FlowInterpolator()(before, after, 0.5)
    assert (made.shape, made.dtype) == (before.shape, np.uint8)


# Segments


def test_a_segment_is_what_its_facts_say(tmp_path: Path):
    [finish] = shoot([Scene(5, False)], tmp_path)
    made = tmp_path / "segment"
    made.mkdir()
    told: list[float] = []
    write_segment(finish, frames_of(finish, told.append), made, {"device": "cpu"})
    segment = load_segment(made)
    assert (segment.frames, segment.fps, segment.size) == (5, FPS, (16, 16))
    assert told == [0.2, 0.4, 0.6, 0.8, 1.0]
    facts = read_facts(made / "segment.json")
    assert (facts["bytes"], facts["made"]) == (segment.path.stat().st_size, {"device": "cpu"})


@pytest.mark.parametrize("off", [-1, 1])
def test_another_number_of_frames_is_refused(off: int, tmp_path: Path):
    [finish] = shoot([Scene(5, False)], tmp_path)
    frames: Frames = iter([flat(9)] * (5 + off))
    with pytest.raises(ValueError, match=f"5 frames were promised and {5 + off} made"):
        write_segment(finish, frames, tmp_path, {})
    assert not (tmp_path / "segment.json").exists()


def test_a_frame_of_another_size_is_refused(tmp_path: Path):
    [finish] = shoot([Scene(2, False)], tmp_path)
    with pytest.raises(ValueError, match=re.escape("frame 1 is (18, 16, 3), not (16, 16, 3)")):
        write_segment(finish, iter([flat(9), flat(9, (16, 18))]), tmp_path, {})


def test_a_segment_that_is_none_is_named(tmp_path: Path):
    for facts in ({}, {"size": []}, {"size": [1, 2], "file": "x", "sha256": "", "frames": 1, "fps": "fast"}):
        write_facts(tmp_path / "segment.json", facts)
        with pytest.raises(DamagedFile, match="is not a segment's"):
            load_segment(tmp_path)


def tear(clip: Clip) -> None:
    data = (clip.path / "clip.mkv").read_bytes()
    (clip.path / "clip.mkv").write_bytes(data[: len(data) // 2])


def flip(clip: Clip) -> None:
    data = bytearray((clip.path / "clip.mkv").read_bytes())
    data[len(data) * 3 // 4] ^= 16
    (clip.path / "clip.mkv").write_bytes(data)


def swap(clip: Clip) -> None:
    write_clip([flat(1, clip.size)] * clip.frames, clip.path, FPS, clip.frames, {})


def remove(clip: Clip) -> None:
    (clip.path / "clip.mkv").unlink()


@pytest.mark.parametrize("damage", [tear, flip, swap, remove])
def test_a_damaged_clip_gives_no_segment(damage, tmp_path: Path):
    noise = np.random.default_rng(0).integers(0, 256, (6, 48, 64, 3), dtype=np.uint8)
    clip = kept(tmp_path / "clip", list(noise))
    damage(clip)
    finish = Finish(Span(clip, 1, 6), None, None, Interpolate(Flow(), 2), FAST)
    with pytest.raises(DamagedFile, match=r"clip\.mkv"):
        write_segment(finish, frames_of(finish), tmp_path, {})
    assert not (tmp_path / "segment.json").exists()


def test_a_damaged_lead_gives_no_segment(tmp_path: Path):
    [finish] = shoot([Scene(3, False)], tmp_path)
    (tmp_path / "lead.png").write_bytes(b"no picture")
    lead = Still("0" * 64, tmp_path / "lead.png")
    with pytest.raises(DamagedFile, match=r"lead\.png"):
        finished(replace(with_factor(finish, 2), lead=lead))


# The machine


@pytest.mark.parametrize("format", ["h264", "hevc"])
def test_the_same_work_gives_the_same_bytes(format: str, tmp_path: Path):
    """336 is no multiple of 128: there x264's AVX-512 code read what it had not written."""
    frames = [pan("astronaut", 2 * i, 336, 192) for i in range(40)]
    made = []
    for number in range(3):
        path = tmp_path / f"{number}.mp4"
        with SegmentFile(path, Encode(format, 16.0, "medium", 4), (336, 192), FPS) as file:
            for frame in frames:
                file.encoder.write(frame)
        made.append((path.read_bytes(), file.fingerprint))
    assert made[0] == made[1] == made[2]


MEASURE = """
import resource
import sys
from fractions import Fraction
from pathlib import Path
from post.encode import Encode
from post.finish import Finish, write_segment
from post.interpolate import Flow, Interpolate
from post.suite import Place, Suite
from post.upscale import Lanczos, Upscale
from scenes.files import load_clip
from scenes.footage import Span

clip = load_clip(Path(sys.argv[1]))
upscale, encode = Upscale(Lanczos(), (384, 256)), Encode("h264", 16.0, "superfast")
finish = Finish(Span(clip, 0, clip.frames), None, upscale, Interpolate(Flow(), 2), encode)
write_segment(finish, Suite(Place()).pictures(finish, lambda done: None, "yuv420p"), Path(sys.argv[2]), {})
status = Path("/proc/self/status")  # on Linux a child's ru_maxrss begins with its parent's
if status.exists():
    print(int(status.read_text().split("VmHWM:")[1].split()[0]) / 1024)
else:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2)
"""


def peak_megabytes(frames: int, folder: Path) -> float:
    clip = kept(folder / str(frames), [pan("astronaut", i % 60, 192, 128) for i in range(frames)])
    into = folder / f"segment{frames}"
    into.mkdir()
    command = [sys.executable, "-c", MEASURE, str(clip.path), str(into)]
    root = Path(__file__).parents[1]
    return float(subprocess.run(command, capture_output=True, text=True, check=True, cwd=root).stdout)


def test_a_longer_clip_takes_no_more_memory(tmp_path: Path):
    short, long = peak_megabytes(40, tmp_path), peak_megabytes(120, tmp_path)
    assert long - short < 4  # 80 frames more are 6 MB as they are drawn and 47 MB as they are finished


def test_the_facts_beside_a_clip_are_named_when_torn(tmp_path: Path):
    clip = kept(tmp_path / "clip", [flat(5)] * 2)
    (clip.path / FACTS_FILE).write_text("{")
    with pytest.raises(DamagedFile, match=r"clip\.json"):
        load_clip(clip.path)
