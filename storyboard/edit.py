"""Changes to story.toml that a command makes for its author: comments and layout stay."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

from storyboard.mistakes import Mistake, Places, StoryError, Written

Value = int | float | str
Keys = Mapping[str, Value]
UNDER = {"seed": ("name",), "negative_prompt": ("prompt", "name")}
"""Under which key another is put that the scene did not have; by default under its seed."""


class Clash(Exception):  # noqa: N818 (an outcome)
    """The file is no longer the one that was read: somebody else wrote to it, and nothing was."""


def digest_of(data: bytes) -> str:
    """What a state of the file is known by."""
    return hashlib.sha256(data).hexdigest()


def with_keys(text: str, scene: str, keys: Mapping[str, Value | None]) -> str:
    """As with_key, one after another; None takes a key out, with its line. Raises KeyError and ValueError."""
    for key, value in keys.items():
        text = without_key(text, scene, key) if value is None else with_key(text, scene, key, value)
    return text


def write_text(path: Path, text: str, digest: str) -> None:
    """Replace the file, if it still is the one of this digest. A byte order mark stays.

    Raises:
        Clash: it is another by now.
        OSError: it cannot be written.
    """
    before = path.read_bytes()
    if digest_of(before) != digest:
        raise Clash
    mark = "\ufeff" if before.startswith(b"\xef\xbb\xbf") else ""
    _replace(path, mark + text)


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


def with_key(text: str, scene: str, key: str, value: Value) -> str:
    """As with_seed, for any key."""
    tables = _tables(text)
    index = _index(tables, scene)
    changed = _changed(text, index, key, _toml(value, "\r\n" if "\r\n" in text else "\n"))
    tables["scene"][index][key] = value
    return _sure(changed, tables)


def without_key(text: str, scene: str, key: str) -> str:
    """The same, where the key leaves; a comment on its line stays."""
    tables = _tables(text)
    index = _index(tables, scene)
    if key not in tables["scene"][index]:
        return text
    del tables["scene"][index][key]
    return _sure(_taken_out(text, index, key), tables)


def _index(tables: dict[str, list[dict[str, object]]], scene: str) -> int:
    index = next((i for i, table in enumerate(tables["scene"]) if table.get("name") == scene), None)
    if index is None:
        raise KeyError(scene)
    return index


def _sure(changed: str, tables: dict[str, list[dict[str, object]]]) -> str:
    if _tables(changed) != tables:
        raise ValueError("the text is not what its grammar makes of it")
    return changed


def _toml(value: Value, newline: str = "\n") -> str:
    """Text of several lines is written as such."""
    if not isinstance(value, str):
        return json.dumps(value)
    if "\n" in value and not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", value):
        *lines, last = value.replace("\\", "\\\\").split("\n")
        lines = [line.replace('"""', '\\"\\"\\"') for line in lines]
        return f'"""{newline}{newline.join([*lines, last.replace(chr(34), chr(92) + chr(34))])}"""'
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _changed(text: str, index: int, key: str, value: str) -> str:
    places = Places(text)
    source = text.encode()
    old = places.written(("scene", index, key))
    if old is not None and old.value is not None:
        start, stop, new = old.value.start_byte, old.value.end_byte, value
    else:
        under = [places.written(("scene", index, each)) for each in UNDER.get(key, ("seed", "name"))]
        above = next((each for each in under if each is not None), None)
        if above is None or above.value is None:
            raise ValueError("the scene's name cannot be found")
        start, new = _after(source, above, key, value)
        stop = start
    return (source[:start] + new.encode() + source[stop:]).decode()


def _taken_out(text: str, index: int, key: str) -> str:
    found, source = Places(text).written(("scene", index, key)), text.encode()
    pair = found.key.parent if found is not None else None
    if found is None or found.value is None or pair is None:
        raise ValueError("the key cannot be found")
    start, stop = pair.start_byte, found.value.end_byte
    if pair.parent is None or pair.parent.type == "inline_table":
        after = re.match(rb"[ \t]*,[ \t]*", source[stop:])
        before = re.search(rb"[ \t]*,[ \t]*$", source[:start])
        stop += len(after[0]) if after is not None else 0
        start -= len(before[0]) if before is not None and after is None else 0
        return (source[:start] + source[stop:]).decode()
    rest = re.match(rb"[ \t]*(#[^\n]*)?\r?(\n|$)", source[stop:])
    if rest is None:
        raise ValueError("something else stands on its line")
    if rest[1] is not None:
        return (source[:start] + source[stop + rest.start(1) :]).decode()
    line = source.rfind(b"\n", 0, start) + 1
    return (source[:line] + source[stop + len(rest[0]) :]).decode()


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
