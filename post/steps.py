"""What happens to a clip's frames, in order: read, graded, sized, interpolated, joined to what lies across the cut,
encoded."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from itertools import islice, repeat
from typing import TypeVar

from post.ahead import Heed, ahead
from post.finish import Finish
from post.grade import Graded, Matrix, graded, over
from post.interpolate import interpolated
from post.kit import Kit, resampled
from post.picture import Picture
from post.transition import Dissolve, applied
from scenes.files import read_span, read_still
from scenes.footage import Frame, Frames, Span

T = TypeVar("T")

READ_AHEAD, FRAMES_AHEAD = 32 * 2**20, 12
"""Bytes of source frames that are read before they are asked for, and at most so many frames."""


def sources(finish: Finish) -> tuple[Generator[Frame], Generator[Frame]]:
    """What is read, each in a thread of its own once it is asked for: the lead, if there is one to draw from, and the
    span; and the end of the scene before, for a dissolve. Close both.

    A resample is made there too, and before it frames are graded, where no device does that. All of a span is read,
    also what is not drawn: at the end of its clip it is known to be whole.
    """
    opens, lead = finish.opens, finish.lead
    unseen: Iterator[Matrix | None] = repeat(None)

    def read(heed: Heed) -> Generator[Frame]:
        by = unseen if finish.graded_on_device else source_grades(finish)
        if lead is not None and finish.interpolate is not None:
            yield resampled(graded(read_still(lead), next(by)), finish.upscale)
        yield from of(finish.span, needed(finish), by)

    def read_tail(heed: Heed) -> Generator[Frame]:
        by = unseen if finish.graded_on_device else tail_grades(finish)
        if isinstance(opens, Dissolve):
            yield from of(opens.tail, opens.tail.frames, by)

    def of(span: Span, count: int, by: Iterator[Matrix | None]) -> Iterator[Frame]:
        for index, frame in enumerate(read_span(span)):
            if index < count:
                yield resampled(graded(frame, next(by)), finish.upscale)

    return ahead(read, READ_AHEAD, _weight), ahead(read_tail, READ_AHEAD, _weight)


def _weight(frame: Frame) -> int:
    return max(frame.nbytes, READ_AHEAD // FRAMES_AHEAD)


def source_grades(finish: Finish) -> Iterator[Matrix | None]:
    """What the lead, where it is read, and each frame of the span are graded by."""
    colour = finish.colour or Graded()
    if finish.lead is not None and finish.interpolate is not None:
        yield colour.lead.at(0) if colour.lead is not None else None
    yield from over(finish.span, colour.clip)


def tail_grades(finish: Finish) -> Iterator[Matrix | None]:
    if isinstance(finish.opens, Dissolve):
        yield from over(finish.opens.tail, finish.colour.tail if finish.colour is not None else None)


def needed(finish: Finish) -> int:
    """How many of the span's frames are drawn: the last of them may be left to the scene after."""
    rule = finish.interpolate
    if rule is None:
        return finish.frames
    return next(count for count in range(finish.span.frames + 1) if rule.frames(count) >= finish.frames)


def drawn(finish: Finish, kit: Kit[T], source: Frames, tail: Frames, pixels: str) -> Iterator[Picture]:
    """The finished pictures from what `sources` reads."""
    rule = finish.interpolate
    before = _before(finish.opens, finish, kit, tail) if isinstance(finish.opens, Dissolve) else None
    frames = kit.sized(source, source_grades(finish))
    if rule is not None:
        lead = next(frames) if finish.lead is not None else None
        frames = interpolated(frames, lead, rule, kit.between, kit.at_once)
    return kit.pictures(applied(frames, finish.frames, finish.opens, finish.closes, before), pixels)


def _before(opens: Dissolve, finish: Finish, kit: Kit[T], tail: Frames) -> Iterator[T]:
    """The last frames of the scene before, exactly as many as are dissolved from."""
    rule, first = finish.interpolate, -opens.tail.frames  # counted backwards from this scene
    frames, shown = kit.sized(tail, tail_grades(finish)), opens.tail.frames
    if rule is not None:
        frames = interpolated(frames, None, rule, kit.between, kit.at_once, first)
        shown = sum(len(rule.times(index)) for index in range(first, 0))
    return islice(frames, shown - opens.frames, None)
