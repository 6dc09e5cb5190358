"""Every seam of a film that is rendered, measured and judged, and what drifts along its runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from post.limits import Limits
from post.preview import h264, jpeg
from post.seams import FEWEST, Finding, Seam, findings, frozen_on, measured_seam, worst_first
from post.viewing import Part, Viewed
from scenes.footage import Size, Span
from scenes.shot import MachineLacks
from storyboard.rehearsal import Rehearsed
from storyboard.report.reading import in_order, readers
from storyboard.report.runs import Run, Runs
from storyboard.store import Store
from storyboard.transitions import chained, footage
from storyboard.typed import typed

State = Literal["measured", "cut", "not rendered", "too short"]

Tell = Callable[[int, int], None]
"""Hears how many of how many scenes were read."""


@dataclass(frozen=True, slots=True)
class Pictures:
    """A seam to look at: the last three and the first three frames as JPEG, half a second on either side as MP4."""

    last: tuple[bytes, ...]
    first: tuple[bytes, ...]
    video: bytes
    seam_at: float
    size: Size
    """`seam_at`: seconds into the video at which the second scene begins; `size`: the video's."""


@dataclass(frozen=True, slots=True, eq=False)
class Meeting:
    """Where a scene follows another. `at`: seconds into the film; `seam` and `pictures`: None unless measured."""

    index: int
    before: str
    after: str
    at: float
    state: State
    seam: Seam | None = None
    found: tuple[Finding, ...] = ()
    pictures: Pictures | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Survey:
    """A film's seams in play order. `starts`: where each scene begins, in seconds; the last is the film's end."""

    meetings: tuple[Meeting, ...]
    runs: tuple[Run, ...]
    limits: Limits
    fps: Fraction
    starts: tuple[tuple[str, float], ...]
    seconds: float
    unrendered: tuple[str, ...]

    @property
    def worst(self) -> list[Meeting]:
        """What was measured, worst first; then what was not, in play order."""
        return sorted(self.meetings, key=_badness)

    def counted(self, severity: str) -> int:
        """Findings at seams; drift along a run is never more than a note."""
        return sum(finding.severity == severity for meeting in self.meetings for finding in meeting.found)

    @property
    def passes(self) -> bool:
        """Whether no seam has a warning or an error."""
        return not self.counted("error") and not self.counted("warning")


def survey(
    rehearsed: Rehearsed, store: Store, limits: Limits, *, pictures: bool, tell: Tell = lambda done, of: None
) -> Survey:
    """Measure every seam of what is rendered.

    pictures: seams are to be looked at, too. Raises DamagedFile; MachineLacks where nothing is rendered.
    """
    story, spans = rehearsed.story, _spans(rehearsed)
    starts, seconds = _starts(rehearsed)
    # Half a second: at 16 frames a second the very frames that are decoded to measure, and no more.
    shown = max(3, round(story.fps / 2)) if pictures else 0
    meetings = [_meeting(rehearsed, spans, index, starts[index][1]) for index in range(1, len(spans))]
    parts, runs = _parts(rehearsed, spans, meetings), Runs(limits)
    with readers() as (pool, at_once), store.damage_set_aside():
        measured: dict[int, Future[Meeting]] = {}
        before: Viewed | None = None
        for index, after in enumerate(in_order(pool, at_once, parts, shown)):
            part = parts[index]
            if part is not None and after is not None:
                if part.begins and before is not None:
                    measured[index] = pool.submit(_measured, meetings[index - 1], before, after, limits, story.fps)
                runs.add(*starts[index], after, part.span, joined=part.begins)
            tell(index + 1, len(spans))
            before = after
        for index, future in measured.items():
            meetings[index - 1] = future.result()
    unrendered = tuple(scene.name for scene, span in zip(story.scenes, spans, strict=True) if span is None)
    return Survey(tuple(meetings), runs.ended(), limits, story.fps, tuple(starts), seconds, unrendered)


def _spans(rehearsed: Rehearsed) -> list[Span | None]:
    """What the film plays of each scene's kept clip; None where it is not rendered, or out of date.

    The rehearsal has compared every kept file's bytes with what was written: reading a part of one cannot.
    """
    crew = rehearsed.crew
    rendered = {name: finish.span for name, finish in crew.finishes.items() if name not in crew.missing_clips}
    spans = [rendered.get(scene.name) for scene in rehearsed.story.scenes]
    if not any(spans):
        rehearsed.check_known()
        remedy = f"run `{typed('render', rehearsed.story.path, draft=rehearsed.gear.draft)}` first"
        raise MachineLacks(f"nothing is rendered yet, so there is no seam to measure: {remedy}")
    return spans


def _parts(rehearsed: Rehearsed, spans: Sequence[Span | None], meetings: Sequence[Meeting]) -> list[Part | None]:
    """What is read of each scene, graded as in the film: near a seam more than elsewhere."""
    seam = [False, *(meeting.state == "measured" for meeting in meetings), False]
    finishes = [rehearsed.crew.finishes.get(scene.name) for scene in rehearsed.story.scenes]
    grades = [finish.colour.clip if finish and finish.colour else None for finish in finishes]
    return [
        Part(span, grades[index], begins=seam[index], ends=seam[index + 1]) if span is not None else None
        for index, span in enumerate(spans)
    ]


def _starts(rehearsed: Rehearsed) -> tuple[list[tuple[str, float]], float]:
    """Where each scene begins in the film, and where the film ends, in seconds."""
    story, at = rehearsed.story, Fraction(0)
    starts: list[tuple[str, float]] = []
    for index, scene in enumerate(story.scenes):
        starts.append((scene.name, float(at)))
        finish = rehearsed.crew.finishes.get(scene.name)
        at += finish.frames / finish.fps if finish else footage(story.scenes, index) / story.fps
    return starts, float(at)


def _meeting(rehearsed: Rehearsed, spans: Sequence[Span | None], index: int, at: float) -> Meeting:
    scenes = rehearsed.story.scenes
    sides = spans[index - 1 : index + 1]
    state: State = "measured"
    if not chained(scenes, index):
        state = "cut"
    elif None in sides:
        state = "not rendered"
    elif any(span is not None and span.frames < FEWEST for span in sides):
        state = "too short"
    return Meeting(index, scenes[index - 1].name, scenes[index].name, at, state)


def _measured(meeting: Meeting, before: Viewed, after: Viewed, limits: Limits, fps: Fraction) -> Meeting:
    seam = measured_seam(before.tail, after.head)
    pictures = _pictures(before, after, fps) if before.ending else None
    found = tuple(frozen_on(finding, seam, before.along, limits) for finding in findings(seam, limits))
    return Meeting(
        meeting.index, meeting.before, meeting.after, meeting.at, meeting.state, seam, found, pictures
    )  # fmt: skip


def _pictures(before: Viewed, after: Viewed, fps: Fraction) -> Pictures:
    return Pictures(
        tuple(map(jpeg, before.ending[-3:])),
        tuple(map(jpeg, after.opening[:3])),
        h264((*before.ending, *after.opening), fps),
        float(len(before.ending) / fps),
        (before.ending[0].shape[1], before.ending[0].shape[0]),
    )


def _badness(meeting: Meeting) -> tuple[int, int, int, float, int]:
    """The key that meetings are sorted by, worst first."""
    found = sorted(meeting.found, key=worst_first)
    first = worst_first(found[0])[0] if found else 3
    alike = sum(worst_first(finding)[0] == first for finding in found)
    colour = meeting.seam.drift.delta_e if meeting.seam else 0.0
    return (int(meeting.seam is None), first, -alike, -colour, meeting.index)
