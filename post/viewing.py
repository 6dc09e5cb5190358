"""A clip as its seams and its drift are judged: every frame near its ends, every eighth between, none of the rest."""

from __future__ import annotations

from dataclasses import dataclass

from post.grade import Grade, graded
from post.look import Look, look_at
from post.preview import small
from scenes.files import KEY_EVERY, read_frames
from scenes.footage import Frame, Span

WINDOW = 6
"""Frames on a side of a seam. What is usual there shows in six, and faults were found and alarms counted with six."""


@dataclass(frozen=True, slots=True, eq=False)
class Viewed:
    """What is left of a span once it was read.

    head, tail: its first and last frames, `WINDOW` at most.
    along: its first, its last and every eighth frame, each by its number in the clip.
    opening, ending: as many of its first and last frames as were asked for, as `post.preview` shows them.
    """

    head: tuple[Look, ...]
    tail: tuple[Look, ...]
    along: tuple[tuple[int, Look], ...]
    opening: tuple[Frame, ...]
    ending: tuple[Frame, ...]


def view(span: Span, grade: Grade | None, shown: int) -> Viewed:
    """shown: how many frames of each end are to be seen; 0 for none. Raises DamagedFile."""
    frames = range(span.start, span.stop)
    head, tail = frames[:WINDOW], frames[-WINDOW:]
    opening, ending = frames[:shown], frames[max(0, len(frames) - shown) :]
    # Multiples of the clip's own numbers: there the key frames are, each decoded alone.
    along = {frames[0], frames[-1], *(number for number in frames if number % KEY_EVERY == 0)}
    judged = {*head, *tail, *along}
    looks: dict[int, Look] = {}
    seen: dict[int, Frame] = {}
    for number, drawn in read_frames(span.clip, sorted(judged | {*opening, *ending})):
        frame = graded(drawn, grade.at(number)) if grade is not None else drawn
        if number in judged:
            looks[number] = look_at(frame)
        if number in opening or number in ending:
            seen[number] = small(frame)
    return Viewed(
        tuple(looks[number] for number in head),
        tuple(looks[number] for number in tail),
        tuple((number, looks[number]) for number in sorted(along)),
        tuple(seen[number] for number in opening),
        tuple(seen[number] for number in ending),
    )
