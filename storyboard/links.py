"""Whether the scenes that scenes name are there, and wait for each other in no ring."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from storyboard.mistakes import did_you_mean, written
from storyboard.order import ring
from storyboard.reading import Reading
from storyboard.story import After, Opening, Scene


def check_links(scenes: list[Scene], reading: Reading) -> None:
    """Complains of links that lead nowhere, and of rings."""
    named = {scene.name: scene for scene in scenes}
    wrong = [place for place in reading.unsure if place[0] == "scene"]
    known = not wrong and len(named) == len(scenes)  # else a ring may come of another mistake
    renamed = any(len(place) == 2 or place[2] == "name" for place in wrong)
    for index, scene in enumerate(scenes):
        for key, link in (("after", scene.opens_on), ("end_on", scene.ends_on)):
            if not isinstance(link, After | Opening) or not link.scene or link.scene in named:
                continue
            known = False
            if not renamed:
                hint = did_you_mean(link.scene, named)
                reading.complain(("scene", index, key), f"there is no scene {written(link.scene)}{hint}")
    circle = ring(named) if known else []
    if circle:
        _complain_of_ring(circle, named, [scene.name for scene in scenes], reading)


def _complain_of_ring(circle: list[str], named: Mapping[str, Scene], order: list[str], reading: Reading) -> None:
    """At the first scene of the ring in play order, with the words that bind each to the next."""
    first = min(circle[:-1], key=order.index)
    start = circle.index(first)
    round_ = [*circle[start:-1], *circle[: start + 1]]
    links: list[str] = []
    for name, following in pairwise(round_):
        after = named[name].opens_on == After(following)
        links.append(f'"{name}" opens after "{following}"' if after else _joining(named[name], following))
    key = "after" if named[first].opens_on == After(round_[1]) else "end_on"
    what, remedy = (
        ("waits for itself", "name another scene")
        if len(round_) == 2
        else ("scenes wait for each other in a ring", "name another scene in one of them")
    )
    reading.complain(("scene", order.index(first), key), f"{what} ({', '.join(links)}): {remedy}")


def _joining(scene: Scene, source: str) -> str:
    other = scene.ends_on.scene if isinstance(scene.ends_on, Opening) else ""
    return f'"{scene.name}" ends on the opening of "{other}", which opens after "{source}"'
