"""Writes the pictures that the tests compare with."""

from __future__ import annotations

from pathlib import Path

from PIL import Image


def save(picture: Image.Image, path: Path) -> None:
    picture.save(path, optimize=True)
    print(f"{path}: {picture.width}×{picture.height}, {path.stat().st_size} bytes")
