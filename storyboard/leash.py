"""Makes a process end together with the one that started it, however that one ends."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time

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


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK)
    os._exit(1)
