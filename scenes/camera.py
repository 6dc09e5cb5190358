"""Camera moves over a picture, as storyboard artists name them: sub-pixel, at rest at both ends."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from scenes.footage import Frame, Size

Affine = NDArray[np.float64]
"""2x3: output pixel to source pixel."""


@dataclass(frozen=True, slots=True)
class Pose:
    """A camera over a picture: zoom (1 shows all of it), shift in parts of width and height, roll in degrees."""

    zoom: float = 1.0
    right: float = 0.0
    down: float = 0.0
    roll: float = 0.0


Move = Callable[[float, int], Pose]
"""Progress from 0 to 1 and a seed give a pose; at 0 it is `Pose()`."""


def ease(t: float) -> float:
    """Smootherstep: rest, move, rest; speed and acceleration are 0 at both ends. Source: Perlin 2002."""
    return t * t * t * (t * (t * 6 - 15) + 10)


def _slide(right: float, down: float) -> Move:
    # A window that slides must first be smaller than the picture; the shift uses all the room the zoom gives.
    def move(t: float, seed: int) -> Pose:
        zoom = 1 + 0.22 * ease(min(1.0, t * 1.25))
        room = (1 - 1 / zoom) / 2
        return Pose(zoom, right * room, down * room)

    return move


def _roll(direction: float) -> Move:
    return lambda t, seed: Pose(zoom=1 + 0.12 * ease(t), roll=direction * 4.0 * ease(t))


def _handheld(t: float, seed: int) -> Pose:
    """A body that breathes and steps: a few slow sines whose phases come from the seed."""
    phase = np.random.default_rng(seed).uniform(0, 2 * math.pi, 9)
    envelope = ease(min(1.0, t * 4))
    # One to three swings a clip, with their own starting value taken off so that t = 0 is at rest.
    swings = (1, 1.7, 3.1)
    sway = [
        sum((math.sin(2 * math.pi * f * t + p) - math.sin(p)) / f for f, p in zip(swings, phase[i::3], strict=True))
        for i in range(3)
    ]
    # So far at the most that the zoom still hides the picture's edges.
    return Pose(
        1 + 0.06 * envelope, 0.0035 * envelope * sway[0], 0.0045 * envelope * sway[1], 0.18 * envelope * sway[2]
    )


MOVES: dict[str, Move] = {
    "push in": lambda t, seed: Pose(zoom=1 + 0.20 * ease(t)),
    "pull out": lambda t, seed: Pose(zoom=1 - 0.10 * ease(t)),
    "pan left": _slide(-1, 0),
    "pan right": _slide(1, 0),
    "tilt up": _slide(0, -1),
    "tilt down": _slide(0, 1),
    "roll left": _roll(-1),
    "roll right": _roll(1),
    "handheld": _handheld,
    "hold": lambda t, seed: Pose(),
}

WORDS: tuple[tuple[str, str], ...] = (
    (r"pull(s|ing)?[ -](out|back|away)|zoom(s|ing)? out|dolly out|track(s|ing)? back|widen", "pull out"),
    (r"push(es|ing)?[ -]in|zoom(s|ing)? in|dolly in|move(s)? (closer|in)|close in|approach|dolly|zoom|push", "push in"),
    (r"pan(s|ning)? (to the )?right|truck right|track(s|ing)? right|left to right", "pan right"),
    (r"pan(s|ning)? (to the )?left|truck left|track(s|ing)? left|right to left|\bpan(s|ning)?\b", "pan left"),
    (r"tilt(s|ing)? down|crane down|pedestal down|descend|lowers?", "tilt down"),
    (r"tilt(s|ing)? up|crane up|pedestal up|ascend|rises?|looks? up|\btilt\b|\bcrane\b", "tilt up"),
    (r"roll(s|ing)? (to the )?right|clockwise", "roll right"),
    (r"roll(s|ing)? (to the )?left|counter-?clockwise|dutch|\broll(s|ing)?\b|spins?|rotates?", "roll left"),
    (r"hand[ -]?held|shak(es|y|ing)|documentary", "handheld"),
    (r"\bhold(s)?\b|static|still camera|fixed|locked|tripod|no camera move", "hold"),
)
# A prompt speaks of the camera in these words; "a frying pan" and "she rises" do not.
CAMERA_WORDS = (
    r"\bcamera\b|\bshot\b|\bzoom|\bdolly\b|hand[ -]?held|\btilt(s|ing)? (up|down)|"
    r"\bpan(s|ning)? (to the )?(left|right|across|over)|\bpush(es|ing)? in\b|\bpull(s|ing)? (out|back)\b"
)


def named_move(words: str) -> str | None:
    """The move that words ask for: "slow zoom in on her face" is a push in."""
    found = [(match, move) for pattern, move in WORDS if (match := re.search(pattern, words.lower()))]
    # The first move named; where two start at one word, the longer: "pan right" before "pan".
    return min(found, key=lambda pair: (pair[0].start(), -pair[0].end()))[1] if found else None


def choose_move(camera: str | None, prompt: str, seed: int) -> str:
    """The move of a scene: its camera's, else its prompt's (where it speaks of a camera), else one by its seed."""
    if camera and (move := named_move(camera)):
        return move
    if re.search(CAMERA_WORDS, prompt.lower()) and (move := named_move(prompt)):
        return move
    drawn = ("push in", "pan left", "pan right", "tilt up", "tilt down")  # moves that stay inside the picture
    return drawn[seed % len(drawn)]


def view(picture: Frame, pose: Pose) -> Frame:
    """The picture seen from a pose; beyond its edges lies a blur of what is near them."""
    if pose == Pose():
        return picture.copy()
    height, width = picture.shape[:2]
    seen_from = _affine(pose, (width, height))
    if pose.zoom < 1:
        margin = round(max(width, height) * 0.1)
        picture = _surrounded(picture, margin)
        seen_from[:, 2] += margin
    # Warping up from a small shift, bicubic keeps edges sharp; OpenCV places samples to 1/32 of a pixel.
    seen = cv2.warpAffine(
        picture,
        seen_from,
        (width, height),
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    return np.asarray(seen, dtype=np.uint8)


def _surrounded(picture: Frame, margin: int) -> Frame:
    """The picture in a frame of its own mirrored edges, blurred and darker outwards, so that no shape repeats."""
    mirrored = np.pad(picture, ((margin, margin), (margin, margin), (0, 0)), mode="reflect")
    blurred = np.asarray(cv2.GaussianBlur(mirrored, (0, 0), margin / 4), dtype=np.float32)
    height, width = mirrored.shape[:2]
    x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
    beyond_x = np.maximum(margin - x, x - (width - 1 - margin))
    beyond_y = np.maximum(margin - y, y - (height - 1 - margin))
    beyond = np.maximum(beyond_x, beyond_y)[..., None] / margin
    soft = np.clip(beyond * 6, 0, 1)  # sharp inside, wholly blurred a sixth of the way out
    outside = blurred * (1 - 0.35 * np.clip(beyond, 0, 1))
    return np.rint(mirrored * (1 - soft) + outside * soft).astype(np.uint8)


def _affine(pose: Pose, size: Size) -> Affine:
    width, height = size
    centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
    angle = math.radians(pose.roll)
    cos, sin = math.cos(angle) / pose.zoom, math.sin(angle) / pose.zoom
    to_x, to_y = centre_x + pose.right * width, centre_y + pose.down * height
    return np.array(
        [
            [cos, -sin, to_x - cos * centre_x + sin * centre_y],
            [sin, cos, to_y - sin * centre_x - cos * centre_y],
        ]
    )
