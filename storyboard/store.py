"""Kept work: made once under the digest of its recipe, published whole or not at all, shared by every run.

    clips/ab/<key>/      clip.mkv, last.png, clip.json, recipe.json
    segments/ab/<key>/   segment.mp4, segment.json, recipe.json
    stills/ab/<digest>.png
    making/              work under way; a killed run's is swept by the next
    takes/               what --force moved aside; damaged/: what did not check
    stories/             what each story last resolved to (manifest.py)
    runs/<id>/events.jsonl

Correctness rests on rename alone: of two runs that make the same work both succeed, and the first one's stays.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import uuid
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from post.encode import FORMATS, MASTER
from scenes.files import (
    CLIP_FILE,
    FACTS_FILE,
    file_digest,
    read_facts,
    read_still,
    settle,
    settle_folder,
    write_facts,
    write_still,
)
from scenes.footage import DamagedFile, Frame, Still, frame_digest
from storyboard.identity import Json, digest, recipe
from storyboard.memory import Memory
from storyboard.sharing import alone, locked, using

FACTS = (FACTS_FILE, "segment.json")
CLIPS, SEGMENTS = "clips", "segments"

Make = Callable[[Path], None]
"""Writes a work's files into an empty folder."""


class Store:
    """A folder of kept work."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.memory = Memory(root / "remembered.json")
        self._run = ""

    def home(self, shelf: str, key: str) -> Path:
        return self.root / shelf / key[:2] / key

    def find(self, shelf: str, key: str, damaged: Callable[[DamagedFile], None] = lambda error: None) -> Path | None:
        """The folder of kept work that is whole; damaged work is set aside, told of, and not found."""
        home = self.home(shelf, key)
        if not home.is_dir():
            return None
        try:
            self.check(home)
        except DamagedFile as error:
            self.set_aside(home, "damaged")
            damaged(error)
            return None
        return home

    def check(self, home: Path, *, thorough: bool = False) -> None:
        """Compare a kept folder with its facts; files seen before, by size and time, are not read again.

        Raises:
            DamagedFile: naming the file.
        """
        facts_path = _facts_path(home)
        try:
            facts = json.loads(facts_path.read_text(encoding="utf-8"))
            path = home / facts.get("file", CLIP_FILE)
            sha256, size = facts["sha256"], facts["bytes"]
            if path.stat().st_size != size:
                raise DamagedFile(path, f"is {path.stat().st_size} bytes where {size} were written")
            found = file_digest(path) if thorough else self.memory.file_digest(path)
            if found != sha256:
                raise DamagedFile(path, "its bytes have changed since it was written")
            if "last" in facts and (thorough or self.memory.stale(home / "last.png")):
                read_still(Still(facts["last"], home / "last.png"))
                self.memory.note(home / "last.png", facts["last"])
            if not (home / "recipe.json").is_file():
                raise DamagedFile(home / "recipe.json", "is missing")
        except FileNotFoundError as error:
            raise DamagedFile(Path(error.filename or facts_path), "is missing") from error
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise DamagedFile(facts_path, f"cannot be read ({error!r})") from error

    def keep(self, shelf: str, work: Any, make: Make) -> Path:
        """The folder of a piece of work, made now if it was never made."""
        key = digest(work)
        found = self.find(shelf, key)
        if found is not None:
            return found
        with self.locked(key):
            # Another run may have made it while this one waited.
            return self.find(shelf, key) or self._publish(shelf, key, recipe(work), make)

    def remake(self, shelf: str, work: Any, make: Make) -> tuple[Path, Path | None]:
        """The work made anew, and where the one kept before now lies, moved aside once the new one is whole."""
        key = digest(work)
        take: list[Path | None] = [None]

        def set_aside() -> None:
            take[0] = self.set_aside(self.home(shelf, key), "takes") if self.home(shelf, key).is_dir() else None

        with self.locked(key):
            return self._publish(shelf, key, recipe(work), make, set_aside), take[0]

    def _publish(
        self, shelf: str, key: str, plain: Json, make: Make, before: Callable[[], None] = lambda: None
    ) -> Path:
        home = self.home(shelf, key)
        with self._aside(key) as aside:
            make(aside)
            write_facts(aside / "recipe.json", {"recipe": plain})
            settle(aside)
            home.parent.mkdir(parents=True, exist_ok=True)
            before()
            try:
                aside.rename(home)
            except OSError:
                if not home.is_dir():  # else another machine was first, on a volume without locks: its work stands
                    raise
            settle_folder(home.parent)
        self._remember(home)
        return home

    def _remember(self, home: Path) -> None:
        """What was just written need not be read again to be known."""
        with contextlib.suppress(DamagedFile, KeyError, FileNotFoundError):
            facts = read_facts(_facts_path(home))
            self.memory.note(home / facts.get("file", CLIP_FILE), facts["sha256"])
            if "last" in facts:
                self.memory.note(home / "last.png", facts["last"])

    @contextlib.contextmanager
    def _aside(self, key: str) -> Generator[Path]:
        """A fresh folder on the same file system, gone when the block ends; its name says whose it is."""
        folder = self.root / "making" / f"{key}~{self._run}~{uuid.uuid4().hex[:8]}"
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def keep_still(self, frame: Frame) -> Still:
        """A frame, kept by the digest of its pixels."""
        still = self.still(frame_digest(frame))
        if not self.whole(still):
            with self._aside(still.digest) as aside:
                write_still(frame, aside / "still.png")
                self._shelve(aside, still)
        return still

    def copy_still(self, of: Still) -> None:
        """A still that lies elsewhere (beside its clip), kept by its digest too: a recipe names stills by that."""
        still = self.still(of.digest)
        if not self.whole(still):
            with self._aside(still.digest) as aside:
                shutil.copyfile(of.path, aside / "still.png")
                self._shelve(aside, still)

    def whole(self, still: Still) -> bool:
        """Whether a still is there with its own pixels; read once, then remembered."""
        try:
            if self.memory.recall(still.path) != still.digest:
                read_still(still)
                self.memory.note(still.path, still.digest)
        except (DamagedFile, FileNotFoundError):
            return False
        return True

    def _shelve(self, aside: Path, still: Still) -> None:
        settle(aside)
        still.path.parent.mkdir(parents=True, exist_ok=True)
        (aside / "still.png").replace(still.path)
        settle_folder(still.path.parent)

    def still(self, of: str) -> Still:
        return Still(of, self.root / "stills" / of[:2] / f"{of}.png")

    @contextlib.contextmanager
    def damage_set_aside(self) -> Generator[None]:
        """What proves damaged only as it is read is moved away, so that the next run does not trust it again."""
        try:
            yield
        except DamagedFile as error:
            if error.path.parent.parent.parent in (self.root / CLIPS, self.root / SEGMENTS):
                self.set_aside(error.path.parent, "damaged")
            elif error.path.is_relative_to(self.root / "stills"):
                error.path.unlink(missing_ok=True)  # it is made again from its picture
            else:
                raise
            makes = "export --to master" if _is_master(error.path) else "render"
            remedy = f"it was set aside: run `storyboard {makes}`, which makes it anew"
            raise DamagedFile(error.path, f"{error.what}; {remedy}") from error

    def set_aside(self, home: Path, shelf: str) -> Path | None:
        """Move a kept folder to takes/ or damaged/; entries themselves never change."""
        place = self.root / shelf
        place.mkdir(parents=True, exist_ok=True)
        number = 1
        while True:
            moved = place / f"{home.name}.{number}"
            try:
                home.rename(moved)
                return moved
            except FileNotFoundError:
                return None  # another run moved it first
            except OSError:
                if not moved.exists():
                    raise
                number += 1

    def locked(self, name: str) -> contextlib.AbstractContextManager[None]:
        return locked(self.root, name)

    def alone(self) -> contextlib.AbstractContextManager[bool]:
        return alone(self.root)

    @contextlib.contextmanager
    def in_use(self) -> Generator[None]:
        """Mark the store as in use for as long as the block runs: gc waits, and other runs sweep nothing of this."""
        with using(self.root) as self._run:
            try:
                yield
            finally:
                self.memory.save()
                self._run = ""


def _is_master(path: Path) -> bool:
    return path.parent.parent.parent.name == SEGMENTS and path.suffix == FORMATS[MASTER.format].suffix


def _facts_path(home: Path) -> Path:
    return next((home / name for name in FACTS if (home / name).is_file()), home / FACTS_FILE)
