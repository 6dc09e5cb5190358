"""The survey as plain data: what `storyboard seams --json` prints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from post.seams import Finding
from storyboard.report.advice import Advice, Advising
from storyboard.report.numbers import DRIFTING, numbers
from storyboard.report.runs import Moment, Run
from storyboard.report.survey import Meeting, Survey
from storyboard.story import Story

VERSION = 1
"""Rises when a key goes or means something else; new keys may come."""


def document(survey: Survey, story: Story, *, draft: bool) -> dict[str, Any]:
    """Seams in play order, seconds and frame numbers from 0; units are those of docs/seams.md."""
    advising = Advising(story, draft=draft)
    return {
        "version": VERSION,
        "title": story.title,
        "mode": "draft" if draft else "real",
        "fps": str(survey.fps),
        "seconds": _number(survey.seconds),
        "passes": survey.passes,
        "errors": survey.counted("error"),
        "warnings": survey.counted("warning"),
        "notes": survey.counted("note") + sum(len(run.found) for run in survey.runs),
        "not_rendered": list(survey.unrendered),
        "limits": asdict(survey.limits),
        "seams": [_meeting(meeting, advising) for meeting in survey.meetings],
        "runs": [_run(run, advising) for run in survey.runs],
    }


def _meeting(meeting: Meeting, advising: Advising) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "before": meeting.before,
        "after": meeting.after,
        "at": _number(meeting.at),
        "state": meeting.state,
    }
    if meeting.seam is not None:
        facts["numbers"] = {number.name: _number(number.value) for number in numbers(meeting.seam)}
        facts["findings"] = _findings([(found, advising.at(meeting, found)) for found in meeting.found])
    return facts


def _run(run: Run, advising: Advising) -> dict[str, Any]:
    found = [{"scene": scene, **_findings([(f, advising.along(scene, f))])[0]} for scene, f in run.found]
    return {"scenes": list(run.scenes), "points": [_moment(moment) for moment in run.moments], "findings": found}


def _moment(moment: Moment) -> dict[str, Any]:
    drifts = {each.name: _number(each.of(moment.point.drift)) for each in DRIFTING}
    return {"scene": moment.scene, "frame": moment.point.frame, "at": _number(moment.at), **drifts}


def _findings(found: Sequence[tuple[Finding, Advice]]) -> list[dict[str, Any]]:
    return [
        {
            "fault": finding.fault,
            "severity": finding.severity,
            "value": _number(finding.value),
            "limit": finding.limit,
            "says": advice.says,
            "do": list(advice.do),
        }
        for finding, advice in found
    ]


def _number(value: float) -> float:
    return round(float(value), 4)
