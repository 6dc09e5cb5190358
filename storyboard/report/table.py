"""The survey on a terminal: a row a seam, worst first, then what is wrong in words."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from post.seams import Finding
from storyboard.report.advice import Advice, Advising, remedies
from storyboard.report.survey import Meeting, Survey
from storyboard.story import Story

if TYPE_CHECKING:
    from rich.table import Table

WIDTH = 80
NAMES = 30
"""Columns for the two scenes; longer names are cut in the middle, each by itself. They are whole in the words below."""

HEADINGS = ("", "seam", "at", "ΔE", "L", "motion", "findings")
COLOURS = {"error": "bold red", "warning": "yellow", "note": "cyan", "ok": "green"}


def state(meeting: Meeting) -> str:
    return meeting.found[0].severity if meeting.found else "ok"


def row(meeting: Meeting) -> tuple[str, ...]:
    """Of a seam that was measured, as HEADINGS has it."""
    seam = meeting.seam
    assert seam is not None
    faults = ", ".join(finding.fault for finding in meeting.found)
    drift = seam.drift
    numbers = (f"{drift.delta_e:.1f}", f"{round(drift.luma, 1) + 0.0:+.1f}", f"{seam.ratio:.1f}x")
    return (
        state(meeting),
        names(meeting),
        clock(meeting.at),
        *numbers,
        faults,
    )


def names(meeting: Meeting) -> str:
    """What one of them leaves of half the room is the other's."""
    room, sides = NAMES - len(" -> "), (meeting.before, meeting.after)
    spare = max(room // 2, room - min(map(len, sides)))
    return " -> ".join(shortened(name, spare) for name in sides)


def plain(survey: Survey, story: Story, *, draft: bool) -> Iterator[str]:
    """Lines of at most 80 columns."""
    rows = [HEADINGS, *(row(meeting) for meeting in survey.worst if meeting.seam is not None)]
    if len(rows) > 1:
        widths = [max(len(each[column]) for each in rows) for column in range(len(HEADINGS) - 1)]
        for each in rows:
            sized = enumerate(zip(each[:-1], widths, strict=True))
            cells = (cell.rjust(width) if at > 1 else cell.ljust(width) for at, (cell, width) in sized)
            left = "  ".join(cells)
            room = max(20, WIDTH - len(left) - 2)
            first, *more = textwrap.wrap(each[-1], room) or [""]
            yield f"{left}  {first}".rstrip()
            yield from (f"{'':{len(left)}}  {line}" for line in more)
    yield from told(survey, story, draft=draft)


def told(survey: Survey, story: Story, *, draft: bool) -> Iterator[str]:
    """What was found, in words, and what to do; what was not judged; the sum."""
    advising = Advising(story, draft=draft)
    for meeting in survey.worst:
        advice = [advising.at(meeting, finding) for finding in meeting.found]
        if advice:
            yield ""
            yield f"{meeting.before} -> {meeting.after}, at {clock(meeting.at)}"
            yield from _said(meeting.found, advice)
    for run in survey.runs:
        if run.found:
            yield ""
            yield shortened(f"along {' -> '.join(run.scenes)}", WIDTH)
            yield from _said([f for _, f in run.found], [advising.along(scene, f) for scene, f in run.found])
    if len(survey.meetings):
        yield ""
    yield from _unjudged(survey)
    yield summary(survey)


def summary(survey: Survey) -> str:
    judged = sum(meeting.seam is not None for meeting in survey.meetings)
    notes = survey.counted("note") + sum(len(run.found) for run in survey.runs)
    counts = ((survey.counted("error"), "error"), (survey.counted("warning"), "warning"), (notes, "note"))
    found = ", ".join(counted(count, what) for count, what in counts if count) or "nothing found"
    return f"{counted(judged, 'seam')} measured: {found}"


def counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def clock(seconds: float) -> str:
    """As players show it, with tenths: 1:05.4."""
    tenths = round(seconds * 10)
    return f"{tenths // 600}:{tenths // 10 % 60:02d}.{tenths % 10}"


def shortened(text: str, width: int) -> str:
    half = (width - 1) // 2
    return text if len(text) <= width else f"{text[:half]}…{text[-half:]}"


def rich_table(survey: Survey) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(HEADINGS[0], box=SIMPLE_HEAD, pad_edge=False)
    table.add_column(HEADINGS[1], overflow="fold")
    for heading in HEADINGS[2:-1]:
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column(HEADINGS[-1])
    for meeting in survey.worst:
        if meeting.seam is not None:
            first, *rest = row(meeting)
            table.add_row(Text(first, style=COLOURS[first]), *map(Text, rest))
    return table


def _said(found: Sequence[Finding], advice: Sequence[Advice]) -> Iterator[str]:
    """A line or two a finding; a command in one, however long: it is to be copied."""
    for finding, each in zip(found, advice, strict=True):
        yield from textwrap.wrap(
            f"{finding.severity}: {each.says}", WIDTH, initial_indent="  ", subsequent_indent="    "
        )  # fmt: skip
    yield from (f"  -> {do}" for do in remedies(advice))


def _unjudged(survey: Survey) -> Iterator[str]:
    for state, says in (("cut", "cuts, not judged"), ("too short", "too short to be judged")):
        there = [f"{each.before} -> {each.after}" for each in survey.meetings if each.state == state]
        if there:
            yield from textwrap.wrap(f"{says}: {', '.join(there)}", WIDTH, subsequent_indent="  ")
    if survey.unrendered:
        yield from textwrap.wrap(f"not rendered: {', '.join(survey.unrendered)}", WIDTH, subsequent_indent="  ")
