"""The queue: jobs in their order, a worker a device, and all of it found again after a restart."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import sqlite3
import sys
import time
import traceback
from collections.abc import Sequence
from typing import Any

from storyboard.serve.feed import Feed
from storyboard.serve.ledger import CANCELLED, ENDED, FAILED, QUEUED, RUNNING, Job, Ledger, Untold
from storyboard.serve.limits import Limits
from storyboard.serve.problems import Problem, missing
from storyboard.serve.stories import Library, remove
from storyboard.serve.worker import PAUSE, Worker, insist

PATIENCE = 60.0
"""Seconds that a job under way has to end its step when the server closes."""
HOUR = 3600.0


class Queue:
    """Jobs of a library. All in the server's main thread, but for the processes."""

    def __init__(
        self, devices: Sequence[str | None], library: Library, ledger: Ledger, feed: Feed, limits: Limits
    ) -> None:
        self._library, self._ledger, self._feed, self._limits = library, ledger, feed, limits
        self.workers = [Worker(device, library, ledger, feed) for device in devices]
        self._tasks: list[asyncio.Task[None]] = []
        self._more = asyncio.Event()
        self._ended: dict[str, asyncio.Event] = {}

    def _closing(self) -> bool:
        """From the signal on: a job may hear of it as soon as the server does."""
        return self._feed.closing

    async def open(self) -> None:
        """Take up what a server before this one left: first its running jobs, then the queue."""
        for job in reversed(self._ledger.jobs([RUNNING], limit=1000)):
            await self.workers[0].recover(job)
        for left in (self._library.own / "runs").iterdir():  # of jobs that had ended when a server was killed
            remove(left)
        self._tasks = [asyncio.create_task(self._work(worker)) for worker in self.workers]

    async def close(self) -> None:
        """Stop what is under way between steps; it goes on when a server opens this library again."""
        self._feed.close()
        self._wake()
        for worker in self.workers:
            worker.stop()
        if self._tasks and (await asyncio.wait(self._tasks, timeout=PATIENCE))[1]:
            for worker in self.workers:
                worker.kill()
            await asyncio.wait(self._tasks, timeout=5)

    async def _work(self, worker: Worker) -> None:
        while not self._closing():
            more = self._more
            try:
                job = self._ledger.next()
                if job is None:
                    await more.wait()
                    continue
                await self._do(worker, job)
                self._ledger.forget(self._limits.events, self._limits.ended, time.time() - HOUR)
            except sqlite3.Error:
                traceback.print_exc(file=sys.stderr)
                await asyncio.sleep(PAUSE)
            self._wake()

    async def _do(self, worker: Worker, job: Job) -> None:
        try:
            await worker.run(job, self._closing)
        except Problem as gone:  # its story was taken away
            await self._end(job, CANCELLED, gone.detail)
        except sqlite3.Error:
            raise
        except Exception:
            traceback.print_exc(file=sys.stderr)
            await self._end(job, FAILED, "the server could not run it: its log says why")
        self._heard(job.id)

    async def _end(self, job: Job, state: str, error: str) -> None:
        told = Untold(f"job.{state}", job.id, job.story, {"error": error})

        def write() -> None:
            _, events = self._ledger.change(job.id, [told], state=state, error=error, ended=time.time())
            self._feed.publish(events)

        await insist(write, self._closing)

    def _wake(self) -> None:
        self._more.set()
        self._more = asyncio.Event()

    def _heard(self, name: str) -> None:
        ended = self._ended.pop(name, None)
        if ended is not None:
            ended.set()

    def submit(self, story: str, asked: dict[str, Any], key: str | None = None) -> tuple[Job, bool]:
        """The job, and whether it is new: the same `key` gives the same job. Raises Problem where the queue is full."""
        known = self._ledger.keyed(key) if key is not None else None
        if known is not None:
            if known.story != story:
                raise Problem(409, "conflict", "this Idempotency-Key was used for another story")
            return known, False
        if self._ledger.counts().get(QUEUED, 0) >= self._limits.queued:
            detail = f"{self._limits.queued} jobs are waiting, which is all the queue takes"
            raise Problem(429, "queue-full", detail, headers={"Retry-After": "30"})
        if asked["reroll"] or (asked["hold"] and asked["seed"] is None):
            # Drawn here: a job that is taken up again must go on with the same.
            asked = {**asked, "seed": secrets.randbelow(2**32), "reroll": False}
        job, events = self._ledger.add(story, asked, key)
        self._feed.publish(events)
        self._wake()
        return job, True

    def job(self, name: str) -> Job:
        job = self._ledger.job(name)
        if job is None:
            raise missing(f'there is no job "{name}"')
        return job

    def cancel(self, name: str) -> Job:
        """A queued job at once, a running one between its steps. Raises Problem where it has ended."""
        job = self.job(name)
        if job.state in ENDED:
            raise Problem(409, "conflict", f"the job is {job.state}: there is nothing to cancel")
        if job.state == QUEUED:
            told = Untold(f"job.{CANCELLED}", name, job.story, {})
            job, events = self._ledger.change(name, [told], state=CANCELLED, ended=time.time(), cancel=1)
            self._feed.publish(events)
            self._heard(name)
            return job
        job, events = self._ledger.change(name, [Untold("job.cancelling", name, job.story, {})], cancel=1)
        self._feed.publish(events)
        for worker in self.workers:
            if worker.job == name:
                worker.stop()
        return job

    async def wait(self, name: str) -> Job:
        """The job once it has ended, or the server closes."""
        while (job := self.job(name)).state not in ENDED and not self._feed.closing:
            ended = self._ended.setdefault(name, asyncio.Event())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), 1.0)
        return job

    def check_idle(self, story: str, states: Sequence[str]) -> None:
        """Raises Problem where a job of this story is in one of these states."""
        there = self._ledger.jobs(states, story, limit=1)
        if there:
            detail = f"job {there[0].id} of this story is {there[0].state}: cancel it, or wait for its end"
            raise Problem(409, "conflict", detail)
