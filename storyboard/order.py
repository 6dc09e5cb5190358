"""Which scenes must be there before which."""

from __future__ import annotations

from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter

from storyboard.story import After, Opening, Scene, Story


def needs(scenes: Mapping[str, Scene]) -> dict[str, set[str]]:
    """For each scene, the scenes whose clips must be there before it can be drawn.

    Ending on another's opening picture needs whatever that opening comes from: the scene it opens after.
    """
    wanted: dict[str, set[str]] = {name: set() for name in scenes}
    for name, scene in scenes.items():
        if isinstance(scene.opens_on, After):
            wanted[name].add(scene.opens_on.scene)
        if isinstance(scene.ends_on, Opening) and scene.ends_on.scene in scenes:
            source = scenes[scene.ends_on.scene].opens_on
            if isinstance(source, After):
                wanted[name].add(source.scene)
    return wanted


def ring(scenes: Mapping[str, Scene]) -> list[str]:
    """Scenes that wait for each other in a ring, first one repeated at the end; empty where there is none."""
    try:
        TopologicalSorter(needs(scenes)).prepare()
    except CycleError as error:
        return list(reversed(error.args[1]))
    return []


def closure(story: Story, names: frozenset[str]) -> frozenset[str]:
    """These scenes and all they need."""
    graph = needs({scene.name: scene for scene in story.scenes})
    found: set[str] = set()
    ahead = list(names)
    while ahead:
        name = ahead.pop()
        if name not in found:
            found.add(name)
            ahead += graph[name]
    return frozenset(found)


def followers(story: Story, name: str) -> frozenset[str]:
    """This scene and all that cannot be drawn before it."""
    graph = needs({scene.name: scene for scene in story.scenes})
    found = {name}
    while more := {other for other, wanted in graph.items() if wanted & found} - found:
        found |= more
    return frozenset(found)
