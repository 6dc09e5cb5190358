"""Kills renders at random moments, by forking from one warm process: run by test_killing.py, prints JSON lines.

python -m tests.killing STORY FOLDER FIRST COUNT
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from storyboard.cli import app
from storyboard.progress import display  # warms what a render imports
from tests.stories import render

CALLS = ("fsync", "rename", "replace")


def main(story: Path, folder: Path, first: int, count: int) -> None:
    display(True)
    render(story, folder / "warm")
    for number in range(first, first + count):
        store = folder / f"store{number}"
        film = folder / f"film{number}.mp4"
        chance = random.Random(number)
        # Half are killed by the clock, half inside the very calls that publish files.
        if number % 2:
            killed = _killed_after(story, store, film, chance.uniform(0.0, 0.3))
        else:
            killed = _killed_in_a_call(story, store, film, chance.choice(CALLS), chance.randrange(1, 24))
        finished = sorted(path.name for path in store.glob("clips/??/*"))
        status = _forked(partial(_render, story, store, film))
        facts = {"number": number, "killed": killed, "finished": finished, "status": status}
        facts |= {"rendered": _rendered(store), "film": str(film.with_name(f"{film.stem}.draft.mp4"))}
        sys.stdout.write(json.dumps(facts) + "\n")
        sys.stdout.flush()


def _render(story: Path, store: Path, film: Path) -> None:
    app(["render", str(story), "--draft", "--store", str(store), "--film", str(film)])


def _killed_after(story: Path, store: Path, film: Path, seconds: float) -> bool:
    child = _fork(lambda: _render(story, store, film))
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def _killed_in_a_call(story: Path, store: Path, film: Path, name: str, nth: int) -> bool:
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
        _render(story, store, film)

    return _forked(run) == -signal.SIGKILL


def _forked(work: Callable[[], None]) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(_fork(work), 0)[1])


def _fork(work: Callable[[], None]) -> int:
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
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
