"""Folders that the system does not let us look into: each is told of, and all else is used nevertheless."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

REMEDY = "give your user the right to read it (its owner does by chmod -R u+rX), or name another folder"


def probe(folder: Path) -> None:
    """Raises OSError where a folder cannot be looked into."""
    with contextlib.suppress(FileNotFoundError):
        (folder / "any").lstat()  # what is named in it is found by another right than the one to list it
    os.scandir(folder).close()


def refusal(folder: Path, error: OSError) -> str:
    """What is said of a folder that cannot be looked into, with the remedy."""
    says = f"{folder} cannot be read ({error.strerror})"
    return f"{says}: {REMEDY}" if isinstance(error, PermissionError) else says


def denied(folder: Path) -> str | None:
    """What keeps a folder from being looked into, with the remedy; None where nothing does, or it is no folder."""
    try:
        probe(folder)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return refusal(folder, error)
    return None


def is_folder(path: Path) -> bool:
    """Is it one, or may it be? One that cannot be looked at is told of where it is opened."""
    try:
        return path.is_dir()
    except PermissionError:
        return True


def open_to_us(folders: Iterable[Path], troubles: list[str]) -> Iterator[Path]:
    """The folders but for those that cannot be looked into; `troubles` takes why, once for each."""
    for folder in folders:
        trouble = denied(folder)
        if trouble is None:
            yield folder
        elif trouble not in troubles:
            troubles.append(trouble)
