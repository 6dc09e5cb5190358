"""Which file serves what: models' parts, recipes' LoRAs, upscalers; what is refused, and what is missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from post.rife_weights import PULLED, known_rife
from post.weights import WeightsMissing as PostMissing
from post.weights import known_upscalers
from scenes.wan.checkpoint import CheckpointError, read_checkpoint
from scenes.wan.identify import identify
from scenes.wan.models import I2V_A14B, MODELS, WanModel
from scenes.wan.named import NAMED, find_loras
from scenes.wan.recipes import RecipeError
from scenes.wan.weights import Candidate, WeightsMissing, candidates, find_weights, lora_files, troubles
from storyboard.catalogue import CATALOGUE
from storyboard.room import gigabytes

UNNAMED = "no weights folder is named: set STORYBOARD_MODELS=/path/to/ComfyUI/models"


@dataclass(frozen=True, slots=True)
class ServedFile:
    """A part of a model, and the file or folder that serves it."""

    part: str
    path: str
    format: str
    bytes: int


@dataclass(frozen=True, slots=True)
class ServedModel:
    """`lacks`: why it cannot be drawn with, None where all is there. `pull` brings its files."""

    name: str
    files: tuple[ServedFile, ...]
    lacks: str | None
    pull: str


@dataclass(frozen=True, slots=True)
class ServedRecipe:
    """`loras`: its acceleration LoRA's files. `note`: they are another family's. `lacks` and `pull`: as a model's."""

    name: str
    loras: tuple[str, ...]
    note: str | None
    lacks: str | None
    pull: str | None


@dataclass(frozen=True, slots=True)
class ServedUpscaler:
    name: str
    path: str | None
    lacks: str | None


@dataclass(frozen=True, slots=True)
class ServedRife:
    """`version`: as its file's name tells, or else that of its net. `pull`: what brings it, None where nothing does."""

    name: str
    path: str | None
    version: str | None
    lacks: str | None
    pull: str | None


@dataclass(frozen=True, slots=True)
class OtherFile:
    """A file that would serve, where another one is taken."""

    path: str
    what: str
    bytes: int


@dataclass(frozen=True, slots=True)
class RefusedFile:
    path: str
    why: str


@dataclass(frozen=True, slots=True)
class Pullable:
    name: str
    says: str
    licence: str


@dataclass(frozen=True, slots=True)
class Here:
    """`troubles`: what is wrong with the folders themselves."""

    folders: tuple[str, ...]
    troubles: tuple[str, ...]
    models: tuple[ServedModel, ...]
    recipes: tuple[ServedRecipe, ...]
    upscalers: tuple[ServedUpscaler, ...]
    interpolators: tuple[ServedRife, ...]
    others: tuple[OtherFile, ...]
    refused: tuple[RefusedFile, ...]
    published: tuple[Pullable, ...]


def models_here(folders: Sequence[Path]) -> Here:
    """What the weights folders and the hub's cache hold."""
    models = tuple(_model(model, folders) for model in MODELS.values())
    wrong = list(troubles(folders))
    recipes = tuple(_recipes(lora_files(folders, wrong)))
    taken = {file.path for model in models for file in model.files}
    taken |= {path for recipe in recipes for path in recipe.loras}
    there = candidates(folders)
    return Here(
        folders=tuple(map(str, folders)),
        troubles=tuple(wrong),
        models=models,
        recipes=recipes,
        upscalers=tuple(_upscalers(folders)),
        interpolators=tuple(_interpolators(folders)),
        others=tuple(_other(each) for each in there if each.identity and str(each.path) not in taken),
        refused=tuple(RefusedFile(str(each.path), each.refusal) for each in there if each.refusal),
        published=tuple(Pullable(bundle.name, bundle.says, bundle.licence) for bundle in CATALOGUE.values()),
    )


def _model(model: WanModel, folders: Sequence[Path]) -> ServedModel:
    pull = f"storyboard models pull {model.name}"
    try:
        # Beside no story: what a story keeps beside itself is its own.
        located = find_weights(model.name, model, Path(), folders)
        parts = {
            "high" if model.experts > 1 else "expert": located.high,
            "low": located.low,
            "vae": located.vae,
            "text encoder": located.text_encoder,
        }
        files = [_file(part, path) for part, path in parts.items() if path is not None]
    except (WeightsMissing, CheckpointError, OSError) as error:
        return ServedModel(model.name, (), str(error), pull)
    tokenizer, size = located.tokenizer, 0
    if tokenizer is not None:
        size = sum(each.stat().st_size for each in ([tokenizer] if tokenizer.is_file() else tokenizer.iterdir()))
    where = located.text_encoder if tokenizer is None else tokenizer
    files.append(ServedFile("tokenizer", str(where), "in the text encoder" if tokenizer is None else "", size))
    return ServedModel(model.name, tuple(files), None, pull)


def _file(part: str, path: Path) -> ServedFile:
    checkpoint = read_checkpoint(path)
    size = sum(file.stat().st_size for file in checkpoint.files)
    return ServedFile(part, str(path), identify(checkpoint).format, size)


def _recipes(there: Mapping[str, Path]) -> Iterator[ServedRecipe]:
    for recipe in NAMED.values():
        pull = f"storyboard models pull {recipe.family.name}" if recipe.family else None
        try:
            found = find_loras(recipe, there)
        except RecipeError as error:
            yield ServedRecipe(recipe.name, (), None, str(error), pull)
            continue
        used = zip((found.high, found.low), recipe.strengths, strict=True) if found else ()
        files = dict.fromkeys(name for name, strength in used if strength)
        yield ServedRecipe(
            recipe.name, tuple(str(there[name]) for name in files), found.warning if found else None, None, pull
        )


def _upscalers(folders: Sequence[Path]) -> Iterator[ServedUpscaler]:
    for name, served in known_upscalers(folders).items():
        if isinstance(served, PostMissing):
            yield ServedUpscaler(name, None, str(served))
        else:
            yield ServedUpscaler(name, str(served.path), None)


def _interpolators(folders: Sequence[Path]) -> Iterator[ServedRife]:
    for name, served in known_rife(folders).items():
        pull = f"storyboard models pull {PULLED[name]}" if name in PULLED else None
        if isinstance(served, PostMissing):
            yield ServedRife(name, None, None, str(served), pull)
        else:
            yield ServedRife(name, str(served.path), served.version, None, pull)


def _other(candidate: Candidate) -> OtherFile:
    identity = candidate.identity
    assert identity is not None
    of = f" of {identity.model.name}" if identity.model else ""
    side = f", {candidate.side} noise" if candidate.side and identity.model is I2V_A14B else ""
    files = candidate.checkpoint.files if candidate.checkpoint else ()
    what = f"{identity.part.replace('-', ' ')}{of}{side}, {identity.format}"
    return OtherFile(str(candidate.path), what, sum(file.stat().st_size for file in files))


def model_lines(here: Here) -> Iterator[str]:
    """For a person: what is there, then what is not and how to get it."""
    yield f"weights folders: {', '.join(here.folders)}" if here.folders else UNNAMED
    yield from here.troubles
    for model in here.models:
        yield ""
        yield model.name
        for file in model.files:
            size = gigabytes(file.bytes) if file.bytes else ""
            yield f"  {file.part:<13} {file.format:<20} {size:>8}  {file.path}"
        if model.lacks is not None:
            # Where was looked and what is of no use is said of all models at once, above and below.
            yield f"  {model.lacks.partition('. Looked ')[0]}"
        if not model.files:
            yield f"  -> {model.pull}"
    yield from ("", "recipes and their LoRAs")
    for recipe in here.recipes:
        first, *more = recipe.loras or (recipe.lacks or "none needed",)
        yield f"  {recipe.name:<12} {first}"
        yield from (f"  {'':<12} {line}" for line in more)
        if recipe.note is not None:
            yield f"  {'':<12} {recipe.note}"
            yield f"  {'':<12} -> {recipe.pull}"
    yield from ("", "upscalers")
    for upscaler in here.upscalers:
        yield f"  {upscaler.name:<24} {upscaler.path or (upscaler.lacks or '').removeprefix(f'{upscaler.name}: ')}"
    yield from ("", "interpolators (flow needs no weights)")
    for rife in here.interpolators:
        served = f"{rife.version:<5} {rife.path}" if rife.path is not None else None
        yield f"  {rife.name:<24} {served or (rife.lacks or '').removeprefix(f'{rife.name}: ')}"
    yield from _rest(here)


def _rest(here: Here) -> Iterator[str]:
    if here.others:
        yield ""
        yield "also here"
        for other in here.others:
            yield f"  {other.path}: {other.what}, {gigabytes(other.bytes)}"
    if here.refused:
        yield ""
        yield "refused"
        for refused in here.refused:
            yield f"  {refused.why}"
    yield ""
    yield "published: storyboard models pull NAME"
    for bundle in here.published:
        yield f"  {bundle.name:<21} {bundle.says} ({bundle.licence})"
