"""A story: what its author wrote, with every default and override worked out."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from post.limits import USUAL, Limits
from scenes.footage import Size
from scenes.wan.models import WanModel
from scenes.wan.recipes import Nag
from storyboard.hand_on import LAST, HandOn
from storyboard.mistakes import Mistake, Place, Places, StoryError
from storyboard.seams import CUT, Seam
from storyboard.story_text import story_text
from storyboard.syntax import long_number, syntax_mistake

Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class After:
    """Opens on the frame that scene hands on, the last that is shown of it."""

    scene: str


@dataclass(frozen=True, slots=True)
class Opening:
    """Ends on the picture that scene opens on."""

    scene: str


@dataclass(frozen=True, slots=True)
class LoraUse:
    """A LoRA as a story names it; high and low are strengths on the two experts."""

    high_file: str
    low_file: str
    high: float
    low: float


@dataclass(frozen=True, slots=True)
class Sampling:
    """A recipe written in a story. `cfg` has one number for each expert, or one a step where `per_step`. None: as the
    model has it."""

    sampler: str
    scheduler: str | None
    steps: int
    shift: float | None
    sigmas: tuple[float, ...] | None
    cfg: tuple[float, ...]
    boundary: float | None
    high_steps: int | None
    loras: tuple[LoraUse, ...]
    nag: bool | Nag | None = None
    per_step: bool = False


@dataclass(frozen=True, slots=True)
class Tuned:
    """What a story says of a recipe of ours: the files of its LoRA, and its NAG."""

    loras: tuple[LoraUse, ...] = ()
    nag: bool | Nag | None = None


@dataclass(frozen=True, slots=True)
class Anchored:
    """A scene's colour is matched to the first of its run. `strength`: how much of what drifted from clip to clip is
    taken back; `drift`: how much of what drifts within the clip. Both 0 to 1."""

    strength: float = 1.0
    drift: float = 0.0


@dataclass(frozen=True, slots=True)
class Scene:
    """One clip to make. `frames` is 4n+1; `asked_frames` what the author's seconds or frames came to before that.
    `positives`: texts that join the prompt where a model reads it. `seam`: what is drawn over the cut before it.
    `colour`: None where it stays as drawn. `held`: `ends_on` is the very frame that its clip
    ends on, whatever was drawn."""

    name: str
    prompt: str
    negative_prompt: str
    opens_on: Path | After
    ends_on: Path | Opening | None
    seed: int
    frames: int
    asked_frames: float
    camera: str | None
    caption: bool
    fit: str
    background: Colour
    recipe: str
    loras: tuple[LoraUse, ...]
    positives: tuple[str, ...] = ()
    seam: Seam = CUT
    colour: Anchored | None = None
    hand_on: HandOn = LAST
    held: bool = False

    @property
    def needs(self) -> tuple[str, ...]:
        """Scenes named by this one."""
        named = [self.opens_on, self.ends_on]
        return tuple(link.scene for link in named if isinstance(link, After | Opening))


@dataclass(frozen=True, slots=True)
class Finishing:
    """How clips are finished. `size` is the film's; `backend` what runs RIFE, torch or ncnn."""

    upscaler: str
    size: Size
    interpolator: str
    factor: int
    codec: str
    crf: float
    preset: str
    soundtrack: Path | None
    backend: str = "torch"


@dataclass(frozen=True, slots=True)
class Story:
    """`folder` is where its paths start; `film` where the film goes. `recipes` are its own; `tuned` are ours."""

    path: Path
    title: str
    model: WanModel
    weights: str | tuple[tuple[str, str], ...]
    precision: str | None
    vae: str
    size: Size
    fps: Fraction
    scenes: tuple[Scene, ...]
    recipes: tuple[tuple[str, Sampling], ...]
    finishing: Finishing
    film: Path
    tuned: tuple[tuple[str, Tuned], ...] = ()
    limits: Limits = USUAL

    @property
    def folder(self) -> Path:
        return self.path.parent

    def scene(self, name: str) -> Scene:
        return next(scene for scene in self.scenes if scene.name == name)

    def lead(self, index: int) -> str | None:
        """The scene played just before scene `index`, where that one is chained to it."""
        before = self.scenes[index - 1].name if index else None
        return before if before is not None and self.scenes[index].opens_on == After(before) else None


def read_story(path: Path, *, decode: bool = False, confined: bool = False, text: str | None = None) -> Story:
    """The story in a file. Raises StoryError with every mistake in it.

    decode: read pictures whole, not only their heads, to find the damaged ones too. confined: its paths may not leave
    its folder. text: what is to be written there, in place of what is.
    """
    text = story_text(path) if text is None else text
    places = Places(text)
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise StoryError([syntax_mistake(str(error), str(path), places)]) from None
    except RecursionError:
        raise StoryError([Mistake("is nested too deep to be a story", str(path))]) from None
    except ValueError:  # Python reads no number of more than 4300 digits
        raise StoryError([long_number(text, str(path), places)]) from None
    return _resolve(data, path, places, confined=confined, decode=decode)


def read_story_data(data: Mapping[str, Any], path: Path) -> Story:
    """A story from a dict, as if it lay at `path`; its paths may not leave that folder. Raises StoryError."""
    return _resolve(dict(data), path, None, confined=True, decode=False)


def _resolve(data: dict[str, Any], path: Path, places: Places | None, *, confined: bool, decode: bool) -> Story:
    from storyboard.resolve import resolve

    found: list[tuple[Place, str]] = []
    story = resolve(data, path, found, confined=confined, decode=decode)
    if story is None or found:
        raise StoryError([_placed(place, message, str(path), data, places) for place, message in found])
    return story


def _placed(place: Place, message: str, file: str, data: dict[str, Any], places: Places | None) -> Mistake:
    scene: str | None = None
    match place:
        case ("scene", int(index), *_):
            scene = _scene_name(data, index)
            if scene is None and not message.startswith("scene "):
                message = f"scene {index + 1}: {message}"
        case _:
            pass
    if places is None:
        at = f"{'.'.join(map(str, place))}: " if place else ""
        return Mistake(_utf8(at + message), file, scene=None if scene is None else _utf8(scene))
    line, column, width, source = places.find(place)
    return Mistake(message, file, line, column, scene, source, width)


def _scene_name(data: dict[str, Any], index: int) -> str | None:
    try:
        name: object = data["scene"][index]["name"]
    except (KeyError, IndexError, TypeError):
        return None
    return name if isinstance(name, str) else None


def _utf8(text: str) -> str:
    """Text from data, which may hold halves of characters that cannot be written."""
    return text.encode("utf-8", "replace").decode()
