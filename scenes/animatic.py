"""The draft renderer storyboard artists know: a camera moves over the opening picture. No model, no GPU.

Frame 0 is the opening frame, pixel for pixel; where there is an end picture the last frame is that, pixel for pixel.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from scenes.files import read_still
from scenes.footage import Frame, Frames, Size
from scenes.shot import Machine, Shot, Tell

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
    drawn = ("push in", "pan left", "pan right", "tilt up", "pull out")
    return drawn[seed % len(drawn)]


@dataclass(frozen=True, slots=True)
class Animatic:
    """`caption`: shown in the picture, faded out at both ends so that no frame handed on carries it."""

    kind: ClassVar[str] = "animatic/1"
    fps: Fraction
    move: str
    caption: str | None = None

    def open(self, shots: Sequence[Shot], machine: Machine) -> AnimaticStudio:
        return AnimaticStudio()


class AnimaticStudio:
    @property
    def made(self) -> dict[str, Any]:
        return {"renderer": "animatic", "opencv": cv2.__version__}

    def render(self, shot: Shot, tell: Tell) -> Frames:
        renderer = shot.renderer
        if not isinstance(renderer, Animatic):
            raise TypeError(f"the animatic cannot draw {renderer!r}")
        opening = read_still(shot.opening[-1])
        ending = read_still(shot.last) if shot.last else None
        caption = _caption(renderer.caption, shot.size) if renderer.caption else None
        move = MOVES[renderer.move]
        for index in range(shot.frames):
            t = index / (shot.frames - 1)
            frame = _view(opening, move(t, shot.seed))
            if ending is not None:
                frame = _dissolve(frame, ending, move, t, shot.seed)
            if caption is not None:
                frame = _captioned(frame, caption, _fade(index, shot.frames, renderer.fps))
            yield frame
            tell((index + 1) / shot.frames)

    def close(self) -> None:
        """Nothing is loaded."""


def _view(picture: Frame, pose: Pose) -> Frame:
    """The picture seen from a pose; beyond its edges it is mirrored."""
    if pose == Pose():
        return picture.copy()
    height, width = picture.shape[:2]
    # Warping up from a small shift, bicubic keeps edges sharp; OpenCV places samples to 1/32 of a pixel.
    seen = cv2.warpAffine(
        picture,
        _affine(pose, (width, height)),
        (width, height),
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    return np.asarray(seen, dtype=np.uint8)


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


def _dissolve(frame: Frame, ending: Frame, move: Move, t: float, seed: int) -> Frame:
    """Towards the end picture, which is itself in motion: it comes to rest on the last frame."""
    if t >= 1:
        return ending.copy()
    pose = move(1 - t, seed)
    # It drifts the way the first picture does: a slide comes in from the other side, a zoom from the other end,
    # that one gently, since it shows mirrored edges.
    slides = pose.right != 0 or pose.down != 0
    zoom = pose.zoom if slides or pose.roll else 1 - 0.4 * (pose.zoom - 1)
    arriving = _view(ending, Pose(zoom, -pose.right, -pose.down, -pose.roll))
    weight = ease(t)
    return np.asarray(cv2.addWeighted(frame, 1 - weight, arriving, weight, 0), dtype=np.uint8)


def _fade(index: int, frames: int, fps: Fraction) -> float:
    """The caption's opacity: 0 on the first and the last frame."""
    ramp = max(1.0, min(float(fps) * 0.5, (frames - 1) / 2))
    return ease(min(1.0, index / ramp, (frames - 1 - index) / ramp))


def _caption(text: str, size: Size) -> NDArray[np.float32]:
    """Text on a dark strip at the foot of the picture: RGBA of shape (height, width, 4), 0 to 1."""
    width, height = size
    font = ImageFont.load_default(max(10, round(height / 26)))
    layer = Image.new("RGBA", size, (0, 0, 0, 0))
    draw = ImageDraw.Draw(layer)
    lines = _wrapped(text, font, width * 0.92)
    line = font.getbbox("Ay")[3] * 1.25
    top = height - line * len(lines) - height * 0.04
    draw.rectangle((0, top - height * 0.02, width, height), fill=(0, 0, 0, 150))
    for number, words in enumerate(lines):
        draw.text((width * 0.04, top + number * line), words, font=font, fill=(255, 255, 255, 235))
    return np.asarray(layer, dtype=np.float32) / np.float32(255)


def _wrapped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: float) -> list[str]:
    """At most three lines; what is left over is dotted off."""
    lines: list[str] = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    if len(lines) > 3:
        lines = [*lines[:2], f"{lines[2]} ..."]
    return lines


def _captioned(frame: Frame, caption: NDArray[np.float32], opacity: float) -> Frame:
    if opacity <= 0:
        return frame
    alpha = caption[..., 3:] * opacity
    return np.rint(frame * (1 - alpha) + caption[..., :3] * 255 * alpha).astype(np.uint8)
