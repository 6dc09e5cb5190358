"""Blocks as they lie on disk: which bytes of which files, and how they are read. Free of torch.

What is read is what was opened: files are held open, and one that is cut short meanwhile is an error, where a memory
map would crash.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from scenes.wan.checkpoint import CheckpointError, TensorInfo

GAP = 64 * 1024
"""Bytes between two tensors that are read along rather than skipped: less than one more read costs."""
CHUNK = 16 * 2**20
"""Bytes read at once: several such reads side by side are what an NVMe drive needs to reach its speed."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A tensor within a buffer, which it begins at byte `start` of."""

    info: TensorInfo
    start: int


@dataclass(frozen=True, slots=True)
class Read:
    """Bytes of a file, and where they go in a buffer."""

    path: Path
    offset: int
    start: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class Layout:
    """Tensors in one buffer of `nbytes`, in the order of their files; neighbours are read in one go."""

    pieces: Mapping[str, Piece]
    reads: tuple[Read, ...]
    nbytes: int


def lay_out(tensors: Mapping[str, TensorInfo]) -> Layout:
    """The order in which some tensors, by any names, are read into one buffer."""
    pieces: dict[str, Piece] = {}
    reads: list[Read] = []
    end = 0
    for name, info in sorted(tensors.items(), key=lambda item: (str(item[1].path), item[1].offset)):
        last = reads[-1] if reads else None
        if last is None or last.path != info.path or not 0 <= info.offset - last.offset - last.nbytes <= GAP:
            last = Read(info.path, info.offset, -(-end // 64) * 64, 0)
            reads.append(last)
        nbytes = info.offset + info.nbytes - last.offset
        reads[-1] = Read(last.path, last.offset, last.start, nbytes)
        pieces[name] = Piece(info, last.start + info.offset - last.offset)
        end = last.start + nbytes
    return Layout(pieces, tuple(reads), end)


@dataclass(frozen=True, eq=False, slots=True)
class Stored:
    """One block's bytes in files that are held open."""

    files: Files
    layout: Layout

    def read(self, into: memoryview, side_by_side: Executor | None = None) -> None:
        """Raises CheckpointError where the files have ended meanwhile or cannot be read."""
        jobs = [job for read in self.layout.reads for job in _chunks(read)]
        if side_by_side is None:
            for job in jobs:
                self.files.read(job, into)
            return
        waiting = [side_by_side.submit(self.files.read, job, into) for job in jobs]
        errors = [job.exception() for job in waiting]  # all of them: nothing may write into the buffer afterwards
        for error in errors:
            if error is not None:
                raise error

    def advise(self, soon: bool) -> None:
        """Tell the system that these bytes are needed soon, or no more, where it can be told."""
        for read in self.layout.reads:
            self.files.advise(read, soon)


class Files:
    """Files held open for reading by any number of threads."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._turn = threading.Lock()
        self._files: dict[Path, FileIO] = {}
        weakref.finalize(self, _close, self._files)
        for path in paths:
            try:
                self._files[path] = FileIO(path)
            except OSError as error:
                self.close()
                raise CheckpointError(f"{path} cannot be opened: {error.strerror}") from error

    def read(self, read: Read, into: memoryview) -> None:
        """Raises CheckpointError where the file has ended meanwhile or cannot be read."""
        part, offset = into[read.start : read.start + read.nbytes], read.offset
        while part:
            try:
                got = self._read_at(self._files[read.path], part, offset)
            except OSError as error:
                raise CheckpointError(f"{read.path} cannot be read: {error.strerror}") from error
            if not got:
                raise CheckpointError(
                    f"{read.path} has been cut short to {offset} bytes since it was opened: get it again"
                )
            part, offset = part[got:], offset + got

    def _read_at(self, file: FileIO, part: memoryview, offset: int) -> int:
        positioned: Callable[..., int] | None = getattr(os, "preadv", None)
        if positioned is not None:
            return positioned(file.fileno(), [part], offset)
        with self._turn:  # Windows has no reads at a place
            file.seek(offset)
            return file.readinto(part) or 0

    def advise(self, read: Read, soon: bool) -> None:
        advise: Callable[..., None] | None = getattr(os, "posix_fadvise", None)
        if advise is not None:
            what: int = getattr(os, "POSIX_FADV_WILLNEED" if soon else "POSIX_FADV_DONTNEED")
            advise(self._files[read.path].fileno(), read.offset, read.nbytes, what)

    def close(self) -> None:
        _close(self._files)


def _close(files: Mapping[Path, FileIO]) -> None:
    for file in files.values():
        file.close()


def _chunks(read: Read) -> Iterable[Read]:
    for at in range(0, read.nbytes, CHUNK):
        yield Read(read.path, read.offset + at, read.start + at, min(CHUNK, read.nbytes - at))
