"""Jobs and events in SQLite: what is written here outlives a killed server."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
import uuid
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from storyboard.settings import SettingsError

QUEUED, RUNNING, DONE, FAILED, PARTLY, CANCELLED = "queued", "running", "done", "failed", "partly", "cancelled"
ENDED = (DONE, FAILED, PARTLY, CANCELLED)
STATES = (QUEUED, RUNNING, *ENDED)

SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
  number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, story TEXT NOT NULL, asked TEXT NOT NULL,
  state TEXT NOT NULL, device TEXT, created REAL NOT NULL, started REAL, ended REAL, attempt INTEGER NOT NULL DEFAULT 0,
  code INTEGER, error TEXT, part REAL NOT NULL DEFAULT 0, read INTEGER NOT NULL DEFAULT 0,
  cancel INTEGER NOT NULL DEFAULT 0, key TEXT UNIQUE);
CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs (state, number);
CREATE TABLE IF NOT EXISTS events (
  id INTEGER PRIMARY KEY AUTOINCREMENT, time REAL NOT NULL, event TEXT NOT NULL, job TEXT, story TEXT,
  facts TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS events_by_job ON events (job, id);
"""
JOB = "id, number, story, asked, state, device, created, started, ended, attempt, code, error, part, read, cancel, key"


@dataclass(frozen=True, slots=True)
class Job:
    """`asked`: what the render was asked for. `attempt` counts its processes; `read`: bytes of the last one's journal
    that are events already. `part`: how much is done, 0 to 1. `key`: the client's own, so that asking twice is one."""

    id: str
    number: int
    story: str
    asked: dict[str, Any]
    state: str
    device: str | None
    created: float
    started: float | None
    ended: float | None
    attempt: int
    code: int | None
    error: str | None
    part: float
    read: int
    cancel: bool
    key: str | None


@dataclass(frozen=True, slots=True)
class Told:
    """An event with its number, which never comes twice in a library."""

    id: int
    time: float
    event: str
    job: str | None
    story: str | None
    facts: dict[str, Any]

    def json(self) -> dict[str, Any]:
        whole = {"id": self.id, "time": self.time, "event": self.event, "job": self.job, "story": self.story}
        return {**self.facts, **{key: value for key, value in whole.items() if value is not None}}


@dataclass(frozen=True, slots=True)
class Untold:
    """An event on its way into the ledger."""

    event: str
    job: str | None
    story: str | None
    facts: dict[str, Any]
    time: float | None = None


class Ledger:
    """One connection, used by one thread; each method is a transaction."""

    def __init__(self, path: Path) -> None:
        """Raises SettingsError where it is no database, or lies where none can."""
        # Every reply waits for the disk's promise no longer than a render does: a power cut may lose the last seconds,
        # a killed process loses nothing.
        try:
            self._base = sqlite3.connect(path, timeout=10, isolation_level=None)
            self._base.row_factory = sqlite3.Row
            self._base.execute("PRAGMA journal_mode=WAL")
            self._base.execute("PRAGMA synchronous=NORMAL")
            self._base.executescript(SCHEMA)
        except sqlite3.Error as error:
            remedy = "where it is damaged, move it away: stories and kept work stay, jobs and events begin anew"
            raise SettingsError(f"{path} cannot be used ({error}): {remedy}") from None

    def close(self) -> None:
        self._base.close()

    @contextlib.contextmanager
    def _whole(self) -> Generator[None]:
        """All that the block writes, or nothing. A full disk ends a transaction by itself."""
        self._base.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._base.execute("COMMIT")
        except BaseException:
            if self._base.in_transaction:
                self._base.execute("ROLLBACK")
            raise

    def add(self, story: str, asked: dict[str, Any], key: str | None) -> tuple[Job, list[Told]]:
        """A new job at the queue's end, and that it is told."""
        name = uuid.uuid4().hex
        with self._whole():
            self._base.execute(
                "INSERT INTO jobs (id, story, asked, state, created, key) VALUES (?, ?, ?, ?, ?, ?)",
                (name, story, json.dumps(asked), QUEUED, time.time(), key),
            )
            told = self.tell(Untold(f"job.{QUEUED}", name, story, {}))
        return self._known(name), [told]

    def job(self, name: str) -> Job | None:
        return next(iter(self._jobs("WHERE id = ?", (name,))), None)

    def keyed(self, key: str) -> Job | None:
        return next(iter(self._jobs("WHERE key = ?", (key,))), None)

    def jobs(
        self, states: Sequence[str] = (), story: str | None = None, before: int | None = None, limit: int = 100
    ) -> list[Job]:
        """Newest first."""
        where, values = ["1"], list[Any]()
        if states:
            where.append(f"state IN ({', '.join('?' * len(states))})")
            values += states
        if story is not None:
            where.append("story = ?")
            values.append(story)
        if before is not None:
            where.append("number < ?")
            values.append(before)
        return self._jobs(f"WHERE {' AND '.join(where)} ORDER BY number DESC LIMIT ?", (*values, limit))

    def next(self) -> Job | None:
        """The first in the queue whose story no other job is rendering."""
        free = "WHERE state = ? AND story NOT IN (SELECT story FROM jobs WHERE state = ?) ORDER BY number LIMIT 1"
        return next(iter(self._jobs(free, (QUEUED, RUNNING))), None)

    def counts(self) -> dict[str, int]:
        return dict(self._base.execute("SELECT state, count(*) FROM jobs GROUP BY state").fetchall())

    def change(self, name: str, told: Iterable[Untold] = (), **facts: Any) -> tuple[Job, list[Told]]:
        """Set columns of a job and tell events, both or neither."""
        with self._whole():
            if facts:
                names = ", ".join(f"{fact} = ?" for fact in facts)
                self._base.execute(f"UPDATE jobs SET {names} WHERE id = ?", (*facts.values(), name))
            events = [self.tell(each) for each in told]
        return self._known(name), events

    def tell(self, untold: Untold) -> Told:
        now = round(time.time(), 3) if untold.time is None else untold.time
        row = self._base.execute(
            "INSERT INTO events (time, event, job, story, facts) VALUES (?, ?, ?, ?, ?)",
            (now, untold.event, untold.job, untold.story, json.dumps(untold.facts)),
        )
        return Told(row.lastrowid or 0, now, untold.event, untold.job, untold.story, untold.facts)

    def events(self, after: int, job: str | None = None, limit: int = 500) -> list[Told]:
        """In order, those past number `after`."""
        where = "id > ?" if job is None else "id > ? AND job = ?"
        rows = self._base.execute(
            f"SELECT id, time, event, job, story, facts FROM events WHERE {where} ORDER BY id LIMIT ?",
            (after, *([] if job is None else [job]), limit),
        )
        return [_told(row) for row in rows]

    def told(self, job: str, event: str) -> list[dict[str, Any]]:
        """Facts of a job's events of one kind."""
        rows = self._base.execute("SELECT facts FROM events WHERE job = ? AND event = ? ORDER BY id", (job, event))
        return [json.loads(row["facts"]) for row in rows]

    def recent(self, job: str, limit: int = 200) -> list[Told]:
        """A job's last events, in order."""
        rows = self._base.execute(
            "SELECT id, time, event, job, story, facts FROM events WHERE job = ? ORDER BY id DESC LIMIT ?", (job, limit)
        )
        return [_told(row) for row in rows][::-1]

    def when(self, job: str, event: str) -> float | None:
        """Of the last event of one kind that a job told."""
        row = self._base.execute("SELECT max(time) FROM events WHERE job = ? AND event = ?", (job, event)).fetchone()
        return row[0]

    def bounds(self) -> tuple[int, int]:
        """The first event that is kept, and the last that was told."""
        first = self._base.execute("SELECT min(id) FROM events").fetchone()[0]
        last = self._base.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
        return first or 0, last[0] if last else 0

    def forget(self, events: int, ended: int, progress: float) -> None:
        """Drop all but so many events and ended jobs, and the progress of jobs that ended before time `progress`."""
        states = ", ".join(f"'{state}'" for state in ENDED)
        with self._whole():
            self._base.execute("DELETE FROM events WHERE id <= (SELECT max(id) FROM events) - ?", (events,))
            self._base.execute(
                "DELETE FROM events WHERE event IN ('scene.progress', 'segment.progress', 'take.progress') "
                f"AND job IN (SELECT id FROM jobs WHERE state IN ({states}) AND ended < ?)",
                (progress,),
            )
            self._base.execute(
                f"DELETE FROM jobs WHERE state IN ({states}) AND number NOT IN "
                f"(SELECT number FROM jobs WHERE state IN ({states}) ORDER BY number DESC LIMIT ?)",
                (ended,),
            )

    def _known(self, name: str) -> Job:
        return self._jobs("WHERE id = ?", (name,))[0]

    def _jobs(self, rest: str, values: Sequence[Any]) -> list[Job]:
        rows = self._base.execute(f"SELECT {JOB} FROM jobs {rest}", tuple(values))
        return [_job(cast("dict[str, Any]", dict(row))) for row in rows]


def _told(row: sqlite3.Row) -> Told:
    number, when, event, job, story, facts = row
    return Told(number, when, event, job, story, json.loads(facts))


def _job(row: dict[str, Any]) -> Job:
    facts: dict[str, Any] = {**row, "asked": json.loads(row["asked"]), "cancel": bool(row["cancel"])}
    return Job(**facts)
