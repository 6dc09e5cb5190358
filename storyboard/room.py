"""Room on disk: how much there is, and how a person reads it."""

from __future__ import annotations

import shutil
from pathlib import Path


def free_bytes(path: Path) -> int:
    """Room where a folder is, or will be."""
    return shutil.disk_usage(existing(path)).free


def existing(path: Path) -> Path:
    """The nearest folder above that is there."""
    path = path.absolute()
    while not path.is_dir():
        path = path.parent
    return path


def gigabytes(count: float) -> str:
    if count >= 1e8:
        return f"{count / 1e9:.1f} GB"
    return f"{max(0.1, count / 1e6):.1f} MB" if count else "0 MB"
