"""pydantic's errors in an author's words: what is wrong, with what was written, and what to write instead."""

from __future__ import annotations

import re
import types
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from storyboard.mistakes import Place, did_you_mean, written
from storyboard.schema import (
    EncodeTable,
    FinishTable,
    InterpolateTable,
    Look,
    RecipeTable,
    SceneTable,
    StoryTable,
    UpscaleTable,
)

WANTED = {
    "string_type": "text in quotes",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list, as in [ ... ]",
    "model_type": "a table, as in { key = value }",
    "model_attributes_type": "a table, as in { key = value }",
    "dict_type": "a table",
}

HOMES: tuple[tuple[type[BaseModel], str], ...] = (
    (Look, "[look]"),
    (SceneTable, "a [[scene]]"),
    (FinishTable, "[finish]"),
    (RecipeTable, "a [recipe.NAME]"),
    (UpscaleTable, "upscale = { ... } in [finish]"),
    (InterpolateTable, "interpolate = { ... } in [finish]"),
    (EncodeTable, "encode = { ... } in [finish]"),
    (StoryTable, "the first lines of the story"),
)

BARE = {"name": "-{}-", "prompt": "-"}
"""What a scene must have, to stand in for what was wrong; no author's scene is likely to bear such a name."""


def complaints(error: ValidationError, data: dict[str, Any]) -> list[tuple[Place, str]]:
    """Each mistake's place in the story and its message, one a place."""
    grouped: dict[Place, list[ErrorDetails]] = {}
    for detail in error.errors(include_url=False):
        grouped.setdefault(_place(detail, data), []).append(detail)
    # A value that may be of several kinds fails once a kind: what failed inside it says more than that it is none.
    inner = {place[:-1] for place in grouped if len(place) > 1}
    wrong_kind = {place for place, details in grouped.items() if all(d["type"] in WANTED for d in details)}
    return [(place, _message(place, details)) for place, details in grouped.items() if place not in inner & wrong_kind]


def mended(data: dict[str, Any], places: Sequence[Place]) -> dict[str, Any]:
    """The story without what is wrong at these places, so that the rest of it can be read for more mistakes."""
    rest = _copy(data)
    if isinstance(data.get("scene"), list):
        rest["scene"] = [_copy(scene) for scene in data["scene"]]
    for place in places:
        match place:
            case ("scene", int(index), *inner):
                _mend_scene(rest["scene"][index], index, inner)
            case ("recipe", name, *_) if isinstance(rest.get("recipe"), dict):
                rest["recipe"][name] = {}
            case (table, key, *_) if isinstance(rest.get(table), dict):
                rest[table].pop(key, None)
            case (key, *_):
                rest.pop(key, None)
            case _:
                pass
    return rest


def _mend_scene(scene: dict[str | int, object], index: int, inner: Sequence[str | int]) -> None:
    for key in inner[:1] or BARE:
        scene.pop(key, None)
        if key in BARE:
            scene[key] = BARE[str(key)].format(index)


def _copy(table: object) -> dict[Any, Any]:
    """A table and the tables in it, one level deep; an empty one for anything else."""
    if not isinstance(table, dict):
        return {}
    known = cast("dict[Any, Any]", table)
    return {key: dict(cast("dict[Any, Any]", v)) if isinstance(v, dict) else v for key, v in known.items()}


def _place(detail: ErrorDetails, data: object) -> Place:
    """The error's place in what was written: pydantic's own adds the names of the kinds it tried."""
    place: Place = ()
    here = data
    for step in detail["loc"]:
        if isinstance(here, dict) and step in here:
            here = cast("dict[str | int, object]", here)[step]
        elif isinstance(here, list) and isinstance(step, int) and step < len(cast("list[object]", here)):
            here = cast("list[object]", here)[step]
        elif detail["type"] != "missing" or step != detail["loc"][-1]:
            continue
        place = (*place, step)
    return place


def _message(place: Place, details: Sequence[ErrorDetails]) -> str:
    detail = details[0]
    kind, given, ctx = detail["type"], detail["input"], detail.get("ctx", {})
    key = _subject(place[-1]) if place else "the story"
    match kind:
        case "missing" | "too_short" if place == ("scene",):
            return "the story has no scenes: each begins with a line [[scene]]"
        case "list_type" if place == ("scene",):
            return _no_scenes(given)
        case "extra_forbidden":
            return _unknown(str(place[-1]), place[:-1])
        case "missing":
            return f'{_table(place[:-1])} needs "{key}"'
        case "literal_error":
            known = re.findall(r"'([^']*)'", str(ctx["expected"]))
            hint = did_you_mean(given, known) if isinstance(given, str) else ""
            return f"{key} = {written(given)} is none of {', '.join(map(written, known))}{hint}"
        case "string_too_short":
            return f"{key} is empty: write something, or leave it out"
        case "string_too_long":
            return f"{key} is longer than {ctx['max_length']} characters"
        case "string_pattern_mismatch":
            return f"{key} = {written(given)} may hold letters, digits, - and _ only"
        case "finite_number":
            return f"{key} = {written(given)} must be a finite number"
        case "greater_than" | "greater_than_equal" | "less_than" | "less_than_equal":
            return f"{key} = {written(given)} must be {_bound(kind, ctx)}"
        case _ if kind in WANTED:
            if len(place) == 1 and isinstance(given, list):
                return f"[{key}] is one table: write its heading in single brackets, once"
            wanted = " or ".join(dict.fromkeys(WANTED.get(d["type"], d["msg"]) for d in details))
            return f"{key} must be {wanted}, not {written(given)}"
        case _:
            return f"{key}: {detail['msg']}"


def _no_scenes(given: object) -> str:
    if isinstance(given, dict):
        return "each scene is headed [[scene]], in double brackets"
    return f"scene must be tables headed [[scene]], not {written(given)}"


def _bound(kind: str, ctx: dict[str, Any]) -> str:
    words = {"greater_than": "more than", "greater_than_equal": "at least", "less_than": "less than"}
    limit = next(ctx[name] for name in ("gt", "ge", "lt", "le") if name in ctx)
    return f"{words.get(kind, 'at most')} {limit if isinstance(limit, int) else f'{limit:g}'}"


def _unknown(key: str, around: Place) -> str:
    """An unknown key, with the table that has it or the key that was meant."""
    here = known_keys(around)
    order = reversed(HOMES) if around[:1] == ("finish",) else HOMES
    homes = [name for table, name in order if key in table.model_fields]
    if homes and here:
        return f"{key} does not belong here, but in {homes[0]}"
    there = f" (there are: {', '.join(here)})" if len(here) < 8 else ""
    return f"unknown key {written(key)}{did_you_mean(key, here) or there}"


def _subject(key: str | int) -> str:
    return f"item {key + 1}" if isinstance(key, int) else str(key)


def _table(place: Place) -> str:
    match place:
        case ():
            return "the story"
        case ("scene", int(index)):
            return f"scene {index + 1}"
        case _:
            return ".".join(str(step) for step in place if isinstance(step, str))


def known_keys(place: Place) -> list[str]:
    """The keys a table at this place may have."""
    keys: list[str] = []
    kinds: list[Any] = [StoryTable]
    for step in place:
        kinds = [inner for kind in kinds for inner in _inside(kind, step)]
    for kind in kinds:
        for model in _models(kind):
            keys += model.model_fields
    return keys


def _inside(kind: Any, step: str | int) -> list[Any]:
    found: list[Any] = []
    for option in _options(kind):
        if isinstance(option, type) and issubclass(option, BaseModel):
            if step in option.model_fields:
                found.append(option.model_fields[str(step)].annotation)
        elif get_origin(option) in (list, dict):
            found.append(get_args(option)[-1])
    return found


def _models(kind: Any) -> list[type[BaseModel]]:
    return [option for option in _options(kind) if isinstance(option, type) and issubclass(option, BaseModel)]


def _options(kind: Any) -> list[Any]:
    """The kinds a value may be of: unions and Annotated opened."""
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return [option for part in get_args(kind) for option in _options(part)]
    if origin is Annotated:
        return _options(get_args(kind)[0])
    if origin is Literal:
        return []
    return [kind]
