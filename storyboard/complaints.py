"""pydantic's errors in an author's words: what is wrong, with what was written, and what to write instead."""

from __future__ import annotations

import re
import types
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from storyboard.mistakes import Place, did_you_mean
from storyboard.schema import StoryTable

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


def complaints(error: ValidationError, data: dict[str, Any]) -> list[tuple[Place, str]]:
    """Each mistake's place in the story and its message, one a place."""
    grouped: dict[Place, list[ErrorDetails]] = {}
    for detail in error.errors(include_url=False):
        grouped.setdefault(_place(detail, data), []).append(detail)
    # A value that may be of several kinds fails once a kind: what failed inside it says more than that it is none.
    inner = {place[:-1] for place in grouped if len(place) > 1}
    wrong_kind = {place for place, details in grouped.items() if all(d["type"] in WANTED for d in details)}
    return [(place, _message(place, details)) for place, details in grouped.items() if place not in inner & wrong_kind]


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
    key, given, ctx = place[-1] if place else "", detail["input"], detail.get("ctx", {})
    match detail["type"]:
        case "extra_forbidden":
            return f'unknown key "{key}"{did_you_mean(str(key), known_keys(place[:-1]))}'
        case "missing":
            return f'{_table(place[:-1])} needs "{key}"'
        case "literal_error":
            known = re.findall(r"'([^']*)'", str(ctx["expected"]))
            choice = ", ".join(f'"{k}"' for k in known)
            return f"{key} = {written(given)} is none of {choice}{did_you_mean(str(given), known)}"
        case "string_too_short":
            return f"{key} is empty"
        case "string_too_long":
            return f"{key} is longer than {ctx['max_length']} characters"
        case "too_short":
            return f"{key} is empty: a story has at least one [[scene]]"
        case "string_pattern_mismatch":
            return f"{key} = {written(given)} may hold letters, digits, - and _ only"
        case "greater_than":
            return f"{key} = {written(given)} must be more than {ctx['gt']:g}"
        case "greater_than_equal":
            return f"{key} = {written(given)} must be at least {ctx['ge']:g}"
        case "less_than":
            return f"{key} = {written(given)} must be less than {ctx['lt']:g}"
        case "less_than_equal":
            return f"{key} = {written(given)} must be at most {ctx['le']:g}"
        case "finite_number":
            return f"{key} = {written(given)} must be a finite number"
        case kind if kind in WANTED:
            wanted = " or ".join(dict.fromkeys(WANTED.get(d["type"], d["msg"]) for d in details))
            return f"{_subject(key)} must be {wanted}, not {written(given)}"
        case _:
            return f"{_subject(key)}: {detail['msg']}"


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


def written(value: object) -> str:
    """A value as its author would write it, shortened."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list"
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


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
