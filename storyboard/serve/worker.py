"""One device's worker: runs one job after another, each in a process of its own, and follows its journal."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from filelock import FileLock, Timeout

from storyboard.failures import INTERRUPTED
from storyboard.failures import PARTLY as PARTLY_CODE
from storyboard.serve.feed import Feed
from storyboard.serve.journal import Journal
from storyboard.serve.ledger import CANCELLED, DONE, FAILED, PARTLY, QUEUED, RUNNING, Job, Ledger, Untold
from storyboard.serve.stories import Library

LOOK = 0.15
"""Seconds between two looks at a job's journal."""
PAUSE = 1.0
"""Seconds after which a database that cannot be written to, since the disk is full, is tried again."""
SAID = 4000
"""Characters of what a failed job wrote to stderr that are kept."""


class Worker:
    """`device`: None lets the render choose. Runs in the server's main thread, which children are tied to."""

    def __init__(self, device: str | None, library: Library, ledger: Ledger, feed: Feed) -> None:
        self.device = device
        self._library, self._ledger, self._feed = library, ledger, feed
        self._process: subprocess.Popen[bytes] | None = None
        self.job: str | None = None

    def stop(self) -> None:
        """Ask the job under way to stop between steps; asked again, at once."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()

    async def recover(self, job: Job) -> None:
        """A job that a killed server left running: what its process still told, then its end, or the queue again."""
        await self._gone(job.device)
        journal = self._journal(job)
        self._end(journal, job, INTERRUPTED, stop=True)

    async def _gone(self, device: str | None) -> None:
        """Once the process that held the device has ended, or has had ten seconds to."""
        lock = FileLock(self._lock(device))
        for _ in range(100):
            with contextlib.suppress(Timeout), lock.acquire(timeout=0):
                return
            await asyncio.sleep(0.1)

    async def run(self, job: Job, closing: Callable[[], bool]) -> None:
        """closing: whether the server is; then a job that stops goes back into the queue."""
        facts = {"state": RUNNING, "device": self.device, "attempt": job.attempt + 1, "read": 0, "error": None}
        started = {"started": time.time()} if job.started is None else {}
        told = Untold("job.started", job.id, job.story, {"device": self.device, "attempt": job.attempt + 1})
        job, events = self._ledger.change(job.id, [told], **facts, **started)
        self._feed.publish(events)
        self.job = job.id
        try:
            journal = self._journal(job)
            self._process = self._start(job)
            while self._process.poll() is None:
                await asyncio.sleep(LOOK)
                with contextlib.suppress(sqlite3.Error):  # what the journal holds can be read once more
                    job = self._read(journal, job)
            code = self._process.returncode
            await insist(lambda: self._end(journal, job, code, stop=closing()), closing)
        finally:
            self.kill()
            self.job = self._process = None

    def _end(self, journal: Journal, job: Job, code: int, *, stop: bool) -> None:
        """Write down what became of a job whose process has ended. stop: the server closes, or did: a job that ended
        by the same signal goes on with the next one."""
        job = self._read(journal, job)
        killed = journal.code is None  # perhaps while Python started, which then exits as it likes
        if stop and not job.cancel and (killed or journal.code == INTERRUPTED):
            self._queue_again(job)
        elif killed and job.cancel:
            self._settle(job, INTERRUPTED)
        else:
            self._settle(job, code if journal.code is None else journal.code)

    def _start(self, job: Job) -> subprocess.Popen[bytes]:
        lines = commands(job, self._library.path(job.story), self.device, self._done(job))
        tied = [str(os.getpid()), str(self._lock(self.device)), self.device or ""]
        with self._run(job, "jsonl").open("wb") as out, self._run(job, "err").open("wb") as err:
            return subprocess.Popen(
                [sys.executable, "-m", "storyboard.serve.child", *tied, json.dumps(lines)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,  # Ctrl-C in the server's terminal is the server's to pass on
            )

    def _done(self, job: Job) -> set[str]:
        return {facts["scene"] for facts in self._ledger.told(job.id, "scene.done")}

    def _read(self, journal: Journal, job: Job) -> Job:
        job = self._ledger.job(job.id) or job  # where it was read to, and whether it is cancelled by now
        while True:
            before = job.read
            job, events = journal.read_on(job)
            self._feed.publish(events)
            if job.read == before:
                return job

    def _queue_again(self, job: Job) -> None:
        told = Untold("job.queued", job.id, job.story, {"again": True})
        job, events = self._ledger.change(job.id, [told], state=QUEUED, device=None)
        self._feed.publish(events)
        self._tidy(job)

    def _settle(self, job: Job, code: int) -> None:
        states = {0: DONE, PARTLY_CODE: PARTLY, INTERRUPTED: CANCELLED, -signal.SIGINT: CANCELLED}
        state = states.get(code, FAILED)
        error = None if state in (DONE, CANCELLED) else self._error(job, code)
        facts = {"state": state, "code": code, "error": error, "ended": time.time()}
        facts |= {"part": 1.0} if state == DONE else {}
        said = {key: value for key, value in (("code", code), ("error", error)) if value is not None}
        job, events = self._ledger.change(job.id, [Untold(f"job.{state}", job.id, job.story, said)], **facts)
        self._feed.publish(events)
        self._tidy(job)

    def _error(self, job: Job, code: int) -> str:
        """What the command line would have said on the terminal, without this machine's paths."""
        said = ""
        with contextlib.suppress(OSError):
            said = self._run(job, "err").read_text(encoding="utf-8", errors="replace").strip()
        if code < 0:
            name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
            said = f"{said}\nits process was ended by {name}".strip()
        if "Traceback (most recent call last)" in said:
            sys.stderr.write(f"job {job.id}:\n{said}\n")  # for whoever runs the server, not for its clients
            said = f"an error of storyboard itself: {said.splitlines()[-1]}"
        return str(self.plain(said[-SAID:])) or f"its process ended with code {code}"

    def plain(self, value: Any) -> Any:
        """Values with paths of this machine cut down to what lies in the library."""
        match value:
            case str():
                return re.sub(re.escape(str(self._library.folder)) + r"(/|(?![\w.-]))", "", value)
            case dict():
                return {key: self.plain(each) for key, each in cast("dict[str, Any]", value).items()}
            case list():
                return [self.plain(each) for each in cast("list[Any]", value)]
            case _:
                return value

    def _tidy(self, job: Job) -> None:
        for ending in ("jsonl", "err"):
            self._run(job, ending).unlink(missing_ok=True)

    def _journal(self, job: Job) -> Journal:
        return Journal(self._run(job, "jsonl"), self._ledger, self.plain)

    def _run(self, job: Job, ending: str) -> Path:
        return self._library.own / "runs" / f"{job.id}.{job.attempt}.{ending}"

    def _lock(self, device: str | None) -> Path:
        return self._library.own / "locks" / f"{re.sub('[^A-Za-z0-9]+', '-', device or 'default')}.lock"


async def insist(write: Callable[[], None], closing: Callable[[], bool]) -> None:
    """Write to the database as soon as it can be written to. A server that closes leaves that to the next."""
    while True:
        try:
            write()
            return
        except sqlite3.Error:
            if closing():
                raise
            traceback.print_exc(file=sys.stderr)
            await asyncio.sleep(PAUSE)


def commands(job: Job, story: Path, device: str | None, done: set[str]) -> list[list[str]]:
    """The command lines of a job. `done`: scenes it has made already, before it was killed: --force spares those."""
    asked = job.asked
    line = ["render", str(story), "--json"]
    line += ["--draft"] if asked["draft"] else []
    line += ["--keep-going"] if asked["keep_going"] else []
    line += ["--device", device] if device is not None else []
    scenes = _named(asked["scenes"])
    if asked.get("takes") is not None:  # jobs of older versions say nothing of takes, nor of hold
        return [[*line, *scenes, "--takes", str(asked["takes"])]]
    whole = [*line, *scenes]
    whole += ["--seed", str(asked["seed"])] if asked["seed"] is not None else []
    if asked.get("hold"):
        return [[*whole, "--hold"]]
    left = [name for name in asked["forced"] if name not in done]
    if not left:
        return [whole]
    if len(left) == len(asked["forced"]):
        return [[*whole, "--force"]]
    return [[*line, *_named(left), "--force"], whole]


def _named(scenes: list[str] | None) -> list[str]:
    return [part for name in scenes or [] for part in ("--scene", name)]
