"""How long a job will take: from how far it is, and from what scenes of the story took before."""

from __future__ import annotations

import time
from collections.abc import Iterable
from itertools import product
from statistics import median
from typing import Any

from storyboard.serve.ledger import DONE, PARTLY, Job, Ledger

EARLY = 0.05
"""Below this part of a job nothing can be said yet: models are still being read."""
PAST = 5
"""Jobs that are looked back on."""


def lasting(seconds: float) -> str:
    """As in "about 2 min"; no more exact than it can be."""
    if seconds < 10:
        return "a few seconds"
    if seconds < 90:
        return f"about {round(seconds / 5) * 5} s"
    if seconds < 90 * 60:
        return f"about {round(seconds / 60)} min"
    return f"about {seconds / 3600:.1f} h"


def time_left(job: Job, ledger: Ledger) -> float | None:
    """Seconds, None while too little is known."""
    began = ledger.when(job.id, "run.started")
    if began is None or job.part < EARLY or job.attempt > 1:
        return None
    return max(0.0, (time.time() - began) * (1 - job.part) / job.part)


def time_of(scenes: Iterable[dict[str, Any]], story: str, draft: bool, ledger: Ledger) -> float | None:
    """Seconds that drawing and finishing these scenes will take, by what others took; None where none was made yet."""
    drawn, cut = _pace(story, draft, ledger)
    if drawn is None:
        return None
    return sum(scene["frames"] * (drawn + (cut or 0.0)) for scene in scenes)


def _pace(story: str, draft: bool, ledger: Ledger) -> tuple[float | None, float | None]:
    """Seconds a frame: drawing it, and finishing it."""
    jobs = [job for job in ledger.jobs([DONE, PARTLY], story, limit=4 * PAST) if bool(job.asked["draft"]) is draft]
    found: list[float | None] = []
    for parts in (("scene", "take"), ("segment",)):
        paces: list[float] = []
        for job, part in product(jobs[:PAST], parts):
            frames = {each["scene"]: each.get("frames", 0) for each in ledger.told(job.id, f"{part}.started")}
            done = ledger.told(job.id, f"{part}.done")
            paces += [each["seconds"] / frames[each["scene"]] for each in done if frames.get(each["scene"])]
        found.append(median(paces) if paces else None)
    return found[0], found[1]
