"""Files that people look at, whole at every moment: written beside their place, then renamed into it."""

from __future__ import annotations

import contextlib
import shutil
import time
import uuid
from collections.abc import Generator
from pathlib import Path

from scenes.files import settle_folder

STALE_SECONDS = 3600


@contextlib.contextmanager
def published(target: Path) -> Generator[Path]:
    """A path beside `target` to write a file or a folder to: it becomes `target` when the block ends well.

    What a killed run left beside it an hour ago and longer is removed.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    _sweep(target)
    # Not named by process: runs in several containers may share a number, and a folder.
    aside = target.with_name(f".{target.stem}.{uuid.uuid4().hex[:12]}.tmp{target.suffix}")
    try:
        yield aside
        aside.replace(target)
        settle_folder(target.parent)
    finally:
        _remove(aside)


def _sweep(target: Path) -> None:
    for left in target.parent.glob(f".{target.stem}.*.tmp{target.suffix}"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - _last_written(left) > STALE_SECONDS:
                _remove(left)


def _last_written(path: Path) -> float:
    """A folder that is being filled keeps its own time while what lies within is written."""
    newest = path.stat().st_mtime
    for within in path.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            newest = max(newest, within.lstat().st_mtime)
    return newest


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
