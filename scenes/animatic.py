"""The draft renderer storyboard artists know: a camera moves over the opening picture. No model, no GPU.

Frame 0 is the opening frame, pixel for pixel; where there is an end picture the last frame is that, pixel for pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from scenes.camera import MOVES, Move, Pose, ease, view
from scenes.files import read_still
from scenes.footage import Frame, Frames, Size
from scenes.shot import Machine, Shot, Tell


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
            frame = view(opening, move(t, shot.seed))
            if ending is not None:
                frame = _dissolve(frame, ending, move, t, shot.seed)
            if caption is not None:
                frame = _captioned(frame, caption, _fade(index, shot.frames, renderer.fps))
            yield frame
            tell((index + 1) / shot.frames)

    def close(self) -> None:
        """Nothing is loaded."""


def _dissolve(frame: Frame, ending: Frame, move: Move, t: float, seed: int) -> Frame:
    """Towards the end picture, which is itself in motion: it comes to rest on the last frame."""
    if t >= 1:
        return ending.copy()
    pose = move(1 - t, seed)
    # It drifts the way the first picture does: a slide comes in from the other side, a zoom from the other end,
    # that one gently, since it shows mirrored edges.
    slides = pose.right != 0 or pose.down != 0
    zoom = pose.zoom if slides or pose.roll else 1 - 0.4 * (pose.zoom - 1)
    arriving = view(ending, Pose(zoom, -pose.right, -pose.down, -pose.roll))
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
