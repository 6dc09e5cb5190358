#!/usr/bin/env python3
"""What a server costs a render, and how quickly it answers.

    scripts/bench_serve.py [--pairs 5] [--clients 20] [--scenes 6] [--size 832x480]

A draft is rendered by the command line alone, and as a job of a server that so many clients poll and stream from, turn
by turn, each on a fresh store; every client must hear every event. Then a story of 50 scenes is read. Prints a table.
The clients run in one process of their own and on a core of their own, as if they were on other machines: the render,
alone or with the server, has the other cores.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tests.serving import Served, put, served, story_text, worked  # noqa: E402
from tests.stories import scene, write_picture  # noqa: E402

LOOK = '[look]\nsize = "{}"\nframes = 81\n'
OURS = sorted(os.sched_getaffinity(0))
POLL = 1.0
"""Seconds between two requests of a client; a page asks no more often, since it hears events."""


def files(folder: Path, scenes: int, look: str) -> dict[str, bytes | str]:
    write_picture(folder, "a.png", 1, (832, 480))
    text = story_text(*(scene(f"s{n}", **({"image": "a.png"} if n % 3 == 0 else {})) for n in range(scenes)), look=look)
    return {"story.toml": text, "a.png": (folder / "a.png").read_bytes()}


def alone(folder: Path, story: dict[str, bytes | str]) -> float:
    folder.mkdir()
    for name, data in story.items():
        (folder / name).write_bytes(data if isinstance(data, bytes) else data.encode())
    command = [sys.executable, "-m", "storyboard", "render", str(folder / "story.toml"), "--draft", "--json"]
    began = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def followed(server: Served, name: str, story: dict[str, bytes | str], clients: int) -> tuple[float, str]:
    """Seconds of the job's process, and what the server did meanwhile."""
    with server.client() as client:
        put(client, name, story)
        client.get(f"/stories/{name}/scenes?draft=true")
        first = client.get("/metrics").text
        number = int(first.partition("\nstoryboard_events_total ")[2].split()[0])
        crowd = subprocess.Popen(
            [sys.executable, __file__, "--crowd", json.dumps([server.url, name, clients, number])],
            stdout=subprocess.PIPE,
            stdin=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, {OURS[-1]}),
        )
        assert crowd.stdout is not None
        crowd.stdout.readline()
        before = worked(server)
        job = client.post(f"/stories/{name}/render?wait=true", json={"draft": True}).json()
        after = worked(server)
        assert job["state"] == "done", job
        took = job["ended"] - job["started"]
        said = json.loads(crowd.communicate()[0])
        told = json.loads(said["told"][0])
        assert all(json.loads(each) == told for each in said["told"]), "clients heard different things"
        assert sum(each == "scene.done" for each in told) == story["story.toml"].count("[[scene]]"), told
        own, render = after[0] - before[0], after[1] - before[1]
        said_of = (
            f"{said['answers']} requests; CPU: server {own:.2f} s, render {render:.2f} s, clients {said['spent']} s"
        )
        return took, said_of


def crowd(url: str, name: str, clients: int, number: int) -> None:
    """Each client streams all events and polls, some the jobs, some the scenes or the plan, until the job is done."""
    import httpx2

    told: list[list[str]] = [[] for _ in range(clients)]
    over, answers = threading.Event(), [0] * clients

    def stream(index: int) -> None:
        with (
            httpx2.Client(base_url=url, timeout=600) as client,
            client.stream("GET", f"/events?after={number}") as said,
        ):
            for line in said.iter_lines():
                if line.startswith("event: "):
                    told[index].append(line[7:])
                    if line == "event: job.done":
                        over.set()
                        return

    def poll(index: int) -> None:
        paths = (
            "/jobs",
            f"/stories/{name}/scenes?draft=true",
            "/jobs?state=running",
            f"/stories/{name}/plan?draft=true",
        )
        with httpx2.Client(base_url=url, timeout=600) as client:
            while not over.wait(POLL):
                assert client.get(paths[index % len(paths)]).status_code == 200
                answers[index] += 1

    threads = [threading.Thread(target=work, args=(n,)) for n in range(clients) for work in (stream, poll)]
    for thread in threads:
        thread.start()
    time.sleep(1)
    print("ready", flush=True)
    for thread in threads:
        thread.join()
    spent = round(time.process_time(), 2)
    print(json.dumps({"told": [json.dumps(each) for each in told], "answers": sum(answers), "spent": spent}))


def reading(server: Served, folder: Path) -> dict[str, str]:
    """What a story of 50 scenes takes, as it is first asked for, and remembered: by the clock, and of the CPU."""
    small = files(folder, 50, '[look]\nsize = "64x48"\nframes = 5\n')
    found: dict[str, list[float]] = {}
    spent: dict[str, float] = {}
    with server.client() as client:
        put(client, "fifty", small)
        client.post("/stories/fifty/render?wait=true", json={"draft": True})
        client.get("/stories/fifty/scenes?draft=true")
        for _ in range(20):
            put(client, "fifty", small)  # what was remembered of it is no more
            for path in ("scenes", "plan"):
                for how in ("anew", "again"):
                    began, before = time.perf_counter(), worked(server)[0]
                    assert client.get(f"/stories/fifty/{path}?draft=true").status_code == 200
                    found.setdefault(f"{path} {how}", []).append(1000 * (time.perf_counter() - began))
                    spent[f"{path} {how}"] = spent.get(f"{path} {how}", 0) + worked(server)[0] - before
    said: dict[str, str] = {}
    for name, times in found.items():
        clock = f"{statistics.median(times):.1f} ms (fastest {min(times):.1f})"
        said[name] = f"{clock}, CPU {1000 * spent[name] / len(times):.0f} ms"
    return said


def resident(server: Served) -> float:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def measured(asked: Any, folder: Path) -> None:
    if len(OURS) < 2:
        sys.exit("this needs two cores: one for the clients")
    os.sched_setaffinity(0, set(OURS[:-1]))
    story = files(folder, asked.scenes, LOOK.format(asked.size))
    one: list[float] = []
    other: list[float] = []
    said = ""
    with served(folder / "stories") as server:
        cores = f"{len(OURS) - 1} and 1 of {len(OURS)} cores"
        print(f"{platform.machine()}, Python {platform.python_version()}, {cores}; idle {resident(server):.0f} MB")
        for number in range(asked.pairs):
            # In turns, each with nothing of the other's left to be written to the disk.
            os.sync()
            for way in ("alone", "followed") if number % 2 else ("followed", "alone"):
                os.sync()
                if way == "alone":
                    one.append(alone(folder / f"alone{number}", story))
                else:
                    took, answers = followed(server, f"s{number}", story, asked.clients)
                    other.append(took)
                    said = f"with {asked.clients} clients {took:6.2f} s   {answers}"
            print(f"alone {one[-1]:6.2f} s   {said}", flush=True)
        ratio = statistics.median(b / a for a, b in zip(one, other, strict=True))
        print(f"median {statistics.median(one):.2f} s and {statistics.median(other):.2f} s, ratio {ratio:.3f}")
        for name, took in reading(server, folder).items():
            print(f"50 scenes, {name}: {took}")
        print(f"afterwards {resident(server):.0f} MB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--scenes", type=int, default=6)
    parser.add_argument("--size", default="832x480")
    parser.add_argument("--crowd", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.crowd:
        crowd(*json.loads(asked.crowd))
    else:
        with tempfile.TemporaryDirectory() as folder:
            measured(asked, Path(folder))
