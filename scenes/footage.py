"""Footage: frames as values, with shapes, units and digests.

A frame is uint8 RGB of shape (height, width, 3), everywhere between works; sizes are (width, height).
Digests are of pixels, never of files: packing a clip anew or moving it changes no key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

Frame = NDArray[np.uint8]
Frames = Iterator[Frame]
Size = tuple[int, int]


class DamagedFile(Exception):  # noqa: N818 (it names what is wrong, as FileNotFound does)
    """A kept file is not what was written; `path` says which."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(f"{path}: {what}")
        self.path = path
        self.what = what


class PixelDigest:
    """SHA-256 over frames, one after another; equal for equal pixels in equal shapes."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.frames = 0

    def add(self, frame: Frame) -> None:
        height, width, _ = frame.shape
        self._hash.update(f"{width}x{height};".encode())
        self._hash.update(np.ascontiguousarray(frame).data)
        self.frames += 1

    def hex(self) -> str:
        return self._hash.hexdigest()


def frame_digest(frame: Frame) -> str:
    digest = PixelDigest()
    digest.add(frame)
    return digest.hex()


@dataclass(frozen=True, slots=True)
class Still:
    """One lossless frame on disk; `digest` is of its pixels."""

    kind: ClassVar[str] = "still/1"
    digest: str
    path: Path = field(compare=False)


@dataclass(frozen=True, slots=True)
class Clip:
    """Lossless footage on disk, its last frame beside it. `path` is the folder."""

    kind: ClassVar[str] = "clip/1"
    digest: str
    frames: int
    fps: Fraction
    size: Size
    last: Still
    path: Path = field(compare=False)


@dataclass(frozen=True, slots=True)
class Span:
    """Frames `start` to `stop` (not included) of a clip."""

    kind: ClassVar[str] = "span/1"
    clip: Clip
    start: int
    stop: int

    @property
    def frames(self) -> int:
        return self.stop - self.start
