"""pydantic's errors in an author's words: what is wrong, with what was written, and what to write instead."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, cast

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from storyboard.keys import home_of, known_keys
from storyboard.mistakes import Place, did_you_mean, nearest, written

WANTED = {
    "string_type": "text in quotes",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list, as in [ ... ]",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "dict_type": "a table",
}

EMPTY = {"name": "letters, digits, - and _ make a name", "prompt": "say what happens in the clip"}
BARE = {"name": "-{}-", "prompt": "-"}
"""What a scene must have, to stand in for what was wrong; no author's scene is likely to bear such a name."""


def complaints(error: ValidationError, data: dict[str, Any]) -> list[tuple[Place, str]]:
    """Each mistake's place in the story and its message, one a place."""
    grouped: dict[Place, list[ErrorDetails]] = {}
    for detail in error.errors(include_url=False):
        grouped.setdefault(_place(detail, data), []).append(detail)
    # A value that may be of several kinds fails once a kind: what failed inside it says more than that it is none.
    # A required key that is misspelt is unknown and missing, and said once.
    for place in [place for place, details in grouped.items() if details[0]["type"] == "extra_forbidden"]:
        meant = nearest(str(place[-1]), known_keys(place[:-1]))
        if grouped.get((*place[:-1], meant or ""), [{"type": ""}])[0]["type"] == "missing":
            del grouped[(*place[:-1], meant or "")]
    inner = {place[:-1] for place in grouped if len(place) > 1}
    kinds = {*WANTED, "literal_error"}
    wrong_kind = {place for place, details in grouped.items() if all(d["type"] in kinds for d in details)}
    return [(place, _message(place, details)) for place, details in grouped.items() if place not in inner & wrong_kind]


def places_of(error: ValidationError, data: dict[str, Any]) -> tuple[Place, ...]:
    """Everywhere that something is wrong."""
    return tuple(_place(detail, data) for detail in error.errors(include_url=False))


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
    key = _subject(place)
    match kind:
        case "missing" | "too_short":
            return _missing(place)
        case "extra_forbidden":
            return _unknown(str(place[-1]), place[:-1])
        case "literal_error":
            known = re.findall(r"'([^']*)'", str(ctx["expected"]))
            hint = did_you_mean(given, known) if isinstance(given, str) else ""
            if len(known) == 1:
                return f"{key} = {written(given)} must be {written(known[0])}"
            either = not isinstance(given, str) and any(each["type"].startswith("model_") for each in details)
            table = ", nor a table" if either else ""
            return f"{key} = {written(given)} is none of {', '.join(map(written, known))}{table}{hint}"
        case "string_pattern_mismatch" if given:
            return f"{key} = {written(given)} may hold letters, digits, - and _ only"
        case "string_too_short" | "string_pattern_mismatch":
            remedy = EMPTY.get(key, f"write something, or leave {key} out")
            return f"{key} is empty: {remedy}"
        case "string_too_long":
            return f"{key} is longer than {ctx['max_length']} characters"
        case "finite_number":
            return f"{key} = {written(given)} must be a finite number"
        case "greater_than" | "greater_than_equal" | "less_than" | "less_than_equal":
            return f"{key} = {written(given)} must be {_bound(kind, ctx)}"
        case _ if kind in WANTED:
            return _wrong_kind(place, details)
        case _:
            return f"{key}: {detail['msg']}"


def _missing(place: Place) -> str:
    match place:
        case ("scene",):
            return "the story has no scenes: each begins with a line [[scene]]"
        case ("scene", int(index), "name"):
            return f'scene {index + 1} has no name: name = "..."'
        case ("scene", _, "prompt"):
            return "prompt is missing: say what happens in the clip"
        case _:
            return f'{place[-2]} needs {place[-1]} = "..." too'


def _wrong_kind(place: Place, details: Sequence[ErrorDetails]) -> str:
    given, key = details[0]["input"], _subject(place)
    match place:
        case ("scene",) if isinstance(given, dict):
            return "each scene is headed [[scene]], in double brackets"
        case ("scene",):
            return f"scene must be tables headed [[scene]], not {written(given)}"
        case ("scene", int(index)):
            return f"scene {index + 1} must be a table headed [[scene]], not {written(given)}"
        case ("recipe",):
            return f"recipe must be tables headed [recipe.NAME], not {written(given)}; [look] says which is used"
        case ("recipe", str()):
            return f"{key} stands outside a recipe: write it under a heading [recipe.NAME]"
        case ("look" | "finish" | "seams" as table,) if isinstance(given, list):
            return f"{table} is one table, headed [{table}] in single brackets"
        case ("look" | "finish" | "seams" as table,):
            return f"{table} must be a table, headed [{table}], not {written(given)}"
        case _:
            pass
    wanted = list(dict.fromkeys(WANTED.get(detail["type"], detail["msg"]) for detail in details))
    if wanted[-1] == "a table" and isinstance(given, str):
        wanted[-1] += f", as in {{ {known_keys(place)[0]} = {written(given)} }}"
    return f"{key} must be {', or '.join(wanted)}, not {written(given)}"


def _bound(kind: str, ctx: dict[str, Any]) -> str:
    words = {"greater_than": "more than", "greater_than_equal": "at least", "less_than": "less than"}
    limit = next(ctx[name] for name in ("gt", "ge", "lt", "le") if name in ctx)
    return f"{words.get(kind, 'at most')} {limit if isinstance(limit, int) else f'{limit:g}'}"


def _unknown(key: str, around: Place) -> str:
    """An unknown key, with the table that has it or the key that was meant."""
    here = known_keys(around)
    home = home_of(key, around)
    if home is not None:
        return f"{key} does not belong here, but in {home}"
    there = f" (there are: {', '.join(here)})" if len(here) < 8 else ""
    return f"unknown key {written(key)}{did_you_mean(key, here) or there}"


def _subject(place: Place) -> str:
    match place:
        case ():
            return "the story"
        case (*_, str(of), int(index)):
            return f"item {index + 1} of {of}"
        case _:
            return str(place[-1])
