"""How runs share a store: locks by name, a mark on every run that uses it, and what dead runs left swept.

Correctness rests on rename alone (store.py): locks only save making the same work twice, and keep gc away from runs.
"""

from __future__ import annotations

import contextlib
import shutil
import time
import uuid
from collections.abc import Generator
from pathlib import Path

from filelock import FileLock, Timeout

DAY = 24 * 3600


@contextlib.contextmanager
def locked(root: Path, name: str) -> Generator[None]:
    """Hold a lock by name until the block ends, waiting for whoever holds it."""
    folder = root / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f"{name}.lock"):
        yield


@contextlib.contextmanager
def using(root: Path) -> Generator[str]:
    """Mark the store as used by a run, and give the run's name; first sweeps what killed runs left."""
    users = root / "locks" / "users"
    users.mkdir(parents=True, exist_ok=True)
    run = uuid.uuid4().hex
    lock = FileLock(users / f"{run}.lock")
    with locked(root, "gc"):
        lock.acquire()
    try:
        sweep_making(root)
        yield run
    finally:
        lock.release()
        (users / f"{run}.lock").unlink(missing_ok=True)


def sweep_making(root: Path) -> None:
    """Remove folders whose run has ended. Their names end in ~run; without a run they go after a day."""
    making = root / "making"
    for folder in list(making.iterdir()) if making.is_dir() else []:
        with contextlib.suppress(FileNotFoundError):  # another run sweeps too
            run = folder.name.partition("~")[2].partition("~")[0]
            if not _runs(root, run) if run else time.time() - folder.stat().st_mtime > DAY:
                shutil.rmtree(folder)


def _runs(root: Path, run: str) -> bool:
    """Whether a run is still at it: it holds its lock for as long as its process lives."""
    path = root / "locks" / "users" / f"{run}.lock"
    if not path.exists():
        return False
    try:
        with FileLock(path, timeout=0):
            path.unlink(missing_ok=True)  # it was killed
    except Timeout:
        return True
    return False


@contextlib.contextmanager
def alone(root: Path) -> Generator[bool]:
    """Hold the store against new runs; gives False where one is using it."""
    with locked(root, "gc"):
        users = root / "locks" / "users"
        there = [path.stem for path in users.glob("*.lock")] if users.is_dir() else []
        yield not any(_runs(root, run) for run in there)
