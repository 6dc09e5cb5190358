"""What drifts along the film, on the page: four plots, and the same as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from storyboard.report.advice import Advising
from storyboard.report.numbers import DRIFTING
from storyboard.report.page.plot import Plot
from storyboard.report.page.seam import advised
from storyboard.report.runs import Moment
from storyboard.report.survey import Survey


def along(survey: Survey, advising: Advising) -> Iterator[str]:
    yield '<section aria-labelledby="along">\n<h2 id="along">Along the film</h2>\n'
    yield (
        "<p>Every eighth frame against the first frame of its run: a run is scenes that go on from one another, from "
        "cut to cut. What the camera brings into view counts too, so a drift is worth a look and never a fault.</p>\n"
    )
    found = [(scene, finding) for run in survey.runs for scene, finding in run.found]
    if found:
        yield from advised([(finding, advising.along(scene, finding)) for scene, finding in found])
    for drifting in DRIFTING:
        yield from Plot(survey, drifting).svg()
    yield from _table([moment for run in survey.runs for moment in run.moments])
    yield "</section>\n"


def _table(moments: Sequence[Moment]) -> Iterator[str]:
    yield "<details>\n<summary>The same as a table</summary>\n"
    yield '<div class="scroll" tabindex="0" role="group" aria-label="Drift of each scene">\n<table>\n'
    yield "<caption>Of each scene the frame that is farthest from the first of its run.</caption>\n"
    heads = "".join(f'<th scope="col" class="n">{escape(each.says)}</th>' for each in DRIFTING)
    yield f'<thead><tr><th scope="col">scene</th>{heads}</tr></thead>\n<tbody>\n'
    by_scene: dict[str, list[Moment]] = {}
    for moment in moments:
        by_scene.setdefault(moment.scene, []).append(moment)
    for scene, own in by_scene.items():
        cells = "".join(
            f'<td class="n">{max((each.of(m.point.drift) for m in own), key=each.distance):.2f}</td>'
            for each in DRIFTING
        )
        yield f'<tr><th scope="row">{escape(scene)}</th>{cells}</tr>\n'
    yield "</tbody>\n</table>\n</div>\n</details>\n"
