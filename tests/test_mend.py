"""Mending an end: exact where it must be, nothing changed where nothing need be, and bounded between."""

from __future__ import annotations

import itertools
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data

from post.mend import BOUND, DETAIL, OVER, Limits, Mend, apart, mend_of, mended
from scenes.files import load_clip, read_span, write_clip, write_still
from scenes.footage import Clip, Frame, Span
from storyboard.identity import digest, recipe

SIZE = 208, 120
LIMITS = Limits()
PHOTOS = ("astronaut", "chelsea", "coffee", "rocket")


def view(name: str, right: float = 0.0, size: tuple[int, int] = SIZE) -> Frame:
    """A photograph, moved to the right by so many per cent of the width."""
    photo: Frame = getattr(skimage.data, name)()
    height, width = photo.shape[:2]
    scale = min(width / size[0], height / size[1]) * 0.8
    matrix = np.array(
        [[scale, 0, (width - scale * size[0]) / 2 + right * scale * size[0] / 100], [0, scale, 10.0]], np.float64
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    drawn = cv2.warpAffine(photo, matrix, size, flags=flags, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(drawn, dtype=np.uint8)


def grained(frame: Frame, rng: np.random.Generator, by: float = 2.0) -> Frame:
    return np.clip(frame + rng.normal(0, by, frame.shape), 0, 255).round().astype(np.uint8)


def graded(frame: Frame, by: float) -> Frame:
    """Brighter and warmer, by that much in CIELAB."""
    lab = cv2.cvtColor(frame.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
    lab += np.array([0.8, 0.4, 0.45], np.float32) * np.float32(by)
    return np.clip(255 * cv2.cvtColor(lab, cv2.COLOR_Lab2RGB), 0, 255).round().astype(np.uint8)


def kept(folder: Path, frames: list[Frame]) -> Clip:
    folder.mkdir()
    write_clip(frames, folder, Fraction(16), len(frames), {})
    return load_clip(folder)


def moving(count: int) -> list[Frame]:
    rng = np.random.default_rng(3)
    return [grained(view("coffee", 0.3 * (index - count + 1)), rng) for index in range(count)]


def frames_of(clip: Clip) -> list[Frame]:
    return list(read_span(Span(clip, 0, clip.frames)))


@pytest.fixture
def mend(tmp_path: Path) -> Mend:
    """Of a clip whose end is a little bright and a little to the left of the frame held."""
    clip = kept(tmp_path / "clip", moving(29))
    target = grained(graded(view("coffee", 0.4), -3), np.random.default_rng(4))
    found = mend_of(clip, write_still(target, tmp_path / "target.png"))
    assert found is not None
    return found


def test_it_ends_on_the_frame_bit_for_bit_and_begins_as_it_was(mend: Mend):
    before, after = frames_of(mend.clip), list(mended(mend))
    assert len(after) == 29
    target = cv2.cvtColor(cv2.imread(str(mend.target.path)), cv2.COLOR_BGR2RGB)
    np.testing.assert_array_equal(after[-1], target)
    for old, new in zip(before[: 29 - OVER], after, strict=False):
        np.testing.assert_array_equal(old, new)
    assert not np.array_equal(before[-4], after[-4])


def test_no_frame_but_the_last_is_changed_by_more_than_the_bound(tmp_path: Path):
    clip = kept(tmp_path / "clip", [np.zeros((48, 64, 3), np.uint8) for _ in range(29)])
    white = write_still(np.full((48, 64, 3), 255, np.uint8), tmp_path / "white.png")
    mend = Mend(clip, white, OVER)
    levels = [int(frame.max()) for frame in mended(mend)]
    assert levels[-1] == 255
    assert levels[: 29 - OVER] == [0] * (29 - OVER)
    assert levels[29 - OVER : -1] == sorted(levels[29 - OVER : -1]), "it is eased in"
    assert 0 < levels[29 - OVER // 2] < levels[-2] <= BOUND


def test_the_end_is_approached_step_by_step(mend: Mend):
    """Nothing jumps: no step between two mended frames is much larger than the steps of the clip as drawn."""

    def steps(frames: list[Frame]) -> list[float]:
        means = [frame.reshape(-1, 3).mean(0) for frame in frames]
        return [float(np.abs(b - a).max()) for a, b in itertools.pairwise(means)]

    drawn, now = steps(frames_of(mend.clip)), steps(list(mended(mend)))
    residual = np.abs(frames_of(mend.clip)[-1].reshape(-1, 3).mean(0) - list(mended(mend))[-1].reshape(-1, 3).mean(0))
    assert max(now) < max(drawn) + 2 * residual.max() / OVER


def test_detail_comes_last(mend: Mend):
    """Detail that moves would show twice: before the last few frames colour alone is changed."""
    before, after = frames_of(mend.clip), list(mended(mend))

    def fine(index: int) -> float:
        change = after[index].astype(np.float32) - before[index]
        return float(cv2.Laplacian(change, cv2.CV_32F).std())

    early = max(fine(index) for index in range(29 - OVER, 29 - DETAIL - 1))
    assert early < 0.25 * fine(28)


def test_a_short_clip_keeps_its_first_frame(tmp_path: Path):
    frames = moving(5)
    clip = kept(tmp_path / "clip", frames)
    mend = mend_of(clip, write_still(graded(frames[-1], -2), tmp_path / "target.png"))
    assert mend is not None
    assert mend.frames == 4
    np.testing.assert_array_equal(next(iter(mended(mend))), frames[0])


def test_an_end_that_is_the_frame_needs_no_mending(tmp_path: Path):
    clip = kept(tmp_path / "clip", moving(5))
    assert mend_of(clip, clip.last) is None


def test_its_recipe(mend: Mend):
    said = recipe(mend)
    assert isinstance(said, dict)
    assert said["kind"] == "mend/1"
    assert set(said) == {"kind", "clip", "target", "frames"}
    assert digest(mend) != digest(Mend(mend.clip, mend.clip.last, mend.frames))


NEAR = {
    "grain": lambda frame, name: frame,
    "softer": lambda frame, name: cv2.GaussianBlur(frame, (0, 0), 1.0),
    "graded": lambda frame, name: graded(frame, 3),
    "moved": lambda frame, name: view(name, 0.8),
}
FAR = {
    "graded": (lambda frame, name: graded(frame, -8), "colour"),
    "moved": (lambda frame, name: view(name, 3), "moved"),
    "mirrored": (lambda frame, name: np.ascontiguousarray(frame[:, ::-1]), "cell"),
    "another": (lambda frame, name: view(PHOTOS[PHOTOS.index(name) - 1]), "mismatch"),
    "a thing in it": (lambda frame, name: with_a_thing(frame), "cell"),
}


def with_a_thing(frame: Frame) -> Frame:
    changed = frame.copy()
    changed[40:80, 70:120] = 255 - changed[40:80, 70:120]
    return changed


@pytest.mark.parametrize("name", PHOTOS)
@pytest.mark.parametrize("change", NEAR)
def test_what_is_near_enough(name: str, change: str):
    rng = np.random.default_rng(len(name))
    frame = view(name)
    found = apart(grained(frame, rng), grained(NEAR[change](frame, name), rng))
    assert found.over(LIMITS) == (), found


@pytest.mark.parametrize("name", PHOTOS)
@pytest.mark.parametrize("change", FAR)
def test_what_is_too_far(name: str, change: str):
    rng = np.random.default_rng(len(name))
    frame = view(name)
    changed, told = FAR[change]
    found = apart(grained(frame, rng), grained(changed(frame, name), rng))
    assert told in found.over(LIMITS), found


def test_nothing_is_apart_from_itself_in_pictures_as_small_as_they_come():
    frame = view("coffee", size=(32, 16))
    assert max(vars_of(apart(frame, frame))) < 1e-3


def vars_of(found: object) -> list[float]:
    return [getattr(found, name) for name in ("colour", "cell", "moved", "mismatch")]
