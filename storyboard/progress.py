"""Progress on stderr, from a run's events: bars with time left on a terminal, one line a scene elsewhere."""

from __future__ import annotations

import json
import sys
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self, TextIO

from storyboard.events import Event

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


LOADED = 1.0
"""Seconds from which on it is told that something was loaded; drafts load nothing."""


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
            return "\n".join([_work(event), *(f"draft: {said}" for said in event.get("stand_ins", []))])
        case "studio.opened" if event["seconds"] >= LOADED:
            return f"loaded in {event['seconds']:.1f} s"
        case "scene.done":
            return f"{scene}: rendered in {event['seconds']:.1f} s"
        case "scene.failed" | "segment.failed":
            return f"{scene}: failed"
        case "segment.done":
            return f"{scene}: finished in {event['seconds']:.1f} s"
        case "take.done":
            return f"{scene} take {event['take']}: rendered in {event['seconds']:.1f} s"
        case "take.failed":
            return f"{scene} take {event['take']}: failed"
        case "takes.done":
            return "\n".join(_take(scene, take) for take in event["takes"])
        case "damaged":
            return f"{scene}: {event['path']} {event['what']}: set aside, made again"
        case "seed.written":
            return f"{scene}: seed {event['seed']} written into {event['path']}"
        case "scene.mended":
            return f"{scene}: mended to end on the frame it holds; as drawn its end was off by {event['apart']}"
        case "scene.far":
            remedy = f"`render --scene {scene} --hold` tries another seed"
            return f"{scene}: {event['what']}: mended all the same, which may show: {remedy}"
        case "take.far":
            return f"{scene} take {event['take']}: {event['what']}: mended all the same, which may show"
        case "hold.written":
            stays = f"; {', '.join(event['stays'])}: as before" if event["stays"] else ""
            return f"{scene}: seed {event['seed']}{_held(event)} written into {event['path']}{stays}"
        case "note":
            return str(event["text"])
        case "film.started":
            return f"joining {event['frames']} frames"
        case _:
            return None


def _held(event: Event) -> str:
    return f' and hold = "{event["hold"]}"' if "hold" in event else ""


def _take(scene: str, take: dict[str, Any]) -> str:
    of_story = ", the story's" if take["chosen"] else ""
    return f"{scene} take {take['take']}: seed {take['seed']}{of_story}, {take['preview']}"


def _work(event: Event) -> str:
    render, finish = len(event["render"]), len(event["finish"])
    if "takes" in event:
        takes, clips = event["takes"], render - event["takes"]
        first = f"{clips} clip{'s' * (clips != 1)} to render first, " if clips else ""
        return f"{first}{takes} take{'s' * (takes != 1)} to render" if render else "every take is kept"
    if not render and not finish:
        return "every clip is kept"
    clips = f"{render} clip{'s' * (render != 1)} to render" if render else "every clip is kept"
    return f"{clips}, {finish} to finish"


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
    """A bar for the film, with the time left, and one for each clip under way."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
        self._progress: Progress = Progress(*columns, console=Console(stderr=True), transient=True)
        self._tasks: dict[str, TaskID] = {}
        self._work: set[str] = set()
        self._done: dict[str, float] = {}
        self._film: TaskID | None = None

    def __call__(self, event: Event) -> None:
        text = sentence(event)
        if text is not None:
            self._progress.console.print(text, highlight=False, markup=False)
        part, _, what = event["event"].partition(".")
        if event["event"] == "run.started":
            self._work = {f"{verb} {name}" for verb in ("render", "finish") for name in event[verb]}
            whole = "takes" if "takes" in event else "film"
            self._film = self._progress.add_task(whole, total=float(len(self._work))) if self._work else None
        elif part == "take":
            self._clip(f"render {event['scene']}.{event['take']}", what, event)
        elif part in ("scene", "segment"):
            self._clip(f"{'render' if part == 'scene' else 'finish'} {event['scene']}", what, event)

    def _clip(self, name: str, what: str, event: Event) -> None:
        if what == "started":
            self._tasks[name] = self._progress.add_task(name, total=1.0)
            return
        self._done[name] = event["done"] if what == "progress" else 1.0
        if name in self._tasks:
            self._progress.update(self._tasks[name], completed=self._done[name])
            if what in ("done", "kept", "failed"):
                self._progress.remove_task(self._tasks.pop(name))
        if self._film is not None:
            done = sum(part for name, part in self._done.items() if name in self._work)
            self._progress.update(self._film, completed=done)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
