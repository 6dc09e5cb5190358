"""A file of weights, before it is opened: there, and the one that was named."""

from __future__ import annotations

from pathlib import Path

from post.weights import WeightsMissing
from scenes.files import file_digest
from scenes.footage import DamagedFile


def check_weights(path: Path, digest: str) -> None:
    """digest: SHA-256 of the file that was named.

    Raises:
        WeightsMissing: there is no such file.
        DamagedFile: it is another one now.
    """
    if not path.is_file():
        raise WeightsMissing(f"there is no file {path} any more: put it back")
    if file_digest(path) != digest:
        raise DamagedFile(path, f"its SHA-256 is not {digest}: it has been replaced or damaged")
