"""From the story as written to the story as meant: defaults, overrides, and every mistake that a type cannot catch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from scenes.picture import Colour, parse_colour
from scenes.wan.models import I2V_A14B, WanModel, model_of, whole_frames
from storyboard.clip_size import clip_size
from storyboard.complaints import complaints, mended, places_of
from storyboard.finishing import film_file, finishing
from storyboard.handing import hand_on_of, handing_on
from storyboard.holding import check_held, held_picture
from storyboard.links import check_links
from storyboard.mistakes import Place, did_you_mean, written
from storyboard.presets import NEGATIVES, POSITIVES
from storyboard.reading import Reading, why
from storyboard.sampling import check_lora_files, check_recipes, loras_used, recipes_of, usual_recipe
from storyboard.schema import ColourTable, Look, LoraTable, SceneTable, StoryTable
from storyboard.seams import CUT, Seam, SeamError, parse_seam
from storyboard.story import After, Anchored, Opening, Scene, Story
from storyboard.transitions import check_lengths, check_places
from storyboard.wording import joined


def resolve(
    data: dict[str, Any], path: Path, found: list[tuple[Place, str]], *, confined: bool, decode: bool
) -> Story | None:
    """The story meant by a file's data; mistakes go to `found`, and None is given where they leave nothing to read."""
    table, unsure = _table(data, found)
    if table is None:
        return None
    reading = Reading(path.parent, confined, found, unsure, decode)
    model = _model(table.look, reading)
    scenes = _scenes(table, model, reading)
    check_links(scenes, reading)
    scenes = handing_on(scenes, table, reading)
    check_places(scenes, reading)
    size = clip_size(table.look.size, table, model, reading)
    check_held(table, size, reading)
    film = film_file(table, path, reading)
    recipes, tuned = recipes_of(table, model, reading)
    check_recipes(table, model, reading)
    finish = finishing(table.finish, size or model.buckets[0], reading)
    fps = Fraction(table.look.fps or model.fps)
    check_lengths(scenes, fps, finish.factor, reading)
    if found or size is None or film is None:
        return None
    weights = table.look.model
    return Story(
        path=path,
        title=table.title or path.stem,
        model=model,
        weights=weights if isinstance(weights, str) else tuple(weights.model_dump(exclude_none=True).items()),
        precision=table.look.precision,
        vae=table.look.vae,
        size=size,
        fps=fps,
        scenes=tuple(scenes),
        recipes=recipes,
        finishing=finish,
        film=film,
        tuned=tuned,
        limits=table.seams.limits(),
    )


def _table(data: dict[str, Any], found: list[tuple[Place, str]]) -> tuple[StoryTable | None, tuple[Place, ...]]:
    """The story's tables, and where they were wrong: that is complained of and left out, so that the rest is read."""
    try:
        return StoryTable.model_validate(data), ()
    except ValidationError as error:
        found += complaints(error, data)
        unsure = places_of(error, data)
    try:
        return StoryTable.model_validate(mended(data, unsure)), unsure
    except ValidationError:
        return None, unsure


def _model(look: Look, reading: Reading) -> WanModel:
    place: Place = ("look", "model")
    if not isinstance(look.model, str):
        for key, file in look.model.model_dump(exclude_none=True).items():
            reading.path((*place, key), file)
        return I2V_A14B
    if reading.path(place, look.model) is None:
        return I2V_A14B
    try:
        return model_of(look.model, reading.folder)
    except OSError as error:
        reading.complain(place, f"model = {written(look.model)} cannot be read ({why(error)})")
    except (ValueError, AttributeError, RecursionError):
        reading.complain(place, f"model = {written(look.model)}: its model_index.json cannot be read: fetch it again")
    return I2V_A14B


def _scenes(table: StoryTable, model: WanModel, reading: Reading) -> list[Scene]:
    names: dict[str, str] = {}
    scenes: list[Scene] = []
    for index, part in enumerate(table.scene):
        folded = part.name.casefold()
        if folded in names:
            other = names[folded]
            case = "" if other == part.name else ", and files may not differ in case alone"
            reading.complain(("scene", index, "name"), f'there is a scene "{other}" already{case}: rename one')
        names.setdefault(folded, part.name)
        above = table.scene[index - 1].name if index else None
        scenes.append(_scene(part, index, above, table.look, model, reading))
    return scenes


def _scene(table: SceneTable, index: int, above: str | None, look: Look, model: WanModel, reading: Reading) -> Scene:
    place: Place = ("scene", index)

    def own(key: str, default: Any = None) -> Any:
        """The scene's value, else the look's, else the default."""
        mine = getattr(table, key)
        theirs = getattr(look, key)
        return mine if mine is not None else theirs if theirs is not None else default

    def whose(key: str) -> Place:
        return (*place, key) if getattr(table, key) is not None else ("look", key)

    asked = _asked_frames(table, place, look, model, reading)
    background = _colour(str(own("background", "white")), whose("background"), reading)
    seed = table.seed if table.seed is not None else derived_seed(look.seed or 0, table.name)
    loras: list[LoraTable] = own("loras", [])
    check_lora_files(loras, whose("loras"), reading)
    held = held_picture(table, place, model, reading)
    return Scene(
        name=table.name,
        prompt=joined(table.prompt, own("style", "")),
        negative_prompt=joined(
            own("negative_prompt", ""), *_preset(own("avoid", []), whose("avoid"), NEGATIVES, reading)
        ),
        opens_on=_opening(table, place, above, reading),
        ends_on=held or _ending(table, place, model, reading),
        seed=seed,
        frames=whole_frames(asked),
        asked_frames=asked,
        camera=own("camera"),
        caption=bool(own("caption", False)),
        fit=str(own("fit", "cover")),
        background=background,
        recipe=str(own("recipe", usual_recipe(model))),
        loras=loras_used(loras, whose("loras"), model, reading),
        positives=tuple(_preset(own("presets", []), whose("presets"), POSITIVES, reading)),
        seam=_seam(table.seam, place, reading),
        colour=_anchored(own("colour")),
        hand_on=hand_on_of(table, look, place, whole_frames(asked), reading),
        held=held is not None,
    )


def _anchored(said: str | ColourTable | None) -> Anchored | None:
    if isinstance(said, ColourTable):
        return Anchored(float(said.strength), float(said.drift))
    return Anchored() if said == "anchor" else None


def derived_seed(story_seed: int, name: str) -> int:
    """A scene's own seed from the story's: one seed for every clip piles up the same artefacts."""
    return int.from_bytes(hashlib.sha256(f"{story_seed}/{name}".encode()).digest()[:4], "big")


def _asked_frames(table: SceneTable, place: Place, look: Look, model: WanModel, reading: Reading) -> float:
    asked: float | None = None
    for part, at in ((table, place), (look, ("look",))):
        if part.seconds is not None and part.frames is not None:
            reading.complain((*at, "frames"), "seconds and frames both say how long it is: keep one")
        if asked is None:
            asked = part.seconds * model.fps if part.seconds is not None else part.frames
    return model.frames if asked is None else asked


def _colour(name: str, place: Place, reading: Reading) -> Colour:
    try:
        return parse_colour(name)
    except ValueError:
        reading.complain(place, f'background = {written(name)} is no colour: write a name ("white") or "#rrggbb"')
        return (255, 255, 255)


def _preset(names: list[str], place: Place, there: Mapping[str, str], reading: Reading) -> list[str]:
    for index, name in enumerate(names):
        if name not in there:
            hint = did_you_mean(name, there) or f" (there are: {', '.join(sorted(there))})"
            reading.complain((*place, index), f"{place[-1]}: there is no preset {written(name)}{hint}")
    return [there[name] for name in names if name in there]


def _seam(text: str, place: Place, reading: Reading) -> Seam:
    try:
        return parse_seam(text)
    except SeamError as error:
        reading.complain((*place, "seam"), str(error))
        return CUT


def _opening(table: SceneTable, place: Place, above: str | None, reading: Reading) -> Path | After:
    if table.image is not None and table.after is not None:
        reading.complain((*place, "after"), "image and after both say what it opens on: keep one")
    if table.image is not None:
        return reading.picture((*place, "image"), table.image) or Path(table.image)
    before = table.after or above
    if before is None:
        reading.complain(place, 'the first scene needs a picture to open on: image = "picture.png"')
    return After(before or "")


def _ending(table: SceneTable, place: Place, model: WanModel, reading: Reading) -> Path | Opening | None:
    key = "end_on" if table.end_on is not None else "end_image"
    if table.end_image is not None and table.end_on is not None:
        reading.complain((*place, "end_on"), "end_image and end_on both say what it ends on: keep one")
    if getattr(table, key) is not None and not model.takes_end_image:
        reading.complain((*place, key), f"{model.name} takes no end image: drop {key}, or use wan2.2-i2v-a14b")
    if table.end_on is not None:
        return Opening(table.end_on)
    if table.end_image is not None:
        return reading.picture((*place, "end_image"), table.end_image)
    return None
