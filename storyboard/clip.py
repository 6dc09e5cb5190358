"""One clip without a story: a story of one scene, made of a command's options."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scenes.footage import Size
from scenes.picture import PictureError, picture_size
from scenes.wan.models import I2V_A14B, MODELS, WanModel, model_of, whole_frames
from storyboard.mistakes import Place
from storyboard.resolve import resolve
from storyboard.session import Session
from storyboard.settings import Settings, SettingsError
from storyboard.store import Store
from storyboard.story import Story

OPTIONS = {
    "image": "-i",
    "end_image": "-e",
    "prompt": "-p",
    "negative_prompt": "-n",
    "size": "-w and --height",
    "frames": "-l",
    "film": "-o",
}
"""What a story's keys are called here, where they are called otherwise."""


class ClipError(Exception):
    """The options are at fault; the message names each of them."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A clip as it is asked for. None: as a story without that key has it, and the size as `size = "auto"`."""

    image: Path
    prompt: str
    negative_prompt: str | None = None
    end_image: Path | None = None
    width: int | None = None
    height: int | None = None
    frames: int | None = None
    seed: int = 0
    model: str = I2V_A14B.name
    recipe: str | None = None
    upscale: str = "none"
    interpolate: str | None = None
    film: Path | None = None


def clip_session(asked: Asked, facts: Settings, resize: bool, say: Callable[[str], None]) -> Session:
    """The clip as a story with its store, .storyboard in this folder where none is named.

    Raises:
        ClipError, SettingsError.
    """
    root = facts.store or Path.cwd() / ".storyboard"
    if root.exists() and not root.is_dir():
        raise SettingsError(f"{root} is a file: --store names a folder for kept work")
    return Session(clip_story(asked, root, resize, say), Store(root), facts)


def clip_story(asked: Asked, store: Path, resize: bool, say: Callable[[str], None]) -> Story:
    """The story of one scene whose film is the clip, by default out/PICTURE-HASH.mp4: one file for each thing asked.

    store: its folder. resize: a size that the model does not draw is taken to the nearest that it does; `say` hears.

    Raises:
        ClipError: something asked for is not there, or not possible.
    """
    here = Path.cwd()
    model = _model(asked.model, here)
    size = _size(asked, model)
    if size is not None and resize:
        size = _drawable(size, model, say)
    if asked.frames is not None and whole_frames(asked.frames) != asked.frames:
        say(f"-l {asked.frames} is taken to {whole_frames(asked.frames)}: {model.name} draws 4n+1 frames")
    data = _data(asked, here, "auto" if size is None else f"{size[0]}x{size[1]}")
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", asked.image.stem).strip("-")[:60] or "clip"
    name = f"{stem}-{hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:8]}"
    data["title"] = data["scene"][0]["name"] = name
    data["finish"]["film"] = str(_whole(asked.film or Path("out", f"{name}.mp4"), here))
    found: list[tuple[Place, str]] = []
    # What a story keeps under its own name is kept under the picture's here: gc then keeps the last clip of each.
    story = resolve(data, store / "single" / f"{stem}.toml", found, confined=False, decode=False)
    if story is None or found:
        raise ClipError("\n".join(dict.fromkeys(_said(place, message) for place, message in found)))
    return story


def _data(asked: Asked, here: Path, size: str) -> dict[str, Any]:
    look = {
        "model": _model_name(asked.model, here),
        "size": size,
        "recipe": asked.recipe,
        "frames": asked.frames,
        "negative_prompt": asked.negative_prompt or None,
    }
    scene = {"image": str(_whole(asked.image, here)), "prompt": asked.prompt, "seed": asked.seed}
    if asked.end_image is not None:
        scene["end_image"] = str(_whole(asked.end_image, here))
    interpolate = {} if asked.interpolate is None else {"model": asked.interpolate}
    return {
        "look": {key: value for key, value in look.items() if value is not None},
        "scene": [scene],
        "finish": {"upscale": {"model": asked.upscale}, "interpolate": interpolate},
    }


def _whole(path: Path, here: Path) -> Path:
    try:
        return here / path.expanduser()
    except RuntimeError:  # no such user: then it is said that no such file is there
        return here / path


def _model_name(name: str, here: Path) -> str:
    """A folder as a whole path: the story lies elsewhere than the command is given."""
    folder = _whole(Path(name), here)
    with contextlib.suppress(OSError):  # a name too long for a file
        return str(folder) if name not in MODELS and folder.exists() else name
    return name


def _model(name: str, here: Path) -> WanModel:
    try:
        return model_of(name, here)
    except (OSError, ValueError, AttributeError, RecursionError):
        return I2V_A14B  # what is wrong with the folder is said where the story is read


def _size(asked: Asked, model: WanModel) -> Size | None:
    """As asked for, one side alone with the picture's aspect; None for auto, and where the picture has no size."""
    if asked.width is None and asked.height is None:
        return None
    if asked.width is not None and asked.height is not None:
        return asked.width, asked.height
    try:
        width, height = picture_size(_whole(asked.image, Path.cwd()))
    except (PictureError, OSError):
        return None
    if asked.width is not None:
        return asked.width, _nearest(asked.width * height / width, model)
    assert asked.height is not None
    return _nearest(asked.height * width / height, model), asked.height


def _drawable(size: Size, model: WanModel, say: Callable[[str], None]) -> Size:
    width, height = (_nearest(side, model) for side in size)
    if (width, height) != size:
        say(f"{size[0]}x{size[1]} is taken to {width}x{height}: {model.name} draws multiples of {model.multiple}")
    return width, height


def _nearest(side: float, model: WanModel) -> int:
    return max(model.multiple, round(side / model.multiple) * model.multiple)


def _said(place: Place, message: str) -> str:
    """A mistake of the story in the words of the command."""
    key = str(place[-1]) if place else ""
    if place[:2] == ("finish", "upscale") or place[:2] == ("finish", "interpolate"):
        key = str(place[1])
    option = OPTIONS.get(key, f"--{key}")
    return f"{option}: {message}"
