"""The graph's lines down the board: which runs past, begins or ends beside each scene.

Scenes lie on the first lane; a line between scenes that are not neighbours runs on one of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

LANE, FIRST, WIDEST = 14, 12, 70
"""Pixels: between two lanes, to the first, and of all but the first together: a phone has room for no more."""


@dataclass(frozen=True, slots=True)
class Line:
    """From a scene's row to another's, the upper one first. `ends`: an end picture is shared, not an opening."""

    top: int
    bottom: int
    ends: bool


def lines_of(scenes: Sequence[dict[str, Any]]) -> list[Line]:
    rows = {scene["name"]: row for row, scene in enumerate(scenes)}
    found: list[Line] = []
    for row, scene in enumerate(scenes):
        for link, ends in ((scene["opens_on"], False), (scene["ends_on"], True)):
            other = rows.get(link["scene"]) if link and link.get("scene") else None
            if other is not None and other != row:
                found.append(Line(min(row, other), max(row, other), ends))
    return sorted(found, key=lambda line: (line.bottom - line.top, line.top, line.ends))


def paths(scenes: Sequence[dict[str, Any]]) -> tuple[list[list[tuple[str, bool]]], int]:
    """For each row its lines as SVG paths in a box 100 high, dashed or not; and the box's width."""
    rows: list[list[tuple[str, bool]]] = [[] for _ in scenes]
    lanes: list[list[Line]] = []
    for line in lines_of(scenes):
        if line.bottom - line.top == 1 and not line.ends:
            rows[line.top].append((f"M{FIRST} 50V100", False))
            rows[line.bottom].append((f"M{FIRST} 0V50", False))
        elif lane := next((lane for lane in lanes if all(_apart(line, other) for other in lane)), None):
            lane.append(line)
        else:
            lanes.append([line])
    apart = min(LANE, WIDEST // max(1, len(lanes)))
    for number, lane in enumerate(lanes, start=1):
        for line in lane:
            _draw(line, FIRST + apart * number, rows)
    return rows, 2 * FIRST + apart * len(lanes)


def _draw(line: Line, x: int, rows: list[list[tuple[str, bool]]]) -> None:
    rows[line.top].append((f"M{FIRST} 50C{x} 50 {x} 60 {x} 100", line.ends))
    rows[line.bottom].append((f"M{x} 0C{x} 40 {x} 50 {FIRST} 50", line.ends))
    for row in range(line.top + 1, line.bottom):
        rows[row].append((f"M{x} 0V100", line.ends))


def _apart(one: Line, other: Line) -> bool:
    return one.bottom <= other.top or other.bottom <= one.top
