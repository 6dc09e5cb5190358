"""kill -9 of the server at random moments: no job is lost, none runs twice, nothing it started outlives it."""

from __future__ import annotations

import contextlib
import json
import os
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.serving import Served, ended, events_of, png, put, served, story_text
from tests.stories import scene

MOMENTS = 20
LOOK = '[look]\nsize = "160x128"\nframes = 41\n'


def film(*names: str) -> dict[str, bytes | str]:
    text = story_text(
        *(scene(name, **({"image": "a.png"} if n % 2 == 0 else {})) for n, name in enumerate(names)), look=LOOK
    )
    return {"story.toml": text, "a.png": png()}


def asked(number: int) -> tuple[str, dict[str, Any]]:
    """What the job of one life of the server is to do: films of two stories, forced ones and rerolls among them."""
    story = f"s{number % 2}"
    match number % 5:
        case 1:
            return story, {"draft": True, "force": True, "scenes": ["a", "c"]}
        case 2:
            return story, {"draft": True, "reroll": True, "scenes": ["b"]}
        case 3:
            return story, {"draft": True, "force": True}
        case _:
            return story, {"draft": True}


def submitted(client: httpx2.Client, number: int) -> None:
    """Sent again under the same key wherever the answer may have been lost."""
    story, body = asked(number)
    with contextlib.suppress(httpx2.TransportError):
        client.post(f"/stories/{story}/render", json=body, headers={"Idempotency-Key": f"life{number}"})


@pytest.mark.slow
def test_killed_servers_lose_no_job_and_run_none_twice(tmp_path: Path):
    chance = random.Random(11)
    with served(tmp_path / "stories") as server:
        with server.client() as client:
            for number in range(2):
                assert put(client, f"s{number}", film("a", "b", "c")).status_code == 201
        for number in range(MOMENTS):
            with server.client() as client:
                submitted(client, number)
                time.sleep(chance.uniform(0.0, 2.0))
            children = tied(server)
            server.kill()
            left = [child for child in children if not gone(child)]
            assert not left, f"outlive the server: {left}"
            server.start()
        with server.client() as client:
            for number in range(MOMENTS):
                submitted(client, number)
            jobs = client.get("/jobs?limit=1000").json()["jobs"]
            assert len(jobs) == MOMENTS
            for job in jobs:
                said = ended(client, job["id"], 240)
                assert said["state"] == "done", said
            assert sum(job["attempt"] > 1 for job in client.get("/jobs").json()["jobs"]) >= 3, "kills must hit jobs"
            check_events(client, server)


def check_events(client: httpx2.Client, server: Served) -> None:
    """Each job made each scene once at most, those that it was forced to make just once; all that runs told is here."""
    told: Counter[tuple[str, float]] = Counter()
    for job in client.get("/jobs?limit=1000").json()["jobs"]:
        events = events_of(client, f"/jobs/{job['id']}/events")
        made = Counter(each["scene"] for each in events if each["event"] == "scene.done")
        assert not made or max(made.values()) == 1, f"made twice: {job}, {made}"
        if job["asked"]["force"]:
            # It may be killed in the instant between a clip's rename and its event.
            assert set(made) <= set(job["asked"]["scenes"] or "abc")
        ends = [each["event"] for each in events if each["event"] in ("job.done", "job.failed", "job.cancelled")]
        assert ends == ["job.done"], ends
        told.update((each["key"], each["time"]) for each in events if each["event"] == "scene.done")
    assert max(told.values()) == 1, "told twice"
    for story in ("s0", "s1"):
        for log in (server.folder / story / ".storyboard" / "runs").glob("*/events.jsonl"):
            lines = [json.loads(line) for line in log.read_text().splitlines() if line.endswith("}")]
            done = [(each["key"], each["time"]) for each in lines if each["event"] == "scene.done"]
            lost = [each for each in done if each not in told]
            assert not lost, f"never told: {lost}"


def tied(server: Served) -> list[int]:
    """The processes that the server has started."""
    found: list[int] = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(path.read_text().rpartition(")")[2].split()[1]) == server.process.pid:
                found.append(int(path.parent.name))
        except (OSError, IndexError):
            continue
    return found


def gone(process: int) -> bool:
    for _ in range(100):
        try:
            if Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
            os.kill(process, 0)
        except OSError:
            return True
        time.sleep(0.05)
    return False


def test_a_server_that_is_asked_to_end_takes_up_its_job_again(tmp_path: Path):
    with served(tmp_path / "stories") as server:
        with server.client() as client:
            put(client, "s0", film(*"abcdefgh"))
            job = client.post("/stories/s0/render", json={"draft": True}).json()["id"]
            with client.stream("GET", f"/jobs/{job}/events") as stream:
                for line in stream.iter_lines():
                    if line == "event: scene.done":
                        break
        assert server.end() == 0
        server.start()
        with server.client() as client:
            assert ended(client, job)["state"] == "done"
            events = events_of(client, f"/jobs/{job}/events")
            made = [each["scene"] for each in events if each["event"] == "scene.done"]
            assert sorted(made) == list("abcdefgh")
