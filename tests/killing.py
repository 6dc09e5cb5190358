"""Kills renders at chosen moments, by forking from one warm process: run by test_killing.py, prints JSON lines.

python -m tests.killing STORY FOLDER MOMENTS [OPTION...]

Moments are a JSON list. A number is a random moment, the same for the same number; [event, scene, part] is when that
part of it is told. Options are those of `render`.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from storyboard.cli import app
from storyboard.events import Events
from storyboard.progress import display  # warms what a render imports
from tests.stories import render

CALLS = ("fsync", "rename", "replace")
Work = Callable[[], None]


def main(story: Path, folder: Path, moments: list[Any], options: list[str]) -> None:
    draft = "--draft" in options
    display(True)
    render(story, folder / "warm")  # a draft: torch's threads would not live through a fork
    if not draft:
        importlib.import_module("scenes.wan.studio")

    def work(store: Path, film: Path) -> None:
        app(["render", str(story), *options, "--store", str(store), "--film", str(film)])

    for number, moment in enumerate(moments):
        store = folder / f"store{number}"
        film = folder / f"film{number}.mp4"
        killed = _killed(partial(work, store, film), moment)
        finished = sorted(path.name for path in store.glob("clips/??/*"))
        status = _forked(partial(work, store, film))
        made = film.with_name(f"{film.stem}.draft.mp4") if draft else film
        facts = {"moment": moment, "killed": killed, "finished": finished, "status": status}
        facts |= {"rendered": _rendered(store), "store": str(store), "film": str(made)}
        sys.stdout.write(json.dumps(facts) + "\n")
        sys.stdout.flush()


def _killed(work: Work, moment: Any) -> bool:
    if isinstance(moment, list):
        return _killed_as_told(work, *moment)
    chance = random.Random(moment)
    # Half are killed by the clock, half inside the very calls that publish files.
    if moment % 2:
        return _killed_after(work, chance.uniform(0.0, 0.3))
    return _killed_in_a_call(work, chance.choice(CALLS), chance.randrange(1, 24))


def _killed_after(work: Work, seconds: float) -> bool:
    child = _fork(work)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def _killed_in_a_call(work: Work, name: str, nth: int) -> bool:
    """Dies as the nth call of one kind begins, or as it ends."""

    def run() -> None:
        real = getattr(os, name)
        calls = [0]

        def counted(*args: object, **keys: object) -> object:
            calls[0] += 1
            if calls[0] == nth:
                if nth % 2:
                    real(*args, **keys)
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **keys)

        setattr(os, name, counted)
        work()

    return _forked(run) == -signal.SIGKILL


def _killed_as_told(work: Work, event: str, scene: str, part: float) -> bool:
    """Dies as something is told of a scene ("" where it is of none), from a part of it on."""

    def run() -> None:
        tell, progress = Events.tell, Events.progress

        def telling(events: Events, what: str, **facts: Any) -> None:
            if (what, facts.get("scene", "")) == (event, scene) and facts.get("done", 1) >= part:
                os.kill(os.getpid(), signal.SIGKILL)
            tell(events, what, **facts)

        def progressing(events: Events, what: str, of: str, done: float) -> None:
            if (what, of) == (event, scene) and done >= part:
                os.kill(os.getpid(), signal.SIGKILL)
            progress(events, what, of, done)

        Events.tell, Events.progress = telling, progressing  # type: ignore[method-assign]
        work()

    return _forked(run) == -signal.SIGKILL


def _forked(work: Work) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(_fork(work), 0)[1])


def _fork(work: Work) -> int:
    child = os.fork()
    if child == 0:
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        code = 1
        try:
            work()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            os._exit(code)
    return child


def _rendered(store: Path) -> list[str]:
    """Keys of the clips that the last run began to render."""
    last = max(store.glob("runs/*/events.jsonl"), key=lambda path: path.stat().st_mtime_ns)
    events = [json.loads(line) for line in last.read_text(encoding="utf-8").splitlines()]
    return [event["key"] for event in events if event["event"] == "scene.started"]


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]), sys.argv[4:])
