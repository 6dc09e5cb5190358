"""A child that ends with its parent: python -m storyboard.serverless.tied PARENT LOCK COMMAND...

PARENT is a process id, LOCK a file that one such child at a time holds for as long as it lives ("-" for none),
COMMAND the arguments of `storyboard`. The lock is the child's own: one whose parent was killed still holds it while it
ends, and the next waits for the GPU to be free.
"""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path

from storyboard.leash import heed_interrupts, held, leash


def main() -> None:
    parent, lock, *command = sys.argv[1:]
    heed_interrupts()
    leash(int(parent))
    sys.argv = ["storyboard", *command]
    from storyboard.cli import main as storyboard

    with held(Path(lock), _waits) if lock != "-" else nullcontext():
        storyboard()


def _waits() -> None:
    sys.stderr.write("waiting for the render that uses the GPU\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main()
