"""A scene made again with another seed, which is written into the story once its clip is there."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from scenes.footage import DamagedFile
from scenes.shot import MachineLacks
from storyboard.edit import write_seed
from storyboard.events import Events
from storyboard.manifest import Manifest
from storyboard.order import followers
from storyboard.store import Store
from storyboard.story import Story
from storyboard.takes import Takes


@dataclass(frozen=True, slots=True)
class NewSeed:
    """`scenes`: this one and what must follow; the story has the new seed already."""

    story: Story
    scene: str
    seed: int
    scenes: frozenset[str]

    def writer(self, events: Events, store: Store, mode: str) -> Callable[[str], None]:
        """Call with each scene whose clip is there: when it is this one's, writes the seed down, and that this clip
        and the one before it are takes to choose from."""
        before = Manifest(store, self.story.path).scene(mode, self.scene).get("shot")

        def write(scene: str) -> None:
            if scene != self.scene:
                return
            write_seed(self.story.path, self.scene, self.seed)
            events.tell("seed.written", scene=scene, seed=self.seed, path=str(self.story.path))
            manifest = Manifest(store, self.story.path)
            now = manifest.scene(mode, scene).get("shot")
            for key in (before, now) if before and now and before != now else ():
                with suppress(DamagedFile):  # dropped, or damaged: nothing to choose
                    Takes(store, manifest, mode, scene).note(key)

        return write


def check_writable(story: Story) -> None:
    """Raises MachineLacks where the story could not be written to afterwards."""
    for path in (story.path, story.path.resolve().parent):
        if not os.access(path, os.W_OK):
            raise MachineLacks(f"{path} cannot be written to, and the new seed belongs in {story.path.name}")


def drawn_seed() -> int:
    return secrets.randbelow(2**32)


def with_new_seed(story: Story, name: str, seed: int | None) -> NewSeed:
    """seed: None draws one. Raises MachineLacks where the story could not be written to afterwards."""
    check_writable(story)
    chosen = drawn_seed() if seed is None else seed
    scenes = tuple(replace(scene, seed=chosen) if scene.name == name else scene for scene in story.scenes)
    return NewSeed(replace(story, scenes=scenes), name, chosen, followers(story, name))
