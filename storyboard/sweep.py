"""gc: kept work that no story, take or still of theirs needs any more."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from scenes.shot import MachineLacks
from storyboard.manifest import roots
from storyboard.store import CLIPS, SEGMENTS, Store

KEEP_RUNS = 20


@dataclass(frozen=True, slots=True)
class Swept:
    """What was dropped, or would be."""

    clips: int
    segments: int
    stills: int
    other: int
    bytes: int


def sweep(store: Store, *, dry_run: bool) -> Swept:
    """Drop what nothing uses. Waits for no one.

    Raises:
        MachineLacks: a render is using the store.
    """
    if not store.root.is_dir():
        return Swept(0, 0, 0, 0, 0)
    with store.alone() as alone:
        if not alone:
            raise MachineLacks(f"a render is using {store.root}: try again when it has ended")
        needed = set(roots(store))
        clips = [home for home in _homes(store, CLIPS) if home.name not in needed]
        segments = [home for home in _homes(store, SEGMENTS) if home.name not in needed]
        live = [home for shelf in (CLIPS, SEGMENTS) for home in _homes(store, shelf) if home.name in needed]
        takes = [home for home in _inside(store.root / "takes") if home.name not in needed]
        used = {found for home in live for found in _stills(home)}
        stills = [path for path in (store.root / "stills").glob("??/*.png") if path.stem not in used]
        other = [*takes, *_inside(store.root / "damaged"), *_inside(store.root / "making"), *_old_runs(store)]
        other += [path for path in (store.root / "locks").glob("*.lock") if path.stem != "gc"]
        dropped = [*clips, *segments, *stills, *other]
        size = sum(_bytes(path) for path in dropped)
        for path in dropped if not dry_run else []:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    return Swept(len(clips), len(segments), len(stills), len([p for p in other if p.suffix != ".lock"]), size)


def _homes(store: Store, shelf: str) -> list[Path]:
    return [home for home in (store.root / shelf).glob("??/*") if home.is_dir()]


def _inside(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _old_runs(store: Store) -> list[Path]:
    return _inside(store.root / "runs")[:-KEEP_RUNS]


def _stills(home: Path) -> set[str]:
    """Digests of the stills that a kept work was made from, and hands on."""
    found: set[str] = set()
    for name in ("recipe.json", "clip.json"):
        path = home / name
        ahead: list[object] = [json.loads(path.read_text(encoding="utf-8"))] if path.is_file() else []
        while ahead:
            value = ahead.pop()
            if isinstance(value, list):
                ahead += cast("list[object]", value)
            elif isinstance(value, dict):
                inner = cast("dict[str, object]", value)
                ahead += inner.values()
                if str(inner.get("kind")).startswith("still/"):
                    found.add(str(inner.get("digest")))
                elif name == "clip.json" and isinstance(inner.get("last"), str):
                    found.add(str(inner["last"]))
    return found


def _bytes(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(inner.stat().st_size for inner in path.rglob("*") if inner.is_file())
