"""The draft renderer: moves by their names, smooth to a fraction of a pixel, exact at both ends."""

from __future__ import annotations

import itertools
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from skimage import data

from scenes.animatic import Animatic, AnimaticStudio
from scenes.camera import MOVES, Pose, choose_move, named_move
from scenes.files import write_still
from scenes.footage import Frame
from scenes.shot import Machine, Shot, Stopped

FRAMES = 33


def photograph(name: str = "rocket") -> Frame:
    picture = Image.fromarray(getattr(data, name)()).resize((320, 192), Image.Resampling.LANCZOS)
    return np.asarray(picture.convert("RGB"))


def shot_of(folder: Path, move: str, *, seed: int = 7, end: str | None = None, caption: str | None = None) -> Shot:
    opening = write_still(photograph(), folder / "opening.png")
    last = write_still(photograph(end), folder / "end.png") if end else None
    return Shot("a rocket", None, seed, FRAMES, (320, 192), (opening,), last, (), Animatic(Fraction(16), move, caption))


def drawn(shot: Shot) -> list[Frame]:
    return list(shot.renderer.open([shot], Machine()).render(shot, lambda done: None))


@pytest.mark.parametrize("move", MOVES)
def test_moves_begin_on_the_opening_and_move_smoothly(tmp_path: Path, move: str):
    frames = drawn(shot_of(tmp_path, move))
    assert len(frames) == FRAMES
    assert np.array_equal(frames[0], photograph()), "frame 0 redraws the opening frame"
    steps = [float(np.abs(a.astype(int) - b).mean()) for a, b in itertools.pairwise(frames)]
    if move == "hold":
        assert max(steps) == 0
        return
    assert max(steps) > 0.5, "it moves"
    assert steps[0] < max(steps) / 3, "it eases in"
    if move != "handheld":
        assert steps[-1] < max(steps) / 3, "and out"
    jumps = np.abs(np.diff(steps))
    # A hand sways to and fro, so its steps differ more than a dolly's.
    assert jumps.max() < max(steps) * (0.65 if move == "handheld" else 0.45), "no step is a jerk"


@pytest.mark.parametrize("move", ["push in", "pan left", "tilt up", "roll right", "handheld"])
def test_frames_lie_where_the_pose_says_to_a_part_of_a_pixel(tmp_path: Path, move: str):
    shot = shot_of(tmp_path, move)
    frames = drawn(shot)
    window = cv2.createHanningWindow((320, 192), cv2.CV_64F)
    for index in (5, 11, 16, 24, 32):
        exact = exactly(photograph(), MOVES[move](index / (FRAMES - 1), shot.seed))
        grey = [cv2.cvtColor(f, cv2.COLOR_RGB2GRAY).astype(np.float64) for f in (frames[index], exact)]
        (right, down), _ = cv2.phaseCorrelate(grey[0], grey[1], window)
        assert abs(right) < 0.05, f"frame {index} is {right:.3f} px to the side"
        assert abs(down) < 0.05, f"frame {index} is {down:.3f} px up or down"


def exactly(picture: Frame, pose: Pose) -> Frame:
    """The pose by Pillow's transform, which computes every sample's place in floating point."""
    angle = np.radians(pose.roll)
    cos, sin = np.cos(angle) / pose.zoom, np.sin(angle) / pose.zoom
    # Pillow places pixel centres at halves; the move is about the picture's centre.
    middle_x, middle_y = 160.0, 96.0
    to_x, to_y = middle_x + pose.right * 320, middle_y + pose.down * 192
    affine = (cos, -sin, to_x - cos * middle_x + sin * middle_y, sin, cos, to_y - sin * middle_x - cos * middle_y)
    padded = np.pad(picture, ((64, 64), (64, 64), (0, 0)), mode="reflect")
    shifted = (*affine[:2], affine[2] + 64, *affine[3:5], affine[5] + 64)
    out = Image.fromarray(padded).transform((320, 192), Image.Transform.AFFINE, shifted, Image.Resampling.BICUBIC)
    return np.asarray(out)


@pytest.mark.parametrize("move", MOVES)
def test_an_end_picture_is_reached_exactly_and_in_motion(tmp_path: Path, move: str):
    frames = drawn(shot_of(tmp_path, move, end="coffee"))
    assert np.array_equal(frames[0], photograph())
    assert np.array_equal(frames[-1], photograph("coffee"))
    away = [float(np.abs(f.astype(int) - photograph("coffee")).mean()) for f in frames]
    assert all(a >= b - 1.5 for a, b in itertools.pairwise(away)), "it comes steadily nearer"


def test_the_same_seed_draws_the_same_frames(tmp_path: Path):
    shot = shot_of(tmp_path, "handheld")
    assert all(np.array_equal(a, b) for a, b in zip(drawn(shot), drawn(shot), strict=True))
    other = drawn(replace(shot, seed=8))
    assert not np.array_equal(drawn(shot)[9], other[9])


def test_a_caption_is_in_the_picture_and_in_no_frame_handed_on(tmp_path: Path):
    plain = drawn(shot_of(tmp_path, "push in"))
    said = drawn(shot_of(tmp_path, "push in", caption="launch: a rocket starts, and smoke covers the whole pad " * 4))
    assert np.array_equal(plain[0], said[0])
    assert np.array_equal(plain[-1], said[-1])
    changed = np.abs(plain[16].astype(int) - said[16]).max(axis=2) > 0
    assert changed[-40:].mean() > 0.8, "it stands at the foot"
    assert not changed[:60].any(), "and nowhere else"


@pytest.mark.parametrize(
    ("words", "move"),
    [
        ("push in", "push in"), ("slow zoom in on her face", "push in"), ("dolly in", "push in"),
        ("pull out", "pull out"), ("the camera pulls back", "pull out"), ("zoom out", "pull out"),
        ("pan left", "pan left"), ("pan to the right", "pan right"), ("a slow pan", "pan left"),
        ("tilt up", "tilt up"), ("crane down", "tilt down"), ("roll left", "roll left"), ("roll right", "roll right"),
        ("hand-held, shaky", "handheld"), ("static shot", "hold"), ("hold", "hold"), ("orbit", None),
    ],
)  # fmt: skip
def test_moves_are_found_in_words(words: str, move: str | None):
    assert named_move(words) == move


def test_pulling_out_repeats_no_shape_at_the_edges(tmp_path: Path):
    last = drawn(shot_of(tmp_path, "pull out"))[-1].astype(int)
    inside, edge = last[:, 20:32], last[:, :8]
    assert np.abs(np.diff(edge, axis=0)).mean() < np.abs(np.diff(inside, axis=0)).mean() / 2, "blurred, not mirrored"
    assert edge[:, 0].mean() < inside.mean(), "and darker outwards"


def test_a_scene_without_words_gets_a_move_of_its_own():
    assert choose_move("pan right", "the camera pulls out", 3) == "pan right"
    assert choose_move(None, "the camera pulls out", 3) == "pull out"
    assert choose_move(None, "frying pan on a stove, she rises", 3) == choose_move(None, "x", 3), "no word of a camera"
    assert len({choose_move(None, "a quiet room", seed) for seed in range(20)}) >= 4


def test_it_stops_between_two_frames_when_asked(tmp_path: Path):
    shot = shot_of(tmp_path, "push in")
    told: list[float] = []

    def tell(done: float) -> None:
        told.append(done)
        if done > 0.3:
            raise Stopped

    frames = AnimaticStudio().render(shot, tell)
    with pytest.raises(Stopped):
        list(frames)
    assert 0.3 < told[-1] < 0.4
