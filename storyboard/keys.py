"""Which keys stand where in a story file, read off its schema."""

from __future__ import annotations

import types
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from storyboard.finish_table import EncodeTable, FinishTable, InterpolateTable, UpscaleTable
from storyboard.limits_table import SeamsTable
from storyboard.mistakes import Place
from storyboard.schema import Look, NagTable, RecipeTable, SceneTable, StoryTable

HOMES: tuple[tuple[type[BaseModel], str], ...] = (
    (Look, "[look]"),
    (SceneTable, "a [[scene]]"),
    (FinishTable, "[finish]"),
    (RecipeTable, "a [recipe.NAME]"),
    (UpscaleTable, "upscale = { ... } in [finish]"),
    (InterpolateTable, "interpolate = { ... } in [finish]"),
    (EncodeTable, "encode = { ... } in [finish]"),
    (SeamsTable, "[seams]"),
    (NagTable, "nag = { ... } in a [recipe.NAME]"),
    (StoryTable, "the first lines of the story"),
)


def home_of(key: str, near: Place) -> str | None:
    """The table that has such a key, in words: one in [finish] first for keys misplaced there."""
    order = reversed(HOMES) if near[:1] == ("finish",) else HOMES
    return next((name for table, name in order if key in table.model_fields), None)


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
