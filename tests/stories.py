"""Small stories for tests: charts and photographs as opening pictures, drawn by the animatic."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from storyboard.events import Event, Events
from storyboard.options import Options
from storyboard.production import Outcome, produce
from storyboard.rehearsal import rehearse
from storyboard.store import Store
from storyboard.story import Story, read_story

PLAIN = '[finish]\nupscale = { model = "none" }\ninterpolate = { model = "none" }\nencode = { preset = "ultrafast" }\n'


def chart(width: int = 64, height: int = 48, seed: int = 0) -> np.ndarray:
    """A picture of coloured patches, different for each seed."""
    rng = np.random.default_rng(seed)
    patches = rng.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    return patches.repeat(8, 0).repeat(8, 1)


def write_picture(folder: Path, name: str, seed: int = 0, size: tuple[int, int] = (64, 48)) -> Path:
    path = folder / name
    Image.fromarray(chart(*size, seed=seed)).save(path)
    return path


def scene(name: str, **keys: Any) -> str:
    """A [[scene]] table; the prompt is the name unless given."""
    said = {"name": name, "prompt": f"a {name}", **keys}
    return "[[scene]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in said.items()) + "\n"


def write_story(folder: Path, *scenes: str, look: str = 'size = "64x48"\nframes = 5\n', finish: str = PLAIN) -> Path:
    path = folder / "story.toml"
    path.write_text(f"[look]\n{look}\n{''.join(scenes)}{finish}", encoding="utf-8")
    return path


@dataclass
class Run:
    """A render in this process, with what it told."""

    outcome: Outcome
    story: Story
    store: Store
    events: list[Event] = field(default_factory=list[Event])

    def told(self, name: str) -> list[str]:
        """The scenes of all events of one name, in order."""
        return [event["scene"] for event in self.events if event["event"] == name]

    @property
    def rendered(self) -> list[str]:
        return self.told("scene.done")

    @property
    def finished(self) -> list[str]:
        return self.told("segment.done")


def render(path: Path, store: Path | None = None, **options: Any) -> Run:
    """Render a draft as the command does."""
    story = read_story(path)
    kept = Store(store or path.parent / ".storyboard")
    heard: list[Event] = []
    with kept.in_use():
        outcome = produce(story, kept, Options(True, **options), Events(None, (heard.append,)))
    return Run(outcome, story, kept, heard)


def missing(path: Path, **options: Any) -> tuple[set[str], set[str]]:
    """Scenes whose clips and whose segments a render would make."""
    story = read_story(path)
    crew = rehearse(story, Store(path.parent / ".storyboard"), Options(True, **options)).crew
    return crew.missing_clips, crew.missing_segments
