"""The scene graph as text, Mermaid and SVG."""

from __future__ import annotations

import re
from html import escape
from pathlib import Path

from storyboard.seams import Cut
from storyboard.story import After, Opening, Scene, Story

BOX, HEIGHT, GAP, ROW = 150, 46, 50, 76


def graph_text(story: Story) -> str:
    """Scenes in play order: what each opens and ends on, and what the seam before it is: chained, a cut, or what is
    drawn over one."""
    width = max(len(scene.name) for scene in story.scenes)
    seams = [_seam(story, index) for index in range(len(story.scenes))]
    wide = max(5, *map(len, seams))
    lines: list[str] = []
    for seam, scene in zip(seams, story.scenes, strict=True):
        lines.append(f"{seam:<{wide}}  {scene.name:<{width}}  {_opens(scene)}{_ends(scene)}".rstrip())
    return "\n".join(lines)


def _seam(story: Story, index: int) -> str:
    if story.lead(index) is not None:
        return "chain"
    cut = isinstance(story.scenes[index].seam, Cut)
    return "" if cut and index == 0 else str(story.scenes[index].seam)


def _opens(scene: Scene) -> str:
    return f"after {scene.opens_on.scene}" if isinstance(scene.opens_on, After) else f"opens on {scene.opens_on.name}"


def _ends(scene: Scene) -> str:
    match scene.ends_on:
        case Opening(other):
            return f", ends on the opening of {other}"
        case Path() as picture:
            return f", ends on {picture.name}"
        case None:
            return ""


def graph_mermaid(story: Story) -> str:
    """Mermaid's flowchart: solid from a last frame, dashed to an end."""
    ids = {scene.name: f"s{number}" for number, scene in enumerate(story.scenes)}
    lines = ["flowchart LR"]
    for number, scene in enumerate(story.scenes):
        drawn = "" if isinstance(scene.seam, Cut) else f"<br>{_quoted(str(scene.seam))}"
        lines.append(f'  {ids[scene.name]}["{number + 1}. {scene.name}{drawn}"]')
    for number, scene in enumerate(story.scenes):
        this = ids[scene.name]
        match scene.opens_on:
            case After(before):
                lines.append(f"  {ids[before]} --> {this}")
            case Path() as picture:
                lines.append(f'  p{number}[/"{_quoted(picture.name)}"/] --> {this}')
        match scene.ends_on:
            case Opening(other):
                lines.append(f"  {this} -. ends on .-> {ids[other]}")
            case Path() as picture:
                lines.append(f'  {this} -. ends on .-> e{number}[/"{_quoted(picture.name)}"/]')
            case None:
                pass
    return "\n".join(lines)


def _quoted(text: str) -> str:
    return text.replace("#", "#35;").replace('"', "#quot;")


def graph_svg(story: Story) -> str:
    """An SVG: depth from left to right, play order from top to bottom."""
    depth = _depths(story)
    rows = {scene.name: number for number, scene in enumerate(story.scenes)}
    width = (max(depth.values()) + 1) * (BOX + GAP) + GAP
    height = len(rows) * ROW + GAP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="13">',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#567"/></marker></defs>',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for scene in story.scenes:
        if isinstance(scene.opens_on, After):
            parts.append(_opening(_place(scene.opens_on.scene, depth, rows), _place(scene.name, depth, rows)))
        if isinstance(scene.ends_on, Opening):
            parts.append(_ending(_place(scene.name, depth, rows), _place(scene.ends_on.scene, depth, rows)))
    parts += [_box(scene, number, _place(scene.name, depth, rows)) for number, scene in enumerate(story.scenes)]
    return "\n".join([*parts, "</svg>"])


def _depths(story: Story) -> dict[str, int]:
    """How many chained seams lie before each scene."""
    depth: dict[str, int] = {}

    def of(name: str) -> int:
        trail: list[str] = []
        while name not in depth:
            trail.append(name)
            opens = story.scene(name).opens_on
            if not isinstance(opens, After):
                depth[name] = 0
                break
            name = opens.scene
        for later in reversed(trail):
            opens = story.scene(later).opens_on
            depth[later] = depth[opens.scene] + 1 if isinstance(opens, After) else 0
        return depth[trail[0]] if trail else depth[name]

    return {scene.name: of(scene.name) for scene in story.scenes}


def _place(name: str, depth: dict[str, int], rows: dict[str, int]) -> tuple[int, int]:
    return GAP // 2 + depth[name] * (BOX + GAP), GAP // 2 + rows[name] * ROW


def _box(scene: Scene, number: int, at: tuple[int, int]) -> str:
    x, y = at
    links = _short(_opens(scene) + _ends(scene), 24)
    over = f'<text x="{x + 10}" y="{y - 5}" fill="#a40" font-size="11">{scene.seam}</text>'
    return (
        f"<g><title>{_xml(scene.prompt)}</title>"
        f'<rect x="{x}" y="{y}" width="{BOX}" height="{HEIGHT}" rx="6" fill="#eef3f7" stroke="#567"/>'
        f'<text x="{x + 10}" y="{y + 19}" font-weight="bold">{number + 1}. {_short(scene.name, 14)}</text>'
        f'<text x="{x + 10}" y="{y + 37}" fill="#456" font-size="11">{links}</text>'
        f"{'' if isinstance(scene.seam, Cut) else over}</g>"
    )


def _short(text: str, limit: int) -> str:
    return _xml(text if len(text) <= limit else f"{text[: limit - 1]}…")


def _xml(text: str) -> str:
    """Text for XML, which holds no control characters, not even escaped."""
    return escape(re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]", "\ufffd", text))


def _opening(start: tuple[int, int], stop: tuple[int, int]) -> str:
    """From a scene's right side to the left of one that opens on its last frame."""
    (x0, y0), (x1, y1) = (start[0] + BOX, start[1] + HEIGHT // 2), (stop[0], stop[1] + HEIGHT // 2)
    bend = max(30, abs(x1 - x0) // 2)
    return _curve(f"M{x0} {y0}C{x0 + bend} {y0} {x1 - bend} {y1} {x1} {y1}", "")


def _ending(start: tuple[int, int], stop: tuple[int, int]) -> str:
    """Dashed, from under or over a scene to the right side of the one whose opening it ends on."""
    (x0, y0), (x1, y1) = start, stop
    away = 1 if y1 >= y0 else -1
    x0, y0 = x0 + BOX * 3 // 4, y0 + (HEIGHT if away > 0 else 0)
    x1, y1 = x1 + BOX, y1 + HEIGHT // 2
    curve = f"M{x0} {y0}C{x0} {y0 + 36 * away} {x1 + 40} {y1} {x1} {y1}"
    return _curve(curve, ' stroke-dasharray="5 4"')


def _curve(path: str, style: str) -> str:
    return f'<path d="{path}" fill="none" stroke="#567" stroke-width="1.5" marker-end="url(#tip)"{style}/>'
