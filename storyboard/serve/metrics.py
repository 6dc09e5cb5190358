"""What the server counts, in Prometheus' text format."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from storyboard.serve.ledger import STATES

if TYPE_CHECKING:
    from storyboard.serve.serving import Serving

MEDIA = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS = (0.005, 0.025, 0.1, 0.5, 2.5, 10.0)
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")


class Metrics:
    """Counts requests by route and known method: of paths and of words for methods there is no end."""

    def __init__(self) -> None:
        self._started = time.time()
        self._answers: Counter[tuple[str, str, int]] = Counter()
        self._within: Counter[tuple[str, float]] = Counter()
        self._seconds: Counter[str] = Counter()

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        self._answers[method if method in METHODS else "other", route, status] += 1
        self._seconds[route] += seconds  # type: ignore[assignment]  # a Counter adds up any numbers
        for limit in BUCKETS:
            if seconds <= limit:
                self._within[route, limit] += 1

    def text(self, serving: Serving) -> str:
        """As a scrape reads it."""
        jobs = dict.fromkeys(STATES, 0) | serving.ledger.counts()
        lines = [
            *_family(
                "storyboard_jobs", "gauge", "Jobs by state.", (({"state": s}, n) for s, n in sorted(jobs.items()))
            ),
            *_single("storyboard_devices", "gauge", "Devices that jobs run on.", len(serving.queue.workers)),
            *_single("storyboard_devices_busy", "gauge", "Devices with a job under way.", self._busy(serving)),
            *_single("storyboard_streams", "gauge", "Event streams that are open.", serving.feed.streams),
            *_single("storyboard_events_total", "counter", "Events told in this library.", serving.feed.last),
            *_family(
                "storyboard_requests_total",
                "counter",
                "Requests answered.",
                (({"method": m, "route": r, "status": str(s)}, n) for (m, r, s), n in sorted(self._answers.items())),
            ),
            *self._histogram(),
            *_single("process_resident_memory_bytes", "gauge", "Memory of this process.", resident()),
            *_single("process_start_time_seconds", "gauge", "When it started.", self._started),
        ]
        return "\n".join(lines) + "\n"

    def _busy(self, serving: Serving) -> int:
        return sum(worker.job is not None for worker in serving.queue.workers)

    def _histogram(self) -> list[str]:
        name = "storyboard_request_duration_seconds"
        lines = [f"# HELP {name} Seconds to an answer's first byte.", f"# TYPE {name} histogram"]
        totals: Counter[str] = Counter()
        for (_, route, _), count in self._answers.items():
            totals[route] += count
        for route, total in sorted(totals.items()):
            for limit in BUCKETS:
                lines.append(_line(f"{name}_bucket", {"route": route, "le": str(limit)}, self._within[route, limit]))
            lines.append(_line(f"{name}_bucket", {"route": route, "le": "+Inf"}, total))
            lines.append(_line(f"{name}_sum", {"route": route}, self._seconds[route]))
            lines.append(_line(f"{name}_count", {"route": route}, total))
        return lines


def _family(name: str, kind: str, says: str, values: Iterable[tuple[Mapping[str, str], float]]) -> list[str]:
    lines = [_line(name, labels, value) for labels, value in values]
    return [f"# HELP {name} {says}", f"# TYPE {name} {kind}", *lines]


def _single(name: str, kind: str, says: str, value: float) -> list[str]:
    return _family(name, kind, says, [({}, value)])


def _line(name: str, labels: Mapping[str, str], value: float) -> str:
    said = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
    return f"{name}{f'{{{said}}}' if said else ''} {value:.10g}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def resident() -> int:
    """Bytes of memory this process has; 0 where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
