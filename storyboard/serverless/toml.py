"""A story given as an object, written as a story file."""

from __future__ import annotations

import json
import math
import re
from typing import Any, cast

BARE = re.compile(r"[A-Za-z0-9_-]+")


def toml_text(tables: dict[str, Any]) -> str:
    """The tables as TOML; what is null is left out, as not said.

    Raises:
        ValueError: it holds what no TOML can say.
    """
    try:
        lines = [f"{_key(key)} = {_value(value)}" for key, value in tables.items() if _plain(value)]
        for key, value in tables.items():
            for heading, table in _headed(key, value):
                lines += ["", heading, *(f"{_key(k)} = {_value(v)}" for k, v in table.items() if v is not None)]
        text = "\n".join(lines) + "\n"
        text.encode("utf-8")
    except RecursionError:
        raise ValueError("is nested too deep to be a story") from None
    except UnicodeEncodeError:
        raise ValueError("holds half of a character") from None
    return text


def _plain(value: object) -> bool:
    """Whether it stands above all headings."""
    return value is not None and not _headed("", value)


def _headed(key: str, value: object) -> list[tuple[str, dict[str, Any]]]:
    """[look] and [[scene]]; whatever is a table, or a list of nothing but tables."""
    if isinstance(value, dict):
        return [(f"[{_key(key)}]", cast("dict[str, Any]", value))]
    tables = cast("list[object]", value) if isinstance(value, list) else []
    if not all(isinstance(table, dict) for table in tables):
        return []
    return [(f"[[{_key(key)}]]", cast("dict[str, Any]", table)) for table in tables]


def _key(key: str) -> str:
    return key if BARE.fullmatch(key) else _text(key)


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")  # the one that JSON leaves as it is


def _value(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return _text(value)
        case int():
            return str(value)
        case float():
            return repr(value) if math.isfinite(value) else str(value)  # inf and nan are TOML's words too
        case list():
            return f"[{', '.join(_value(item) for item in cast('list[object]', value))}]"
        case dict():
            inner = cast("dict[str, object]", value)
            said = (f"{_key(key)} = {_value(item)}" for key, item in inner.items() if item is not None)
            return f"{{ {', '.join(said)} }}"
        case _:
            raise ValueError("holds a null in a list")
