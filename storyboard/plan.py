"""What a render would do and why, scene by scene, without doing any of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

from scenes.animatic import Animatic
from scenes.files import read_facts
from scenes.footage import DamagedFile
from scenes.wan.renderer import Wan
from storyboard.colour import Shade
from storyboard.corrections import awaited, colours_said, why_graded_anew
from storyboard.delivery import film_path
from storyboard.footprint import footprint
from storyboard.handed import hands_on
from storyboard.identity import UNMADE, Json, digest, recipe
from storyboard.lengths import PlannedSeam, film_length, planned_seam
from storyboard.manifest import Manifest, mode_of
from storyboard.notes import long_prompts, lora_said, scene_notes, story_notes
from storyboard.readiness import bytes_needed
from storyboard.reasons import reasons
from storyboard.rehearsal import Rehearsed
from storyboard.room import free_bytes
from storyboard.serving import serving, steps_said
from storyboard.store import CLIPS, SEGMENTS, Store
from storyboard.story import After, Opening, Scene
from storyboard.transitions import film_rate

KEPT, RENDER, MEND, WAITS, BROKEN = "kept", "render", "mend", "waits", "broken"
MAKE = "make"


@dataclass(frozen=True, slots=True)
class PlannedScene:
    """`state`: kept, render, mend (kept as drawn, to be brought to end on the frame it holds), waits (for a scene whose
    last frame is not known yet), or broken (a picture is). `segment`: kept, make, or waits (for a clip that it
    dissolves from, or whose colour it follows). `colour`: how it is corrected;
    `colour_why`: why a kept clip's segment is made anew for it. `hands_on`: which frame, where it is not simply
    the last."""

    name: str
    state: str
    why: str
    frames: int
    seconds: float
    size: str
    seed: int
    drawn_by: str
    segment: str
    notes: tuple[str, ...]
    loras: tuple[str, ...] = ()
    seam: PlannedSeam | None = None
    colour: str | None = None
    colour_why: str | None = None
    hands_on: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """`weights`: which files serve the model and the recipes; `memory`: where they will lie while it works;
    `dissolves`: the frames by which they make the film shorter; `film_frames_at_least`: where it is not known yet which
    frames scenes hand on."""

    story: str
    mode: str
    scenes: tuple[PlannedScene, ...]
    stand_ins: tuple[str, ...]
    lacks: tuple[str, ...]
    notes: tuple[str, ...]
    at_least: int
    at_most: int
    film: str
    film_size: str
    film_frames: int
    film_fps: str
    film_seconds: float
    disk_needed: int
    disk_free: int
    weights: tuple[str, ...] = ()
    memory: str | None = None
    dissolves: int = 0
    film_frames_at_least: int | None = None

    def json(self) -> dict[str, Any]:
        return asdict(self)


def plan_of(rehearsed: Rehearsed, store: Store) -> Plan:
    story, gear = rehearsed.story, rehearsed.gear
    manifest = Manifest(store, story.path)
    long = long_prompts(rehearsed.crew.shots, gear.drawings.located) if gear.drawings is not None else {}
    colours = colours_said(story, rehearsed.reel.shades)
    opened = {scene.opens_on.scene for scene in story.scenes if isinstance(scene.opens_on, After)}
    planned = tuple(
        _scene(index, rehearsed, store, manifest, long.get(scene.name), colours.get(scene.name), scene.name in opened)
        for index, scene in enumerate(story.scenes)
        if scene.name in _walked(rehearsed)
    )
    length = film_length(story.scenes, story.fps, gear.interpolate, rehearsed.crew.finishes)
    size = story.finishing.size
    sure = sum(scene.state == RENDER for scene in planned)
    memory, too_small = footprint(rehearsed)
    return Plan(
        story=str(story.path),
        mode=mode_of(gear.draft),
        scenes=planned,
        stand_ins=tuple(map(str, gear.stand_ins)),
        lacks=(*rehearsed.lacks, *([too_small] if too_small else ())),
        notes=story_notes(story),
        at_least=sure,
        at_most=sure + sum(scene.state == WAITS for scene in planned),
        film=str(rehearsed.options.film or film_path(story, gear.draft)),
        film_size=f"{size[0]}x{size[1]}",
        film_frames=length.frames,
        film_fps=str(length.fps),
        film_seconds=round(float(length.frames / length.fps), 3),
        disk_needed=bytes_needed(rehearsed),
        disk_free=free_bytes(store.root),
        weights=() if gear.drawings is None else serving(story, gear.drawings),
        memory=memory,
        dissolves=length.dissolved,
        film_frames_at_least=length.least if length.least < length.frames else None,
    )


def _walked(rehearsed: Rehearsed) -> set[str]:
    return {*rehearsed.crew.shots, *rehearsed.reel.failed, *rehearsed.reel.skipped}


def _scene(
    index: int,
    rehearsed: Rehearsed,
    store: Store,
    manifest: Manifest,
    more: str | None,
    colour: str | None,
    opened_on: bool,
) -> PlannedScene:
    """more: a note. opened_on: whether a scene opens on it."""
    story = rehearsed.story
    scene = story.scenes[index]
    state, why = _state(scene, rehearsed, store, manifest)
    renderer = rehearsed.gear.renderer(scene, story)
    drawn_by = renderer.move if isinstance(renderer, Animatic) else scene.recipe
    if isinstance(renderer, Wan):
        drawn_by = f"{scene.recipe} ({steps_said(renderer.recipe)})"
    segment, why_anew = _segment(index, state, rehearsed, store, manifest)
    size = f"{story.size[0]}x{story.size[1]}"
    seconds = round(float(Fraction(scene.frames) / story.fps), 3)
    notes = (*scene_notes(scene, rehearsed.gear), *([more] if more else []))
    loras = () if rehearsed.gear.draft else tuple(lora_said(use, story.model.experts) for use in scene.loras)
    return PlannedScene(
        scene.name,
        state,
        why,
        scene.frames,
        seconds,
        size,
        scene.seed,
        drawn_by,
        segment,
        notes,
        loras,
        planned_seam(story.scenes, index, film_rate(story.fps, rehearsed.gear.interpolate)),
        colour,
        why_anew,
        hands_on(scene, rehearsed.reel.handed.get(scene.name), opened_on=opened_on),
    )


def _segment(index: int, state: str, rehearsed: Rehearsed, store: Store, manifest: Manifest) -> tuple[str, str | None]:
    """What becomes of a scene's segment, and why a kept clip's follows another colour."""
    story, reel = rehearsed.story, rehearsed.reel
    name = story.scenes[index].name
    if name in reel.unfinished:
        return WAITS, None
    if name not in rehearsed.crew.missing_segments:
        return KEPT, None
    shade = reel.shades.get(name)
    if state != KEPT or shade is None:
        return MAKE, None
    if not shade.known:
        return WAITS, f"colour follows {awaited(story, index, shade)}'s new clip"
    return MAKE, _colour_why(index, rehearsed, shade, store, manifest)


def _colour_why(index: int, rehearsed: Rehearsed, shade: Shade, store: Store, manifest: Manifest) -> str | None:
    """Against the segment that was made last, if it is there."""
    story, name = rehearsed.story, rehearsed.story.scenes[index].name
    key = manifest.scene(mode_of(rehearsed.gear.draft), name).get("segment")
    if key is None:
        return None
    home = store.home(SEGMENTS, key)
    try:
        old, follows = read_facts(home / "recipe.json").get("recipe"), read_facts(home / "segment.json").get("follows")
    except DamagedFile:
        return None
    return why_graded_anew(old, follows or (), shade, story, index)


def _state(scene: Scene, rehearsed: Rehearsed, store: Store, manifest: Manifest) -> tuple[str, str]:
    crew, reel = rehearsed.crew, rehearsed.reel
    if scene.name in reel.failed:
        return BROKEN, str(reel.failed[scene.name])
    if scene.name in reel.skipped:
        return WAITS, f"waits for {' and '.join(scene.needs)}"
    if scene.name not in crew.missing_clips:
        return KEPT, ""
    shot = crew.shots[scene.name]
    waiting = _waiting_for(scene, rehearsed)
    old_key = manifest.scene(mode_of(rehearsed.gear.draft), scene.name).get("shot")
    if scene.name in rehearsed.options.anew:
        return RENDER, "asked for anew"
    if scene.name in crew.to_mend:
        return MEND, "to end on the frame it holds"
    if old_key is None:
        return (WAITS, f"waits for {waiting}") if waiting else (RENDER, "never made")
    why = reasons(_old_recipe(store, old_key), recipe(shot), scene)
    own = [reason for reason in why if not (waiting and reason.startswith(("opens on", "ends on")))]
    if waiting:
        # What changed in the scene itself makes it anew whatever its opening turns out to be.
        return (RENDER, "; ".join([*own, f"waits for {waiting}"])) if own else (WAITS, f"waits for {waiting}")
    if old_key == digest(shot):
        return RENDER, "its kept clip is gone or damaged"
    return RENDER, "; ".join(why) or "its kept clip is gone"


def _waiting_for(scene: Scene, rehearsed: Rehearsed) -> str | None:
    """The scene whose last frame is not known yet."""
    shot = rehearsed.crew.shots[scene.name]
    story = rehearsed.story
    if shot.opening[-1].digest.startswith(UNMADE) and isinstance(scene.opens_on, After):
        return scene.opens_on.scene
    if shot.last is not None and shot.last.digest.startswith(UNMADE) and isinstance(scene.ends_on, Opening):
        source = story.scene(scene.ends_on.scene).opens_on
        return source.scene if isinstance(source, After) else None
    return None


def _old_recipe(store: Store, key: str) -> Json:
    try:
        return read_facts(store.home(CLIPS, key) / "recipe.json").get("recipe")
    except DamagedFile:
        return None
