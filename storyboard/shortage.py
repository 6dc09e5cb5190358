"""A full disk or memory that ran out, told in a person's words."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TypeVar

from scenes.shot import MachineLacks

T = TypeVar("T")

SHOOTING = "close what else uses it, or name a smaller --vram"
FINISHING = "close what else uses it, name a smaller --vram, or finish with --finish-on cpu"


def explained(work: Callable[[], T], gpu_remedy: str = FINISHING) -> T:
    """The work, with a full disk or memory told in a person's words."""
    try:
        return work()
    except MemoryError as error:
        raise MachineLacks(f"memory ran out ({error}): close something, or make the film smaller") from error
    except Exception as error:  # FFmpeg's errors carry an errno and are not all OSErrors
        if type(error).__name__ == "OutOfMemoryError":  # torch's, named so that torch need not be loaded
            raise MachineLacks(f"the GPU's memory ran out: {gpu_remedy}") from error
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            raise MachineLacks(
                "the disk is full; what was finished is kept. Free some space (`storyboard gc` drops "
                "unused work, --store puts it elsewhere) and run the same command again"
            ) from error
        raise
