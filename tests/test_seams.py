"""Seams in numbers: photographs that a camera moves over, whole and with known faults."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import NamedTuple

import cv2
import numpy as np
import pytest
import skimage.color
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st

from post.limits import Limits
from post.look import drift, look_at, standing_out, steps
from post.seams import Fault, Point, Seam, findings, measured_seam, run_findings
from scenes.footage import Frame

SIZE = WIDTH, HEIGHT = 208, 120
SIDE = 6
LIMITS = Limits()
PHOTOS = ("astronaut", "chelsea", "coffee", "hubble_deep_field", "rocket")


@cache
def photo(name: str) -> Frame:
    return getattr(skimage.data, name)()


class Shot(NamedTuple):
    """A camera over a photograph, at any moment; moments are frames."""

    picture: str
    centre: tuple[float, float]
    pace: tuple[float, float]  # pixels of the frame a frame
    zoom: float
    scale: float  # of the photograph, pixels a pixel of the frame
    turn: float

    def frame(self, moment: float) -> Frame:
        picture = photo(self.picture)
        scale = self.scale * self.zoom**moment / 2  # drawn at twice the size, so that no phase of a pixel is sharper
        angle = self.turn * moment
        turned = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        centre = np.array(self.centre) + np.array(self.pace) * self.scale * moment
        matrix = np.column_stack([turned, centre - turned @ [WIDTH, HEIGHT]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        drawn = cv2.warpAffine(picture, matrix, (2 * WIDTH, 2 * HEIGHT), flags=flags, borderMode=cv2.BORDER_REFLECT_101)
        return np.asarray(cv2.resize(drawn, SIZE, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def shot(rng: np.random.Generator, picture: str | None = None) -> Shot:
    name = picture or PHOTOS[rng.integers(len(PHOTOS))]
    height, width = photo(name).shape[:2]
    direction, speed = rng.uniform(0, 2 * np.pi), rng.uniform(0.8, 4)
    return Shot(
        name,
        (width * rng.uniform(0.35, 0.65), height * rng.uniform(0.35, 0.65)),
        (speed * np.cos(direction), speed * np.sin(direction)),
        rng.uniform(0.994, 1.006),
        min(width / WIDTH, height / HEIGHT) * rng.uniform(0.5, 0.75),
        rng.uniform(-0.002, 0.002),
    )


def grained(frame: Frame, rng: np.random.Generator) -> Frame:
    """Every frame has its own grain, as a model's have: none repeats another one bit for bit."""
    return np.clip(frame + rng.normal(0, 1, frame.shape), 0, 255).round().astype(np.uint8)


def in_lab(frame: Frame, change: Callable[[np.ndarray], np.ndarray]) -> Frame:
    lab = cv2.cvtColor(frame.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
    rgb = cv2.cvtColor(change(lab).astype(np.float32), cv2.COLOR_Lab2RGB)
    return np.clip(255 * rgb, 0, 255).round().astype(np.uint8)


def shifted(frame: Frame, by: np.ndarray) -> Frame:
    return in_lab(frame, lambda lab: lab + by)


class Cut(NamedTuple):
    """The frames on both sides of a seam."""

    tail: list[Frame]
    head: list[Frame]

    def seam(self) -> Seam:
        return measured_seam([look_at(frame) for frame in self.tail], [look_at(frame) for frame in self.head])


def drawn(camera: Shot, rng: np.random.Generator, moments: list[float]) -> Cut:
    frames = [grained(camera.frame(moment), rng) for moment in moments]
    return Cut(frames[:SIDE], frames[SIDE:])


MOMENTS = [float(moment) for moment in range(-SIDE, SIDE)]


def shift_of(rng: np.random.Generator, least: float, most: float) -> np.ndarray:
    """A direction in Lab, of that length."""
    direction = rng.normal(size=3)
    return direction / np.linalg.norm(direction) * rng.uniform(least, most)


def clean(rng: np.random.Generator) -> Cut:
    """A camera that changes its speed somewhat, light that changes slowly, a seam that shows a little."""
    camera = shot(rng)
    if rng.random() < 0.1:
        camera = camera._replace(pace=(0.0, 0.0), zoom=1.0, turn=0.0)
    faster = rng.uniform(0.8, 1.25)
    whole = drawn(camera, rng, [*MOMENTS[:SIDE], *(faster * moment for moment in MOMENTS[SIDE:])])
    light, step = rng.uniform(-0.15, 0.15), shift_of(rng, 0, 0.5)
    tail = [shifted(f, np.array([light * i, 0, 0])) for i, f in enumerate(whole.tail)]
    return Cut(tail, [shifted(f, step + np.array([light * (SIDE + i), 0, 0])) for i, f in enumerate(whole.head)])


def graded(rng: np.random.Generator) -> Cut:
    return known_grade(rng)[0]


def known_grade(rng: np.random.Generator) -> tuple[Cut, float]:
    """A seam, and ΔE2000 of the first frame's mean colour with and without its grade: at least 2."""
    whole = drawn(shot(rng), rng, MOMENTS)
    while True:
        shift = shift_of(rng, 3, 12)
        head = [shifted(frame, shift) for frame in whole.head]
        means = [skimage.color.rgb2lab(frame).mean((0, 1)) for frame in (whole.head[0], head[0])]
        known = float(skimage.color.deltaE_ciede2000(*means))
        if known >= 2:
            return Cut(whole.tail, head), known


def flashing(rng: np.random.Generator) -> Cut:
    """One or two frames at the seam, on either side of it, brighter or darker by 4 to 15 L."""
    whole = drawn(shot(rng), rng, MOMENTS)
    by = np.array([rng.uniform(4, 15) * rng.choice([-1, 1]), 0, 0])
    frames = [*whole.tail, *whole.head]
    first, count = SIDE - rng.integers(0, 3), rng.integers(1, 3)
    for index in range(first, first + count):
        frames[index] = in_lab(frames[index], lambda lab: lab * (1 + by[0] / max(lab[..., 0].mean(), 20)))
    return Cut(frames[:SIDE], frames[SIDE:])


def doubled(rng: np.random.Generator) -> Cut:
    moments = [*MOMENTS[:SIDE], *(moment - 1 for moment in MOMENTS[SIDE:])]
    return drawn(shot(rng), rng, moments)


def doubled_and_graded(rng: np.random.Generator) -> Cut:
    whole, shift = doubled(rng), shift_of(rng, 2, 8)
    return Cut(whole.tail, [shifted(frame, shift) for frame in whole.head])


def skipping(rng: np.random.Generator) -> Cut:
    return drawn(shot(rng), rng, [*MOMENTS[:SIDE], *(moment + 1 for moment in MOMENTS[SIDE:])])


def frozen_at_its_end(rng: np.random.Generator) -> Cut:
    stop = -int(rng.integers(3, 6))
    held = [min(moment, stop) for moment in MOMENTS[:SIDE]]
    return drawn(shot(rng), rng, [*held, *(stop + 1 + moment for moment in MOMENTS[SIDE:])])


def frozen_at_its_start(rng: np.random.Generator) -> Cut:
    start = int(rng.integers(2, 5))
    return drawn(shot(rng), rng, [*MOMENTS[:SIDE], *(max(0, moment - start) for moment in MOMENTS[SIDE:])])


def blurred(rng: np.random.Generator) -> Cut:
    """The last one to three frames, more and more."""
    whole, count = drawn(shot(rng), rng, MOMENTS), int(rng.integers(1, 4))
    tail = list(whole.tail)
    for behind in range(count):
        tail[-1 - behind] = cv2.GaussianBlur(tail[-1 - behind], (0, 0), rng.uniform(0.9, 2.5) * (1 - behind / 4))
    return Cut(tail, whole.head)


def cut_hard(rng: np.random.Generator) -> Cut:
    one, other = rng.choice(PHOTOS, 2, replace=False)
    return Cut(drawn(shot(rng, one), rng, MOMENTS).tail, drawn(shot(rng, other), rng, MOMENTS).head)


FAULTS: dict[str, tuple[Callable[[np.random.Generator], Cut], Fault]] = {
    "grade": (graded, "colour step"),
    "flash": (flashing, "luma flash"),
    "duplicate": (doubled, "duplicate frame"),
    "duplicate, graded": (doubled_and_graded, "duplicate frame"),
    "skip": (skipping, "skipped frame"),
    "frozen tail": (frozen_at_its_end, "frozen tail"),
    "frozen head": (frozen_at_its_start, "frozen head"),
    "blur": (blurred, "blurred tail"),
    "hard cut": (cut_hard, "hard cut"),
}


def faults(seam: Seam) -> set[str]:
    return {finding.fault for finding in findings(seam, LIMITS)}


@pytest.mark.slow
def test_known_faults_are_found():
    """252 seams, 28 of each fault."""
    each = 28
    missed: list[tuple[str, int, set[str]]] = []
    for number, (name, (make, fault)) in enumerate(FAULTS.items()):
        for seed in range(each):
            found = faults(make(np.random.default_rng([number, seed])).seam())
            if fault not in found:
                missed.append((name, seed, found))
    recall = 1 - len(missed) / (each * len(FAULTS))
    print(f"recall {recall:.4f} of {each * len(FAULTS)}; missed: {missed}")  # noqa: T201 (shown by -rP)
    assert recall >= 0.98, missed
    assert max(Counter(name for name, _, _ in missed).values(), default=0) <= each // 10, missed


@pytest.mark.slow
def test_clean_seams_raise_no_alarm():
    """200 seams: nothing is said of any, not even a note."""
    alarms = [(seed, clean(np.random.default_rng([99, seed])).seam()) for seed in range(200)]
    assert not [(seed, found) for seed, seam in alarms if (found := findings(seam, LIMITS))]


@pytest.mark.parametrize("seed", range(30))
def test_a_grade_is_measured(seed: int):
    """Within 10 % or 0.3, whichever is more, while the camera moves."""
    cut, known = known_grade(np.random.default_rng([77, seed]))
    assert cut.seam().drift.delta_e == pytest.approx(known, rel=0.1, abs=0.3)


def test_a_grade_in_one_corner_is_found_by_the_grid():
    rng = np.random.default_rng(5)
    whole = drawn(shot(rng, "coffee"), rng, MOMENTS)
    head = [frame.copy() for frame in whole.head]
    for frame in head:
        frame[:40, :48] = shifted(frame[:40, :48], np.array([-12.0, 0, 0]))
    found = faults(Cut(whole.tail, head).seam())
    assert "colour step in part" in found
    assert not {"colour step", "luma step"} & found


def test_a_hard_cut_hides_what_cannot_be_compared():
    assert [finding.severity for finding in findings(cut_hard(np.random.default_rng(1)).seam(), LIMITS)] == ["error"]


def test_worse_is_more_severe_and_first():
    rng = np.random.default_rng(8)
    whole = drawn(shot(rng, "chelsea"), rng, MOMENTS)

    def found(light: float) -> list[tuple[str, str]]:
        seam = Cut(whole.tail, [shifted(frame, np.array([light, 0, 0])) for frame in whole.head]).seam()
        return [(finding.fault, finding.severity) for finding in findings(seam, LIMITS)]

    assert found(0) == []
    assert found(2.2) == [("colour step", "warning"), ("luma step", "warning")]
    assert found(5) == [("colour step", "error"), ("luma step", "error")]


def test_limits_decide():
    seam = graded(np.random.default_rng(3)).seam()
    assert "colour step" in faults(seam)
    deaf = replace(LIMITS, delta_e=100, cells_max=100, luma=100, contrast=9, saturation=99, sharpness=9, flash=99)
    assert findings(seam, deaf) == []


def test_frames_of_a_scene_that_stands_still_are_no_duplicates():
    rng = np.random.default_rng(2)
    still = shot(rng, "chelsea")._replace(pace=(0.0, 0.0), zoom=1.0, turn=0.0)
    assert findings(drawn(still, rng, MOMENTS).seam(), LIMITS) == []
    same = [still.frame(0)] * SIDE
    seam = Cut(same, same).seam()
    assert findings(seam, LIMITS) == []
    assert seam.drift == drift(look_at(same[0]), look_at(same[0]))
    assert (seam.drift.delta_e, seam.drift.contrast, seam.flash) == (0, 1, 0)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_flat_pictures_have_numbers_too(level: int):
    flat = [np.full((HEIGHT, WIDTH, 3), level, np.uint8)] * 3
    seam = Cut(flat, flat).seam()
    assert findings(seam, LIMITS) == []
    assert seam.mismatch == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("across", [0.6, 3.0])
def test_a_slow_scene_before_a_fast_one_is_not_frozen_nor_doubled(across: float):
    """It moves by less than a fifth of what follows, and moves all the same."""
    moments = [0.6 * moment for moment in range(SIDE)]
    moments += [moments[-1] + across + 12.0 * moment for moment in range(SIDE)]
    camera = shot(np.random.default_rng(7), "coffee")._replace(pace=(1.0, 0.0), zoom=1.0, turn=0.0)
    found = {finding.fault for finding in findings(drawn(camera, np.random.default_rng(1), moments).seam(), LIMITS)}
    assert found & {"frozen tail", "duplicate frame"} == set()
    assert "change of pace" in found


def test_what_is_no_seam_is_refused():
    look, other = look_at(np.zeros((32, 48, 3), np.uint8)), look_at(np.zeros((32, 64, 3), np.uint8))
    with pytest.raises(ValueError, match="3 frames of each clip at least, not 2 and 3"):
        measured_seam([look] * 2, [look] * 3)
    with pytest.raises(ValueError, match="one size"):
        measured_seam([look] * 3, [other] * 3)


def test_drift_along_a_run_is_against_its_first_frame():
    first = shot(np.random.default_rng(4), "coffee").frame(0)
    frames = [(0, first), *((8 * k, shifted(first, np.array([0.0, 0, 1.5 * k]))) for k in range(1, 6))]
    points = [Point(number, drift(look_at(first), look_at(frame))) for number, frame in frames]
    far = [point.drift.delta_e for point in points]
    assert far == sorted(far)
    found = [{finding.fault: finding.severity for finding in run_findings(point, LIMITS)} for point in points]
    assert found[0] == {}
    assert all(severity == "note" for each in found for severity in each.values())
    grey = Point(1, drift(look_at(first), look_at(in_lab(first, lambda lab: lab * np.array([1, 0.5, 0.5])))))
    assert "saturation drift" in {finding.fault for finding in run_findings(grey, LIMITS)}


PICTURES = st.integers(0, 2**32 - 1).map(lambda seed: shot(np.random.default_rng(seed)).frame(0))
FEW = settings(max_examples=15, deadline=None, derandomize=True)


@FEW
@given(PICTURES, PICTURES)
def test_drift_turns_over_with_its_frames(one: Frame, other: Frame):
    there, back = drift(look_at(one), look_at(other)), drift(look_at(other), look_at(one))
    assert there.delta_e == pytest.approx(back.delta_e, abs=1e-9)
    assert there.cells_mean == pytest.approx(back.cells_mean, abs=1e-9)
    assert there.cells_max == pytest.approx(back.cells_max, abs=1e-9)
    assert there.luma == -back.luma
    for name in ("contrast", "saturation", "sharpness"):
        assert getattr(there, name) * getattr(back, name) == pytest.approx(1)


@FEW
@given(PICTURES, PICTURES)
def test_mirrored_frames_have_the_same_colours(one: Frame, other: Frame):
    straight = drift(look_at(one), look_at(other))
    mirrored = drift(look_at(one[:, ::-1].copy()), look_at(other[:, ::-1].copy()))
    for name in straight.__slots__:
        assert getattr(mirrored, name) == pytest.approx(getattr(straight, name), rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("picture", ["astronaut", "chelsea", "coffee"])
def test_numbers_do_not_depend_on_the_size_of_frames(picture: str, scale: int):
    camera = shot(np.random.default_rng(6), picture)
    small = [camera.frame(moment) for moment in range(3)]
    large = [cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC) for frame in small]
    looks, others = [look_at(frame) for frame in small], [look_at(frame) for frame in large]
    for one, other in zip(steps(looks), steps(others), strict=True):
        assert other.flow == pytest.approx(one.flow, rel=0.1)
    one, other = drift(looks[0], looks[2]), drift(others[0], others[2])
    assert other.delta_e == pytest.approx(one.delta_e, abs=0.1)
    assert other.luma == pytest.approx(one.luma, abs=0.1)


@pytest.mark.parametrize("speed", [0.5, 1, 2, 4])
def test_flow_is_in_per_cent_of_the_width(speed: float):
    camera = shot(np.random.default_rng(7), "coffee")._replace(pace=(speed, 0.0), zoom=1.0, turn=0.0)
    (step,) = steps([look_at(camera.frame(moment)) for moment in (0, 1)])
    assert step.flow == pytest.approx(100 * speed / WIDTH, rel=0.1)
    assert step.mismatch < 0.1


@given(st.lists(st.floats(0, 100), min_size=3, max_size=12), st.floats(-20, 20))
def test_a_flash_is_what_stands_out_on_both_sides(luma: list[float], by: float):
    level = [50.0] * len(luma)
    assert list(standing_out(sorted(luma))) == [0] * len(list(standing_out(luma)))
    level[len(level) // 2] += by
    assert max(standing_out(level), key=abs) == pytest.approx(by)


def test_importing_brings_numpy_alone():
    script = "import sys, post.seams; print(sorted({'cv2', 'skimage', 'scipy', 'torch', 'av'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
