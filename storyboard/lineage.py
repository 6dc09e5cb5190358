"""`storyboard takes`: a story's takes scene by scene, of which take each clip was made, and what is stale now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from scenes.files import load_clip, read_facts
from scenes.footage import DamagedFile
from storyboard.candidates import Part
from storyboard.choosing import misfit
from storyboard.handed import handed
from storyboard.identity import digest
from storyboard.manifest import Manifest, mode_of
from storyboard.plan import BROKEN, KEPT, MEND, PlannedScene, plan_of
from storyboard.rehearsal import Rehearsed, waits
from storyboard.store import CLIPS, Store
from storyboard.story import After, Scene
from storyboard.takes import Take, Takes, home_of

VERSION = 1
"""Of the JSON document: it rises when a field changes its meaning."""


@dataclass(frozen=True, slots=True)
class Made:
    """Of which take of another scene a clip was made. `take`: None where that clip is none of its takes; `current`:
    whether it is the clip that the other scene has now."""

    scene: str
    take: int | None
    current: bool

    def __str__(self) -> str:
        if self.take is not None:
            return f"{self.scene}'s take {self.take}"
        return f"{self.scene} as it is" if self.current else f"an earlier {self.scene}"


@dataclass(frozen=True, slots=True)
class Listed:
    """A clip of a scene. `number`: None where it is none of the takes; `misfits`: why it is not what the scene would be
    with its seed; `made_of`: what it opens on, where that is another scene."""

    number: int | None
    seed: int | None
    made: str | None
    kept: bool
    chosen: bool
    misfits: tuple[str, ...] = ()
    made_of: Made | None = None
    dropped: bool = False


@dataclass(frozen=True, slots=True)
class ListedScene:
    """`state` and `why` as in the plan."""

    name: str
    state: str
    why: str
    takes: tuple[Listed, ...]


def listed(rehearsed: Rehearsed, store: Store, names: frozenset[str] | None) -> list[ListedScene]:
    """names: of the scenes asked for, None for all."""
    plan = {scene.name: scene for scene in plan_of(rehearsed, store).scenes}
    lineage = Lineage(rehearsed, store)
    scenes = [scene for scene in rehearsed.story.scenes if names is None or scene.name in names]
    return [lineage.of(scene, plan[scene.name]) for scene in scenes]


class Lineage:
    """What was made of what, told by the still that a clip opens on."""

    def __init__(self, rehearsed: Rehearsed, store: Store) -> None:
        self._rehearsed, self._store = rehearsed, store
        self._mode = mode_of(rehearsed.gear.draft)
        self._manifest = Manifest(store, rehearsed.story.path)
        self._handed: dict[str, dict[str, int]] = {}

    def of(self, scene: Scene, planned: PlannedScene) -> ListedScene:
        takes = self._takes(scene.name)
        rows = [self._row(scene, take) for take in takes]
        there = {home for take in takes if (home := home_of(take, self._store)) is not None}
        clip = self._clip(scene, planned)
        if clip is not None and clip not in there:  # none of the takes: rendered since, or there are none
            rows.append(self._other(scene, clip, planned.state in (KEPT, MEND)))
        return ListedScene(scene.name, planned.state, planned.why, tuple(rows))

    def _takes(self, name: str) -> tuple[Take, ...]:
        return Takes(self._store, self._manifest, self._mode, name).all()

    def _clip(self, scene: Scene, planned: PlannedScene) -> Path | None:
        """Where the scene's clip lies, or else the one that it last had."""
        shot = self._rehearsed.crew.shots.get(scene.name)
        key = self._manifest.scene(self._mode, scene.name).get("shot")
        if planned.state in (KEPT, MEND) and shot is not None:
            key = digest(shot)
        home = self._store.home(CLIPS, key) if key else None
        return home if home is not None and home.is_dir() else None

    def _row(self, scene: Scene, take: Take) -> Listed:
        home, part = home_of(take, self._store), self._part(scene)
        row = Listed(take.number, take.seed, take.made, home is not None, False, dropped=take.dropped)
        if home is None:
            return row
        chosen = part is not None and part.chosen(take) and home == self._store.home(CLIPS, take.key)
        odd = () if part is None or part.fits(take) else tuple(misfit(part, take, self._store))
        return replace(row, chosen=chosen, misfits=odd, made_of=self._made_of(scene, home))

    def _other(self, scene: Scene, home: Path, chosen: bool) -> Listed:
        seed = _facts(home / "recipe.json").get("recipe", {}).get("seed")
        return Listed(None, seed, None, True, chosen, made_of=self._made_of(scene, home))

    def _part(self, scene: Scene) -> Part | None:
        """None where the opening of the scene is not known yet."""
        shot = self._rehearsed.crew.shots.get(scene.name)
        if shot is None or waits(shot):
            return None
        return Part(scene, shot, self._rehearsed.gear, self._rehearsed.story)

    def _made_of(self, scene: Scene, home: Path) -> Made | None:
        if not isinstance(scene.opens_on, After):
            return None
        opening = _facts(home / "recipe.json").get("recipe", {}).get("opening", [])
        still = opening[-1].get("digest") if opening else None
        shot = self._rehearsed.crew.shots.get(scene.name)
        current = shot is not None and shot.opening[-1].digest == still
        return Made(scene.opens_on.scene, self._handed_on(scene.opens_on.scene).get(str(still)), current)

    def _handed_on(self, name: str) -> dict[str, int]:
        """The stills that a scene's takes hand on, with their numbers; of takes that hand on the same, the chosen's."""
        if name not in self._handed:
            scene = self._rehearsed.story.scene(name)
            part = self._part(scene)
            takes = sorted(self._takes(name), key=lambda take: (part is not None and part.chosen(take), -take.number))
            homes = ((take, home_of(take, self._store)) for take in takes)
            found = ((self._still(take, home, scene, part), take.number) for take, home in homes if home is not None)
            self._handed[name] = {still: number for still, number in found if still is not None}
        return self._handed[name]

    def _still(self, take: Take, home: Path, scene: Scene, part: Part | None) -> str | None:
        """What a take hands on; None where it is too short for that, or cannot be read: verify tells of that."""
        if scene.held and part is not None and part.shot.last is not None and part.fits(take):
            return part.shot.last.digest  # once it is mended
        try:
            clip, how = load_clip(home), scene.hand_on
            return handed(self._store, clip, how, keep=False).still.digest if how.fits(clip.frames) else None
        except DamagedFile:
            return None


def _facts(path: Path) -> dict[str, Any]:
    """Empty where they cannot be read: verify tells of that."""
    try:
        return read_facts(path)
    except DamagedFile:
        return {}


def as_json(rehearsed: Rehearsed, scenes: Sequence[ListedScene]) -> dict[str, Any]:
    story, mode = str(rehearsed.story.path), mode_of(rehearsed.gear.draft)
    return {"version": VERSION, "story": story, "mode": mode, "scenes": [asdict(scene) for scene in scenes]}


def lines(scenes: Sequence[ListedScene]) -> Iterator[str]:
    """As text, of at most 80 columns where no reason is long."""
    for scene in scenes:
        said = scene.state == BROKEN or scene.why.startswith(scene.state)  # "waits for dock"
        state = scene.why if said else f"{scene.state}{f': {scene.why}' if scene.why else ''}"
        yield f"{scene.name}  {state}"
        for take in scene.takes:
            name = "clip" if take.number is None else f"take {take.number}"
            made = take.made.replace("T", " ")[:16] if take.made else ""
            yield f"  {name:<8} {'*' if take.chosen else ' '} seed {take.seed!s:<11} {made:<17} {_state(take)}".rstrip()
            if take.misfits:
                yield f"{'':<13}made otherwise: {'; '.join(take.misfits)}"


def _state(take: Listed) -> str:
    if not take.kept:
        return "dropped" if take.dropped else "gone"
    said = ["chosen"] if take.chosen else []
    return ", ".join([*said, *([f"of {take.made_of}"] if take.made_of else [])]) or "kept"
