"""What the benchmarks share: a line of JSON for each result, and how long work takes on the GPU."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable

import torch


def told(**facts: object) -> None:
    print(json.dumps(facts), flush=True)


def median(work: Callable[[], object], times: int = 5, warm: int = 1) -> tuple[float, list[float]]:
    """Seconds, the GPU's own work waited for: the median, and each of the times after the warm-up."""
    for _ in range(warm):
        work()
    torch.cuda.synchronize()
    taken: list[float] = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        torch.cuda.synchronize()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken), [round(t, 4) for t in taken]
