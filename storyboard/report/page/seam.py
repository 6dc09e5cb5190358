"""One seam on the page: what was found and what to do, its frames, half a second on either side, its numbers."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Sequence
from html import escape

from post.limits import Limits
from post.seams import Finding, Seam
from storyboard.limits_table import KNOWN
from storyboard.report.advice import Advice, Advising, remedies
from storyboard.report.numbers import JUDGED, Number, allowed, numbers
from storyboard.report.survey import Meeting, Pictures, Survey
from storyboard.report.table import clock, state


def article(meeting: Meeting, seam: Seam, survey: Survey, advising: Advising) -> Iterator[str]:
    name, worst = f"seam-{meeting.index}", state(meeting)
    yield f'<article class="seam" id="{name}" aria-labelledby="{name}-name">\n'
    yield f'<h3 id="{name}-name"><span class="badge {worst}">{worst}</span>{marked(meeting)} '
    yield f"<small>at {clock(meeting.at)}</small></h3>\n"
    if meeting.found:
        yield from advised([(finding, advising.at(meeting, finding)) for finding in meeting.found])
    else:
        yield "<p>Nothing was found.</p>\n"
    if meeting.pictures is not None:
        yield from _seen(meeting, meeting.pictures, survey)
    yield from _table(meeting, seam, survey.limits)
    yield "</article>\n"


def marked(meeting: Meeting) -> str:
    """The two scenes, to be heard as well as seen."""
    return f'{escape(meeting.before)} <span aria-label="to">→</span> {escape(meeting.after)}'


def advised(found: Sequence[tuple[Finding, Advice]]) -> Iterator[str]:
    """What was found, and what may mend it, each once. What backticks hold is a command or a setting."""
    yield '<ul class="findings">\n'
    for finding, advice in found:
        head = f'<b class="{finding.severity}">{finding.severity}: {finding.fault}</b>'
        yield f"<li>{head}: {escape(advice.says)}.</li>\n"
    yield '</ul>\n<p class="do">What to do:</p>\n<ul class="findings">\n'
    for do in remedies(advice for _, advice in found):
        marked_up = re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(do))
        yield f"<li>{marked_up}</li>\n"
    yield "</ul>\n"


def _seen(meeting: Meeting, pictures: Pictures, survey: Survey) -> Iterator[str]:
    before, after = escape(meeting.before), escape(meeting.after)
    width, height = pictures.size
    yield '<figure>\n<div class="frames">\n'
    sides = (
        (pictures.last, before, "frame {} before the seam, of"),
        (pictures.first, after, "frame {} after the seam, of"),
    )
    for stills, scene, says in sides:
        for index, still in enumerate(stills):
            away = len(stills) - index if stills is pictures.last else index + 1
            opens = ' class="opens"' if stills is pictures.first and index == 0 else ""
            said = f"{says.format(away).capitalize()} {scene}"
            source = _data("image/jpeg", still)
            yield f'<img{opens} src="{source}" width="{width}" height="{height}" alt="{said}">\n'
    yield f"</div>\n<figcaption>The last frames of {before}, the first of {after}.</figcaption>\n</figure>\n"
    yield f'<figure>\n<video controls playsinline muted loop preload="metadata" width="{width}" height="{height}"'
    yield f' data-fps="{float(survey.fps):g}" data-seam="{pictures.seam_at:.6g}"'
    yield f' poster="{_data("image/jpeg", pictures.last[0])}"'
    yield f' aria-label="The seam from {before} to {after}, playing"'
    yield f' src="{_data("video/mp4", pictures.video)}"></video>\n'
    yield f"<figcaption>The end of {before} and the beginning of {after}; "
    yield f"the seam is at {pictures.seam_at:.1f} s.</figcaption>\n</figure>\n"


def _table(meeting: Meeting, seam: Seam, limits: Limits) -> Iterator[str]:
    over = {JUDGED[finding.fault]: finding.severity for finding in reversed(meeting.found) if finding.fault in JUDGED}
    yield f"<details{' open' if meeting.found else ''}>\n<summary>Numbers and limits</summary>\n"
    yield '<table class="numbers">\n'
    yield '<thead><tr><th scope="col">number</th><th scope="col" class="n">measured</th>'
    yield '<th scope="col" class="n">limit</th></tr></thead>\n<tbody>\n'
    for number in numbers(seam):
        yield from _row(number, over.get(number.name), limits)
    yield "</tbody>\n</table>\n</details>\n"


def _row(number: Number, severity: str | None, limits: Limits) -> Iterator[str]:
    means = f'<span class="meaning">{escape(KNOWN[number.limit].means)}</span>' if number.limit else ""
    value = f"{number.value:.2f}"
    if severity is not None:
        value = f'<b class="{severity}">{value} ({severity})</b>'
    yield f'<tr><th scope="row">{escape(number.says)}{means}</th><td class="n">{value}</td>'
    yield f'<td class="n">{escape(allowed(number, limits))}</td></tr>\n'


def _data(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
