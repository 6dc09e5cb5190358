"""The files that a story's real render is made with: where they lie, their digests, and what is missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from scenes.shot import MachineLacks
from scenes.wan.checkpoint import CheckpointError
from scenes.wan.recipes import LoraFile
from scenes.wan.weights import (
    Located,
    WeightFile,
    Weights,
    find_lora,
    find_weights,
    hashed,
    lora_files,
)
from storyboard.identity import UNMADE
from storyboard.memory import Memory
from storyboard.story import Story


class ModelFiles:
    """What is asked for and not here is noted, with the scenes that asked; its digest matches nothing."""

    def __init__(self, story: Story, folders: Sequence[Path], memory: Memory, say: Callable[[str], None]) -> None:
        self._story, self._folders, self._memory, self._say = story, folders, memory, say
        self._lacks: dict[str, list[str]] = {}
        self._loras: dict[str, LoraFile | str] = {}
        self.located: Located | None = None

    def weights(self) -> Weights:
        story = self._story
        named = story.weights if isinstance(story.weights, str) else dict(story.weights)
        try:
            self.located = find_weights(named, story.model, story.folder, self._folders)
            return hashed(self.located, self._digest)
        except (MachineLacks, CheckpointError, OSError) as error:
            self.lack(str(error))
            self.located = None

            def unmade(part: str) -> WeightFile:
                return WeightFile(UNMADE + part, Path(part))

            low = unmade("low") if story.model.experts > 1 else None
            return Weights(unmade("high"), low, unmade("vae"), unmade("text_encoder"), None)

    @cached_property
    def lora_files(self) -> Mapping[str, Path]:
        """What lies in the loras folders, by name."""
        return lora_files(self._folders)

    def lora(self, name: str, scene: str) -> LoraFile:
        """A LoRA that a story names, beside it or in a loras folder."""
        return self._known(name, scene, lambda: find_lora(name, self._story.folder, self._folders))

    def lora_at(self, path: Path, scene: str) -> LoraFile:
        return self._known(str(path), scene, lambda: path)

    def _known(self, name: str, scene: str, find: Callable[[], Path]) -> LoraFile:
        """Looked for once, whichever scenes ask."""
        if name not in self._loras:
            try:
                path = find()
                self._loras[name] = LoraFile(self._digest(path), path)
            except (MachineLacks, CheckpointError, OSError) as error:
                self._loras[name] = str(error)
        found = self._loras[name]
        if isinstance(found, LoraFile):
            return found
        self.lack(found, scene)
        return missing_lora(name)

    def _digest(self, path: Path) -> str:
        return self._memory.told_digest(path, self._say)

    def lack(self, what: str, scene: str | None = None) -> None:
        scenes = self._lacks.setdefault(what, [])
        if scene is not None and scene not in scenes:
            scenes.append(scene)

    def lacks(self) -> tuple[str, ...]:
        return tuple(f"{_who(scenes)}{what}" for what, scenes in self._lacks.items())


def missing_lora(name: str) -> LoraFile:
    return LoraFile(UNMADE + name, Path(name))


def _who(scenes: Sequence[str]) -> str:
    """The scenes that lack it, as a beginning of the sentence; three names at the most."""
    if not scenes:
        return ""
    named = [f'"{name}"' for name in scenes[:3]]
    if len(scenes) == 1:
        return f"scene {named[0]}: "
    more = [f"{len(scenes) - 3} more"] if len(scenes) > 3 else []
    *first, last = [*named, *more]
    return f"scenes {', '.join(first)} and {last}: "
