"""Conforming to another rate: counts, moments and durations, in exact arithmetic."""

from __future__ import annotations

from contextlib import closing
from fractions import Fraction
from itertools import accumulate, pairwise
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from hypothesis import given
from hypothesis import strategies as st

from post.conform import Conform
from post.encode import MASTER
from post.finish import Finish
from post.interpolate import Flow, Interpolate, interpolated
from post.suite import Place, Suite
from scenes.files import load_clip, write_clip, write_still
from scenes.footage import Frame, Span, Still

# The rates that clips have and films are cut at, and any other.
USUAL = [Fraction(n) for n in (8, 10, 12, 16, 24, 25, 30, 32, 48, 60, 120)]
RATES = st.sampled_from(USUAL) | st.fractions(1, 120, max_denominator=1001)
# Source frames of each scene: one that opens after a cut plays all it has, a chained one all but its first.
SCENES = st.lists(st.integers(1, 40), min_size=1, max_size=6)


def parts(scenes: list[int], fps: Fraction, source: Fraction) -> list[Conform]:
    """Each scene's rule, in play order."""
    starts = [0, *accumulate(scenes)]
    return [Conform(Flow(), fps, source, start) for start, _ in zip(starts, scenes, strict=False)]


@given(SCENES, RATES, RATES)
def test_scenes_add_up_to_the_film_and_keep_its_duration(scenes: list[int], fps: Fraction, source: Fraction):
    rules = parts(scenes, fps, source)
    counts = [rule.frames(n) for rule, n in zip(rules, scenes, strict=True)]
    whole = sum(scenes)
    assert sum(counts) == Conform(Flow(), fps, source, 0).frames(whole) == whole * fps // source
    assert 0 <= whole / source - sum(counts) / fps < 1 / fps
    for played, shown in zip(accumulate(scenes), accumulate(counts), strict=True):
        assert 0 <= played / source - shown / fps < 1 / fps  # no seam lies a frame off, however many came before
    assert all(rule.rate(source) == fps for rule in rules)


@given(SCENES, RATES, RATES)
def test_every_frame_of_the_film_is_shown_once_at_its_own_moment(scenes: list[int], fps: Fraction, source: Fraction):
    shown: list[Fraction] = []
    for rule, n in zip(parts(scenes, fps, source), scenes, strict=True):
        for index in range(n):
            times = rule.times(index)
            assert all(0 < time <= 1 for time in times)
            shown += [rule.start + index - 1 + time for time in times]
        assert len(shown) == rule.frames(n) + Conform(Flow(), fps, source, 0).frames(rule.start)
    assert shown == [(k + 1) * source / fps - 1 for k in range(len(shown))]
    assert all(after - before == source / fps for before, after in pairwise(shown))


@given(SCENES, st.integers(1, 8), RATES)
def test_a_whole_multiple_is_interpolation(scenes: list[int], factor: int, source: Fraction):
    plain = Interpolate(Flow(), factor)
    for rule, n in zip(parts(scenes, source * factor, source), scenes, strict=True):
        assert rule.frames(n) == plain.frames(n)
        assert rule.rate(source) == plain.rate(source)
        for index in range(-min(rule.start, 5), n):
            assert list(rule.times(index)) == list(plain.times(index))


@given(st.integers(1, 200), RATES, RATES)
def test_the_scene_before_is_counted_backwards(start: int, fps: Fraction, source: Fraction):
    """As a dissolve counts it."""
    rule, film = Conform(Flow(), fps, source, start), Conform(Flow(), fps, source, 0)
    for index in range(-min(start, 20), 0):
        assert list(rule.times(index)) == list(film.times(start + index))


def test_the_rates_that_films_are_cut_at():
    """81 frames of a first scene and 80 of each chained one, four in all."""
    scenes = [81, 80, 80, 80]
    found = {
        (source, fps): [rule.frames(n) for rule, n in zip(parts(scenes, fps, source), scenes, strict=True)]
        for source in map(Fraction, (16, 24))
        for fps in map(Fraction, (24, 25, 30, 32))
    }
    assert found == {
        (16, 24): [121, 120, 120, 120],
        (16, 25): [126, 125, 125, 125],
        (16, 30): [151, 150, 150, 150],
        (16, 32): [162, 160, 160, 160],
        (24, 24): [81, 80, 80, 80],
        (24, 25): [84, 83, 84, 83],
        (24, 30): [101, 100, 100, 100],
        (24, 32): [108, 106, 107, 107],
    }


def test_three_for_two():
    """16 to 24: thirds of the way, and every second frame is one of the source's own."""
    rule = Conform(Flow(), Fraction(24), Fraction(16), 0)
    thirds = [[Fraction(2, 3)], [Fraction(1, 3), Fraction(1)]]
    assert [list(rule.times(index)) for index in range(4)] == thirds * 2


def mixed(pairs: list[tuple[Fraction, Fraction, float]]) -> list[Fraction]:
    return [before + (after - before) * Fraction(time).limit_denominator(99) for before, after, time in pairs]


def test_frames_are_drawn_at_those_moments():
    """A number that counts source frames stands for them: what is drawn between is its moment."""
    scenes = [7, 6, 6]
    fps, source = Fraction(25), Fraction(16)
    shown: list[Fraction] = []
    lead: Fraction | None = None
    for rule, n in zip(parts(scenes, fps, source), scenes, strict=True):
        frames = [Fraction(rule.start + index) for index in range(n)]
        shown += interpolated(iter(frames), lead, rule, mixed, 3)
        lead = frames[-1]
    moments = [(k + 1) * source / fps - 1 for k in range(19 * fps // source)]
    assert shown == [max(Fraction(0), moment) for moment in moments]  # the film's first frame is held before it


@pytest.mark.parametrize(("fps", "pixels"), [(24, 6), (30, 15)])
def test_a_pan_is_where_it_should_be(fps: int, pixels: int, tmp_path: Path):
    """A photograph panned by so many pixels a frame, in two scenes that are chained: each frame drawn between lies
    where the pan was at its moment. Measured: 83 dB and more there; two pixels beside it, or mixed of its neighbours
    instead, 24 and less."""
    photo = skimage.data.astronaut()
    true = {at: np.ascontiguousarray(photo[150:278, 40 + at : 232 + at]) for at in range(14 * pixels)}
    frames = [true[index * pixels] for index in range(14)]
    (tmp_path / "a").mkdir()
    write_clip(frames, tmp_path / "a", Fraction(16), 14, {})
    clip = load_clip(tmp_path / "a")
    shown: list[Frame] = []
    lead: Still | None = None
    with closing(Suite(Place("cpu"))) as suite:
        for start, stop in ((0, 8), (8, 14)):
            rule = Conform(Flow(), Fraction(fps), Fraction(16), start)
            finish = Finish(Span(clip, start, stop), lead, None, rule, MASTER)
            assert finish.frames == rule.frames(stop - start)
            shown += suite.frames(finish, lambda done: None)
            lead = write_still(frames[stop - 1], tmp_path / f"{stop}.png")
    assert len(shown) == 14 * fps // 16
    for number, frame in enumerate(shown, start=1):
        place = Fraction(number * 16, fps) - 1
        at = max(0, int(place * pixels))
        assert place < 0 or place * pixels == at
        if place.denominator == 1:
            np.testing.assert_array_equal(frame, true[at])
        else:
            assert decibels(frame, true[at]) > 40


def decibels(made: Frame, wanted: Frame) -> float:
    inner = np.s_[8:-8, 24:-24]  # what a pan uncovers at the edge no neighbour shows
    error = np.square(made[inner].astype(float) - wanted[inner]).mean()
    return float(10 * np.log10(255**2 / max(error, 1e-9)))
