"""What the reader is asked of takes: which there are, where one can be looked at, and to choose one."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from scenes.files import load_clip
from storyboard.choosing import choose
from storyboard.contact_sheet import preview_path, write_preview
from storyboard.lineage import listed
from storyboard.manifest import DRAFT, Manifest, mode_of
from storyboard.rehearsal import Rehearsed, rehearse
from storyboard.serve.questions import NotCurrent
from storyboard.session import Session, open_session
from storyboard.takes import Takes


def takes(path: str, mode: str | None, scenes: list[str] | None = None) -> dict[str, Any]:
    """mode: draft or real; None: the one last rendered."""
    session, rehearsed = in_mode(path, mode)
    found = listed(rehearsed, session.store, session.named(scenes))
    session.store.memory.save()
    return {"mode": mode_of(rehearsed.gear.draft), "scenes": [asdict(scene) for scene in found]}


def in_mode(path: str, mode: str | None) -> tuple[Session, Rehearsed]:
    session = open_session(Path(path))
    options = session.options((mode or session.mode(draft=False)) == DRAFT)
    return session, rehearse(session.story, session.store, replace(options, scenes=None))


def preview(path: str, mode: str | None, scene: str, number: int) -> dict[str, str]:
    """A small film of a take; where the run that drew it wrote none, it is written now. Raises NotCurrent."""
    session = open_session(Path(path))
    session.named([scene])
    mode = mode or session.mode(draft=False)
    there = Takes(session.store, Manifest(session.store, session.story.path), mode, scene)
    take = next((each for each in there.all() if each.number == number), None)
    home = there.home(take) if take is not None else None
    if take is None or home is None:
        raise NotCurrent(f"{scene} has no take {number}{' any more' if take is not None else ''}")
    target = preview_path(session.story, scene, number, mode == DRAFT)
    with session.store.in_use():
        write_preview(load_clip(home), target)
    return {"path": str(target), "tag": take.digest}


def take(path: str, mode: str | None, scene: str, number: int) -> dict[str, Any]:
    """Choose one, as `storyboard take` does. Raises NotToBeChosen."""
    session, rehearsed = in_mode(path, mode)
    session.named([scene])
    if scene in rehearsed.crew.missing_clips:
        rehearsed.check_known()
    with session.store.in_use():
        chosen = choose(rehearsed, session.store, scene, number)
    return {
        "scene": scene,
        "take": number,
        "seed": chosen.take.seed,
        "written": chosen.written,
        "swapped": chosen.swapped,
    }


QUESTIONS = {each.__name__: each for each in (takes, preview, take)}
