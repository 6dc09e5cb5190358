"""A child that ends with its parent: python -m storyboard.serverless.tied PARENT LOCK COMMAND...

PARENT is a process id, LOCK a file that one such child at a time holds for as long as it lives ("-" for none),
COMMAND the arguments of `storyboard`. The lock is the child's own: one whose parent was killed still holds it while it
ends, and the next waits for the GPU to be free.
"""

from __future__ import annotations

import sys
from pathlib import Path

from storyboard.leash import leash


def hold(path: Path) -> None:
    """Hold a lock until this process ends, waiting for whoever has it."""
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        sys.stderr.write("waiting for the render that uses the GPU\n")
        sys.stderr.flush()
        lock.acquire()
    _held.append(lock)  # garbage would let go of it


_held: list[object] = []


def main() -> None:
    parent, lock, *command = sys.argv[1:]
    leash(int(parent))
    if lock != "-":
        hold(Path(lock))
    sys.argv = ["storyboard", *command]
    from storyboard.cli import main as storyboard

    storyboard()


if __name__ == "__main__":
    main()
