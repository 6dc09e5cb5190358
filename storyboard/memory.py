"""Digests remembered by a file's path, size and time, so that big files are not read at every run."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

from scenes.files import file_digest
from storyboard.publish import published
from storyboard.room import gigabytes

LIMIT = 20_000
TOLD_BYTES = 5e8
"""Files from here on take seconds to read: it is said."""


class Memory:
    """A JSON file of what was seen; losing it costs time only."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._seen: dict[str, list[str | int]] | None = None
        self._changed = False

    def file_digest(self, path: Path) -> str:
        """SHA-256 of a file, read only if its size or time changed since it was last read."""
        known = self.recall(path)
        if known is not None:
            return known
        stamp = self._stamp(path)  # of before: a file that changes while it is read is read again next time
        found = file_digest(path)
        self._note(path, found, stamp)
        return found

    def told_digest(self, path: Path, say: Callable[[str], None]) -> str:
        """As file_digest; that a big file is being read is said, and its digest is written down at once."""
        known = self.recall(path)
        if known is not None:
            return known
        size = path.stat().st_size
        if size > TOLD_BYTES:
            say(f"reading {path.name} ({gigabytes(size)}) once, to know it by its digest from then on")
        found = self.file_digest(path)
        self.save()
        return found

    def stale(self, path: Path) -> bool:
        return self.recall(path) is None

    def recall(self, path: Path, how: str = "") -> str | None:
        """What was noted of a file (made `how`), if it is still the same file."""
        entry = self._load().get(self._name(path, how))
        return str(entry[2]) if entry is not None and entry[:2] == self._stamp(path) else None

    def note(self, path: Path, value: str, how: str = "") -> None:
        self._note(path, value, self._stamp(path), how)

    def _note(self, path: Path, value: str, stamp: list[str | int], how: str = "") -> None:
        with self._lock:
            self._load()[self._name(path, how)] = [*stamp, value]
            self._changed = True

    def _name(self, path: Path, how: str) -> str:
        whole = os.path.abspath(path)  # noqa: PTH100 (resolve() asks the disk about every folder above)
        return f"{whole}|{how}" if how else whole

    def _stamp(self, path: Path) -> list[str | int]:
        facts = path.stat()
        return [facts.st_size, facts.st_mtime_ns]

    def _load(self) -> dict[str, list[str | int]]:
        if self._seen is None:
            self._seen = self._read()
        return self._seen

    def _read(self) -> dict[str, list[str | int]]:
        try:
            found: dict[str, list[str | int]] = dict(json.loads(self._path.read_text(encoding="utf-8")))
            return {name: list(entry) for name, entry in found.items() if len(entry) == 3}
        except (OSError, ValueError, TypeError):
            return {}

    def save(self) -> None:
        """Write down what is new, beside what other runs wrote."""
        # Losing it costs time only: a full disk or a closed folder must not hide what a run has to say.
        with self._lock, contextlib.suppress(OSError):
            if not self._changed or self._seen is None or not self._path.parent.is_dir():
                return
            newest = dict(list({**self._read(), **self._seen}.items())[-LIMIT:])
            with published(self._path) as aside:
                aside.write_text(json.dumps(newest), encoding="utf-8")
            self._changed = False


def weights_memory() -> Memory:
    """Of models' weights: tens of GB that every story on this machine shares, so not a store's but the user's."""
    from platformdirs import user_cache_path

    folder = user_cache_path("storyboard")
    with contextlib.suppress(OSError):  # without it they are read at every run
        folder.mkdir(parents=True, exist_ok=True)
    return Memory(folder / "weights.json")
