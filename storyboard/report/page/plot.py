"""One number along the film, as an SVG: axes, its limits, scenes and cuts, a line a run."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from storyboard.report.numbers import Drifting
from storyboard.report.survey import Survey
from storyboard.report.table import clock, shortened

HEIGHT = 190
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 22, 26
LETTER = 7
"""Pixels that a letter of a scene's name takes, about."""


class Plot:
    """A drift's number over seconds. Wide enough for its scenes; narrow screens scroll it."""

    def __init__(self, survey: Survey, drifting: Drifting) -> None:
        self._survey, self._drifting = survey, drifting
        self._width = min(2400, max(720, 18 * len(survey.starts)))
        limit = float(getattr(survey.limits, drifting.limit))
        self._limits = (1 / limit, limit) if drifting.ratio else (-limit, limit) if drifting.signed else (limit,)
        self._runs = [[(m.at, m.scene, drifting.of(m.point.drift)) for m in run.moments] for run in survey.runs]
        values = [drifting.same, *self._limits, *(value for run in self._runs for _, _, value in run)]
        spare = 0.08 * (max(values) - min(values))
        self._low = min(values) - (spare if min(values) < drifting.same else 0)
        self._high = max(values) + spare

    def svg(self) -> Iterator[str]:
        name, says = f"plot-{self._drifting.name}", escape(self._drifting.says)
        yield f"<figure>\n<figcaption><b>{says}.</b> {escape(self._told())}</figcaption>\n"
        yield f'<div class="scroll" tabindex="0" role="group" aria-label="{says}, along the film">\n'
        yield f'<svg class="plot" viewBox="0 0 {self._width} {HEIGHT}" role="img" '
        yield f'aria-labelledby="{name}-t {name}-d">\n'
        yield f'<title id="{name}-t">{says}</title><desc id="{name}-d">{escape(self._told())}</desc>\n'
        yield from self._scenes()
        yield from self._axes()
        yield from self._bounds()
        yield from self._lines()
        yield "</svg>\n</div>\n</figure>\n"

    def _told(self) -> str:
        far = max(
            (each for run in self._runs for each in run), key=lambda e: self._drifting.distance(e[2]), default=None
        )
        bounds = " and ".join(f"{limit:.2f}" for limit in self._limits)
        most = "" if far is None else f"Farthest: {far[2]:.2f} in {far[1]}, at {clock(far[0])}. "
        return f"{most}Limit{'s' if len(self._limits) > 1 else ''}, dashed: {bounds}."

    def _x(self, seconds: float) -> float:
        return LEFT + (self._width - LEFT - RIGHT) * seconds / max(self._survey.seconds, 0.001)

    def _y(self, value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (self._high - value) / max(self._high - self._low, 1e-6)

    def _scenes(self) -> Iterator[str]:
        cuts = {meeting.after for meeting in self._survey.meetings if meeting.state == "cut"}
        ends = [start for _, start in self._survey.starts[1:]] + [self._survey.seconds]
        for (scene, start), end in zip(self._survey.starts, ends, strict=True):
            x, kind = self._x(start), "cut" if scene in cuts else "scene"
            yield f'<line class="{kind}" x1="{x:.1f}" y1="{TOP - 16}" x2="{x:.1f}" y2="{HEIGHT - BOTTOM}"/>'
            letters = int((self._x(end) - x - 6) / LETTER)
            if letters >= min(3, len(scene)):
                yield f'<text class="name" x="{x + 4:.1f}" y="{TOP - 7}">{escape(shortened(scene, letters))}</text>'

    def _axes(self) -> Iterator[str]:
        right, bottom = self._width - RIGHT, HEIGHT - BOTTOM
        yield f'<path class="axis" d="M{LEFT} {TOP}V{bottom}H{right}"/>\n'
        for value in _ticks(self._low, self._high, 4):
            y = self._y(value)
            yield f'<line class="tick" x1="{LEFT - 4}" y1="{y:.1f}" x2="{LEFT}" y2="{y:.1f}"/>'
            yield f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>'
        for value in _ticks(0, self._survey.seconds, max(4, self._width // 120)):
            x = self._x(value)
            yield f'<line class="tick" x1="{x:.1f}" y1="{bottom}" x2="{x:.1f}" y2="{bottom + 4}"/>'
            yield f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{value:g} s</text>'

    def _bounds(self) -> Iterator[str]:
        for limit in self._limits:
            y = self._y(limit)
            right = self._width - RIGHT
            yield f'<line class="limit" x1="{LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}"/>'
            yield f'<text class="limit-says" x="{right}" y="{y - 4:.1f}" text-anchor="end">{limit:.2f}</text>'

    def _lines(self) -> Iterator[str]:
        for run in self._runs:
            points = [(self._x(at), self._y(value)) for at, _, value in run]
            yield f'<polyline class="run" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}"/>\n'
            for (x, y), (at, scene, value) in zip(points, run, strict=True):
                over = not (self._limits[0] if len(self._limits) > 1 else self._low) <= value <= self._limits[-1]
                kind, radius = ("over", 3.5) if over else ("dot", 1.8)
                said = escape(f"{scene}, {clock(at)}: {value:.2f}")
                yield f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}"><title>{said}</title></circle>\n'


def _ticks(low: float, high: float, about: int) -> Iterator[float]:
    """Round numbers between two, as many as there is room for."""
    rough = max((high - low) / about, 1e-6)
    power = 10.0 ** len(str(int(rough))) if rough >= 1 else 1.0
    while power > rough:
        power /= 10
    step = next((power * times for times in (1, 2, 5, 10) if power * times >= rough), power * 10)
    value = -(-low // step) * step
    while value <= high + 1e-9:
        yield round(value, 6) + 0.0
        value += step
