"""What a render would do and why, scene by scene, without doing any of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

from scenes.animatic import Animatic
from scenes.camera import named_move
from scenes.files import read_facts
from scenes.footage import DamagedFile
from storyboard.delivery import film_path
from storyboard.gear import UNMADE
from storyboard.identity import Json, changes, digest, recipe
from storyboard.manifest import Manifest, mode_of
from storyboard.production import Rehearsed
from storyboard.room import free_bytes, gigabytes
from storyboard.store import CLIPS, Store
from storyboard.story import After, Opening, Scene, Story

LATIN = 0x24F  # the last of Unicode's Latin Extended-B
KEPT, RENDER, WAITS, BROKEN = "kept", "render", "waits", "broken"


@dataclass(frozen=True, slots=True)
class PlannedScene:
    """`state`: kept, render, waits (for a scene whose last frame is not known yet), or broken (a picture is)."""

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


@dataclass(frozen=True, slots=True)
class Plan:
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

    def json(self) -> dict[str, Any]:
        return asdict(self)


def plan_of(rehearsed: Rehearsed, store: Store) -> Plan:
    story, gear = rehearsed.story, rehearsed.gear
    manifest = Manifest(store, story.path)
    planned = tuple(_scene(s, rehearsed, store, manifest) for s in story.scenes if s.name in _walked(rehearsed))
    factor = gear.interpolate.factor if gear.interpolate else 1
    source = sum(scene.frames - bool(story.lead(index)) for index, scene in enumerate(story.scenes))
    frames, fps = source * factor, story.fps * factor
    size = story.finishing.size
    sure = sum(scene.state == RENDER for scene in planned)
    return Plan(
        story=str(story.path),
        mode=mode_of(gear.draft),
        scenes=planned,
        stand_ins=tuple(map(str, gear.stand_ins)),
        lacks=gear.lacks,
        notes=tuple(_notes(story)),
        at_least=sure,
        at_most=sure + sum(scene.state == WAITS for scene in planned),
        film=str(rehearsed.options.film or film_path(story, gear.draft)),
        film_size=f"{size[0]}x{size[1]}",
        film_frames=frames,
        film_fps=str(fps),
        film_seconds=round(float(frames / fps), 3),
        disk_needed=rehearsed.bytes_needed,
        disk_free=free_bytes(store.root),
    )


def _walked(rehearsed: Rehearsed) -> set[str]:
    return {*rehearsed.crew.shots, *rehearsed.reel.failed, *rehearsed.reel.skipped}


def _scene(scene: Scene, rehearsed: Rehearsed, store: Store, manifest: Manifest) -> PlannedScene:
    crew, story = rehearsed.crew, rehearsed.story
    state, why = _state(scene, rehearsed, store, manifest)
    renderer = rehearsed.gear.renderer(scene, story)
    drawn_by = renderer.move if isinstance(renderer, Animatic) else scene.recipe
    segment = "make" if scene.name in crew.missing_segments else KEPT
    size = f"{story.size[0]}x{story.size[1]}"
    seconds = round(float(Fraction(scene.frames) / story.fps), 3)
    notes = tuple(_scene_notes(scene, rehearsed.gear.draft))
    return PlannedScene(scene.name, state, why, scene.frames, seconds, size, scene.seed, drawn_by, segment, notes)


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
    if old_key is None:
        return (WAITS, f"waits for {waiting}") if waiting else (RENDER, "never made")
    reasons = _reasons(_old_recipe(store, old_key), recipe(shot), scene)
    own = [reason for reason in reasons if not (waiting and reason.startswith(("opens on", "ends on")))]
    if waiting:
        # What changed in the scene itself makes it anew whatever its opening turns out to be.
        return (RENDER, "; ".join([*own, f"waits for {waiting}"])) if own else (WAITS, f"waits for {waiting}")
    if old_key == digest(shot):
        return RENDER, "its kept clip is gone or damaged"
    return RENDER, "; ".join(reasons) or "its kept clip is gone"


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


NAMES = {
    "prompt": "prompt changed",
    "negative_prompt": "negative prompt changed",
    "loras": "LoRAs changed",
    "precision": "precision changed",
}


def _reasons(old: Json, new: Json, scene: Scene) -> list[str]:
    """Why a scene is made again, from what its recipe was and is."""
    if old is None:
        return []
    reasons: list[str] = []
    changed = changes(old, new)
    if any(path[:1] == ("size",) for path, _, _ in changed):
        reasons.append("size changed")  # and with it every picture
        changed = [change for change in changed if change[0][0] not in ("size", "opening", "last")]
    for path, was, now in changed:
        match path:
            case ("opening", *_) if isinstance(scene.opens_on, After):
                reasons.append(f"opens on {scene.opens_on.scene}'s new last frame")
            case ("opening", *_):
                reasons.append("its image, fit or background changed")
            case ("last", *_):
                reasons.append("ends on another picture")
            case ("renderer", *rest):
                name = rest[-1] if rest else "renderer"
                reasons.append(f"{name} {_short(was)} -> {_short(now)}" if name != "renderer" else "renderer changed")
            case (key, *_) if key in NAMES:
                reasons.append(NAMES[key])
            case _:
                reasons.append(f"{'.'.join(path)} {_short(was)} -> {_short(now)}")
    return list(dict.fromkeys(reasons))


def _short(value: Json) -> str:
    text = "none" if value is None else str(value) if not isinstance(value, dict | list) else "..."
    return text if len(text) <= 30 else text[:27] + "..."


def _notes(story: Story) -> list[str]:
    """What the whole story asks for that will have no effect, or another than it seems."""
    notes: list[str] = []
    if story.fps != story.model.fps:
        notes.append(
            f"clips play at {story.fps} frames a second; {story.model.name} draws motion for {story.model.fps}"
        )
    return notes


def _scene_notes(scene: Scene, draft: bool) -> list[str]:
    notes: list[str] = []
    if scene.asked_frames != scene.frames:
        notes.append(f"{scene.asked_frames:g} frames asked, {scene.frames} made (4n+1)")
    if scene.frames > 121:
        notes.append("long clips tend to return to their first pose: chain two scenes instead")
    if draft and scene.negative_prompt:
        notes.append("a draft has no use for the negative prompt")
    if draft and scene.camera and named_move(scene.camera) is None:
        notes.append(f'a draft knows no camera move in "{scene.camera}"')
    if draft and scene.caption and any(ord(letter) > LATIN for letter in scene.prompt):
        notes.append("the captions' font has Latin letters only: others show as boxes")
    if not draft and scene.caption:
        notes.append("captions are for drafts only")
    return notes


def plan_lines(plan: Plan) -> list[str]:
    """The plan as text."""
    width = max([len(scene.name) for scene in plan.scenes] + [5])
    lines = [f"{plan.story} ({plan.mode})", ""]
    for scene in plan.scenes:
        facts = (
            f"{scene.frames:>4} frames {scene.seconds:>6.2f} s  {scene.size}  seed {scene.seed:<10}  {scene.drawn_by}"
        )
        segment = "" if scene.segment == KEPT or scene.state != KEPT else "  (finished anew)"
        why = f": {scene.why}" if scene.why and scene.state != WAITS else f" for {scene.why[10:]}" if scene.why else ""
        lines.append(f"  {scene.name:<{width}}  {facts}  {scene.state}{why}{segment}")
        lines += [f"  {'':<{width}}  - {note}" for note in scene.notes]
    lines.append("")
    lines += [f"  draft: {stand_in}" for stand_in in plan.stand_ins]
    lines += [f"  note: {note}" for note in plan.notes]
    lines += [f"  lacks: {lack}" for lack in plan.lacks]
    count = str(plan.at_least) if plan.at_least == plan.at_most else f"{plan.at_least} to {plan.at_most}"
    lines.append(f"  clips to render: {count} of {len(plan.scenes)}")
    film = f"{plan.film_frames} frames at {plan.film_fps}/s, {plan.film_seconds:.2f} s, {plan.film_size}"
    lines.append(f"  film: {film} -> {plan.film}")
    lines.append(f"  disk: at most {gigabytes(plan.disk_needed)} needed, {gigabytes(plan.disk_free)} free")
    return lines
