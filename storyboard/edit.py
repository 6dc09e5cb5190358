"""Changes to story.toml that a command makes for its author: comments and layout stay."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path

import tomlkit

from storyboard.mistakes import Mistake, Places, StoryError


def write_seed(path: Path, scene: str, seed: int) -> None:
    """Give a scene its seed, in the file as it is now. Raises StoryError when the scene is no longer in it."""
    text = path.read_bytes().decode("utf-8")
    mark = "\ufeff" if text.startswith("\ufeff") else ""
    try:
        _replace(path, mark + with_seed(text.removeprefix(mark), scene, seed))
    except (KeyError, ValueError) as error:
        what = f'scene "{scene}" cannot be found in it any more: its new seed, {seed}, was not written'
        raise StoryError([Mistake(what, str(path))]) from error


def with_seed(text: str, scene: str, seed: int) -> str:
    """The story's text with that scene's seed.

    Raises:
        KeyError: it has no such scene.
        ValueError: it is no TOML.
    """
    names = [str(table.get("name")) for table in _scenes(text)]
    if scene not in names:
        raise KeyError(scene)
    index = names.index(scene)
    if "seed" not in _scenes(text)[index]:
        inserted = _inserted(text, index, seed)
        if inserted is not None:
            return inserted
    document = tomlkit.parse(text)
    document["scene"][index]["seed"] = seed  # type: ignore[index]  # tomlkit types every item alike
    return tomlkit.dumps(document)


def _inserted(text: str, index: int, seed: int) -> str | None:
    """The seed on a line of its own under the name, where the name has a line of its own.

    tomlkit would append it to the scene's table, which in TOML ends with the comments above the next scene.
    """
    line = Places(text).find(("scene", index, "name"))[0]
    lines = text.splitlines(keepends=True)
    named = re.match(r"(\s*)name\s*=.*?(\r?\n|$)", lines[line - 1])
    if named is None:
        return None
    ending = named[2] or "\n"
    before = lines[line - 1] if named[2] else lines[line - 1] + ending
    lines[line - 1 : line] = [before, f"{named[1]}seed = {seed}{ending}"]
    changed = "".join(lines)
    wanted = [table | {"seed": seed} if i == index else table for i, table in enumerate(_scenes(text))]
    try:
        return changed if _scenes(changed) == wanted else None
    except ValueError:
        return None


def _scenes(text: str) -> list[dict[str, object]]:
    return tomllib.loads(text.replace("\r\n", "\n")).get("scene", [])


def _replace(path: Path, text: str) -> None:
    """The whole file or the old one, with its own permissions."""
    target = path.resolve()  # a link stays a link
    aside = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        aside.write_bytes(text.encode("utf-8"))
        aside.chmod(target.stat().st_mode)
        aside.replace(target)
    finally:
        aside.unlink(missing_ok=True)
