"""How far a render is, from its events, told once a second at most."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

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
        self._work: set[tuple[str, str]] = set()
        self._done: dict[tuple[str, str], float] = {}

    def hear(self, event: Event) -> dict[str, Any]:
        """Take an event in; gives what there is to tell of it."""
        scene, (part, _, what) = event.get("scene"), event["event"].partition(".")
        match event["event"]:
            case "run.started":
                self._work = {("scene", name) for name in event["render"]} | {("segment", n) for n in event["finish"]}
                self.notes += [f"draft: {stand_in}" for stand_in in event.get("stand_ins", [])]
            case "run.done":
                self.made, self.failed, self.film = event["made"], event.get("failed", {}), event.get("film")
            case "scene.done" | "segment.done":
                step = "render" if part == "scene" else "finish"
                self.seconds.setdefault(event["scene"], {})[step] = event["seconds"]
            case "seed.written":
                self.seed = event["seed"]
            case "note":
                self.notes.append(event["text"])
            case _:
                pass
        if part in ("scene", "segment") and scene is not None:
            self._done[part, scene] = event["done"] if what == "progress" else float(what != "started")
            if part == "segment" and what in ("done", "kept"):
                self.finished.add(scene)
        return self._told(event)

    def _told(self, event: Event) -> dict[str, Any]:
        done = sum(part for work, part in self._done.items() if work in self._work)
        whole = round(done / len(self._work), 4) if self._work else 1.0
        told = {"event": event["event"], "scene": event.get("scene"), "scene_done": event.get("done")}
        told |= {"done": whole, "says": sentence(event)}
        return {key: value for key, value in told.items() if value is not None}
