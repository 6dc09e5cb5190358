"""What the reader is asked: stories, plans, and where kept work lies."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from scenes.files import CLIP_FILE
from scenes.footage import Still
from scenes.picture import PictureError, fit_picture, picture_size
from storyboard.delivery import film_path, join_of
from storyboard.graph import graph_mermaid, graph_svg, graph_text
from storyboard.identity import UNMADE, digest
from storyboard.manifest import Manifest, mode_of
from storyboard.plan import Plan, plan_of
from storyboard.rehearsal import Rehearsed
from storyboard.serve.names import PICTURES
from storyboard.session import Session, open_session
from storyboard.story import After, Opening, Scene, read_story

GRAPHS = {"text": graph_text, "mermaid": graph_mermaid, "svg": graph_svg}


class NotCurrent(Exception):  # noqa: N818 (an answer)
    """What was asked for is not rendered, or not as the story says now; the message says why."""


def check(path: str, files: list[str] | None = None, pixels: int = 0, text: str | None = None) -> dict[str, Any]:
    """What a story says in short. With `files` it was uploaded: these are looked at too, and it may name no others.
    `text`: what is to be written at `path`, read in its place."""
    folder = Path(path).parent
    for name in files or []:
        if name.lower().endswith(PICTURES):
            width, height = _size(folder / name, name)
            if width * height > pixels:
                raise PictureError(f"{name} is {width}x{height}: at most {pixels} pixels are taken")
    story = read_story(Path(path), decode=files is not None, confined=files is not None, text=text)
    return {"title": story.title, "scenes": [scene.name for scene in story.scenes]}


def _size(path: Path, name: str) -> tuple[int, int]:
    try:
        return picture_size(path)
    except PictureError as error:
        raise PictureError(f"{name} {error}") from None


def plan(path: str, draft: bool, scenes: list[str] | None = None) -> dict[str, Any]:
    return planned(path, draft, scenes)[2].json()


def scenes(path: str, draft: bool) -> dict[str, Any]:
    """Every scene: what the story says of it, its state, and which of its kept work is current, by key."""
    _, rehearsed, whole = planned(path, draft)
    return {"mode": whole.mode, "scenes": said_scenes(rehearsed, whole)}


def said_scenes(rehearsed: Rehearsed, whole: Plan) -> list[dict[str, Any]]:
    states = {scene.name: scene for scene in whole.scenes}
    story = rehearsed.story
    said: list[dict[str, Any]] = []
    for index, scene in enumerate(story.scenes):
        state = states[scene.name]
        clip, segment = kept_keys(rehearsed, scene.name)
        said.append(
            {
                "name": scene.name,
                "state": state.state,
                "why": state.why,
                "prompt": scene.prompt,
                "negative_prompt": scene.negative_prompt,
                "seed": scene.seed,
                "frames": scene.frames,
                "seconds": state.seconds,
                "recipe": scene.recipe,
                **_links(scene, story.folder),
                "chained": story.lead(index) is not None,
                "seam": str(scene.seam),
                "clip": clip,
                "segment": segment,
                "notes": list(state.notes),
            }
        )
    return said


def _links(scene: Scene, folder: Path) -> dict[str, Any]:
    def said(link: Path | After | Opening | None) -> dict[str, str] | None:
        match link:
            case After(other) | Opening(other):
                return {"scene": other}
            case Path():
                return {"picture": os.path.relpath(link, folder)}
            case None:
                return None

    return {"opens_on": said(scene.opens_on), "ends_on": said(scene.ends_on)}


def kept_keys(rehearsed: Rehearsed, name: str) -> tuple[str | None, str | None]:
    """Keys of the clip and the segment that are current, None where there is none."""
    crew = rehearsed.crew
    clip = digest(crew.shots[name]) if name in crew.shots and name not in crew.missing_clips else None
    made = name in crew.finishes and name not in crew.missing_segments
    return clip, digest(crew.finishes[name]) if made and clip is not None else None


def graph(path: str, form: str) -> str:
    return GRAPHS[form](read_story(Path(path)))


def footage(path: str, draft: bool, scene: str, part: str) -> dict[str, Any]:
    """Where a scene's file lies, and what its bytes are known by. Raises NotCurrent."""
    session, rehearsed, whole = planned(path, draft)
    state = next((each for each in whole.scenes if each.name == scene), None)
    if state is None:
        raise KeyError(f'the story has no scene "{scene}"')
    clip, segment = kept_keys(rehearsed, scene)
    if part == "opening":
        return _opening(session, rehearsed, scene, state.why)
    if part == "segment" and segment is not None:
        return {"path": str(rehearsed.reel.segments[scene].path), "tag": rehearsed.reel.segments[scene].digest}
    if clip is None or part == "segment":
        why = f" ({state.why})" if state.why else ""
        raise NotCurrent(f'"{scene}" is not {"finished" if clip else "rendered"} as the story says now{why}')
    kept = rehearsed.reel.clips[scene]
    if part == "last":
        handed = rehearsed.reel.handed.get(scene)
        last = handed.still if handed is not None else kept.last
        return {"path": str(last.path), "tag": last.digest}
    return {"path": str(kept.path / CLIP_FILE), "tag": clip}


def _opening(session: Session, rehearsed: Rehearsed, name: str, why: str) -> dict[str, Any]:
    """The still a scene opens on; a picture that was never fitted is, now."""
    shot = rehearsed.crew.shots.get(name)
    if shot is None or shot.opening[-1].digest.startswith(UNMADE):
        raise NotCurrent(f'what "{name}" opens on is not there yet ({why})')
    still: Still = shot.opening[-1]
    scene, story = rehearsed.story.scene(name), rehearsed.story
    if not still.path.is_file() and isinstance(scene.opens_on, Path):
        with session.store.in_use():
            still = session.store.keep_still(fit_picture(scene.opens_on, story.size, scene.fit, scene.background))
    return {"path": str(still.path), "tag": still.digest}


def film(path: str, draft: bool) -> dict[str, Any]:
    """Where the film lies, if it is what the story says now. Raises NotCurrent."""
    session, rehearsed, _ = planned(path, draft)
    return where_film(session, rehearsed)


def where_film(session: Session, rehearsed: Rehearsed) -> dict[str, Any]:
    story, gear = rehearsed.story, rehearsed.gear
    segments = rehearsed.reel.complete(story)
    missing = [*rehearsed.crew.missing_clips, *rehearsed.crew.missing_segments]
    if segments is None or missing:
        raise NotCurrent(f"the film is not rendered as the story says now: missing are {', '.join(sorted(missing))}")
    join = join_of(story, gear, segments, rehearsed.reel.shades, session.store)
    target = film_path(story, gear.draft).absolute()
    known = Manifest(session.store, story.path).film(mode_of(gear.draft), target)
    facts = target.stat() if target.is_file() else None
    if facts is None or known != [digest(join), facts.st_size, facts.st_mtime_ns]:
        raise NotCurrent("the film is not joined as the story says now, or its file was changed")
    return {"path": str(target), "tag": digest(join)}


def planned(path: str, draft: bool, names: list[str] | None = None) -> tuple[Session, Rehearsed, Plan]:
    session = open_session(Path(path))
    rehearsed = session.rehearsed(draft, names)
    whole = plan_of(rehearsed, session.store)
    session.store.memory.save()
    return session, rehearsed, whole


QUESTIONS = {each.__name__: each for each in (check, plan, scenes, graph, footage, film)}
