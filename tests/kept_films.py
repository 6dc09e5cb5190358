"""Films whose clips a test draws itself: kept as a draft keeps them, finished not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

from scenes.files import write_clip
from scenes.footage import Clip, Frame
from scenes.shot import Shot
from storyboard.film import Wanted, film
from storyboard.gear import gear_for
from storyboard.rehearsal import Rehearsal
from storyboard.store import CLIPS, Store
from storyboard.story import read_story

Drawn = Callable[[str, Shot], Iterator[Frame]]


class Keeping(Rehearsal):
    """A crew that keeps what it is given as each scene's clip."""

    def __init__(self, store: Store, drawn: Drawn) -> None:
        super().__init__(store)
        self._drawn = drawn

    def shoot(self, scene: str, shot: Shot, *, anew: bool, held: bool) -> Future[Clip]:
        def make(into: Path) -> None:
            write_clip(self._drawn(scene, shot), into, shot.renderer.fps, shot.frames, {})

        self.store.keep(CLIPS, shot, make)
        return super().shoot(scene, shot, anew=anew, held=held)


def keep_film(path: Path, drawn: Drawn, scenes: frozenset[str] | None = None) -> None:
    """scenes: these and what they need; None for all."""
    story, store = read_story(path), Store(path.parent / ".storyboard")
    gear = gear_for(story, True, (), None, store.memory, scenes)
    film(story, gear, Keeping(store, drawn), Wanted(scenes))
    store.memory.save()
