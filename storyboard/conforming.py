"""A film at the rates editors cut at: its clips are finished anew, frames drawn where they fall, none repeated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import accumulate
from math import floor

import typer

from post.conform import Conform
from post.finish import Finish
from post.interpolate import Flow, Interpolate, Rife, RifeNcnn
from post.transition import Closes, Dissolve, FadeIn, FadeOut, Opens, Shortened, tail_of

RATES = (24, 25, 30)
"""They count timecode without dropping numbers, and every editor takes them."""

Drawer = Flow | Rife | RifeNcnn
Conformed = Interpolate | Conform | None


def rate_of(text: str) -> Fraction:
    """The rate that --fps names. Raises typer.BadParameter."""
    try:
        fps = Fraction(text)
    except (ValueError, ZeroDivisionError):
        fps = Fraction(0)
    if fps not in RATES:
        near = {"23.976": 24, "23.98": 24, "29.97": 30, "59.94": 30}.get(text)
        hint = f" (a timeline of {text} plays {near} a thousandth slower)" if near else ""
        raise typer.BadParameter(f"--fps {text}: name 24, 25 or 30{hint}, or leave --fps out")
    return fps


def timecode_rate(fps: Fraction) -> Fraction:
    """The rate for a format that counts timecode: one that takes frames of the film as they are, else 24."""
    return next((Fraction(rate) for rate in RATES if fps % rate == 0), Fraction(24))


def conformed(finishes: Sequence[Finish], fps: Fraction) -> list[Finish]:
    """A whole film's finishes, in play order, at another rate; as long as the film is, to a frame.

    What interpolates is the film's own; flow where that has none.
    """
    film, source = finishes[0].fps, finishes[0].span.clip.fps
    if fps == film:
        return list(finishes)
    starts = accumulate((finish.span.frames for finish in finishes), initial=0)
    by = drawn_by(finishes[0]) or Flow()
    rules = [_rule(by, fps, source, start) for start, _ in zip(starts, finishes, strict=False)]
    given_up = [*_given_up(finishes, rules, fps / film), 0]
    made: list[Finish] = []
    for index, (finish, rule) in enumerate(zip(finishes, rules, strict=True)):
        opens = _opens(finish.opens, given_up[index], fps / film, rule)
        closes = _closes(finish.closes, given_up[index + 1], fps / film)
        made.append(replace(finish, interpolate=rule, opens=opens, closes=closes))
    return made


def drawn_by(finish: Finish) -> Drawer | None:
    """What draws its frames between frames."""
    return finish.interpolate.by if finish.interpolate else None


def draws(finish: Finish) -> bool:
    """Whether some of its frames lie between those of the clip."""
    return finish.interpolate is not None and any(
        time != 1 for index in range(finish.span.frames) for time in finish.interpolate.times(index)
    )


def _rule(by: Drawer, fps: Fraction, source: Fraction, start: int) -> Conformed:
    factor = fps / source
    if factor.denominator == 1:
        return Interpolate(by, factor.numerator) if factor > 1 else None
    return Conform(by, fps, source, start)


def _given_up(finishes: Sequence[Finish], rules: Sequence[Conformed], scale: Fraction) -> Iterator[int]:
    """Over how many frames each scene dissolves from the one before.

    Rounded all together, so that no film of many dissolves is longer or shorter by their roundings; a scene that is all
    dissolves may have a frame less than they would take, which the next one makes up for.
    """
    room = over = given_up = 0
    for finish, rule in zip(finishes, rules, strict=True):
        shown = rule.frames(finish.span.frames) if rule else finish.span.frames
        last = 0
        if isinstance(finish.opens, Dissolve):
            over += finish.opens.frames
            last = min(floor(over * scale) - given_up, max(0, room), shown)
            given_up += last
        yield last
        room = shown - max(last, 1)


def _opens(opens: Opens | None, given_up: int, scale: Fraction, rule: Conformed) -> Opens | None:
    match opens:
        case Dissolve(tail=tail):
            return Dissolve(given_up, tail_of(tail.clip, given_up, rule, tail.stop)) if given_up else None
        case FadeIn(frames, colour):
            return FadeIn(max(1, round(frames * scale)), colour)
        case None:
            return None


def _closes(closes: Closes | None, given_up: int, scale: Fraction) -> Closes | None:
    match closes:
        case Shortened():
            return Shortened(given_up) if given_up else None
        case FadeOut(frames, colour):
            return FadeOut(max(1, round(frames * scale)), colour)
        case None:
            return None
