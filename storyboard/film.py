"""The making of a film, top to bottom. The same walk makes it and rehearses it: only the crew differs.

A scene is resolved to a shot; a shot is kept as a clip. Clips are finished as segments; segments are joined as the
film.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from post.finish import Finish, Segment
from post.grade import Graded
from scenes.footage import Clip, DamagedFile, Span, Still
from scenes.picture import PictureError
from scenes.shot import Shot
from storyboard.colour import Colours, Shade
from storyboard.crew import Crew
from storyboard.gear import Gear
from storyboard.handed import Handed
from storyboard.order import closure, needs
from storyboard.story import After, Opening, Scene, Story
from storyboard.transitions import closing, dissolves_from, film_rate, opening
from storyboard.wording import model_prompt

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
    hear of each clip and segment in the main thread, kept or made. `beside`: what kept clips hand on of scenes
    that are not among these, for those to dissolve from, and `shades` how they are shown."""

    scenes: frozenset[str] | None = None
    anew: frozenset[str] = frozenset()
    keep_going: bool = False
    beside: Mapping[str, Handed] = field(default_factory=dict[str, Handed])
    on_clip: Noted = lambda scene, shot, clip: None
    on_segment: Delivered = lambda scene, finish, segment: None
    shades: Mapping[str, Shade] = field(default_factory=dict[str, Shade])


@dataclass
class Reel:
    """What the walk has so far, by scene. `unshot`: failed without a clip; `skipped`: waits for such a one;
    `unfinished`: has a clip, and dissolves from a scene that has none: that one. `shades`: how clips are shown."""

    clips: dict[str, Clip] = field(default_factory=dict[str, Clip])
    handed: dict[str, Handed] = field(default_factory=dict[str, Handed])
    segments: dict[str, Segment] = field(default_factory=dict[str, Segment])
    failed: dict[str, BaseException] = field(default_factory=dict[str, BaseException])
    unshot: set[str] = field(default_factory=set[str])
    skipped: set[str] = field(default_factory=set[str])
    unfinished: dict[str, str] = field(default_factory=dict[str, str])
    shades: dict[str, Shade] = field(default_factory=dict[str, Shade])

    def complete(self, story: Story) -> tuple[Segment, ...] | None:
        """The segments in play order, once every scene has one."""
        there = [self.segments.get(scene.name) for scene in story.scenes]
        return tuple(s for s in there if s is not None) if all(there) else None


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
    walk = Walk(story, gear, crew, wanted)
    ready: list[str] = []
    with at_work(crew):
        while order.is_active() or walk.under_way:
            # In play order, so that the film's beginning is there to be watched first.
            ready = sorted([*ready, *order.get_ready()], key=walk.index.__getitem__)
            while ready and walk.shooting < crew.at_once:
                name = ready.pop(0)
                if graph[name] & (walk.reel.unshot | walk.reel.skipped):
                    walk.reel.skipped.add(name)
                elif walk.shoot(name):
                    continue
                crew.skip(name)
                order.done(name)
            if walk.under_way:
                order.done(*walk.collect())
    return walk.reel


@contextmanager
def at_work(crew: Crew) -> Generator[None]:
    """Close the crew where `with` ends: what is under way ends first, or stops after an error other than a scene's."""
    try:
        yield
    except SceneFailed:
        crew.close()
        raise
    except BaseException:
        crew.stop()
        raise
    crew.close()


class Walk:
    """What is under way, and what becomes of it."""

    def __init__(self, story: Story, gear: Gear, crew: Crew, wanted: Wanted) -> None:
        self._story, self._gear, self._crew, self._wanted = story, gear, crew, wanted
        self.index = {scene.name: number for number, scene in enumerate(story.scenes)}
        self.reel = Reel()
        self.under_way: dict[Future[Any], str] = {}
        self.shooting = 0
        self._shots: dict[str, Shot] = {}
        self._finishes: dict[str, Finish] = {}
        self._colours = Colours(story, crew)
        self.reel.shades = self._colours.shades

    def shoot(self, name: str) -> bool:
        """Whether it could be begun: its pictures may not decode."""
        scene = self._story.scenes[self.index[name]]
        try:
            shot = shot_of(scene, self._story, self._gear, self._crew, self.reel.handed)
        except SceneFailed as failure:
            self._failed(name, failure.__cause__ or failure)
            return False
        self._shots[name] = shot
        self.under_way[self._crew.shoot(name, shot, anew=name in self._wanted.anew, held=scene.held)] = name
        self.shooting += 1
        return True

    def collect(self) -> list[str]:
        """Wait for something to end; gives the scenes whose shooting has, well or not."""
        shot: list[str] = []
        for done in wait(self.under_way, return_when=FIRST_COMPLETED).done:
            name = self.under_way.pop(done)
            if name not in self.reel.clips:
                shot.append(name)
                self.shooting -= 1
            error = done.exception()
            if error is None:
                self._keep(name, done.result())
            else:
                self._failed(name, error)
        return shot

    def _failed(self, name: str, error: BaseException) -> None:
        if not self._wanted.keep_going or not isinstance(error, Exception):
            raise SceneFailed(name, error)
        self.reel.failed[name] = error
        if name not in self.reel.clips:
            self.reel.unshot.add(name)

    def _keep(self, name: str, work: Clip | Segment) -> None:
        if isinstance(work, Clip):
            try:
                self.reel.handed[name] = self._crew.hand_on(work, self._story.scenes[self.index[name]].hand_on)
                self._colours.hear(self.index[name], self._shots[name].opening[-1], self.reel.handed[name])
            except (DamagedFile, OSError) as error:
                self._failed(name, error)
                return
            self.reel.clips[name] = work
            self._wanted.on_clip(name, self._shots[name], work)
            self._finish(name)
            # The scene played next may have waited for this clip, to dissolve from it.
            for waiting in [after for after, before in self.reel.unfinished.items() if before == name]:
                self._finish(waiting)
        else:
            self.reel.segments[name] = work
            self._wanted.on_segment(name, self._finishes[name], work)

    def _finish(self, name: str) -> None:
        """Once the clip is there that it dissolves from."""
        story, handed = self._story, self.reel.handed
        before = dissolves_from(story.scenes, self.index[name])
        tail = None if before is None else handed.get(before) or self._wanted.beside.get(before)
        if before is not None and tail is None:
            self.reel.unfinished[name] = before
            return
        self.reel.unfinished.pop(name, None)
        lead = self._shots[name].opening[-1] if story.lead(self.index[name]) is not None else None
        colour = self._colours.graded(self.index[name], self._wanted.shades, before)
        self._finishes[name] = finish_of(handed[name], lead, self._gear, story, self.index[name], tail, colour)
        self.under_way[self._crew.finish(name, self._finishes[name])] = name


def shot_of(scene: Scene, story: Story, gear: Gear, crew: Crew, handed: Mapping[str, Handed]) -> Shot:
    """The scene, resolved: its opening and its end are the pixels themselves."""
    opening = opening_of(scene, story, crew, handed)
    match scene.ends_on:
        case Opening(other):
            last = opening_of(story.scene(other), story, crew, handed)
        case Path() as picture:
            last = _still(crew, picture, scene, story)
        case None:
            last = None
    drawing = gear.drawing(scene)
    prompt, negative, loras = scene.prompt, None, ()  # the animatic has no use for more
    if drawing is not None:
        prompt, negative, loras = model_prompt(scene), drawing.negative_prompt, drawing.loras
    renderer = gear.renderer(scene, story)
    return Shot(prompt, negative, scene.seed, scene.frames, story.size, (opening,), last, loras, renderer)


def opening_of(scene: Scene, story: Story, crew: Crew, handed: Mapping[str, Handed]) -> Still:
    match scene.opens_on:
        case After(before):
            return handed[before].still
        case Path() as picture:
            return _still(crew, picture, scene, story)


def _still(crew: Crew, picture: Path, scene: Scene, story: Story) -> Still:
    try:
        return crew.still(picture, story.size, scene.fit, scene.background)
    except PictureError as error:
        told = PictureError(f"{picture} {error}")
    except FileNotFoundError:
        told = PictureError(f"{picture} is gone")
    raise SceneFailed(scene.name, told) from told


def finish_of(
    handed: Handed,
    lead: Still | None,
    gear: Gear,
    story: Story,
    index: int,
    before: Handed | None,
    colour: Graded | None,
) -> Finish:
    """A chained clip's frame 0 redraws the frame before it: it is left out, and that still leads in. So is what comes
    after the frame handed on.

    before: what is played before scene `index`, where that one dissolves from it.
    """
    span = Span(handed.clip, int(lead is not None), handed.stop)
    rule = gear.interpolate
    fps = film_rate(story.fps, rule)
    opens = opening(story.scenes, index, fps, rule, before)
    closes = closing(story.scenes, index, fps)
    return Finish(span, lead, gear.upscale, rule, gear.encode, opens, closes, colour)
