"""What happens in a run: one JSON object a line in runs/<id>/events.jsonl, and to whoever listens."""

from __future__ import annotations

import contextlib
import json
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

Event = dict[str, Any]
Listener = Callable[[Event], None]


def new_run() -> str:
    """An id that sorts by time."""
    return f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{uuid.uuid4().hex[:8]}"


def read_event(line: str | bytes) -> Event | None:
    """A line of a run's stdout; None where some library wrote it."""
    try:
        said: Any = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return cast("Event", said) if isinstance(said, dict) and isinstance(said.get("event"), str) else None


class Events:
    """Numbers events, writes them down and passes them on; any thread may tell."""

    # Progress is told a few times a second at most: a page or a terminal shows no more.
    INTERVAL = 0.2

    def __init__(self, path: Path | None, listeners: tuple[Listener, ...] = ()) -> None:
        self._lock = threading.Lock()
        self._listeners = listeners
        self._number = 0
        self._told: dict[tuple[str, str], float] = {}
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path

    def tell(self, event: str, **facts: Any) -> None:
        """event: "scene.started" and the like; a null fact is left out."""
        with self._lock:
            self._number += 1
            whole = {"id": self._number, "time": round(time.time(), 3), "event": event}
            whole |= {key: value for key, value in facts.items() if value is not None}
            if self._path is not None:
                # The log is a record: a disk too full for it must not hide what happened.
                with contextlib.suppress(OSError), self._path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(whole, ensure_ascii=False) + "\n")
            for listener in self._listeners:
                listener(whole)

    def progress(self, event: str, scene: str, done: float) -> None:
        """A part done, 0 to 1, told when enough time has passed since the last."""
        now = time.monotonic()
        if done < 1 and now - self._told.get((event, scene), 0.0) < self.INTERVAL:
            return
        self._told[event, scene] = now
        self.tell(event, scene=scene, done=round(done, 4))
