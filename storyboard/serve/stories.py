"""The library: a folder of stories, each in a folder of its own, replaced whole or not at all."""

from __future__ import annotations

import contextlib
import re
import shutil
import tomllib
import uuid
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from storyboard.failures import say
from storyboard.serve.names import KEPT, STORY_FILE, STORY_ID, folded_name
from storyboard.serve.problems import conflict, missing

OWN = ".server"
"""The server's own folder in a library: its database, locks, and uploads under way."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A story as a list shows it. `title` and `scenes` are None where its file is no TOML."""

    id: str
    title: str | None
    scenes: int | None
    changed: float


class Library:
    """Stories in FOLDER/<id>/story.toml; or one story file alone, which can be read and rendered but not replaced."""

    def __init__(self, folder: Path, single: Path | None = None) -> None:
        # Not resolved: runs of the command line know a film by the path it was asked for.
        self.folder = folder.absolute()
        self._single = single.absolute() if single is not None else None
        self.own = self.folder / OWN if single is None else self.folder / ".storyboard" / "server"
        self._listed: dict[str, tuple[list[int], Listed]] = {}

    @property
    def single(self) -> str | None:
        """The id of the one story that is served; None for a whole library."""
        if self._single is None:
            return None
        name = self._single.stem if self._single.name != STORY_FILE else self._single.parent.name
        return re.sub(r"[^A-Za-z0-9_-]", "-", name).lstrip("-_")[:64] or "story"

    def open(self) -> None:
        """Make what is needed, and finish what a killed server left half done."""
        for name in ("uploads", "coming", "going", "runs", "locks"):
            (self.own / name).mkdir(parents=True, exist_ok=True)
        for name in ("uploads", "going"):
            for left in (self.own / name).iterdir():
                remove(left)
        for coming in (self.own / "coming").iterdir():
            try:
                self._settle(coming.name)
            except OSError as error:  # one story that cannot be written to keeps no other from being served
                say(f"{self.folder / coming.name} is replaced by half, and cannot be written to: {error}")

    def path(self, story: str) -> Path:
        """A story's file. Raises Problem where there is none."""
        alone = self._single is not None
        path = self._single or self.folder / story / STORY_FILE
        if (alone and story != self.single) or (not alone and not re.fullmatch(STORY_ID, story)) or not path.is_file():
            raise missing(f'there is no story "{story}"')
        return path

    def list(self) -> Iterator[Listed]:
        """By name."""
        if self._single is not None:
            with contextlib.suppress(FileNotFoundError):  # its file was taken away
                yield self._look(self.single or "", self._single)
            return
        for path in sorted(self.folder.glob(f"*/{STORY_FILE}")):
            if re.fullmatch(STORY_ID, path.parent.name):
                with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
                    yield self._look(path.parent.name, path)

    def listed(self, story: str) -> Listed:
        return self._look(story, self.path(story))

    def _look(self, story: str, path: Path) -> Listed:
        facts = path.stat()
        stamp = [facts.st_size, facts.st_mtime_ns, facts.st_ino]
        known = self._listed.get(story)
        if known is None or known[0] != stamp:
            known = self._listed[story] = (stamp, _read(story, path, facts.st_mtime))
        return known[1]

    def files(self, story: str) -> Iterator[Path]:
        """What its author gave: the story's text, pictures, sound; relative to its folder."""
        folder = self.path(story).parent
        for path in sorted(folder.rglob("*")):
            inside = path.relative_to(folder)
            if not _apart(inside) and path.is_file():
                yield inside

    def file(self, story: str, name: str) -> Path:
        """One of these. Raises Problem."""
        folder = self.path(story).parent
        path = folder / name
        inside = Path(name)
        if inside.is_absolute() or not inside.parts or _apart(inside) or "\0" in name or len(name) > 1000:
            raise missing(f'the story has no file "{name[:80]}"')
        with contextlib.suppress(OSError):
            if path.resolve().is_relative_to(folder.resolve()) and path.is_file():
                return path
        raise missing(f'the story has no file "{name[:80]}"')

    @contextlib.contextmanager
    def aside(self) -> Generator[Path]:
        """A fresh folder to receive a story in, gone when the block ends."""
        self.check_open()
        folder = self.own / "uploads" / uuid.uuid4().hex
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            remove(folder)

    def check_open(self) -> None:
        """Raises Problem where stories cannot be uploaded or deleted."""
        if self._single is not None:
            raise conflict("this server serves one story, which it neither replaces nor deletes")

    def free_id(self, title: str) -> str:
        """An id that no story has yet, made of a title."""
        plain = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:48] or "story"
        taken = self._taken()
        return next(name for name in _numbered(plain) if folded_name(name) not in taken)

    def check_free(self, story: str) -> None:
        """Raises Problem where a folder differs from this id in case alone, or holds what is no story's."""
        other = self._taken().get(folded_name(story))
        if other is not None and other != story:
            raise conflict(f'there is a story "{other}" already, and names may not differ in case alone')
        if self._strange(self.folder / story) and not (self.own / "coming" / story).exists():
            raise conflict(f'"{story}" holds files and no {STORY_FILE}: take another id, nothing there is replaced')

    def _strange(self, place: Path) -> bool:
        """Whether something lies there that is no story."""
        if not place.is_dir():
            return place.exists()
        return not (place / STORY_FILE).is_file() and any(path.name not in KEPT for path in place.iterdir())

    def _taken(self) -> dict[str, str]:
        return {folded_name(path.name): path.name for path in self.folder.iterdir()}

    def publish(self, story: str, aside: Path) -> bool:
        """Put a story that was received in its place, all of it or nothing; what renders left stays.

        Gives whether it is new. A kill at any moment leaves the old story or the new one, the latter perhaps only once
        `open` has been called again.
        """
        coming = self.own / "coming" / story
        if coming.exists():
            self._settle(story)  # another one's end, which failed: all of this runs in one thread
        new = not (self.folder / story / STORY_FILE).exists()
        holder = self.own / "uploads" / uuid.uuid4().hex
        holder.mkdir()
        aside.rename(holder / "files")
        aside.mkdir()
        holder.rename(coming)  # from here on it will be the story
        try:
            self._settle(story)
        except OSError:
            if (coming / "files").is_dir() and (new or (self.folder / story / STORY_FILE).is_file()):
                remove(coming)  # nothing has left its place yet: the old story stays
            raise
        return new

    def _settle(self, story: str) -> None:
        """Each step can be taken again: while "files" is there the old ones leave, while "ready" is the new ones come.
        The story's text leaves first and comes last: nobody reads new text with old pictures."""
        coming, place = self.own / "coming" / story, self.folder / story
        if (coming / "files").is_dir():
            place.mkdir(exist_ok=True)
            old = self.own / "going" / uuid.uuid4().hex
            old.mkdir()
            for path in sorted(place.iterdir(), key=lambda path: path.name != STORY_FILE):
                if path.name not in KEPT:
                    path.rename(old / path.name)
            (coming / "files").rename(coming / "ready")
            remove(old)
        if (coming / "ready").is_dir():
            for path in sorted((coming / "ready").iterdir(), key=lambda path: path.name == STORY_FILE):
                path.rename(place / path.name)
        remove(coming)

    def delete(self, story: str) -> Path:
        """With all that was kept of it, unless kept work lies elsewhere. Gives what is to be removed now."""
        self.check_open()
        self.path(story)
        gone = self.own / "going" / uuid.uuid4().hex
        remove(self.own / "coming" / story)
        (self.folder / story).rename(gone)
        self._listed.pop(story, None)
        return gone


def _apart(inside: Path) -> bool:
    """Whether a path in a story's folder is none of its author's: hidden, or left by renders."""
    return inside.parts[0] in KEPT or any(part.startswith(".") for part in inside.parts)


def _read(story: str, path: Path, changed: float) -> Listed:
    try:
        data: dict[str, Any] = tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return Listed(story, None, None, changed)
    title, scenes = data.get("title"), data.get("scene")
    count = len(cast("list[object]", scenes)) if isinstance(scenes, list) else 0
    return Listed(story, title if isinstance(title, str) and title else story, count, changed)


def _numbered(name: str) -> Iterator[str]:
    yield name
    number = 2
    while True:
        yield f"{name}-{number}"
        number += 1


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
