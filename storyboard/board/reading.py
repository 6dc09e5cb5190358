"""What the board asks the reader process for: a whole story at once, small stills, and seams to be played."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from post.preview import first_second, h264, jpeg, last_second
from scenes.files import load_clip, read_still
from scenes.footage import DamagedFile, Frame, Still
from scenes.picture import fit_picture
from scenes.wan.models import RECIPES
from storyboard.export import NotRendered
from storyboard.hold import check_holdable, held
from storyboard.identity import UNMADE
from storyboard.lineage import listed
from storyboard.manifest import DRAFT, Manifest, mode_of
from storyboard.plan import Plan, plan_of
from storyboard.rehearsal import Rehearsed, rehearse
from storyboard.serve.questions import NotCurrent, said_scenes, where_film
from storyboard.session import Session, open_session
from storyboard.takes import Takes

KEPT = 600
"""Small stills and seams that are kept; the oldest go first."""


def board(path: str, mode: str | None) -> dict[str, Any]:
    """`said` is for people; `places` are paths, for the server alone. mode: draft or real; None: the one last
    rendered."""
    session, rehearsed, plan = _planned(path, mode)
    story, reel = rehearsed.story, rehearsed.reel
    stills = {name: {part: still.digest for part, still in found.items()} for name, found in _stills(rehearsed).items()}
    manifest = Manifest(session.store, story.path)
    scenes: list[dict[str, Any]] = [
        {**scene, "stills": stills[scene["name"]], "made_once": "shot" in manifest.scene(plan.mode, scene["name"])}
        for scene in said_scenes(rehearsed, plan)
    ]
    segments = {scene["name"]: str(reel.segments[scene["name"]].path) for scene in scenes if scene["segment"]}
    film, why = None, ""
    try:
        film = where_film(session, rehearsed)
    except NotCurrent as error:
        why = str(error)
    recipes = [*RECIPES, *(name for name, _ in story.recipes)]
    said = {"mode": plan.mode, "title": story.title, "scenes": scenes, "plan": plan.json(), "why_no_film": why}
    return {"said": {**said, "recipes": recipes}, "places": {"segments": segments, "film": film}}


def forecast(path: str, mode: str, scenes: list[str]) -> dict[str, Any]:
    """The plan of these scenes and what they need."""
    return _planned(path, mode, scenes)[2].json()


def holding(path: str, mode: str, scene: str) -> list[str]:
    """Scenes that stay as they are where this one is made again up to its end. Raises as `render --hold` does."""
    session = open_session(Path(path))
    session.named([scene])
    check_holdable(session.story, scene)
    with session.store.in_use():
        try:
            new = held(session.story, session.store, session.options(mode == DRAFT), scene, seed=0)
        except NotRendered as error:
            raise NotCurrent(str(error)) from None
    session.store.memory.save()
    return list(new.stays)


def scene_takes(path: str, mode: str, scene: str, into: str) -> list[dict[str, Any]]:
    """A scene's takes, each that is kept with its last frame, of which a small still is made."""
    session, rehearsed, _ = _planned(path, mode)
    story, store = rehearsed.story, session.store
    (found,) = listed(rehearsed, store, session.named([scene]))
    takes = Takes(store, Manifest(store, story.path), mode_of(rehearsed.gear.draft), scene)
    homes = {take.number: takes.home(take) for take in takes.all()}
    last: dict[int, Still] = {}
    for number, home in homes.items():
        with contextlib.suppress(DamagedFile):  # choosing it, or verify, tells of that
            if home is not None:
                _thumbnail(load_clip(home).last, Path(into), read_still)
                last[number] = load_clip(home).last
    return [{**asdict(row), "last": last[row.number].digest if row.number in last else None} for row in found.takes]


def _planned(path: str, mode: str | None, scenes: list[str] | None = None) -> tuple[Session, Rehearsed, Plan]:
    session = open_session(Path(path))
    options = session.options((mode or session.mode(draft=False)) == DRAFT)
    rehearsed = rehearse(session.story, session.store, replace(options, scenes=session.named(scenes)))
    plan = plan_of(rehearsed, session.store)
    session.store.memory.save()
    return session, rehearsed, plan


def _stills(rehearsed: Rehearsed) -> dict[str, dict[str, Still]]:
    """Of each scene what it opens on and its last frame that is shown, as far as they are known."""
    crew, reel = rehearsed.crew, rehearsed.reel
    found: dict[str, dict[str, Still]] = {}
    for scene in rehearsed.story.scenes:
        here = found[scene.name] = {}
        shot = crew.shots.get(scene.name)
        if shot is not None and not shot.opening[-1].digest.startswith(UNMADE):
            here["opening"] = shot.opening[-1]
        if scene.name in reel.clips and scene.name not in crew.missing_clips:
            handed = reel.handed.get(scene.name)
            here["last"] = handed.still if handed is not None else reel.clips[scene.name].last
    return found


def thumbnails(path: str, mode: str | None, into: str) -> list[str]:
    """Small JPEGs of all stills, by their digests; those that are there already are left."""
    session, rehearsed, _ = _planned(path, mode)
    for name, found in _stills(rehearsed).items():
        for still in found.values():
            _thumbnail(still, Path(into), partial(_frame, name=name, session=session))
    _tidy(Path(into))
    return [still.digest for found in _stills(rehearsed).values() for still in found.values()]


def _thumbnail(still: Still, into: Path, read: Callable[[Still], Frame]) -> None:
    target = into / f"{still.digest}.jpg"
    if not target.is_file():
        _write(target, jpeg(read(still)))


def _frame(still: Still, name: str, session: Session) -> Frame:
    scene, story = session.story.scene(name), session.story
    if still.path.is_file() or not isinstance(scene.opens_on, Path):
        return read_still(still)
    return fit_picture(scene.opens_on, story.size, scene.fit, scene.background)


def seam(path: str, mode: str | None, scene: str, into: str) -> dict[str, str]:
    """A small film of the last second before a scene and its first one. Raises NotCurrent."""
    _, rehearsed, _ = _planned(path, mode)
    names = [each.name for each in rehearsed.story.scenes]
    if scene not in names[1:]:
        raise KeyError(f'no seam lies before "{scene}"')
    pair = [names[names.index(scene) - 1], scene]
    missing = [name for name in pair if name not in rehearsed.reel.segments]
    missing += [name for name in pair if name in rehearsed.crew.missing_segments and name not in missing]
    if missing:
        raise NotCurrent(f"{' and '.join(missing)} must be rendered before this seam can be played")
    before, after = (rehearsed.reel.segments[name] for name in pair)
    tag = sha256(f"{before.digest}/{after.digest}".encode()).hexdigest()
    target = Path(into) / f"{tag}.mp4"
    if not target.is_file():
        _write(target, h264([*last_second(before.path), *first_second(after.path)], after.fps))
        _tidy(Path(into))
    return {"path": str(target), "tag": tag}


def _write(target: Path, data: bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_suffix(f".{os.getpid()}.tmp")
    aside.write_bytes(data)
    aside.replace(target)


def _tidy(folder: Path) -> None:
    with contextlib.suppress(OSError):
        for path in sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime)[:-KEPT]:
            path.unlink()


QUESTIONS = {each.__name__: each for each in (board, forecast, holding, scene_takes, thumbnails, seam)}
