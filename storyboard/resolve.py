"""From the story as written to the story as meant: defaults, overrides, and every mistake that a type cannot catch."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from post.sound import soundtrack_seconds
from post.weights import PUBLISHED
from scenes.footage import Size
from scenes.picture import Colour, PictureError, parse_colour, picture_size
from scenes.wan.models import RECIPES, WanModel, model_of, whole_frames
from storyboard.complaints import complaints
from storyboard.mistakes import Place, did_you_mean
from storyboard.presets import NEGATIVES
from storyboard.sampling import loras_used, sampling
from storyboard.schema import FinishTable, Look, SceneTable, StoryTable, UpscaleTable
from storyboard.story import After, Finishing, Opening, Scene, Story, ring

SIZE_LIMIT = 16384
UPSCALE_FILES = (".pth", ".bin", ".param")


@dataclass
class Reading:
    """Where a story's paths start, whether they must stay there, and the mistakes found so far."""

    folder: Path
    confined: bool
    found: list[tuple[Place, str]]
    sizes: dict[Path, Size | None] = field(default_factory=dict[Path, "Size | None"])

    def complain(self, place: Place, message: str) -> None:
        self.found.append((place, message))

    def path(self, place: Place, name: str) -> Path | None:
        """A path as the author wrote it, from the story's folder; None after complaining."""
        if "\0" in name:
            self.complain(place, f"{place[-1]} holds a NUL character: that is no path")
            return None
        path = self.folder / (name if self.confined else Path(name).expanduser())
        if self.confined and not path.resolve().is_relative_to(self.folder.resolve()):
            self.complain(place, f'{place[-1]} = "{name}" leads outside the story\'s folder')
            return None
        return path

    def file(self, place: Place, name: str) -> Path | None:
        path = self.path(place, name)
        if path is None or path.is_file():
            return path
        what = "is a folder, not a file" if path.is_dir() else f"is not there{_nearby(path)}"
        self.complain(place, f'{place[-1]} = "{name}" {what}')
        return None

    def picture(self, place: Place, name: str) -> Path | None:
        """A picture that opens, with its size remembered."""
        path = self.file(place, name)
        if path is None or path in self.sizes:
            return path if path is None or self.sizes[path] else None
        try:
            self.sizes[path] = picture_size(path)
        except PictureError as error:
            self.sizes[path] = None
            self.complain(place, f'{place[-1]} = "{name}" {error}')
            return None
        return path


def resolve(data: dict[str, Any], path: Path, found: list[tuple[Place, str]], *, confined: bool) -> Story | None:
    """The story meant by a file's data; mistakes go to `found`, and None is given where they leave nothing to read."""
    try:
        table = StoryTable.model_validate(data)
    except ValidationError as error:
        found += complaints(error, data)
        return None
    reading = Reading(path.parent, confined, found)
    model = model_of(table.look.model if isinstance(table.look.model, str) else {"high": "", "low": ""}, path.parent)
    scenes = _scenes(table, model, reading)
    _check_graph(scenes, reading)
    size = _size(table.look.size, table, model, reading)
    film = _film(table, path, reading)
    recipes = tuple(
        (name, sampling(recipe, ("recipe", name), model, reading.complain)) for name, recipe in table.recipe.items()
    )
    _check_recipe_names(table, reading)
    for name in set(table.recipe) & set(RECIPES):
        reading.complain(("recipe", name), f'"{name}" is a recipe of ours: give yours another name')
    finishing = _finishing(table.finish, size or (832, 480), reading)
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
        fps=Fraction(table.look.fps or model.fps),
        scenes=tuple(scenes),
        recipes=recipes,
        finishing=finishing,
        film=film,
    )


def _scenes(table: StoryTable, model: WanModel, reading: Reading) -> list[Scene]:
    scenes: list[Scene] = []
    names: dict[str, str] = {}
    for index, written in enumerate(table.scene):
        other = names.setdefault(written.name.casefold(), written.name)
        if index and any(s.name.casefold() == written.name.casefold() for s in scenes):
            case = "" if other == written.name else f' ("{other}"; file names may not differ in case alone)'
            reading.complain(("scene", index, "name"), f'there is a scene "{written.name}" already{case}')
        above = table.scene[index - 1].name if index else None
        scenes.append(_scene(written, index, above, table.look, model, reading))
    return scenes


def _scene(written: SceneTable, index: int, above: str | None, look: Look, model: WanModel, reading: Reading) -> Scene:
    place: Place = ("scene", index)

    def own(key: str, default: Any = None) -> Any:
        """The scene's value, else the look's, else the default."""
        mine = getattr(written, key)
        theirs = getattr(look, key)
        return mine if mine is not None else theirs if theirs is not None else default

    def whose(key: str) -> Place:
        return (*place, key) if getattr(written, key) is not None else ("look", key)

    asked = _asked_frames(written, place, look, model, reading)
    background = _colour(str(own("background", "white")), whose("background"), reading)
    seed = written.seed if written.seed is not None else derived_seed(look.seed or 0, written.name)
    return Scene(
        name=written.name,
        prompt=_joined(written.prompt, own("style", "")),
        negative_prompt=_joined(own("negative_prompt", ""), *_avoided(own("avoid", []), whose("avoid"), reading)),
        opens_on=_opening(written, place, above, reading),
        ends_on=_ending(written, place, model, reading),
        seed=seed,
        frames=whole_frames(asked),
        asked_frames=asked,
        camera=own("camera"),
        caption=bool(own("caption", False)),
        fit=str(own("fit", "cover")),
        background=background,
        recipe=str(own("recipe", RECIPES[0])),
        loras=loras_used(own("loras", []), whose("loras"), reading.complain),
    )


def derived_seed(story_seed: int, name: str) -> int:
    """A scene's own seed from the story's: one seed for every clip piles up the same artefacts."""
    return int.from_bytes(hashlib.sha256(f"{story_seed}/{name}".encode()).digest()[:4], "big")


def _asked_frames(written: SceneTable, place: Place, look: Look, model: WanModel, reading: Reading) -> float:
    for table, at in ((written, place), (look, ("look",))):
        if table.seconds is not None and table.frames is not None:
            reading.complain((*at, "frames"), "seconds and frames both say how long: keep one")
        if table.seconds is not None:
            return table.seconds * model.fps
        if table.frames is not None:
            return table.frames
    return model.frames


def _colour(name: str, place: Place, reading: Reading) -> Colour:
    try:
        return parse_colour(name)
    except ValueError:
        reading.complain(place, f'background = "{name}" is no colour: write a name ("white") or "#rrggbb"')
        return (255, 255, 255)


def _joined(*texts: str) -> str:
    return ", ".join(text.strip().rstrip(",") for text in texts if text.strip())


def _avoided(names: list[str], place: Place, reading: Reading) -> list[str]:
    for name in names:
        if name not in NEGATIVES:
            known = ", ".join(sorted(NEGATIVES))
            hint = did_you_mean(name, NEGATIVES) or f" (there are: {known})"
            reading.complain(place, f'avoid names no preset "{name}"{hint}')
    return [NEGATIVES[name] for name in names if name in NEGATIVES]


def _opening(written: SceneTable, place: Place, above: str | None, reading: Reading) -> Path | After:
    if written.image is not None and written.after is not None:
        reading.complain((*place, "after"), "image and after both say what it opens on: keep one")
    if written.image is not None:
        return reading.picture((*place, "image"), written.image) or Path(written.image)
    before = written.after or above
    if before is None:
        reading.complain(place, 'the first scene needs an image to open on: image = "picture.png"')
    return After(before or "")


def _ending(written: SceneTable, place: Place, model: WanModel, reading: Reading) -> Path | Opening | None:
    key = "end_on" if written.end_on is not None else "end_image"
    if written.end_image is not None and written.end_on is not None:
        reading.complain((*place, "end_on"), "end_image and end_on both say what it ends on: keep one")
    if getattr(written, key) is not None and not model.takes_end_image:
        reading.complain((*place, key), f"{model.name} takes no end image: drop {key}, or use wan2.2-i2v-a14b")
    if written.end_on is not None:
        return Opening(written.end_on)
    if written.end_image is not None:
        return reading.picture((*place, "end_image"), written.end_image)
    return None


def _check_graph(scenes: list[Scene], reading: Reading) -> None:
    named = {scene.name: scene for scene in scenes}
    known = True
    for index, scene in enumerate(scenes):
        for key, link in (("after", scene.opens_on), ("end_on", scene.ends_on)):
            if not isinstance(link, After | Opening) or not link.scene or link.scene in named:
                continue
            known = False
            reading.complain(
                ("scene", index, key), f'no scene is named "{link.scene}"{did_you_mean(link.scene, named)}'
            )
    circle = ring(named) if known else []
    if circle:
        first = next(i for i, scene in enumerate(scenes) if scene.name in circle)
        key = "after" if isinstance(scenes[first].opens_on, After) else "end_on"
        reading.complain(("scene", first, key), f"scenes wait for each other in a ring: {' -> '.join(circle)}")


def parse_size(text: str) -> Size | None:
    match = re.fullmatch(r"\s*(\d{1,5})\s*[xX×]\s*(\d{1,5})\s*", text)
    return (int(match[1]), int(match[2])) if match else None


def _size(text: str, table: StoryTable, model: WanModel, reading: Reading) -> Size | None:
    place: Place = ("look", "size")
    if text.strip().lower() == "auto":
        return _auto_size(table, model, reading)
    size = parse_size(text)
    if size is None or 0 in size:
        reading.complain(place, f'size = "{text}" is not "832x480", width x height, or "auto"')
        return None
    if any(side % model.multiple for side in size):
        near = "x".join(str(max(model.multiple, round(s / model.multiple) * model.multiple)) for s in size)
        reading.complain(
            place, f'size = "{text}": {model.name} draws multiples of {model.multiple} (nearest: "{near}")'
        )
        return None
    if max(size) > 4096:
        reading.complain(place, f'size = "{text}" is past 4096: draw smaller and let [finish] upscale')
        return None
    return size


def _auto_size(table: StoryTable, model: WanModel, reading: Reading) -> Size | None:
    """The bucket nearest in aspect to the first picture that was read."""
    image = next((scene.image for scene in table.scene if scene.image is not None), None)
    if image is None:
        return model.buckets[0]  # the missing picture is complained of where the scene is read
    found = reading.sizes.get(reading.folder / (image if reading.confined else Path(image).expanduser()))
    if found is None:
        return model.buckets[0]
    aspect = found[0] / found[1]
    return min(model.buckets, key=lambda b: abs(_log2(b[0] / b[1]) - _log2(aspect)))


def _log2(ratio: float) -> float:
    import math

    return math.log2(ratio)


def _film(table: StoryTable, path: Path, reading: Reading) -> Path | None:
    if table.finish.film is None:
        film = path.parent / "out" / f"{path.stem}.mp4"
        clash = next((i for i, s in enumerate(table.scene) if s.name.casefold() == path.stem.casefold()), None)
        if clash is not None:
            reading.complain(
                ("scene", clash, "name"),
                f"the film goes to out/{path.stem}.mp4, which this scene's clip would overwrite: "
                'rename the scene, or set film = "..." in [finish]',
            )
        return film
    place: Place = ("finish", "film")
    named = reading.path(place, table.finish.film)
    if named is not None and named.suffix.lower() != ".mp4":
        reading.complain(place, f'film = "{table.finish.film}" must end in .mp4 (other formats: storyboard export)')
    if named is not None and named.parent == path.parent / "out":
        for scene in table.scene:
            if scene.name.casefold() == named.stem.casefold():
                reading.complain(place, f'film = "{table.finish.film}" is where scene "{scene.name}" goes: rename one')
                break
    return named


def _check_recipe_names(table: StoryTable, reading: Reading) -> None:
    known = {*RECIPES, *table.recipe}
    tables = [(("look",), table.look), *((("scene", i), s) for i, s in enumerate(table.scene))]
    for place, written in tables:
        if written.recipe is not None and written.recipe not in known:
            hint = did_you_mean(written.recipe, known) or f" (there are: {', '.join(sorted(known))})"
            reading.complain((*place, "recipe"), f'there is no recipe "{written.recipe}"{hint}')


def _finishing(table: FinishTable, size: Size, reading: Reading) -> Finishing:
    soundtrack = None
    if table.soundtrack is not None:
        place: Place = ("finish", "soundtrack")
        soundtrack = reading.file(place, table.soundtrack)
        if soundtrack is not None and soundtrack_seconds(soundtrack) is None:
            reading.complain(place, f'soundtrack = "{table.soundtrack}" holds no sound that can be read')
    _check_upscaler(table.upscale, reading)
    none = table.interpolate.model == "none"
    return Finishing(
        upscaler=table.upscale.model,
        size=_film_size(table.upscale, size, reading),
        interpolator="none" if table.interpolate.factor == 1 else table.interpolate.model,
        factor=1 if none else table.interpolate.factor,
        codec=table.encode.codec,
        crf=float(table.encode.crf),
        preset=table.encode.preset,
        soundtrack=soundtrack,
    )


def _check_upscaler(table: UpscaleTable, reading: Reading) -> None:
    known = ("lanczos", "none", *PUBLISHED)
    place: Place = ("finish", "upscale", "model")
    if table.model in known:
        return
    if table.model.lower().endswith(UPSCALE_FILES):
        reading.path(place, table.model)
        return
    hint = did_you_mean(table.model, known) or f" (there are: {', '.join(known)}; or a .pth file)"
    reading.complain(place, f'there is no upscaler "{table.model}"{hint}')


def _film_size(table: UpscaleTable, size: Size, reading: Reading) -> Size:
    """The film's width and height, both even: 4:2:0 video has no odd sizes."""
    said = [key for key in ("size", "scale", "short_side") if getattr(table, key) is not None]
    if len(said) > 1:
        reading.complain(("finish", "upscale", said[1]), f"{' and '.join(said)} all say how large: keep one")
    if table.model == "none":
        if said:
            reading.complain(("finish", "upscale", said[0]), f'{said[0]} needs an upscaler: model = "lanczos", say')
        return size
    if table.size is not None:
        named = parse_size(table.size)
        if named is None or 0 in named or max(named) > SIZE_LIMIT or any(side % 2 for side in named):
            limit = f"two even numbers up to {SIZE_LIMIT}"
            reading.complain(("finish", "upscale", "size"), f'size = "{table.size}" is not "1920x1080": {limit}')
            return size
        return named
    factor = table.short_side / min(size) if table.short_side else table.scale or 2
    width, height = (max(2, round(side * factor / 2) * 2) for side in size)
    if table.short_side and table.short_side % 2:
        reading.complain(("finish", "upscale", "short_side"), f"short_side = {table.short_side} must be even")
    return width, height


def _nearby(path: Path) -> str:
    """A file of nearly that name in its folder, or what is wrong with the folder."""
    if not path.parent.is_dir():
        return f" (no folder {path.parent.name}/ either)"
    return did_you_mean(path.name, {p.name.lower(): p for p in path.parent.iterdir() if p.is_file()})
