"""A scene's takes: clips of it that are kept beside the one its story names, to choose from. The manifest lists them.

A take lies on the clips' shelf under its shot's key. Where a clip was made again under the same key (`--force`), the
older one lies in takes/. A number is given once: what was dropped leaves its number taken.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, cast

from scenes.files import FACTS_FILE, read_facts, settle_folder
from scenes.footage import DamagedFile
from storyboard.manifest import Manifest
from storyboard.store import CLIPS, Store


@dataclass(frozen=True, slots=True)
class Take:
    """`key`: of its shot; `digest`: of its pixels; `made`: when, UTC; `folder`: in takes/, None on the clips' shelf.
    `dropped`: gc was asked to drop it."""

    number: int
    seed: int | None
    key: str
    digest: str
    made: str | None = None
    folder: str | None = None
    dropped: bool = False

    def record(self) -> dict[str, Any]:
        optional = ("made", "folder", "dropped")
        return {name: value for name, value in asdict(self).items() if value or name not in optional}


def home_of(take: Take, store: Store) -> Path | None:
    """Its folder, None where it is gone. Told by its pixels: a run killed between two renames may have left it
    elsewhere than noted."""
    shelf, aside = store.home(CLIPS, take.key), store.root / "takes"
    noted = aside / take.folder if take.folder is not None else shelf
    for place in (noted, shelf, *sorted(aside.glob(f"{take.key}.*"))):
        if take.digest and pixels_of(place) == take.digest:
            return place
    return None


class Takes:
    """The takes of one scene in one mode."""

    def __init__(self, store: Store, manifest: Manifest, mode: str, scene: str) -> None:
        self._store, self._manifest = store, manifest
        self._mode, self._scene = mode, scene

    def all(self) -> tuple[Take, ...]:
        """In the order of their numbers, also those that are gone."""
        return self._read(self._manifest.takes(self._mode, self._scene))

    def home(self, take: Take) -> Path | None:
        return home_of(take, self._store)

    def note(self, key: str, number: int | None = None) -> Take:
        """The clip kept under a key is a take: the one that it was, else a new one, with this number where it is free.

        Raises:
            DamagedFile: there is no such clip.
        """
        home = self._store.home(CLIPS, key)
        noted: list[Take] = []

        def changed(records: list[Any]) -> list[Any]:
            takes = self._read(records)
            known = _on_shelf(takes, key)
            new = known.number if known else number if number and _free(takes, number) else _next(takes)
            noted.append(_described(home, new, key))
            return _records([*(take for take in takes if take is not known), noted[-1]])

        self._manifest.note_takes(self._mode, self._scene, changed)
        return noted[-1]

    def forced(self, moved: Path) -> None:
        """A clip was made again under the same key: the older one now lies in takes/, and both are takes."""
        key = moved.name.rpartition(".")[0]

        def changed(records: list[Any]) -> list[Any]:
            takes = _moved(self._read(records), key, moved)
            return _records([*takes, _described(self._store.home(CLIPS, key), _next(takes), key)])

        self._manifest.note_takes(self._mode, self._scene, changed)

    def bring_back(self, take: Take, home: Path) -> None:
        """A take from takes/ onto the clips' shelf; what lies there under the same key changes places with it."""
        shelf = self._store.home(CLIPS, take.key)
        with self._store.locked(take.key):
            moved = self._store.set_aside(shelf, "takes") if shelf.is_dir() else None
            shelf.parent.mkdir(parents=True, exist_ok=True)
            home.rename(shelf)
            settle_folder(shelf.parent)

        def changed(records: list[Any]) -> list[Any]:
            takes = self._read(records)
            takes = takes if moved is None else _moved(takes, take.key, moved)
            return _records([replace(each, folder=None) if each.number == take.number else each for each in takes])

        self._manifest.note_takes(self._mode, self._scene, changed)

    def note_dropped(self) -> None:
        """Those that are gone now are gone because gc was asked to: none is made again by itself."""

        def changed(records: list[Any]) -> list[Any]:
            takes = self._read(records)
            return _records([replace(take, dropped=self.home(take) is None) for take in takes])

        self._manifest.note_takes(self._mode, self._scene, changed)

    def _read(self, records: Sequence[Any]) -> tuple[Take, ...]:
        """As the manifest has them: records, and from older versions names of folders in takes/ only."""
        takes: list[Take] = []
        for position, record in enumerate(records, start=1):
            if isinstance(record, str):
                takes.append(_of_old(self._store.root / "takes" / record, position))
            else:
                takes.append(self._take(cast("dict[str, Any]", record)))
        return tuple(sorted(takes, key=lambda take: take.number))

    def _take(self, record: dict[str, Any]) -> Take:
        try:
            return Take(**{each.name: record[each.name] for each in fields(Take) if each.name in record})
        except TypeError as error:
            raise DamagedFile(self._manifest.path, f"has a take that is none ({error})") from error


def _records(takes: Sequence[Take]) -> list[Any]:
    return [take.record() for take in sorted(takes, key=lambda take: take.number)]


def _free(takes: Sequence[Take], number: int) -> bool:
    return all(take.number != number for take in takes)


def _next(takes: Sequence[Take]) -> int:
    return max((take.number for take in takes), default=0) + 1


def _on_shelf(takes: Sequence[Take], key: str) -> Take | None:
    return next((take for take in takes if take.key == key and take.folder is None), None)


def _moved(takes: Sequence[Take], key: str, moved: Path) -> tuple[Take, ...]:
    """With the take that lay on the shelf where it lies now; it may have been none so far."""
    known = _on_shelf(takes, key)
    if known is None:
        return (*takes, replace(_described(moved, _next(takes), key), folder=moved.name))
    return tuple(replace(take, folder=moved.name) if take is known else take for take in takes)


def _described(home: Path, number: int, key: str) -> Take:
    """What lies in a clip's folder, as a take. Raises DamagedFile."""
    facts, recipe = read_facts(home / FACTS_FILE), read_facts(home / "recipe.json").get("recipe", {})
    made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime((home / FACTS_FILE).stat().st_mtime))
    return Take(number, recipe.get("seed"), key, str(facts.get("digest")), made)


def _of_old(home: Path, number: int) -> Take:
    key = home.name.rpartition(".")[0]
    try:
        return replace(_described(home, number, key), folder=home.name)
    except DamagedFile:
        return Take(number, None, key, "", None, home.name)


def pixels_of(home: Path) -> str | None:
    """The digest of the pixels kept in a folder; None where there are none."""
    try:
        return str(read_facts(home / FACTS_FILE).get("digest"))
    except DamagedFile:
        return None
