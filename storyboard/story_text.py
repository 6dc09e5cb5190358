"""The text of a story file, or why there is none."""

from __future__ import annotations

from pathlib import Path

from storyboard.mistakes import Mistake, StoryError


def story_text(path: Path) -> str:
    """What a story file holds. Raises StoryError where it is no file of text."""
    name = str(path)
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        hint = ": make one with `storyboard init`" if not path.parent.is_dir() else _siblings(path.parent)
        raise StoryError([Mistake(f"there is no such file{hint}", name)]) from None
    except IsADirectoryError:
        raise StoryError([Mistake(f"is a folder: name the story file in it{_siblings(path)}", name)]) from None
    except OSError as error:
        raise StoryError([Mistake(f"cannot be read: {error.strerror}", name)]) from None
    except UnicodeDecodeError as error:
        raise StoryError([_encoding_mistake(error, name)]) from None


def _encoding_mistake(error: UnicodeDecodeError, file: str) -> Mistake:
    given = error.object
    if given.startswith((b"\xff\xfe", b"\xfe\xff")):
        return Mistake("is UTF-16 text: save it as UTF-8", file)
    start = given.rfind(b"\n", 0, error.start) + 1
    source = given[start:].split(b"\n")[0].decode("utf-8", "replace").rstrip("\r")
    line = given.count(b"\n", 0, error.start) + 1
    column = len(given[start : error.start].decode("utf-8")) + 1
    return Mistake("is not UTF-8 text: save it as UTF-8", file, line, column, None, source)


def _siblings(folder: Path) -> str:
    """A hint at the story files that are there."""
    try:
        there = sorted(p.name for p in folder.glob("*.toml"))
    except OSError:
        there = []
    return f" (here: {', '.join(there[:5])})" if there else ", or make one with `storyboard init`"
