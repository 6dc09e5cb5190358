"""Progress on stderr, from a run's events: bars with time left on a terminal, one line a scene elsewhere."""

from __future__ import annotations

import json
import sys
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, TextIO

from storyboard.events import Event

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Display(Protocol):
    def __call__(self, event: Event) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def display(as_json: bool) -> Display:
    """Events as JSON lines on stdout, or bars, or lines, as suits where they go."""
    if as_json:
        return Lines(sys.stdout, as_json=True)
    return Bars() if sys.stderr.isatty() else Lines(sys.stderr, as_json=False)


def sentence(event: Event) -> str | None:
    """What happened, in a line; None for what is no news."""
    scene = event.get("scene", "")
    match event["event"]:
        case "run.started":
            made = f"{event['to_make']} clips to render" if event["to_make"] else "every clip is kept"
            return "\n".join([made, *(f"draft: {said}" for said in event.get("stand_ins", []))])
        case "scene.done":
            return f"{scene}: rendered in {event['seconds']:.1f} s"
        case "segment.done":
            return f"{scene}: finished in {event['seconds']:.1f} s"
        case "damaged":
            return f"{scene}: {event['path']} {event['what']}: set aside, made again"
        case "seed.written":
            return f"{scene}: seed {event['seed']} written into {event['path']}"
        case "film.started":
            return f"joining {event['frames']} frames"
        case _:
            return None


class Lines:
    """One line an event: JSON, or sentences."""

    def __init__(self, out: TextIO, *, as_json: bool) -> None:
        self._out, self._as_json = out, as_json

    def __call__(self, event: Event) -> None:
        text = json.dumps(event, ensure_ascii=False) if self._as_json else sentence(event)
        if text is not None:
            self._out.write(text + "\n")
            self._out.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Every line is out already."""


class Bars:
    """A bar for the film and one for each scene under way."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
        self._progress: Progress = Progress(*columns, console=Console(stderr=True), transient=True)
        self._tasks: dict[str, TaskID] = {}
        self._film: TaskID | None = None

    def __call__(self, event: Event) -> None:
        name, scene = event["event"], event.get("scene", "")
        text = sentence(event)
        if text is not None:
            self._progress.console.print(text, highlight=False, markup=False)
        if name == "run.started" and event["to_make"]:
            self._film = self._progress.add_task("film", total=float(event["to_make"]))
        elif name in ("scene.started", "segment.started"):
            part = name.split(".")[0]
            verb = "render" if part == "scene" else "finish"
            self._tasks[part + scene] = self._progress.add_task(f"{verb} {scene}", total=1.0)
        elif name in ("scene.progress", "segment.progress"):
            task = self._tasks.get(name.split(".")[0] + scene)
            if task is not None:
                self._progress.update(task, completed=event["done"])
        elif name in ("scene.done", "segment.done"):
            task = self._tasks.pop(name.split(".")[0] + scene, None)
            if task is not None:
                self._progress.remove_task(task)
            if name == "segment.done" and self._film is not None:
                self._progress.advance(self._film)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
