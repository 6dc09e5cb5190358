"""Changes to story.toml that a command makes for its author: comments and layout stay."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path

from storyboard.mistakes import Mistake, Places, StoryError, Written

Keys = Mapping[str, int | str]


def write_seed(path: Path, scene: str, seed: int) -> None:
    """Give a scene its seed, in the file as it is now. Raises StoryError when that cannot be done."""
    write_keys(path, scene, {"seed": seed})


def write_keys(path: Path, scene: str, keys: Keys, instead: Keys | None = None) -> None:
    """As write_seed, with the seed first and others after it. `instead`: of keys that the scene has, and no others."""
    try:
        text = path.read_bytes().decode("utf-8")
        mark = "\ufeff" if text.startswith("\ufeff") else ""
        text = text.removeprefix(mark)
        for key, value in keys.items():
            text = with_key(text, scene, key, value)
        said = next(table for table in _tables(text)["scene"] if table.get("name") == scene)
        for key, value in (instead or {}).items():
            text = with_key(text, scene, key, value) if key in said else text
        _replace(path, mark + text)
    except OSError as error:
        raise _unwritten(path, scene, keys, f"the file cannot be written ({error.strerror})") from error
    except (KeyError, ValueError, RecursionError) as error:
        raise _unwritten(path, scene, keys, "the scene cannot be found in the file any more") from error


def _unwritten(path: Path, scene: str, keys: Keys, why: str) -> StoryError:
    others = "".join(f", nor {key} = {_toml(value)}" for key, value in keys.items() if key != "seed")
    said = f"its new seed, {keys['seed']}, was not written{others}: {why}"
    return StoryError([Mistake(said, str(path), scene=scene)])


def with_seed(text: str, scene: str, seed: int) -> str:
    """The story's text with that scene's seed; nothing else in it changes.

    Raises:
        KeyError: it has no such scene.
        ValueError: it is no TOML.
    """
    return with_key(text, scene, "seed", seed)


def with_key(text: str, scene: str, key: str, value: int | str) -> str:
    """As with_seed, for any key."""
    tables = _tables(text)
    index = next((i for i, table in enumerate(tables["scene"]) if table.get("name") == scene), None)
    if index is None:
        raise KeyError(scene)
    changed = _changed(text, index, key, _toml(value))
    tables["scene"][index][key] = value
    if _tables(changed) != tables:
        raise ValueError("the text is not what its grammar makes of it")
    return changed


def _toml(value: int | str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _changed(text: str, index: int, key: str, value: str) -> str:
    places = Places(text)
    source = text.encode()
    old = places.written(("scene", index, key))
    if old is not None and old.value is not None:
        start, stop, new = old.value.start_byte, old.value.end_byte, value
    else:
        above = None if key == "seed" else places.written(("scene", index, "seed"))
        above = above or places.written(("scene", index, "name"))
        if above is None or above.value is None:
            raise ValueError("the scene's name cannot be found")
        start, new = _after(source, above, key, value)
        stop = start
    return (source[:start] + new.encode() + source[stop:]).decode()


def _after(source: bytes, above: Written, key: str, value: str) -> tuple[int, str]:
    """Where a key is inserted and how: on a line of its own under another's, or next to it in an inline table."""
    assert above.value is not None  # the caller looked
    equals = source[above.key.end_byte : above.value.start_byte].decode()
    end = above.value.end_byte
    pair = above.key.parent
    if pair is None or pair.parent is None or pair.parent.type == "inline_table":
        return end, f", {key}{equals}{value}"
    indent = source[source.rfind(b"\n", 0, above.key.start_byte) + 1 : above.key.start_byte].decode()
    stop = source.find(b"\n", end)
    stop = len(source) if stop < 0 else stop
    newline = "\r\n" if b"\r\n" in source else "\n"
    return stop - source[:stop].endswith(b"\r"), f"{newline}{indent}{key}{equals}{value}"


def _tables(text: str) -> dict[str, list[dict[str, object]]]:
    return {"scene": [], **tomllib.loads(text)}


def _replace(path: Path, text: str) -> None:
    """The whole file or the old one, with its own permissions."""
    target = path.resolve()  # a link stays a link
    aside = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with aside.open("wb") as file:
            file.write(text.encode("utf-8"))
            file.flush()
            os.fsync(file.fileno())
        aside.chmod(target.stat().st_mode)
        aside.replace(target)
    finally:
        aside.unlink(missing_ok=True)
