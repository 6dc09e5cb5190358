"""A job's journal, the event lines of its process, read on into the ledger: each line once, whatever dies meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from storyboard.done import Done
from storyboard.events import read_event
from storyboard.serve.child import ENDED
from storyboard.serve.ledger import Job, Ledger, Told, Untold

OFTEN = 0.5
"""Seconds between two events of progress of one scene that are kept."""
MOST = 2**20
"""Bytes that are read at once, but for a line that is longer."""


class Journal:
    """`plain` makes what a run tells fit for others: without this machine's paths."""

    def __init__(self, path: Path, ledger: Ledger, plain: Callable[[Any], Any]) -> None:
        self._path, self._ledger, self._plain = path, ledger, plain
        self._said: dict[tuple[str, str], float] = {}
        self._done = Done()
        self.code: int | None = None

    def read_on(self, job: Job) -> tuple[Job, list[Told]]:
        """What was written since, as far as its lines are whole: told, and counted as read, at once."""
        try:
            with self._path.open("rb") as file:
                file.seek(job.read)
                new = file.read(MOST)
                while b"\n" not in new and (more := file.read(MOST)):
                    new += more
        except FileNotFoundError:
            return job, []
        whole = new[: new.rfind(b"\n") + 1]
        if not whole:
            return job, []
        untold = [each for line in whole.split(b"\n") if (each := self._untold(line, job)) is not None]
        facts = {"read": job.read + len(whole), "part": max(job.part, self._done.part)}
        return self._ledger.change(job.id, untold, **facts)

    def _untold(self, line: bytes, job: Job) -> Untold | None:
        told = read_event(line)
        if told is None:
            return None
        self._done.hear(told)
        event, when = told.pop("event"), told.pop("time", None)
        if event == ENDED:
            self.code = told.get("code")
            return None
        if event.endswith(".progress") and self._too_soon((event, told.get("scene", "")), when or 0.0):
            return None
        for left_out in ("id", "trace", "story"):
            told.pop(left_out, None)
        return Untold(event, job.id, job.story, self._plain(told), when)

    def _too_soon(self, what: tuple[str, str], when: float) -> bool:
        if when - self._said.get(what, 0.0) < OFTEN:
            return True
        self._said[what] = when
        return False
