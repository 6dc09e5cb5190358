"""What drifts along scenes that go on from one another: each frame that was read, against the first of its run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from post.limits import Limits
from post.look import Look, drift
from post.seams import Finding, Point, run_findings
from post.viewing import Viewed
from scenes.footage import Span


@dataclass(frozen=True, slots=True)
class Moment:
    """A frame of a scene, some seconds into the film, against the first frame of its run."""

    scene: str
    at: float
    point: Point


@dataclass(frozen=True, slots=True)
class Run:
    """Scenes that go on from one another, and what has drifted: of each fault the worst frame, by its scene."""

    scenes: tuple[str, ...]
    moments: tuple[Moment, ...]
    found: tuple[tuple[str, Finding], ...]


class Runs:
    """Runs as they are read, scene by scene."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._runs: list[Run] = []
        self._scenes: list[str] = []
        self._moments: list[Moment] = []
        self._reference: Look | None = None

    def add(self, scene: str, start: float, viewed: Viewed, span: Span, *, joined: bool) -> None:
        """joined: it goes on from the scene added before it."""
        if not joined or self._reference is None:
            self._end()
            self._reference = viewed.along[0][1]
        self._scenes.append(scene)
        for number, look in viewed.along:
            at = start + float((number - span.start) / span.clip.fps)
            self._moments.append(Moment(scene, at, Point(number, drift(self._reference, look))))

    def ended(self) -> tuple[Run, ...]:
        self._end()
        return tuple(self._runs)

    def _end(self) -> None:
        if self._scenes:
            found = tuple(_drifted(self._moments, self._limits))
            self._runs.append(Run(tuple(self._scenes), tuple(self._moments), found))
        self._scenes, self._moments = [], []


def _drifted(moments: Sequence[Moment], limits: Limits) -> Iterator[tuple[str, Finding]]:
    """Of each fault the worst, and its scene."""
    worst: dict[str, tuple[str, Finding]] = {}
    for moment in moments:
        for finding in run_findings(moment.point, limits):
            if finding.fault not in worst or _over(finding) > _over(worst[finding.fault][1]):
                worst[finding.fault] = (moment.scene, finding)
    yield from worst.values()


def _over(finding: Finding) -> float:
    """How far a number is past its limit, for numbers of one kind."""
    ratio = finding.fault in ("contrast drift", "saturation drift")
    return max(finding.value, 1 / finding.value) if ratio else abs(finding.value)
