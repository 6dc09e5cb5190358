"""Jobs when something is wrong: a full disk, a job stopped while it starts, a story's process that dies."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from starlette.testclient import TestClient

from storyboard.leash import gpu_lock
from storyboard.serve import asking, child
from storyboard.serve.access import Access
from storyboard.serve.app import application
from storyboard.serve.asking import Reader
from storyboard.serve.feed import Feed
from storyboard.serve.journal import MOST
from storyboard.serve.ledger import CANCELLED, DONE, QUEUED, RUNNING, Job, Ledger, Untold
from storyboard.serve.limits import Limits
from storyboard.serve.problems import Problem
from storyboard.serve.queue import Queue
from storyboard.serve.stories import Library
from storyboard.serve.worker import Worker, commands
from tests.serving import story_text
from tests.stories import scene, write_picture, write_story

ASKED: dict[str, Any] = {
    "scenes": None, "draft": True, "force": False, "seed": None, "reroll": False, "hold": False, "takes": None,
    "keep_going": False, "forced": [],
}  # fmt: skip


@dataclass
class Place:
    """A library of one story, whose jobs run `code` instead of a render."""

    library: Library
    ledger: Ledger
    feed: Feed
    queue: Queue


@contextmanager
def place(folder: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> Iterator[Place]:
    library = Library(folder / "stories")
    library.open()
    (library.folder / "one").mkdir()
    (library.folder / "one" / "story.toml").write_text(story_text())
    ledger = Ledger(library.own / "serve.db")
    feed = Feed(ledger)

    def start(worker: Worker, job: Job) -> subprocess.Popen[bytes]:
        with (library.own / "runs" / f"{job.id}.{job.attempt}.jsonl").open("wb") as out:
            return subprocess.Popen([sys.executable, "-c", code], stdout=out, stderr=subprocess.DEVNULL)

    monkeypatch.setattr(Worker, "_start", start)
    try:
        yield Place(library, ledger, feed, Queue([None], library, ledger, feed, Limits()))
    finally:
        ledger.close()


async def until(there: Callable[[], bool]) -> None:
    for _ in range(400):
        if there():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("waited in vain")


TOLD = 'print(\'{"event": "scene.done", "scene": "a"}\\n{"event": "run.ended", "code": 0}\')'


def test_a_disk_that_is_full_for_a_while_loses_no_event_and_stops_no_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    full = False
    for method in ("change", "forget", "next"):
        real = getattr(Ledger, method)

        def writing(ledger: Ledger, *given: Any, _real: Any = real, **more: Any) -> Any:
            if full:
                raise sqlite3.OperationalError("database or disk is full")
            return _real(ledger, *given, **more)

        monkeypatch.setattr(Ledger, method, writing)

    async def live(there: Place) -> None:
        nonlocal full
        await there.queue.open()
        first, _ = there.queue.submit("one", ASKED)
        await until(lambda: there.queue.job(first.id).state == RUNNING)
        full = True
        await asyncio.sleep(1.5)
        assert there.queue.job(first.id).state == RUNNING
        full = False
        await until(lambda: there.queue.job(first.id).state == DONE)
        second, _ = there.queue.submit("one", ASKED)
        await until(lambda: there.queue.job(second.id).state == DONE)
        for job in (first, second):
            told = [each.event for each in there.ledger.events(0, job.id)]
            assert told == ["job.queued", "job.started", "scene.done", "job.done"]
        await there.queue.close()

    with place(tmp_path, monkeypatch, f"import time; time.sleep(0.5); {TOLD}") as there:
        asyncio.run(live(there))


def test_what_is_half_written_when_the_disk_is_full_is_taken_back(tmp_path: Path):
    ledger = Ledger(tmp_path / "a.db")
    job, _ = ledger.add("one", ASKED, None)
    ledger.change(job.id, [Untold("x", job.id, "one", {})], state=DONE, ended=1.0)
    ledger._base.execute(
        "CREATE TRIGGER full BEFORE DELETE ON jobs BEGIN SELECT RAISE(FAIL, 'database or disk is full'); END"
    )
    with pytest.raises(sqlite3.Error, match="full"):
        ledger.forget(0, 0, 0.0)
    assert [each.event for each in ledger.events(0)] == ["job.queued", "x"], "all of it is taken back"
    ledger._base.execute("DROP TRIGGER full")
    ledger.change(job.id, state=QUEUED)
    ledger.forget(0, 0, 0.0)
    ledger.close()


def test_an_answer_that_is_too_long_is_not_taken_for_the_next_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(asking, "LONGEST", 500)
    write_picture(tmp_path, "a.png")
    path = write_story(tmp_path, *(scene(f"s{n}", image="a.png") for n in range(200)))

    async def ask() -> None:
        reader = Reader(60.0)
        with pytest.raises(Problem, match="too much"):
            await reader.ask("check", path=str(path))
        path.write_text(story_text(scene("one", image="a.png")))
        assert (await reader.ask("check", path=str(path)))["scenes"] == ["one"]
        await reader.close()

    asyncio.run(ask())


def test_a_full_disk_is_507(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(ledger: Ledger, *_: object) -> None:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    (tmp_path / "stories").mkdir()
    with TestClient(application(Library(tmp_path / "stories"), Access(None)), base_url="http://localhost") as client:
        monkeypatch.setattr(Ledger, "counts", full)
        answer = client.get("/health")
    assert answer.status_code == 507
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("code", ["raise SystemExit(1)", "import os; os.abort()"])
def test_a_job_that_is_stopped_while_its_process_starts_is_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str
):
    """Python exits with 1 where it is interrupted before it has begun."""

    async def live(there: Place) -> None:
        await there.queue.open()
        job, _ = there.queue.submit("one", ASKED)
        await until(lambda: there.queue.job(job.id).state == RUNNING)
        there.queue.cancel(job.id)
        await until(lambda: there.queue.job(job.id).state not in (QUEUED, RUNNING))
        assert there.queue.job(job.id).state == CANCELLED
        await there.queue.close()

    with place(tmp_path, monkeypatch, f"import time; time.sleep(0.5); {code}") as there:
        monkeypatch.setattr(Worker, "stop", lambda worker: None)  # type: ignore[misc]  # its signal is imitated by the code
        asyncio.run(live(there))


STOPPED = 'print(\'{"event": "run.ended", "code": 130}\')'


def test_a_job_that_hears_of_the_servers_end_before_the_queue_does_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """As where a service manager signals the server and its processes at once."""

    async def live(there: Place) -> None:
        await there.queue.open()
        job, _ = there.queue.submit("one", ASKED)
        later, _ = there.queue.submit("one", ASKED)
        await until(lambda: there.queue.job(job.id).state == RUNNING)
        there.feed.close()  # what the server does with its signal
        await until(lambda: there.queue.job(job.id).state != RUNNING)
        await asyncio.sleep(0.3)
        assert [there.queue.job(each.id).state for each in (job, later)] == [QUEUED, QUEUED]
        await there.queue.close()

    with place(tmp_path, monkeypatch, f"import time; time.sleep(0.5); {STOPPED}") as there:
        asyncio.run(live(there))


@pytest.mark.parametrize(
    ("cancel", "line", "state"),
    [
        (0, '{"event": "run.ended", "code": 130}', QUEUED),
        (1, '{"event": "run.ended", "code": 130}', CANCELLED),
        (0, "", QUEUED),
        (1, "", CANCELLED),
        (0, '{"event": "run.ended", "code": 0}', DONE),
        (1, '{"event": "run.ended", "code": 0}', DONE),
        (0, '{"event": "run.ended", "code": 4}', "failed"),
    ],
)
def test_what_a_killed_server_left_is_taken_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cancel: int, line: str, state: str
):
    with place(tmp_path, monkeypatch, TOLD) as there:
        job, _ = there.ledger.add("one", ASKED, None)
        there.ledger.change(job.id, state=RUNNING, attempt=1, cancel=cancel)
        (there.library.own / "runs" / f"{job.id}.1.jsonl").write_text(f"{line}\n" if line else "")
        (there.library.own / "runs" / "of-another.1.err").write_text("x")
        there.feed.close()  # nothing begins

        async def live() -> None:
            await there.queue.open()
            await there.queue.close()

        asyncio.run(live())
        assert there.queue.job(job.id).state == state
        assert not list((there.library.own / "runs").iterdir())


def test_only_paths_of_the_library_are_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with place(tmp_path, monkeypatch, "") as there:
        (worker,) = there.queue.workers
        folder = there.library.folder
        assert worker.plain({"a": [f"{folder}/one/x.png: {folder}"]}) == {"a": ["one/x.png: "]}
        assert worker.plain(f"{folder}-old/x {folder}2/x") == f"{folder}-old/x {folder}2/x"


def test_a_line_of_any_length_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async def live(there: Place) -> None:
        await there.queue.open()
        job, _ = there.queue.submit("one", ASKED)
        await until(lambda: there.queue.job(job.id).state not in (QUEUED, RUNNING))
        assert there.queue.job(job.id).state == DONE
        (note,) = [each for each in there.ledger.events(0, job.id) if each.event == "note"]
        assert len(note.facts["text"]) == 2 * MOST
        await there.queue.close()

    line = f'print(\'{{"event": "note", "text": "\' + "x" * {2 * MOST} + \'"}}\'); {TOLD}'
    with place(tmp_path, monkeypatch, line) as there:
        asyncio.run(live(there))


@pytest.mark.parametrize(
    ("asked", "done", "lines"),
    [
        ({}, set[str](), [[]]),
        ({"scenes": ["b"]}, set[str](), [["--scene", "b"]]),
        ({"force": True, "forced": ["a", "b"]}, set[str](), [["--force"]]),
        ({"force": True, "forced": ["a", "b"]}, {"a"}, [["--scene", "b", "--force"], []]),
        ({"force": True, "forced": ["a", "b"]}, {"a", "b"}, [[]]),
        ({"scenes": ["b"], "seed": 7}, {"b"}, [["--scene", "b", "--seed", "7"]]),
        (
            {"scenes": ["b"], "seed": 7, "force": True, "forced": ["b"]},
            set[str](),
            [["--scene", "b", "--seed", "7", "--force"]],
        ),
        ({"scenes": ["b"], "seed": 7, "force": True, "forced": ["b"]}, {"b"}, [["--scene", "b", "--seed", "7"]]),
    ],
)
def test_a_job_is_these_commands(tmp_path: Path, asked: dict[str, Any], done: set[str], lines: list[list[str]]):
    ledger = Ledger(tmp_path / "a.db")
    job, _ = ledger.add("one", {**ASKED, **asked}, None)
    ledger.close()
    base = ["render", "story.toml", "--json", "--draft"]
    assert commands(job, Path("story.toml"), None, done) == [[*base, *line] for line in lines]


@pytest.mark.parametrize("named", [None, "cuda:0"])
def test_libraries_take_turns_on_a_gpu(
    named: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(child, "has_gpu", lambda device: device != "cpu")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.delenv("STORYBOARD_DEVICE", raising=False)
    other = FileLock(gpu_lock("cuda:0"))
    gpu_lock(None).parent.mkdir()
    other.acquire()
    begun = threading.Event()

    def job() -> None:
        with child.on_gpu(named):
            begun.set()

    waiting = threading.Thread(target=job)
    waiting.start()
    with child.on_gpu("cpu"), child.on_gpu("cuda:1"):
        assert not begun.wait(0.3)
    other.release()
    waiting.join(10)
    assert begun.is_set()
    (told,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert told == {"event": "device.waiting", "text": "waits for another library's job on this GPU"}
