"""Where work goes that people look at: each scene's segment the moment it is done, then the film."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from post.finish import Segment
from post.join import About, Join, write_film
from post.sound import Soundtrack
from storyboard.colour import Shade
from storyboard.corrections import colours_said
from storyboard.events import Events
from storyboard.gear import Gear
from storyboard.identity import digest
from storyboard.manifest import Manifest, mode_of
from storyboard.publish import published
from storyboard.seams import Cut
from storyboard.store import Store
from storyboard.story import Scene, Story


def film_path(story: Story, draft: bool, film: Path | None = None) -> Path:
    path = film or story.film
    return path.with_name(f"{path.stem}.draft{path.suffix}") if draft else path


def out_path(story: Story, scene: str, draft: bool) -> Path:
    return story.folder / "out" / f"{scene}{'.draft' if draft else ''}.mp4"


def deliver(kept: Path, target: Path) -> None:
    """A copy of kept work where people look, whole at every moment; nothing where it is there already."""
    facts = kept.stat()
    if _stamp(target) == [facts.st_size, facts.st_mtime_ns]:
        return
    with published(target) as aside:
        shutil.copyfile(kept, aside)
        os.utime(aside, ns=(facts.st_atime_ns, facts.st_mtime_ns))  # by size and time it is known again


def about(story: Story, gear: Gear, lengths: Sequence[int], colours: Mapping[str, str]) -> About:
    """What the film says of itself: the story, the seeds, how colour was corrected, and what stood in for what."""
    facts: dict[str, Any] = {
        "storyboard": version("storyboard"),
        "mode": mode_of(gear.draft),
        "model": story.model.name,
        "scenes": [_said_of(scene, colours.get(scene.name)) for scene in story.scenes],
    }
    if gear.stand_ins:
        facts["stand_ins"] = [str(stand_in) for stand_in in gear.stand_ins]
    said = f"{'Draft: ' if gear.draft else ''}{'; '.join(map(str, gear.stand_ins))}"
    tags = (("comment", said or "made with storyboard"), ("storyboard", json.dumps(facts, ensure_ascii=False)))
    chapters = tuple((s.name, length) for s, length in zip(story.scenes, lengths, strict=True))
    return About(story.title, chapters, tags)


def _said_of(scene: Scene, colour: str | None) -> dict[str, Any]:
    graded = {} if colour is None else {"colour": colour}
    seam = {} if isinstance(scene.seam, Cut) else {"seam": str(scene.seam)}
    return {
        "name": scene.name,
        "prompt": scene.prompt,
        "seed": scene.seed,
        "frames": scene.frames,
        "recipe": scene.recipe,
        **seam,
        **graded,
    }


def soundtrack_of(story: Story, store: Store) -> Soundtrack | None:
    path = story.finishing.soundtrack
    return Soundtrack(store.memory.file_digest(path), path) if path else None


def join_of(story: Story, gear: Gear, segments: Sequence[Segment], shades: Mapping[str, Shade], store: Store) -> Join:
    """What the film is made of."""
    said = about(story, gear, [segment.frames for segment in segments], colours_said(story, shades))
    return Join(tuple(segments), said, soundtrack_of(story, store))


def join_film(join: Join, mode: str, target: Path, manifest: Manifest, events: Events) -> bool:
    """The film at its place; False where it lay there already."""
    key = digest(join)
    if manifest.film(mode, target) == [key, *(_stamp(target) or ())]:
        events.tell("film.kept", path=str(target))
        return False
    events.tell("film.started", path=str(target), frames=join.frames)
    with published(target) as aside:
        write_film(join, aside)
    stamp = _stamp(target) or []
    manifest.note(mode, film=(target, [key, *stamp]))
    events.tell("film.done", path=str(target), frames=join.frames, fps=str(join.fps), bytes=target.stat().st_size)
    return True


def _stamp(path: Path) -> list[int] | None:
    """Size and time of a file; None where there is none."""
    try:
        facts = path.stat()
    except FileNotFoundError:
        return None
    return [facts.st_size, facts.st_mtime_ns]
