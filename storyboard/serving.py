"""Which files on this machine serve a story's model and recipes, for people to read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

from scenes.wan.checkpoint import CheckpointError, read_checkpoint
from scenes.wan.identify import identify
from scenes.wan.recipes import Recipe
from scenes.wan.weights import Located
from storyboard.drawing import Drawings
from storyboard.identity import UNMADE
from storyboard.story import Story


def serving(story: Story, drawings: Drawings) -> tuple[str, ...]:
    """A line a file of the model, then one for each recipe that brings a LoRA."""
    files = () if drawings.located is None else tuple(served_by(drawings.located))
    recipes = {
        scene.recipe: drawings.scenes[scene.name].renderer.recipe
        for scene in story.scenes
        if scene.name in drawings.scenes
    }
    return (*files, *(line for name, each in recipes.items() for line in _loras(name, each)))


def served_by(located: Located) -> Iterator[str]:
    """The model's parts: what each is called, its file's name, and its format."""
    for part in fields(located):
        path: Path | None = getattr(located, part.name)
        called = "expert" if part.name == "high" and located.low is None else part.name.replace("_", " ")
        if path is not None:
            yield f"{called}: {_name(path)}{_format(path)}"


def _name(path: Path) -> str:
    """A file's own name; a component's folder with the model's it lies in, or with the hub's repository."""
    if not path.is_dir():
        return path.name
    hub = next((folder.name for folder in path.parents if folder.name.startswith("models--")), None)
    model = hub.removeprefix("models--").replace("--", "/") if hub else path.parent.name
    return f"{model}/{path.name}"


def _format(path: Path) -> str:
    try:
        return f" ({identify(read_checkpoint(path)).format})"
    except CheckpointError:
        return ""  # a tokenizer is no checkpoint


def _loras(name: str, recipe: Recipe) -> list[str]:
    names = [lora.path.name for lora in recipe.loras if not lora.digest.startswith(UNMADE)]
    return [f"{name}: {', '.join(names)}"] if names else []


def steps_said(recipe: Recipe) -> str:
    """As in "2+2 steps euler": those of the high-noise expert and those of the low-noise one."""
    high = sum(step.expert == "high" for step in recipe.steps)
    low = len(recipe.steps) - high
    return f"{'+'.join(str(count) for count in (high, low) if count)} steps {recipe.sampler}"
