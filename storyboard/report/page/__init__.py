"""The survey as one page of HTML that asks for nothing from outside."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from html import escape
from importlib.resources import files
from pathlib import Path

from storyboard.publish import published
from storyboard.report.advice import Advising
from storyboard.report.page.along import along
from storyboard.report.page.seam import article, marked
from storyboard.report.survey import Survey
from storyboard.report.table import clock, state
from storyboard.story import Story


def write_page(survey: Survey, story: Story, target: Path, *, draft: bool) -> None:
    """Whole or not at all. Raises OSError that names the page."""
    text = "".join(page(survey, story, draft=draft))
    try:
        with published(target) as aside:
            aside.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OSError(error.errno, f"the page cannot be written ({error.strerror})", str(target)) from error


def page(survey: Survey, story: Story, *, draft: bool) -> Iterator[str]:
    """The page, piece by piece. Texts of the story are escaped; scripts and styles count by their hash alone."""
    style, script = (files(__package__ or "").joinpath(name).read_text("utf-8") for name in ("style.css", "page.js"))
    policy = (
        f"default-src 'none'; img-src data:; media-src data: blob:; style-src '{_hash(style)}'; "
        f"script-src '{_hash(script)}'; base-uri 'none'; form-action 'none'"
    )
    title = escape(f"Seams of {story.title}")
    yield (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<link rel="icon" href="data:,">\n'
        f"<title>{title}</title>\n<style>{style}</style>\n</head>\n<body>\n"
        '<a class="skip" href="#seams">To the seams</a>\n'
        f"<header>\n<h1>{title}</h1>\n</header>\n<main>\n"
    )
    advising = Advising(story, draft=draft)
    yield from _summary(survey, draft=draft)
    yield from along(survey, advising)
    yield '<section aria-labelledby="seams">\n<h2 id="seams">Each seam, worst first</h2>\n'
    for meeting in survey.worst:
        if meeting.seam is not None:
            yield from article(meeting, meeting.seam, survey, advising)
    yield f"</section>\n</main>\n<script>{script}</script>\n</body>\n</html>\n"


def _summary(survey: Survey, *, draft: bool) -> Iterator[str]:
    measured = [meeting for meeting in survey.meetings if meeting.seam is not None]
    notes = survey.counted("note") + sum(len(run.found) for run in survey.runs)
    rate = f"{float(survey.fps):g} frames a second"
    yield f'<p class="soft">{"A draft, " if draft else ""}{clock(survey.seconds)} long, drawn at {rate}.</p>\n'
    yield '<section aria-labelledby="summary">\n<h2 id="summary">Summary</h2>\n<ul class="counts">\n'
    yield f"<li><b>{len(measured)}</b>seam{'' if len(measured) == 1 else 's'} measured</li>\n"
    for kind, count in (("error", survey.counted("error")), ("warning", survey.counted("warning")), ("note", notes)):
        yield f"<li><b{f' class={kind}' if count else ''}>{count}</b>{kind}{'' if count == 1 else 's'}</li>\n"
    yield "</ul>\n"
    verdict = (
        "No seam has a warning or an error." if survey.passes else "Seams with warnings or errors come first below."
    )
    yield f"<p>{verdict} Seams are measured on the clips' frames in the film's colours, before they are enlarged.</p>\n"
    if survey.meetings:
        yield from _index(survey)
    if survey.unrendered:
        yield f"<p>Not rendered, or out of date: {escape(', '.join(survey.unrendered))}.</p>\n"
    yield "</section>\n"


def _index(survey: Survey) -> Iterator[str]:
    yield "<details open>\n<summary>All seams in the order they are played</summary>\n<table>\n<thead><tr>"
    yield '<th scope="col">seam</th><th scope="col" class="n">at</th><th scope="col">found</th></tr></thead>\n<tbody>\n'
    for meeting in survey.meetings:
        names = marked(meeting)
        if meeting.seam is None:
            found = f'<span class="soft">{escape(meeting.state)}, not judged</span>'
        else:
            names = f'<a href="#seam-{meeting.index}">{names}</a>'
            faults = ", ".join(escape(finding.fault) for finding in meeting.found)
            found = f'<span class="badge {state(meeting)}">{state(meeting)}</span>{faults}'
        yield f'<tr><th scope="row">{names}</th><td class="n">{clock(meeting.at)}</td><td>{found}</td></tr>\n'
    yield "</tbody>\n</table>\n</details>\n"


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
