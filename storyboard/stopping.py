"""Ctrl-C and SIGTERM in a run: the first lets the step that is under way end, the next leaves at once."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Generator
from types import FrameType

from storyboard.failures import INTERRUPTED

SIGNALS = (signal.SIGINT, signal.SIGTERM)  # `docker stop` and job schedulers end a run by SIGTERM
TWICE = 1.0
"""Seconds within which a second one is the same: a terminal and what runs in it may both pass on one Ctrl-C."""


@contextlib.contextmanager
def stoppable() -> Generator[None]:
    """The first signal raises KeyboardInterrupt in the block. Work is published by rename: leaving loses none of it."""
    first: list[float] = []

    def stop(number: int, frame: FrameType | None) -> None:
        # Written by the system call: what was interrupted may be writing to stderr itself.
        if not first:
            first.append(time.monotonic())
            os.write(2, b"\nstopping after the step that is under way; once more leaves at once\n")
            raise KeyboardInterrupt
        if time.monotonic() - first[0] > TWICE:
            os.write(2, b"\nleft at once; what was finished is kept\n")
            os._exit(INTERRUPTED)

    before = {number: signal.signal(number, stop) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
