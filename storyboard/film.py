"""The making of a film, top to bottom. The same walk makes it and rehearses it: only the crew differs.

A scene is resolved to a shot; a shot is kept as a clip. Clips are finished as segments; segments are joined as the
film.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from post.finish import Finish, Segment
from scenes.footage import Clip, Span, Still
from scenes.picture import PictureError
from scenes.shot import Shot
from storyboard.crew import Crew
from storyboard.gear import Gear
from storyboard.story import After, Opening, Scene, Story, needs

Noted = Callable[[str, Shot, Clip], None]
Delivered = Callable[[str, Finish, Segment], None]


class SceneFailed(Exception):  # noqa: N818 (an outcome)
    """A scene could not be made; `__cause__` says why."""

    def __init__(self, scene: str, cause: BaseException) -> None:
        super().__init__(f'scene "{scene}": {cause}')
        self.scene = scene
        self.__cause__ = cause


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a run is to make. `scenes`: None for all. `anew`: made even where it is kept. `on_clip` and `on_segment`
    hear of each clip and segment in the main thread, kept or made."""

    scenes: frozenset[str] | None = None
    anew: frozenset[str] = frozenset()
    keep_going: bool = False
    on_clip: Noted = lambda scene, shot, clip: None
    on_segment: Delivered = lambda scene, finish, segment: None


@dataclass
class Reel:
    """What the walk has so far: clips and segments by scene, and what failed."""

    clips: dict[str, Clip] = field(default_factory=dict[str, Clip])
    segments: dict[str, Segment] = field(default_factory=dict[str, Segment])
    failed: dict[str, BaseException] = field(default_factory=dict[str, BaseException])
    skipped: set[str] = field(default_factory=set[str])

    def complete(self, story: Story) -> tuple[Segment, ...] | None:
        """The segments in play order, once every scene has one."""
        there = [self.segments.get(scene.name) for scene in story.scenes]
        return tuple(s for s in there if s is not None) if all(there) else None


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


def film(story: Story, gear: Gear, crew: Crew, wanted: Wanted) -> Reel:
    """Walk the graph: shoot scenes as what they need is there, finish each clip while the next is shot.

    Raises:
        SceneFailed: the first failure, once what was under way has ended; with `keep_going` failures are in the reel.
    """
    graph = needs({scene.name: scene for scene in story.scenes})
    if wanted.scenes is not None:
        graph = {name: graph[name] for name in closure(story, wanted.scenes)}
    order = TopologicalSorter(graph)
    order.prepare()
    reel = Reel()
    shots: dict[str, Shot] = {}
    under_way: dict[Future[Any], str] = {}
    try:
        while order.is_active() or under_way:
            for name in sorted(order.get_ready(), key=_play_order(story)):
                if graph[name] & (reel.failed.keys() | reel.skipped):
                    reel.skipped.add(name)
                    order.done(name)
                    continue
                shots[name] = shot_of(story.scene(name), story, gear, crew, reel.clips)
                under_way[crew.shoot(name, shots[name], anew=name in wanted.anew)] = name
            for done in wait(under_way, return_when=FIRST_COMPLETED).done if under_way else ():
                name = under_way.pop(done)
                if (error := done.exception()) is not None:
                    _failed(reel, name, error, wanted.keep_going)
                    if name not in reel.clips:
                        order.done(name)
                    continue
                work: Clip | Segment = done.result()
                if isinstance(work, Clip):
                    reel.clips[name] = work
                    order.done(name)
                    wanted.on_clip(name, shots[name], work)
                    finish = finish_of(story, name, gear, work, shots[name].opening[-1])
                    under_way[crew.finish(name, finish)] = name
                else:
                    reel.segments[name] = work
                    finish = finish_of(story, name, gear, reel.clips[name], shots[name].opening[-1])
                    wanted.on_segment(name, finish, work)
    except SceneFailed:
        crew.close()
        raise
    except BaseException:
        crew.stop()
        raise
    crew.close()
    return reel


def _failed(reel: Reel, name: str, error: BaseException, keep_going: bool) -> None:
    if not keep_going or not isinstance(error, Exception):
        raise SceneFailed(name, error)
    reel.failed[name] = error


def _play_order(story: Story) -> Callable[[str], int]:
    index = {scene.name: number for number, scene in enumerate(story.scenes)}
    return index.__getitem__


def shot_of(scene: Scene, story: Story, gear: Gear, crew: Crew, clips: dict[str, Clip]) -> Shot:
    """The scene, resolved: its opening and its end are the pixels themselves."""
    opening = opening_of(scene, story, crew, clips)
    match scene.ends_on:
        case Opening(other):
            last = opening_of(story.scene(other), story, crew, clips)
        case Path() as picture:
            last = _still(crew, picture, scene, story)
        case None:
            last = None
    renderer = gear.renderer(scene, story)
    negative = None if gear.draft else scene.negative_prompt or None  # the animatic has no use for one
    return Shot(scene.prompt, negative, scene.seed, scene.frames, story.size, (opening,), last, (), renderer)


def opening_of(scene: Scene, story: Story, crew: Crew, clips: dict[str, Clip]) -> Still:
    match scene.opens_on:
        case After(before):
            return clips[before].last
        case Path() as picture:
            return _still(crew, picture, scene, story)


def _still(crew: Crew, picture: Path, scene: Scene, story: Story) -> Still:
    try:
        return crew.still(picture, story.size, scene.fit, scene.background)
    except PictureError as error:
        raise SceneFailed(scene.name, PictureError(f"{picture} {error}")) from error
    except FileNotFoundError as error:
        raise SceneFailed(scene.name, PictureError(f"{picture} is gone")) from error


def finish_of(story: Story, name: str, gear: Gear, clip: Clip, opening: Still) -> Finish:
    """A chained clip's frame 0 redraws the frame before it: it is left out, and the still handed over leads in."""
    index = next(i for i, scene in enumerate(story.scenes) if scene.name == name)
    chained = story.lead(index) is not None
    span = Span(clip, int(chained), clip.frames)
    return Finish(span, opening if chained else None, gear.upscale, gear.interpolate, gear.encode)
