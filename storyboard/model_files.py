"""The files that a story's real render is made with: where they lie, their digests, and what is missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from scenes.shot import Lora, MachineLacks
from scenes.wan.checkpoint import CheckpointError, read_checkpoint
from scenes.wan.identify import ExpertShape, expert_shape
from scenes.wan.loras import load_lora
from scenes.wan.recipes import Expert, LoraFile
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
        self._misfits: dict[tuple[str, Expert], str | None] = {}
        self.located: Located | None = None
        self.lora_troubles: list[str] = []

    def weights(self) -> Weights:
        story = self._story
        named = story.weights if isinstance(story.weights, str) else dict(story.weights)
        try:
            self.located = find_weights(named, story.model, story.folder, self._folders)
            return hashed(self.located, self._digest)
        except (MachineLacks, CheckpointError, OSError) as error:
            self.lack(_said(error))
            self.located = None

            def unmade(part: str) -> WeightFile:
                return WeightFile(UNMADE + part, Path(part))

            low = unmade("low") if story.model.experts > 1 else None
            return Weights(unmade("high"), low, unmade("vae"), unmade("text_encoder"), None)

    @cached_property
    def lora_files(self) -> Mapping[str, Path]:
        """What lies in the loras folders, by name."""
        return lora_files(self._folders, self.lora_troubles)

    def lora(self, name: str, scene: str) -> LoraFile:
        """A LoRA that a story names, beside it or in a loras folder."""

        def find() -> Path:
            path = find_lora(name, self._story.folder, self._folders)
            if path.is_dir():
                raise CheckpointError(f"{path} is a folder: name the LoRA's file in it")
            return path

        return self._known(name, scene, find)

    def lora_at(self, path: Path, scene: str) -> LoraFile:
        return self._known(str(path), scene, lambda: path)

    def check(self, lora: Lora, scene: str) -> None:
        """Notes as lacking a LoRA that would not load into the experts it is for: not after hours, at its scene."""
        sides: tuple[tuple[Expert, float], ...] = (("high", lora.high), ("low", lora.low))
        for side, strength in sides:
            misfit = self._misfit(lora, side) if strength else None
            if misfit is not None:
                self.lack(misfit, scene)

    def _misfit(self, lora: Lora, side: Expert) -> str | None:
        if self._shape is None or lora.digest.startswith(UNMADE):
            return None
        key = (lora.digest, side)
        if key not in self._misfits:
            try:
                load_lora(lora.path, self._shape, side)
                self._misfits[key] = None
            except (CheckpointError, OSError) as error:
                self._misfits[key] = _said(error)
        return self._misfits[key]

    @cached_property
    def _shape(self) -> ExpertShape | None:
        """Of the experts; None where they are not here."""
        return expert_shape(read_checkpoint(self.located.high)) if self.located is not None else None

    def _known(self, name: str, scene: str, find: Callable[[], Path]) -> LoraFile:
        """Looked for once, whichever scenes ask."""
        if name not in self._loras:
            try:
                path = find()
                self._loras[name] = LoraFile(self._digest(path), path)
            except (MachineLacks, CheckpointError, OSError) as error:
                self._loras[name] = _said(error)
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
        return tuple(f"{who(scenes)}{what}" for what, scenes in self._lacks.items())


def missing_lora(name: str) -> LoraFile:
    return LoraFile(UNMADE + name, Path(name))


def _said(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename} cannot be read ({error.strerror})"
    return str(error)


def who(scenes: Sequence[str]) -> str:
    """The scenes it is said of, as a beginning of the sentence; three names at the most."""
    if not scenes:
        return ""
    named = [f'"{name}"' for name in scenes[:3]]
    if len(scenes) == 1:
        return f"scene {named[0]}: "
    more = [f"{len(scenes) - 3} more"] if len(scenes) > 3 else []
    *first, last = [*named, *more]
    return f"scenes {', '.join(first)} and {last}: "
