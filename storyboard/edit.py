"""Changes to story.toml that a command makes for its author: comments and layout stay."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

from storyboard.mistakes import Mistake, Places, StoryError, Written


def write_seed(path: Path, scene: str, seed: int) -> None:
    """Give a scene its seed, in the file as it is now. Raises StoryError when that cannot be done."""
    try:
        text = path.read_bytes().decode("utf-8")
        mark = "\ufeff" if text.startswith("\ufeff") else ""
        _replace(path, mark + with_seed(text.removeprefix(mark), scene, seed))
    except OSError as error:
        raise _unwritten(path, scene, seed, f"the file cannot be written ({error.strerror})") from error
    except (KeyError, ValueError, RecursionError) as error:
        raise _unwritten(path, scene, seed, "the scene cannot be found in the file any more") from error


def _unwritten(path: Path, scene: str, seed: int, why: str) -> StoryError:
    return StoryError([Mistake(f"its new seed, {seed}, was not written: {why}", str(path), scene=scene)])


def with_seed(text: str, scene: str, seed: int) -> str:
    """The story's text with that scene's seed; nothing else in it changes.

    Raises:
        KeyError: it has no such scene.
        ValueError: it is no TOML.
    """
    tables = _tables(text)
    index = next((i for i, table in enumerate(tables["scene"]) if table.get("name") == scene), None)
    if index is None:
        raise KeyError(scene)
    changed = _changed(text, index, seed)
    tables["scene"][index]["seed"] = seed
    if _tables(changed) != tables:
        raise ValueError("the text is not what its grammar makes of it")
    return changed


def _changed(text: str, index: int, seed: int) -> str:
    places = Places(text)
    source = text.encode()
    old = places.written(("scene", index, "seed"))
    if old is not None and old.value is not None:
        start, stop, new = old.value.start_byte, old.value.end_byte, str(seed)
    else:
        named = places.written(("scene", index, "name"))
        if named is None or named.value is None:
            raise ValueError("the scene's name cannot be found")
        start, new = _after_name(source, named, seed)
        stop = start
    return (source[:start] + new.encode() + source[stop:]).decode()


def _after_name(source: bytes, named: Written, seed: int) -> tuple[int, str]:
    """Where a seed is inserted and how: on a line of its own under the name's, or next to it in an inline table."""
    assert named.value is not None  # the caller looked
    equals = source[named.key.end_byte : named.value.start_byte].decode()
    end = named.value.end_byte
    pair = named.key.parent
    if pair is None or pair.parent is None or pair.parent.type == "inline_table":
        return end, f", seed{equals}{seed}"
    indent = source[source.rfind(b"\n", 0, named.key.start_byte) + 1 : named.key.start_byte].decode()
    stop = source.find(b"\n", end)
    stop = len(source) if stop < 0 else stop
    newline = "\r\n" if b"\r\n" in source else "\n"
    return stop - source[:stop].endswith(b"\r"), f"{newline}{indent}seed{equals}{seed}"


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
