"""gc: kept work that no story, take or still of theirs needs any more."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from post.encode import MASTER
from post.mend import Mend
from scenes.animatic import Animatic
from scenes.files import read_facts
from scenes.shot import MachineLacks
from storyboard.identity import digest
from storyboard.manifest import DRAFT, REAL, Manifest, roots
from storyboard.rehearsal import Rehearsed
from storyboard.store import CLIPS, SEGMENTS, Store
from storyboard.takes import Takes, pixels_of

KEEP_RUNS = 20


@dataclass(frozen=True, slots=True)
class Swept:
    """What was dropped, or would be."""

    clips: int
    segments: int
    stills: int
    other: int
    bytes: int
    takes: int = 0


def resolved(rehearsed: Rehearsed) -> frozenset[str]:
    """Keys of all that a story comes to as it stands, which may be kept from before what it was last rendered as."""
    crew = rehearsed.crew
    masters = (replace(finish, encode=MASTER) for finish in crew.finishes.values())
    return frozenset(map(digest, (*crew.shots.values(), *crew.mends.values(), *crew.finishes.values(), *masters)))


def sweep(
    store: Store, mode: str, current: Collection[str] = (), *, dry_run: bool, takes_of: Manifest | None = None
) -> Swept:
    """Drop what no story of the store needs, of one mode: drafts and real clips are dropped by their own gc only.

    current: keys that are needed beside those of what stories were last rendered as. takes_of: the story whose takes
    are dropped too, but for those it needs otherwise.

    Raises:
        MachineLacks: a render is using the store.
        DamagedFile: what a story needs cannot be read, so nothing is dropped.
    """
    if not store.root.is_dir():
        return Swept(0, 0, 0, 0, 0)
    with store.alone() as alone:
        if not alone:
            raise MachineLacks(f"a render is using {store.root}: try again when it has ended")
        needed = {*roots(store, (takes_of.path, mode) if takes_of is not None else None), *current}
        homes = {shelf: _homes(store, shelf) for shelf in (CLIPS, SEGMENTS)}
        modes = _modes(homes[CLIPS], mode)
        clips = [home for home in homes[CLIPS] if home.name not in needed and modes[_digest(home)] == mode]
        segments = [home for home in homes[SEGMENTS] if home.name not in needed and modes.get(_of(home), mode) == mode]
        takes = [home for home in _inside(store.root / "takes") if not {home.name, pixels_of(home)} & needed]
        taken = {*roots(store)} - needed  # none but where takes are dropped
        dropped = {*clips, *segments, *takes}
        live = [
            home for home in (*homes[CLIPS], *homes[SEGMENTS], *_inside(store.root / "takes")) if home not in dropped
        ]
        used = {found for home in live for found in _stills(home)}
        stills = [path for path in (store.root / "stills").glob("??/*.png") if path.stem not in used]
        other = [*_inside(store.root / "damaged"), *_inside(store.root / "making"), *_old_runs(store)]
        everything = [*clips, *segments, *takes, *stills, *other]
        size = sum(_bytes(path) for path in everything)
        for path in everything if not dry_run else []:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    chosen_from = sum(home.name in taken for home in (*clips, *takes))
    unused = sum(home.name not in taken for home in clips)
    rest = len(clips) + len(takes) - chosen_from - unused
    return Swept(unused, len(segments), len(stills), rest + len(other), size, chosen_from)


def note_dropped(store: Store, manifest: Manifest, mode: str) -> None:
    """Write down which takes of a story are gone now, so that none is made again by itself."""
    for scene in manifest.taken(mode):
        Takes(store, manifest, mode, scene).note_dropped()


def _recipe(home: Path) -> dict[str, Any]:
    return cast("dict[str, Any]", read_facts(home / "recipe.json").get("recipe", {}))


def _modes(homes: list[Path], unknown: str) -> dict[str, str]:
    """Which renderer drew each clip, by its digest: a draft's or a real one. A mended clip's is that of the one it was
    mended from, `unknown` where that is gone."""
    recipes = {_digest(home): _recipe(home) for home in homes}
    drawn = {
        of: DRAFT if recipe.get("renderer", {}).get("kind") == Animatic.kind else REAL
        for of, recipe in recipes.items()
        if recipe.get("kind") != Mend.kind
    }
    return {of: drawn.get(of) or drawn.get(recipe["clip"]["digest"], unknown) for of, recipe in recipes.items()}


def _digest(home: Path) -> str:
    return str(read_facts(home / "clip.json").get("digest"))


def _of(home: Path) -> str:
    """The digest of the clip that a segment finishes."""
    return str(_recipe(home).get("span", {}).get("clip", {}).get("digest"))


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
        ahead: list[object] = [read_facts(path)] if path.is_file() else []
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
