"""Grades: what is fitted where two clips show the same, how far it goes, and that every way to finish applies it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from functools import cache
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from post.encode import Encode
from post.finish import Finish
from post.grade import AS_DRAWN, IDENTITY, Grade, Graded, graded, matrix_of, numbers_of
from post.interpolate import Flow, Interpolate, Rife
from post.match import (
    CONTRAST,
    CORNERS,
    HOP,
    RUN,
    SHIFT,
    Ends,
    Match,
    after,
    applied,
    bounded,
    easing,
    ends,
    fit,
    furthest,
    match,
    next_in_run,
    within,
)
from post.suite import Place, Suite
from post.transition import Dissolve
from post.upscale import Lanczos, RealESRGAN, Upscale
from scenes.files import load_clip, write_clip, write_still
from scenes.footage import Clip, Frame, Span
from storyboard.identity import digest, recipe

SIZE = WIDTH, HEIGHT = 208, 120
PHOTOS = ("astronaut", "chelsea", "coffee", "rocket")
FAST = Encode("h264", 30.0, "ultrafast")


@cache
def photo(name: str) -> Frame:
    return cv2.resize(getattr(skimage.data, name)(), SIZE, interpolation=cv2.INTER_AREA)


def gains(red: float, green: float, blue: float, offset: float = 0.0) -> np.ndarray:
    return np.column_stack([np.diag([red, green, blue]), np.full(3, offset)])


def rms(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.sqrt(((one.astype(float) - other.astype(float)) ** 2).sum(-1).mean()))


# What is fitted


@pytest.mark.parametrize("name", PHOTOS)
@pytest.mark.parametrize("drift", [gains(0.96, 1, 1), gains(0.98, 0.97, 0.95, -1), gains(1, 1.03, 0.96, -3)])
def test_a_known_drift_is_found(name: str, drift: np.ndarray):
    """Through grain of two levels, and with a quarter of the picture showing something else."""
    rng = np.random.default_rng(1)
    before = np.clip(photo(name) * 0.8 + 20, 0, 255).astype(np.uint8)
    drawn = graded(before, drift).astype(float) + rng.normal(0, 2, before.shape)
    drawn[: HEIGHT // 2, : WIDTH // 2] = 255 - drawn[: HEIGHT // 2, : WIDTH // 2]
    drawn = drawn.clip(0, 255).round().astype(np.uint8)
    back = graded(drawn, fit(match(drawn, before)))
    same = np.s_[HEIGHT // 2 :]
    assert np.abs(back[same].mean((0, 1)) - before[same].mean((0, 1))).max() < 0.5
    assert np.abs(drawn[same].mean((0, 1)) - before[same].mean((0, 1))).max() > 1.5


def test_grain_does_not_pass_for_lost_contrast():
    """Fitted pixel by pixel, a tenth of this picture's contrast would go at each hop."""
    rng = np.random.default_rng(2)
    flat = 128 + (photo("coffee").astype(float) - 128) / 8
    one, other = ((flat + rng.normal(0, 3, flat.shape)).round().astype(np.uint8) for _ in range(2))
    found = fit(match(one, other))
    assert np.abs(found[:, :3] - np.eye(3)).max() < 0.02
    per_pixel = np.cov(one.reshape(-1, 3).T.astype(float))
    assert 9 / np.diag(per_pixel).min() > 0.05, "the grain is a good part of what such a fit would see"


def test_a_flat_picture_keeps_its_gains():
    one, other = (np.full((HEIGHT, WIDTH, 3), level, np.uint8) for level in ((100, 90, 80), (104, 90, 77)))
    found = fit(match(one, other))
    assert np.allclose(found[:, :3], np.eye(3))
    assert np.allclose(found[:, 3], (4, 0, -3))


def test_two_frames_that_show_something_else_are_left_alone():
    one, other = photo("astronaut"), photo("rocket")
    assert np.array_equal(fit(match(one, other)), IDENTITY)
    white = np.full_like(one, 255)
    assert match(white, white).weight == 0, "nothing is left of it to compare"
    assert np.array_equal(fit(match(white, one)), IDENTITY)


def test_clipped_parts_do_not_count():
    before = np.clip(photo("coffee").astype(float) * 1.2, 0, 255).astype(np.uint8)
    assert (before == 255).mean() > 0.05
    found = fit(match(graded(before, gains(1.04, 1.04, 1.04)), before))
    assert np.allclose(found, gains(1 / 1.04, 1 / 1.04, 1 / 1.04), atol=0.01 * np.array([1, 1, 1, 100]))


frames = st.integers(0, 10**6).map(lambda seed: random_frame(np.random.default_rng(seed)))


def random_frame(rng: np.random.Generator) -> Frame:
    """Anything from flat to noise, some of it clipped."""
    spread = rng.choice([0, 1, 10, 80, 300])
    coarse = rng.normal(rng.uniform(0, 255, 3), spread, (6, 8, 3))
    return np.clip(cv2.resize(coarse, (64, 48)), 0, 255).round().astype(np.uint8)


@given(frames, frames, st.floats(0, 0.3), st.floats(0.05, 1), st.integers(0, 10**6))
@settings(max_examples=150, deadline=None)
def test_no_transform_goes_further_than_what_it_removes(one: Frame, other: Frame, mix: float, s: float, seed: int):
    drawn = np.rint(one + mix * (other.astype(float) - one)).astype(np.uint8)
    found = match(drawn, one)
    rng = np.random.default_rng(seed)
    before = within(IDENTITY + rng.normal(0, 0.05, (3, 4)) * [1, 1, 1, 100], RUN)
    whole = next_in_run(before, found, s)
    assert furthest(whole) <= RUN + 1e-6
    alone = next_in_run(IDENTITY, found, s)
    assert furthest(alone) <= HOP + 1e-6
    if bounded(IDENTITY, found, s):
        assert furthest(fit(found)) > HOP
    if found.weight:
        # In the mean over the blocks that count, as the fit saw them.
        blocks = np.random.default_rng(0).multivariate_normal(found.mean, np.reshape(found.spread, (6, 6)), 4000)
        moved = rms(applied(whole, blocks[:, :3]), blocks[:, :3])
        assert moved <= rms(applied(before, blocks[:, 3:]), blocks[:, :3]) * 1.05 + 0.05


def test_strength_is_a_share_of_each_hop():
    before = np.clip(photo("chelsea") * 0.8 + 20, 0, 255).astype(np.uint8)
    found = match(graded(before, gains(0.96, 1, 1)), before)
    whole, half = (next_in_run(IDENTITY, found, strength) for strength in (1.0, 0.5))
    assert np.allclose(half - IDENTITY, (whole - IDENTITY) / 2)
    assert whole[0, 0] == pytest.approx(1 / 0.96, abs=0.01)


# How it is written down


@given(st.integers(0, 10**6))
@settings(deadline=None)
def test_numbers_are_whole_and_near(seed: int):
    matrix = IDENTITY + np.random.default_rng(seed).normal(0, 0.1, (3, 4)) * [1, 1, 1, 50]
    numbers = numbers_of(matrix)
    assert all(type(number) is int for number in numbers)
    assert numbers_of(matrix_of(numbers)) == numbers
    assert np.abs(CORNERS @ (matrix - matrix_of(numbers)).T).max() <= 0.13
    frame = random_frame(np.random.default_rng(seed))
    assert Match.read(match(frame, frame).text()) == match(frame, frame)
    assert Ends.read(ends(frame, frame).text()) == ends(frame, frame)


def test_as_drawn_changes_no_level():
    frame = photo("astronaut")
    assert np.array_equal(graded(frame, matrix_of(AS_DRAWN)), frame)
    assert graded(frame, None) is frame
    one = match(frame, frame)
    assert numbers_of(next_in_run(IDENTITY, one, 1.0)) == AS_DRAWN
    with pytest.raises(ValueError, match="2 numbers"):
        Match.read("[1, 2]")


def test_keys():
    """Fails when a grade's key changes: films with graded segments would be finished again."""
    clip = Clip("1" * 64, 81, Fraction(16), (832, 480), None, Path("clip"))  # type: ignore[arg-type]
    finish = Finish(Span(clip, 1, 81), None, None, None, Encode("h264", 16.0))
    colour = Graded(Grade(numbers_of(gains(1.02, 1, 1, 0.5))), follows=("a",))
    assert recipe(colour) == {
        "kind": "graded/1",
        "clip": {"kind": "grade/1", "first": [4178, 0, 0, 8, 0, 4096, 0, 8, 0, 0, 4096, 8]},
    }
    assert "colour" not in recipe(finish)  # type: ignore[operator]
    asked = replace(finish, colour=colour)
    assert digest(asked) != digest(finish)
    assert digest(replace(finish, colour=replace(colour, follows=("b",)))) == digest(asked)


# Drift within a clip


def test_easing_takes_back_what_the_whole_picture_does():
    first = np.clip(photo("coffee") * 0.7 + 30, 0, 255).astype(np.uint8)
    last = graded(first, gains(0.98, 0.98, 0.98, 1))
    back = easing(ends(first, last), 1.0)
    assert np.abs(graded(last, back).mean((0, 1)) - first.mean((0, 1))).max() < 0.3
    half = easing(ends(first, last), 0.5)
    missing = first.mean((0, 1)) - last.mean((0, 1))
    assert np.allclose(graded(last, half).mean((0, 1)) - last.mean((0, 1)), missing / 2, atol=0.3)


@given(frames, frames, st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_easing_is_bounded(first: Frame, last: Frame, share: float):
    by = easing(ends(first, last), share)
    mean = last.reshape(-1, 3).mean(0)
    assert np.abs(applied(by, mean[None])[0] - mean).max() <= SHIFT + 0.5
    assert np.allclose(by[:, :3], by[0, 0] * np.eye(3))
    assert abs(by[0, 0] - 1) <= CONTRAST + 1e-9


def test_a_grade_that_eases_goes_in_equal_steps():
    grade = Grade(numbers_of(gains(1.02, 1, 1)), numbers_of(gains(1.02, 1, 1.04, 2)), 8)
    at = [grade.at(index) for index in range(10)]
    assert np.array_equal(at[0], matrix_of(grade.first))
    assert grade.last is not None
    assert np.array_equal(at[8], matrix_of(grade.last))
    assert np.array_equal(at[9], at[8])
    steps = np.diff(at[:9], axis=0)
    assert np.allclose(steps, steps[0])
    assert grade.end == grade.last


def test_after_is_one_after_the_other():
    one, two = gains(1.1, 0.9, 1, 3), gains(0.8, 1.2, 1, -5)
    levels = np.random.default_rng(0).uniform(0, 255, (20, 3))
    assert np.allclose(applied(after(one, two), levels), applied(two, applied(one, levels)))


# Finishing


def moving(count: int) -> Iterator[Frame]:
    wide = np.clip(photo("astronaut") * 0.8 + 20, 0, 255).astype(np.uint8)
    for index in range(count):
        yield np.ascontiguousarray(wide[24:72, 2 * index : 2 * index + 64])


@pytest.fixture
def clip(tmp_path: Path) -> Clip:
    return kept(tmp_path / "clip", 6)


def kept(folder: Path, count: int) -> Clip:
    folder.mkdir()
    write_clip(moving(count), folder, Fraction(16), count, {})
    return load_clip(folder)


WARM, COOL = Grade(numbers_of(gains(1.05, 1, 0.95, 2))), Grade(numbers_of(gains(0.95, 1, 1.05, -2)))
EASED = Grade(WARM.first, COOL.first, 5)


def finished(finish: Finish) -> list[Frame]:
    suite = Suite(Place("cpu"))
    made = list(suite.frames(finish, lambda done: None))
    suite.close()
    return made


def test_each_source_frame_has_its_own(clip: Clip):
    """No upscaling, nothing between: the finished frames are the graded ones."""
    finish = Finish(Span(clip, 1, 6), None, None, None, FAST, colour=Graded(EASED))
    expected = [graded(frame, EASED.at(index)) for index, frame in enumerate(moving(6))][1:]
    assert all(map(np.array_equal, finished(finish), expected))


def test_the_lead_has_the_grade_of_the_clip_before(clip: Clip, tmp_path: Path):
    lead = write_still(next(moving(1)), tmp_path / "lead.png")
    finish = Finish(Span(clip, 1, 6), lead, None, Interpolate(Flow(), 2), FAST, colour=Graded(WARM, WARM))
    graded_lead = write_still(graded(next(moving(1)), WARM.at(0)), tmp_path / "graded.png")
    frames = [graded(frame, WARM.at(0)) for frame in moving(6)]
    (tmp_path / "b").mkdir()
    write_clip(iter(frames), tmp_path / "b", Fraction(16), 6, {})
    same = replace(finish, span=Span(load_clip(tmp_path / "b"), 1, 6), lead=graded_lead, colour=None)
    assert all(map(np.array_equal, finished(finish), finished(same)))


def test_what_is_dissolved_from_has_its_own(clip: Clip, tmp_path: Path):
    before = kept(tmp_path / "before", 6)
    opens = Dissolve(2, Span(before, 4, 6))
    finish = Finish(Span(clip, 0, 6), None, None, None, FAST, opens, colour=Graded(tail=EASED))
    (tmp_path / "b").mkdir()
    frames = (graded(frame, EASED.at(index)) for index, frame in enumerate(moving(6)))
    write_clip(frames, tmp_path / "b", Fraction(16), 6, {})
    same = replace(finish, opens=Dissolve(2, Span(load_clip(tmp_path / "b"), 4, 6)), colour=None)
    assert all(map(np.array_equal, finished(finish), finished(same)))


def test_before_a_resample(clip: Clip):
    upscale = Upscale(Lanczos(), (128, 96))
    finish = Finish(Span(clip, 0, 6), None, upscale, None, FAST, colour=Graded(WARM))
    made = finished(finish)
    assert made[0].shape == (96, 128, 3)
    middle = [frame.reshape(-1, 3).mean(0) for frame in made]
    expected = [graded(frame, WARM.at(0)).reshape(-1, 3).mean(0) for frame in moving(6)]
    assert np.abs(np.array(middle) - expected).max() < 0.3


def doubled(images: torch.Tensor) -> torch.Tensor:
    return images.permute(0, 3, 1, 2).float().div(255).repeat_interleave(2, 2).repeat_interleave(2, 3)


@pytest.mark.parametrize("between", ["rife", "flow", "none"])
@pytest.mark.parametrize("net", [True, False])
def test_a_device_draws_what_numpy_draws(
    clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, between: str, net: bool
):
    """Within a level, and on the device more finely: graded to whole levels, these would repeat some."""
    monkeypatch.setattr("post.upscale.open_enlarger", lambda *_: doubled)
    monkeypatch.setattr("post.rife.open_rife", lambda *_: lambda a, b, t: a + (b - a) * t.view(-1, 1, 1, 1))
    rife = Rife("rife", tmp_path / "rife.pkl")
    rules = {"rife": Interpolate(rife, 2), "flow": Interpolate(Flow(), 1), "none": None}
    rule, upscale = rules[between], Upscale(RealESRGAN("net", tmp_path / "net.pth"), (128, 96)) if net else None
    lead = write_still(next(moving(1)), tmp_path / "lead.png") if rule else None
    finish = Finish(Span(clip, 1, 6), lead, upscale, rule, FAST, colour=Graded(EASED, WARM))
    sources = [graded(frame, EASED.at(index)) for index, frame in enumerate(moving(6))]
    sources[0] = graded(next(moving(1)), WARM.at(0))
    if net:
        sources = [frame.repeat(2, 0).repeat(2, 1) for frame in sources]
    expected = sources[1:]
    if between == "rife":
        expected = [frame for a, b in pairwise(sources) for frame in ((a.astype(float) + b) / 2, b)]
    made = finished(finish)
    assert len(made) == len(expected)
    assert max(np.abs(a.astype(float) - b).max() for a, b in zip(made, expected, strict=True)) <= 1


def test_on_a_device_it_is_rounded_once_only(clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What the net sees has more than whole levels."""
    seen: list[torch.Tensor] = []

    def keeps(images: torch.Tensor) -> torch.Tensor:
        seen.append(images.clone())
        return doubled(images)

    monkeypatch.setattr("post.upscale.open_enlarger", lambda *_: keeps)
    upscale = Upscale(RealESRGAN("net", tmp_path / "net.pth"), (128, 96))
    finished(Finish(Span(clip, 0, 6), None, upscale, None, FAST, colour=Graded(WARM)))
    levels = torch.cat(seen)
    assert levels.is_floating_point()
    assert (levels - levels.round()).abs().max() > 0.3
    assert levels.min() >= 0
    assert levels.max() <= 255


@pytest.mark.parametrize("make", [lambda: WARM, lambda: EASED])
def test_no_flicker_is_added_within_a_clip(clip: Clip, make: Callable[[], Grade]):
    """Frame to frame, mean colour changes as it does without, but for the gain and for the even step of an easing."""
    grade = make()
    with_it = np.array([f.reshape(-1, 3).mean(0) for f in finished(finish_of(clip, grade))])
    without = np.array([f.reshape(-1, 3).mean(0) for f in finished(finish_of(clip, None))])
    wanted = np.array([applied(grade.at(index), mean[None])[0] for index, mean in enumerate(without)])
    assert np.abs(np.diff(with_it - wanted, axis=0)).max() < 0.05


def finish_of(clip: Clip, grade: Grade | None) -> Finish:
    return Finish(Span(clip, 0, 6), None, None, None, FAST, colour=Graded(grade) if grade else None)
