"""How far a render is, from its events, told once a second at most."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from storyboard.done import Done
from storyboard.events import Event
from storyboard.progress import sentence

INTERVAL = 1.0


class Telling:
    """Passes facts on, the newest of each second; what came in between is left out."""

    def __init__(self, send: Callable[[dict[str, Any]], None], interval: float = INTERVAL) -> None:
        self._send, self._interval = send, interval
        self._last = float("-inf")
        self._waiting: dict[str, Any] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def tell(self, **facts: Any) -> None:
        self._waiting = facts
        left = self._last + self._interval - time.monotonic()
        if left <= 0:
            self._flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(left, self._flush)

    def close(self) -> None:
        """What waits is dropped: the result says more."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._waiting = None

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        facts, self._waiting = self._waiting, None
        if facts is not None:
            self._last = time.monotonic()
            self._send(facts)


class Course:
    """What a render's events come to: how much is done, how long each scene took, what was made."""

    def __init__(self) -> None:
        self.seconds: dict[str, dict[str, float]] = {}
        self.made: list[str] = []
        self.failed: dict[str, str] = {}
        self.film: str | None = None
        self.finished: set[str] = set()
        self.seed: int | None = None
        self.notes: list[str] = []
        self._done = Done()

    def hear(self, event: Event) -> dict[str, Any]:
        """Take an event in; gives what there is to tell of it."""
        self._done.hear(event)
        match event["event"]:
            case "run.started":
                self.notes += [f"draft: {stand_in}" for stand_in in event.get("stand_ins", [])]
            case "run.done":
                self.made, self.failed, self.film = event["made"], event.get("failed", {}), event.get("film")
            case "scene.done" | "segment.done":
                step = "render" if event["event"] == "scene.done" else "finish"
                self.seconds.setdefault(event["scene"], {})[step] = event["seconds"]
            case "seed.written":
                self.seed = event["seed"]
            case "note":
                self.notes.append(event["text"])
            case _:
                pass
        if event["event"] in ("segment.done", "segment.kept"):
            self.finished.add(event["scene"])
        return self._told(event)

    def _told(self, event: Event) -> dict[str, Any]:
        told = {"event": event["event"], "scene": event.get("scene"), "scene_done": event.get("done")}
        told |= {"done": self._done.part, "says": sentence(event)}
        return {key: value for key, value in told.items() if value is not None}
