"""What a seam looks like, in numbers, and what is wrong with it, by name.

    seam = measured_seam([look_at(frame) for frame in last_eight], [look_at(frame) for frame in first_eight])
    for finding in findings(seam, Limits()): ...

Frames are those the film plays: the chained clip's frame 0, which redraws the frame before it, is not among them.
Units are those of `post.look`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from post.limits import Limits
from post.look import Drift, Look, Step, carried_on, drift, share_of_usual, standing_out, steps

FEWEST = 3
"""Frames on a side: two make a step, and a step is to be compared with another one. Eight tell what is usual there."""

Severity = Literal["note", "warning", "error"]
"""A note is worth a look; a warning is seen by whoever looks for it; an error is seen by everybody."""

Fault = Literal[
    "hard cut", "colour step", "colour step in part", "luma step", "contrast step", "saturation step",
    "sharpness step", "luma flash", "duplicate frame", "skipped frame", "change of pace", "frozen tail", "frozen head",
    "blurred tail", "blurred head", "colour drift", "luma drift", "contrast drift", "saturation drift",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Seam:
    """One seam in numbers; everything about frames that the film plays.

    drift: of the first frame to what the last one would have become by one more step. That step is the smaller of the
        two beside the seam, number by number, where both go the same way, and none where they do not: what a camera
        brings into view is no drift.
    motion: every step from the tail's first frame to the head's last; `motion[frames - 1]` crosses the seam.
    luma: mean L of every frame.
    sharpness: of every frame.
    frames: of the tail.
    """

    drift: Drift
    motion: tuple[Step, ...]
    luma: tuple[float, ...]
    sharpness: tuple[float, ...]
    frames: int

    @property
    def before(self) -> float:
        """Flow of the step that ends on the last frame."""
        return self.motion[self.frames - 2].flow

    @property
    def across(self) -> float:
        """Flow over the seam."""
        return self.motion[self.frames - 1].flow

    @property
    def after(self) -> float:
        """Flow of the step that the first frame begins."""
        return self.motion[self.frames].flow

    @property
    def mismatch(self) -> float:
        """Over the seam."""
        return self.motion[self.frames - 1].mismatch

    @property
    def ratio(self) -> float:
        """Flow over the seam to the mean of the flows beside it: 1 smooth, 0 a duplicate, 2 a frame skipped."""
        return self.across / max((self.before + self.after) / 2, 0.01)

    @property
    def tail_sharpness(self) -> float:
        """The last frame's sharpness to the usual one of the frames before it."""
        return share_of_usual(self.sharpness[self.frames - 1], self.sharpness[: self.frames - 1])

    @property
    def head_sharpness(self) -> float:
        """The first frame's sharpness to the usual one of the frames after it."""
        return share_of_usual(self.sharpness[self.frames], self.sharpness[self.frames + 1 :])

    @property
    def flash(self) -> float:
        """L by which up to three frames in a row stand out from both frames around them, one sign; 0 if none does."""
        return max(standing_out(self.luma), key=abs, default=0.0)


@dataclass(frozen=True, slots=True)
class Point:
    """One frame along a film: its number, and how it differs from the first frame of its run."""

    frame: int
    drift: Drift


@dataclass(frozen=True, slots=True)
class Finding:
    """value: what was measured, in the limit's own unit."""

    fault: Fault
    severity: Severity
    value: float
    limit: float


def measured_seam(tail: Sequence[Look], head: Sequence[Look]) -> Seam:
    """A seam from the last looks of one clip and the first ones of the next, both in the order they are played.

    Raises:
        ValueError: fewer than `FEWEST` on a side, or frames of different sizes.
    """
    if min(len(tail), len(head)) < FEWEST:
        raise ValueError(f"a seam takes {FEWEST} frames of each clip at least, not {len(tail)} and {len(head)}")
    looks = [*tail, *head]
    if len({look.grey.shape for look in looks}) > 1:
        raise ValueError("a seam is measured between frames of one size")
    return Seam(
        drift=drift(carried_on(tail[-2], tail[-1], head[0], head[1]), head[0]),
        motion=tuple(steps(looks)),
        luma=tuple(float(look.lab[0]) for look in looks),
        sharpness=tuple(look.sharpness for look in looks),
        frames=len(tail),
    )


def findings(seam: Seam, limits: Limits) -> list[Finding]:
    """What is wrong at a seam, worst first. Across a hard cut nothing else is said: there is nothing to compare."""
    if seam.mismatch >= limits.mismatch:
        return [Finding("hard cut", "error", seam.mismatch, limits.mismatch)]
    found = [*_steps_over(seam, limits), *_motion(seam, limits), *_ends(seam, limits)]
    return sorted(found, key=worst_first)


def run_findings(point: Point, limits: Limits) -> list[Finding]:
    """What a frame has drifted by since its run began, worst first. Contents change along a run: never an error."""
    drift = point.drift
    found = [
        *_over("colour drift", drift.delta_e, limits.run_delta_e, None),
        *_over("luma drift", drift.luma, limits.run_luma, None),
        *_over("contrast drift", drift.contrast, limits.run_contrast, None, as_ratio=True),
        *_over("saturation drift", drift.saturation, limits.run_saturation, None, as_ratio=True),
    ]
    return sorted(found, key=worst_first)


def worst_first(finding: Finding) -> tuple[int, str]:
    """The key that findings are sorted by."""
    return ("error", "warning", "note").index(finding.severity), finding.fault


def frozen_on(finding: Finding, seam: Seam, along: Sequence[tuple[int, Look]], limits: Limits) -> Finding:
    """A tail with no motion in it is frozen since when? Any other finding stays as it is.

    along: some frames of the first clip, by number, up to its last: where it stands still they show the same.
    """
    if finding.fault != "frozen tail" or finding.value < seam.frames - 1:
        return finding
    numbers, looks = zip(*reversed(along), strict=True)
    still = frozen_steps((step.flow for step in steps(looks)), _frozen_below(seam, limits))
    return replace(finding, value=max(finding.value, numbers[0] - numbers[still]))


def frozen_steps(ends: Iterable[float], below: float) -> int:
    """How many of an end's flows, from the seam away, are below that."""
    count = 0
    for flow in ends:
        if flow >= below:
            break
        count += 1
    return count


def _steps_over(seam: Seam, limits: Limits) -> Iterator[Finding]:
    drift = seam.drift
    yield from _over("colour step", drift.delta_e, limits.delta_e, limits.severe)
    yield from _over("colour step in part", drift.cells_max, limits.cells_max, limits.severe)
    yield from _over("luma step", drift.luma, limits.luma, limits.severe)
    yield from _over("contrast step", drift.contrast, limits.contrast, limits.severe, as_ratio=True)
    yield from _over("saturation step", drift.saturation, limits.saturation, limits.severe, as_ratio=True)
    yield from _over("sharpness step", drift.sharpness, limits.sharpness, limits.severe, as_ratio=True)
    yield from _over("luma flash", seam.flash, limits.flash, limits.severe)


def _motion(seam: Seam, limits: Limits) -> Iterator[Finding]:
    before, across, after = seam.before, seam.across, seam.after
    if after >= limits.still and across < min(limits.duplicate * after, limits.still):
        yield Finding("duplicate frame", "error", across / after, limits.duplicate)
    elif across >= limits.still and min(before, after) >= limits.still / 2:
        larger = max(before, after)
        if across > limits.skipped * larger:
            yield Finding("skipped frame", "error", across / larger, limits.skipped)
        yield from _over("change of pace", after / before, limits.pace, None, as_ratio=True)


def _ends(seam: Seam, limits: Limits) -> Iterator[Finding]:
    if _usual(seam) >= limits.still:
        tail, head = _flows(seam)
        sides: tuple[tuple[Fault, Sequence[float]], ...] = (("frozen tail", tail[::-1]), ("frozen head", head))
        for fault, ends in sides:
            count = frozen_steps(ends, _frozen_below(seam, limits))
            if count >= limits.frozen_steps:
                yield Finding(fault, "error", count, limits.frozen_steps)
    if seam.tail_sharpness < limits.blurred:
        yield Finding("blurred tail", "warning", seam.tail_sharpness, limits.blurred)
    if seam.head_sharpness < limits.blurred:
        yield Finding("blurred head", "warning", seam.head_sharpness, limits.blurred)


def _flows(seam: Seam) -> tuple[list[float], list[float]]:
    """Before the seam, and after it."""
    flows = [step.flow for step in seam.motion]
    return flows[: seam.frames - 1], flows[seam.frames :]


def _usual(seam: Seam) -> float:
    """The flow of the side that moves more."""
    return max(float(np.median(flows)) for flows in _flows(seam))


def _frozen_below(seam: Seam, limits: Limits) -> float:
    """Flow of a step that stands still: a slow scene beside a fast one does not."""
    return min(limits.frozen * _usual(seam), limits.still)


def _over(
    fault: Fault, value: float, limit: float, severe: float | None, *, as_ratio: bool = False
) -> Iterator[Finding]:
    """A number, or a ratio as its distance from 1, at or over its limit. severe: None where it is only worth a note."""
    size, bound = (max(value, 1 / value) - 1, limit - 1) if as_ratio else (abs(value), limit)
    if size >= bound:
        severity: Severity = "note" if severe is None else "error" if size >= severe * bound else "warning"
        yield Finding(fault, severity, value, limit)
