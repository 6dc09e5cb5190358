"""A piece of work, as a value, becomes its recipe (plain JSON) and its digest: the name it is kept under."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields, is_dataclass
from fractions import Fraction
from typing import Any, cast

UNMADE = "unmade:"
"""Begins the digest of what does not exist yet, so that no recipe ever matches it."""

Json = dict[str, "Json"] | list["Json"] | str | int | float | bool | None


def recipe(value: Any) -> Json:
    """Plain JSON of a piece of work.

    Fields with compare=False (where a file lies) are left out, and so is what was not asked for, None and (): a new
    optional field changes no key of work that does not use it.

    Raises:
        TypeError: for a value with no fixed text, such as a Path or a set.
    """
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        named: dict[str, Json] = {"kind": value.kind}  # type: ignore[attr-defined]  # every work names its kind
        for each in fields(value):
            part = getattr(value, each.name)
            if each.compare and part is not None and part != ():
                named[each.name] = recipe(part)
        return named
    if isinstance(value, tuple):
        return [recipe(item) for item in cast("tuple[Any, ...]", value)]
    if isinstance(value, Fraction):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no place in a recipe: {value!r}")


def digest(value: Any) -> str:
    """The SHA-256 of a work's recipe, as hex."""
    return recipe_digest(recipe(value))


def recipe_digest(plain: Json) -> str:
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def changes(old: Json, new: Json, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Json, Json]]:
    """Where two recipes differ: the path to each value, what it was and what it is."""
    if isinstance(old, dict) and isinstance(new, dict) and old.get("kind") == new.get("kind"):
        keys = [*new, *(key for key in old if key not in new)]
        return [found for key in keys for found in changes(old.get(key), new.get(key), (*path, key))]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = enumerate(zip(old, new, strict=True))
        return [found for i, (a, b) in pairs for found in changes(a, b, (*path, str(i)))]
    return [] if old == new else [(path, old, new)]
