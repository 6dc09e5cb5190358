"""A clip as its seams and its drift are judged: every frame near a seam, every eighth elsewhere, none of the rest."""

from __future__ import annotations

from dataclasses import dataclass

from post.grade import Grade, graded
from post.look import Look, look_at
from post.preview import small
from scenes.files import KEY_EVERY, read_frames
from scenes.footage import Frame, Span

WINDOW = 6
"""Frames on a side of a seam. What is usual there shows in six, and faults were found and alarms counted with six."""


@dataclass(frozen=True, slots=True)
class Part:
    """A span, as the film plays and grades it. `begins`, `ends`: whether a seam is measured there."""

    span: Span
    grade: Grade | None = None
    begins: bool = True
    ends: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Viewed:
    """What is left of a part once it was read.

    head, tail: its frames next to a seam, `WINDOW` at most; none where there is no seam.
    along: its first, its last and every eighth frame, each by its number in the clip.
    opening, ending: as many frames next to a seam as were asked for, as `post.preview` shows them.
    """

    head: tuple[Look, ...]
    tail: tuple[Look, ...]
    along: tuple[tuple[int, Look], ...]
    opening: tuple[Frame, ...]
    ending: tuple[Frame, ...]


def view(part: Part, shown: int) -> Viewed:
    """shown: how many frames on either side of a seam are to be seen; 0 for none. Raises DamagedFile."""
    frames = range(part.span.start, part.span.stop)
    head, opening = (frames[: count * part.begins] for count in (WINDOW, shown))
    tail, ending = (frames[max(0, len(frames) - count * part.ends) :] for count in (WINDOW, shown))
    # Multiples of the clip's own numbers: there the key frames are, each decoded alone.
    along = {frames[0], frames[-1], *(number for number in frames if number % KEY_EVERY == 0)}
    judged = {*head, *tail, *along}
    looks: dict[int, Look] = {}
    seen: dict[int, Frame] = {}
    for number, drawn in read_frames(part.span.clip, sorted(judged | {*opening, *ending})):
        frame = graded(drawn, part.grade.at(number)) if part.grade is not None else drawn
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
