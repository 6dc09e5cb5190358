"""Where a worker keeps things: a volume that outlives it, and a folder for each story, named by what is in it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

VOLUME = "/runpod-volume"
STALE_SECONDS = 24 * 3600
Name = tuple[str, int] | None
"""A scene and the new seed that is written into the story for it."""


@dataclass(frozen=True, slots=True)
class Places:
    """`stories`: a folder for each story; `environment`: of every child. `lasting`: whether it outlives the worker."""

    stories: Path
    environment: Mapping[str, str]
    lasting: bool


def places(environment: Mapping[str, str]) -> Places:
    """On the volume, unless STORYBOARD_LIBRARY, STORYBOARD_STORE and STORYBOARD_MODELS say otherwise."""
    volume = Path(environment.get("STORYBOARD_VOLUME") or VOLUME)
    lasting = volume.is_dir()
    home = (volume if lasting else Path(tempfile.gettempdir())) / "storyboard"
    own = {
        "STORYBOARD_STORE": str(home / "store"),
        "STORYBOARD_MODELS": str(volume / "models"),
        **{key: value for key, value in environment.items() if value},
    }
    if lasting:
        own["XDG_CACHE_HOME"] = str(home / "cache")  # digests of weights and compiled blocks: minutes for a new worker
    return Places(Path(own.get("STORYBOARD_LIBRARY") or home / "stories"), own, lasting)


def story_id(text: str, pictures: Path, seed: Name) -> str:
    """The same for the same story and pictures, whoever sends it and under whatever job."""
    whole = hashlib.sha256(b"storyboard/1\0" + text.encode() + f"\0{seed}\0".encode())
    for name, path in _files(pictures):
        whole.update(f"{name}\0".encode())
        with path.open("rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()[:32]


def publish(text: str, pictures: Path, folder: Path) -> Path:
    """The story file in its folder, whole at every moment. A run with a new seed writes it into the file: that goes."""
    story = folder / "story.toml"
    if not folder.is_dir():
        aside = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.tmp")
        shutil.copytree(pictures, aside)
        (aside / story.name).write_text(text, encoding="utf-8", newline="")
        try:
            aside.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another worker was first, with the same
                raise
            shutil.rmtree(aside, ignore_errors=True)
    elif story.read_bytes() != text.encode():
        aside = folder / f".story.{uuid.uuid4().hex}.tmp"
        aside.write_text(text, encoding="utf-8", newline="")
        aside.replace(story)
    return story


def sweep(stories: Path) -> None:
    """Remove what workers that were killed left half written."""
    for left in stories.glob(".*.tmp"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > STALE_SECONDS:
                shutil.rmtree(left)


def writable(folder: Path) -> str | None:
    """What is wrong with a folder that must be written to; it is made where it is not there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return f"{folder} cannot be made ({error.strerror})"
    return None if os.access(folder, os.W_OK) else f"{folder} cannot be written to"


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    found = (path for path in folder.rglob("*") if path.is_file())
    yield from sorted((path.relative_to(folder).as_posix(), path) for path in found)
