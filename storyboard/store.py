"""Kept work: made once under the digest of its recipe, published whole or not at all, shared by every run.

    clips/ab/<key>/      clip.mkv, last.png, clip.json, recipe.json
    segments/ab/<key>/   segment.mp4, segment.json, recipe.json
    stills/ab/<digest>.png
    making/              work under way; a killed run's is swept by the next
    takes/               what --force moved aside; damaged/: what did not check
    stories/             what each story last resolved to (manifest.py)
    runs/<id>/events.jsonl

Correctness rests on rename alone: two runs that make the same work both succeed, and the first one's stays. Locks only
save making it twice, so a volume without working locks costs time, never a film.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import time
import uuid
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from scenes.files import CLIP_FILE, FACTS_FILE, file_digest, read_still, settle, write_facts, write_still
from scenes.footage import DamagedFile, Frame, Still, frame_digest
from storyboard.identity import Json, digest, recipe
from storyboard.memory import Memory

DAY = 24 * 3600
FACTS = (FACTS_FILE, "segment.json")
CLIPS, SEGMENTS = "clips", "segments"

Make = Callable[[Path], None]
"""Writes a work's files into an empty folder."""


class Store:
    """A folder of kept work."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.memory = Memory(root / "remembered.json")
        self.damaged: list[DamagedFile] = []

    def home(self, shelf: str, key: str) -> Path:
        return self.root / shelf / key[:2] / key

    def find(self, shelf: str, key: str) -> Path | None:
        """The folder of kept work that is whole; damaged work is set aside, noted in `damaged`, and not found."""
        home = self.home(shelf, key)
        if not home.is_dir():
            return None
        try:
            self.check(home)
        except DamagedFile as error:
            self.set_aside(home, "damaged")
            self.damaged.append(error)
            return None
        return home

    def check(self, home: Path, *, thorough: bool = False) -> None:
        """Compare a kept folder with its facts; files seen before, by size and time, are not read again.

        Raises:
            DamagedFile: naming the file.
        """
        facts_path = next((home / name for name in FACTS if (home / name).is_file()), home / FACTS_FILE)
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
        except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
            raise DamagedFile(facts_path, f"cannot be read ({error!r})") from error

    def keep(self, shelf: str, work: Any, make: Make) -> Path:
        """The folder of a piece of work, made now if it was never made."""
        plain = recipe(work)
        key = digest(work)
        found = self.find(shelf, key)
        if found is not None:
            return found
        with self.locked(key):
            # Another run may have made it while this one waited.
            return self.find(shelf, key) or self._publish(shelf, key, plain, make)

    def _publish(self, shelf: str, key: str, plain: Json, make: Make) -> Path:
        home = self.home(shelf, key)
        aside = self._aside(key)
        try:
            make(aside)
            write_facts(aside / "recipe.json", {"recipe": plain})
            settle(aside)
            home.parent.mkdir(parents=True, exist_ok=True)
            try:
                aside.rename(home)
            except OSError:
                if not home.is_dir():  # else another machine was first, on a volume without locks: its work stands
                    raise
            settle_folder(home.parent)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        self.check(home)
        return home

    def _aside(self, key: str) -> Path:
        """A fresh folder in making/, on the same file system as its home; its name says whose it is."""
        name = f"{key}~{socket.gethostname()}~{os.getpid()}~{uuid.uuid4().hex[:8]}"
        folder = self.root / "making" / name
        folder.mkdir(parents=True)
        return folder

    def keep_still(self, frame: Frame) -> Still:
        """A frame, kept by the digest of its pixels."""
        still = self.still(frame_digest(frame))
        if not still.path.is_file():
            aside = self._aside(still.digest)
            try:
                write_still(frame, aside / "still.png")
                settle(aside)
                still.path.parent.mkdir(parents=True, exist_ok=True)
                (aside / "still.png").replace(still.path)
                settle_folder(still.path.parent)
            finally:
                shutil.rmtree(aside, ignore_errors=True)
        return still

    def still(self, of: str) -> Still:
        return Still(of, self.root / "stills" / of[:2] / f"{of}.png")

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

    @contextlib.contextmanager
    def locked(self, name: str) -> Generator[None]:
        """Hold a lock by name until the block ends, waiting for whoever holds it."""
        folder = self.root / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f"{name}.lock"):
            yield

    @contextlib.contextmanager
    def in_use(self) -> Generator[None]:
        """Mark the store as in use, so that gc waits; sweeps what killed runs left."""
        users = self.root / "locks" / "users"
        users.mkdir(parents=True, exist_ok=True)
        mine = users / f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}.lock"
        lock = FileLock(mine)
        with self.locked("gc"):
            lock.acquire()
        try:
            self.sweep()
            yield
        finally:
            lock.release()
            mine.unlink(missing_ok=True)
            self.memory.save()

    def sweep(self) -> None:
        """Remove what dead runs were making: this machine's by their process, others' after a day."""
        making = self.root / "making"
        for folder in list(making.iterdir()) if making.is_dir() else []:
            parts = folder.name.split("~")
            if len(parts) == 4 and parts[1] == socket.gethostname():
                dead = not _alive(int(parts[2]))
            else:
                with contextlib.suppress(FileNotFoundError):
                    dead = time.time() - folder.stat().st_mtime > DAY
                    if dead:
                        shutil.rmtree(folder, ignore_errors=True)
                continue
            if dead:
                shutil.rmtree(folder, ignore_errors=True)

    @contextlib.contextmanager
    def alone(self, wait_seconds: float = 0) -> Generator[bool]:
        """Hold the store against new runs; gives False where a run is using it and did not end in time."""
        with self.locked("gc"):
            deadline = time.monotonic() + wait_seconds
            while busy := self._busy():
                if time.monotonic() >= deadline:
                    break
                time.sleep(0.2)
            yield not busy

    def _busy(self) -> bool:
        users = self.root / "locks" / "users"
        for path in list(users.iterdir()) if users.is_dir() else []:
            try:
                with FileLock(path, timeout=0):
                    path.unlink(missing_ok=True)  # its run was killed
            except Timeout:
                return True
        return False


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def settle_folder(folder: Path) -> None:
    """Force a folder's own entries to the disk: a rename in it is then there after a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
