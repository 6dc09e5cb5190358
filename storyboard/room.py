"""Room on disk and in memory: how much there is, and how a person reads and writes it."""

from __future__ import annotations

import re
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


UNITS = {"": 1} | {
    f"{letter}{unit}": base**power
    for power, letter in enumerate("kmgt", 1)
    for unit, base in (("", 1024), ("b", 1000), ("ib", 1024))
}


def parse_bytes(text: str) -> int:
    """A size as people write it: 24GiB, 24 GB, 12000MiB, 24g (taken as GiB), or plain bytes.

    Raises:
        ValueError: it is no size, or one below 1 MiB, which nobody means.
    """
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([a-z]*)", text.strip().lower())
    unit = (found[2] if found[2] != "b" else "") if found else None
    if found is None or unit not in UNITS:
        raise ValueError(f'{text} is no size: write it as in "24GiB" or "24GB"')
    count = int(float(found[1]) * UNITS[unit])
    if count < 2**20:
        raise ValueError(f'{text} is {count} bytes: name the unit, as in "24GiB"')
    return count


def gigabytes(count: float) -> str:
    if count >= 1e8:
        return f"{count / 1e9:.1f} GB"
    return f"{max(0.1, count / 1e6):.1f} MB" if count else "0 MB"
