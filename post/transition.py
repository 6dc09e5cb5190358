"""What is drawn over a cut: a dissolve or a fade, mixed in linear light, in whole frames of the film.

A cut lies between two segments, and each segment holds its own part. A dissolve is drawn in the segment that it opens;
the one before it ends as many frames sooner. A fade is drawn on both sides and moves nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from scenes.footage import Clip, Frame, Span

if TYPE_CHECKING:
    from post.interpolate import Rule

T = TypeVar("T")  # Frame, or a torch tensor (3, height, width) of values from 0 to 1
Colour = tuple[int, int, int]
LUMA = (0.2126, 0.7152, 0.0722)  # Rec. ITU-R BT.709
_ITSELF = (Fraction(1),)


@dataclass(frozen=True, slots=True)
class Dissolve:
    """A segment's first `frames` are mixed with the last ones of the scene before. `tail`: that scene's last source
    frames, as many as these take to draw; finished without a lead, the last `frames` of what they give are mixed."""

    kind: ClassVar[str] = "dissolve/1"
    frames: int
    tail: Span


@dataclass(frozen=True, slots=True)
class FadeIn:
    """The first `frames` come out of a colour: the very first is that colour."""

    kind: ClassVar[str] = "fade-in/1"
    frames: int
    colour: Colour = (0, 0, 0)


@dataclass(frozen=True, slots=True)
class FadeOut:
    """The last `frames` go into a colour: the very last is that colour."""

    kind: ClassVar[str] = "fade-out/1"
    frames: int
    colour: Colour = (0, 0, 0)


@dataclass(frozen=True, slots=True)
class Shortened:
    """The last `frames` are drawn in the next segment, where they dissolve into it."""

    kind: ClassVar[str] = "shortened/1"
    frames: int


Opens = Dissolve | FadeIn
Closes = FadeOut | Shortened


def tail_of(clip: Clip, frames: int, rule: Rule | None, stop: int | None = None) -> Span:
    """The end of a clip from which the last `frames` that a rule shows of it are drawn.

    One frame more than they belong to where the first of them lies between two. stop: where it is no more shown, None
    for its own end.
    """
    end = clip.frames if stop is None else stop
    start, shown = end, 0
    while shown < frames and start > 0:
        start -= 1
        times = rule.times(start - end) if rule else _ITSELF
        shown += len(times)
        if shown >= frames and times[shown - frames] != 1:
            start -= 1
    return Span(clip, max(0, start), end)


def applied(
    frames: Iterator[T], count: int, opens: Opens | None, closes: Closes | None, tail: Iterator[T] | None = None
) -> Iterator[T]:
    """The segment's `count` frames from the scene's finished ones.

    tail: for a Dissolve, exactly its `frames` finished frames of the scene before.
    """
    before = iter(()) if tail is None else tail
    for index, frame in enumerate(islice(frames, count)):
        match opens:
            case Dissolve(over) if index < over:
                frame = mixed(next(before), frame, (index + 1) / (over + 1))  # none is the one or the other alone
            case FadeIn(over, colour) if index < over:
                frame = tinted(frame, colour, share(1 - index / over, colour))
            case _:
                pass
        if isinstance(closes, FadeOut) and index >= count - closes.frames:
            into = 1 - (count - 1 - index) / closes.frames
            frame = tinted(frame, closes.colour, share(into, closes.colour))
        yield frame


def share(into: float, colour: Colour) -> float:
    """A colour's weight when a fade is so far into it, 0 to 1: white goes into black, and black into white, by equal
    steps of what is seen. As equal steps of light, a fade would seem to come all at its dark end."""
    bright = sum(part * level / 255 for part, level in zip(LUMA, colour, strict=True))
    return float(bright * _light(np.float64(into)) + (1 - bright) * (1 - _light(np.float64(1 - into))))


def mixed(before: T, after: T, weight: float) -> T:
    """Two frames mixed in linear light; `weight` is the second's, from 0 to 1."""
    if isinstance(before, np.ndarray) and isinstance(after, np.ndarray):
        one, other = cast(Frame, before), cast(Frame, after)
        return cast(T, _shown(_lit(one, 1 - weight) + _lit(other, weight)))
    one, other = cast(Any, before), cast(Any, after)
    return cast(T, _shown_tensor(_light_tensor(one) * (1 - weight) + _light_tensor(other) * weight).to(other.dtype))


def tinted(frame: T, colour: Colour, weight: float) -> T:
    """A frame mixed with a colour; `weight` is the colour's."""
    if isinstance(frame, np.ndarray):
        return cast(T, mixed(cast(Frame, frame), np.array(colour, np.uint8), weight))
    tensor = cast(Any, frame)
    flat = tensor.new_tensor([level / 255 for level in colour]).view(3, 1, 1)
    return cast(T, mixed(tensor, flat, weight))


# The transfer function of sRGB, IEC 61966-2-1: light is linear in what a screen gives off.


def _light(values: NDArray[np.float64] | np.float64) -> NDArray[np.float64]:
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


_LIGHT = _light(np.arange(256) / 255).astype(np.float32)


def _lit(frame: Frame, part: float) -> NDArray[np.float32]:
    return np.multiply(_LIGHT[frame], part, dtype=np.float32)


def _shown(light: NDArray[np.float32]) -> Frame:
    """Light as levels, rounded once."""
    values: NDArray[np.float32] = np.where(
        light <= 0.0031308, light * 12.92, light ** np.float32(1 / 2.4) * 1.055 - 0.055
    )
    return np.rint(values * 255).astype(np.uint8)


def _light_tensor(values: Any) -> Any:
    values = values.float().clamp(0, 1)
    return (values / 12.92).where(values <= 0.04045, ((values + 0.055) / 1.055) ** 2.4)


def _shown_tensor(light: Any) -> Any:
    return (light * 12.92).where(light <= 0.0031308, light ** (1 / 2.4) * 1.055 - 0.055).clamp(0, 1)
