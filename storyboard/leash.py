"""What a child that renders for another process owes it: to end with it, heed its Ctrl-C, take turns on a device."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock, Timeout

PR_SET_PDEATHSIG = 1
LOOK = 1.0
"""Seconds between two looks at the parent, where the system does not tell of its death."""


def leash(parent: int) -> None:
    """End this process as soon as process `parent`, which started it, is gone.

    On Linux the kernel sees to it, even for a thread that is stuck in a driver. The kernel means the parent's *thread*:
    start such a child from one that lives as long as the process.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    else:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    if os.getppid() != parent:  # it ended before it could be tied
        os._exit(1)


def heed_interrupts() -> None:
    """Ctrl-C stops this process, also where whoever began it all (nohup, a shell's background) ignores it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def held(lock: Path, waits: Callable[[], None]) -> FileLock:
    """The lock of a device, this process's until it ends or lets go; another that still ends may have it meanwhile.

    waits: called once where it has to be waited for.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    taken = FileLock(lock)
    try:
        taken.acquire(timeout=0)
    except Timeout:
        waits()
        taken.acquire()
    return taken


def gpu_lock(device: str | None) -> Path:
    """Where jobs of whatever server on this machine take turns on a GPU: not beside kept work, which may be a volume
    that machines with GPUs of their own share."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", device or "cuda:0")
    return Path(tempfile.gettempdir()) / f"storyboard-{os.getuid()}" / f"{name}.lock"


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK)
    os._exit(1)
