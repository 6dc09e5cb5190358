"""How much of a run is done, by what it tells."""

from __future__ import annotations

from storyboard.events import Event


class Done:
    """`part`: 0 to 1; drawing and finishing count for each scene, joining is quick and does not."""

    def __init__(self) -> None:
        self._begun = False
        self._work: set[tuple[str, str]] = set()
        self._done: dict[tuple[str, str], float] = {}

    def hear(self, event: Event) -> None:
        part, _, what = event["event"].partition(".")
        if event["event"] == "run.started":
            self._begun = True
            self._work = {*(("scene", name) for name in event["render"]), *(("segment", n) for n in event["finish"])}
        elif part in ("scene", "segment", "take") and "scene" in event and what != "started":
            # `run.started` calls take 2 of boat boat.2.
            work = ("scene", f"{event['scene']}.{event['take']}") if part == "take" else (part, event["scene"])
            self._done[work] = event["done"] if what == "progress" else 1.0

    @property
    def part(self) -> float:
        done = sum(part for work, part in self._done.items() if work in self._work)
        return round(done / len(self._work), 4) if self._work else float(self._begun)
