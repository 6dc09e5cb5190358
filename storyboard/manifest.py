"""What a story last resolved to, scene by scene: why something is made again, its takes, and what gc must keep."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

from scenes.files import read_facts, settle_file, write_facts
from storyboard.publish import published
from storyboard.store import Store

DRAFT, REAL = "draft", "real"


def mode_of(draft: bool) -> str:
    return DRAFT if draft else REAL


class Manifest:
    """One story's file in the store, one part a mode: keys of each scene's shot and segment, films, takes."""

    def __init__(self, store: Store, story: Path) -> None:
        self._store = store
        self._story = self._place(story)
        self._id = hashlib.sha256(self._story.encode()).hexdigest()[:16]
        self.path = store.root / "stories" / f"{self._id}.json"
        self._facts: dict[str, Any] = _read(self.path)

    @property
    def last_mode(self) -> str | None:
        return cast("str | None", self._facts.get("last_mode"))

    def scene(self, mode: str, name: str) -> dict[str, str]:
        return self._mode(mode)["scenes"].get(name, {})

    def _place(self, path: Path) -> str:
        """Relative to the store: a project's folder may be moved whole, or go by another name, as in a container."""
        return Path(os.path.relpath(path.absolute(), self._store.root.absolute())).as_posix()

    def film(self, mode: str, path: Path) -> list[Any] | None:
        """Key, size and time of the film that was last written to a path."""
        return self._mode(mode)["films"].get(self._place(path))

    def takes(self, mode: str, name: str) -> list[Any]:
        """Records of a scene's takes, as takes.py reads them."""
        return self._mode(mode)["takes"].get(name, [])

    def taken(self, mode: str) -> list[str]:
        """Scenes that have takes, also such as the story has no more."""
        return list(self._mode(mode)["takes"])

    def _mode(self, mode: str) -> dict[str, Any]:
        known: dict[str, Any] = cast("dict[str, Any]", self._facts.get("modes", {})).get(mode, {})
        return {"scenes": known.get("scenes", {}), "films": known.get("films", {}), "takes": known.get("takes", {})}

    def note(
        self,
        mode: str,
        *,
        scene: str | None = None,
        keys: dict[str, str] | None = None,
        film: tuple[Path, list[Any]] | None = None,
        only: set[str] | None = None,
    ) -> None:
        """Write down what changed, and nothing where nothing did. `only`: the scenes the story still has."""

        def changed(part: dict[str, Any]) -> dict[str, Any]:
            new = {**part}
            if scene is not None and keys is not None:
                known = new["scenes"].get(scene, {})
                if keys.get("segment", known.get("segment")) != known.get("segment"):
                    known = {part: key for part, key in known.items() if part != "master"}  # finished otherwise now
                new["scenes"] = {**new["scenes"], scene: {**known, **keys}}
            if film is not None:
                new["films"] = {**new["films"], self._place(film[0]): film[1]}
            if only is not None:
                new["scenes"] = {name: entry for name, entry in new["scenes"].items() if name in only}
            return new

        if changed(self._mode(mode)) == self._mode(mode) and self.last_mode == mode:
            return
        self._write(mode, changed, mode)

    def note_clip(self, mode: str, scene: str, key: str, home: Path) -> None:
        """Write down a scene's clip: the key of its shot, and of the mended one where that is what lies in `home`."""
        keys = {"shot": key}
        if home.name != key or "mend" in self.scene(mode, scene):
            keys["mend"] = home.name if home.name != key else ""
        self.note(mode, scene=scene, keys=keys)

    def note_takes(self, mode: str, scene: str, changed: Callable[[list[Any]], list[Any]]) -> None:
        """Records of takes made of those that are there while no other run writes."""

        def whole(part: dict[str, Any]) -> dict[str, Any]:
            return {**part, "takes": {**part["takes"], scene: changed(part["takes"].get(scene, []))}}

        self._write(mode, whole, self.last_mode or mode)

    def _write(self, mode: str, changed: Callable[[dict[str, Any]], dict[str, Any]], last_mode: str) -> None:
        with self._store.locked(f"story-{self._id}"):
            self._facts = _read(self.path)  # another run of this story may have written since
            modes = {**self._facts.get("modes", {}), mode: changed(self._mode(mode))}
            self._facts = {"story": self._story, "last_mode": last_mode, "modes": modes}
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with published(self.path) as aside:
                write_facts(aside, self._facts)
                settle_file(aside)


def _read(path: Path) -> dict[str, Any]:
    """Empty where there is none yet. Raises DamagedFile: what a story needs must not be taken for nothing."""
    return read_facts(path) if path.exists() else {}


def roots(store: Store, but_takes: tuple[Path, str] | None = None) -> Iterator[str]:
    """Keys of everything that some story of this store resolves to; of its takes also digests, and folders in takes/.

    but_takes: a story's file here and the mode whose takes are left out.

    Raises:
        DamagedFile.
    """
    folder = store.root / "stories"
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else []:
        for mode, part in _read(path).get("modes", {}).items():
            for entry in part.get("scenes", {}).values():
                yield from (key for key in entry.values() if key)
            for records in part.get("takes", {}).values() if (path, mode) != but_takes else ():
                for record in records:
                    # Names alone are what versions before takes had numbers wrote.
                    yield from [record] if isinstance(record, str) else _names(record)


def _names(record: dict[str, Any]) -> Iterator[str]:
    yield from (record["key"], record["digest"])
    if record.get("folder"):
        yield record["folder"]
