"""Takes and held ends over HTTP: drawn as jobs, listed, looked at, chosen."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import av
import httpx2
import pytest

from storyboard.serve.journal import Journal
from storyboard.serve.ledger import Job, Ledger
from storyboard.serve.worker import commands
from tests.serving import Served, events_of, png, put, served, story_text
from tests.stories import scene


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("takes") / "stories") as running:
        yield running


@pytest.fixture
def client(server: Served) -> Iterator[httpx2.Client]:
    with server.client() as client:
        yield client


def send(client: httpx2.Client, story: str) -> None:
    text = story_text(scene("a", image="a.png"), scene("b", camera="pan left"))
    assert put(client, story, {"story.toml": text, "a.png": png()}).status_code in (200, 201)


def render(client: httpx2.Client, story: str, **asked: object) -> dict[str, object]:
    job = client.post(f"/stories/{story}/render?wait=true", json={"draft": True, **asked}).json()
    assert job["state"] == "done", job
    return job


def test_takes_are_drawn_looked_at_and_chosen(client: httpx2.Client, server: Served):
    send(client, "pick")
    assert client.get("/stories/pick/takes?draft=true").json()["scenes"][0]["takes"] == []
    job = render(client, "pick", scenes=["a"], takes=3)
    assert job["part"] == 1.0
    told = events_of(client, f"/jobs/{job['id']}/events")
    assert [each["take"] for each in told if each["event"] == "take.done"] == [1, 2, 3]
    said = client.get("/stories/pick/takes?draft=true&scene=a").json()
    assert said["mode"] == "draft"
    takes = said["scenes"][0]["takes"]
    assert [(take["number"], take["kept"], take["chosen"]) for take in takes] == [
        (1, True, True),
        (2, True, False),
        (3, True, False),
    ]
    film = client.get("/stories/pick/scenes/a/takes/2.mp4?draft=true")
    with av.open(io.BytesIO(film.content)) as container:
        assert len(list(container.decode(video=0))) == 9
    assert client.get("/stories/pick/scenes/a/takes/9.mp4?draft=true").status_code == 404
    answer = client.post("/stories/pick/scenes/a/take", json={"take": 2, "draft": True})
    assert answer.json() == {"scene": "a", "take": 2, "seed": takes[1]["seed"], "written": True, "swapped": False}
    assert f"seed = {takes[1]['seed']}\n" in (server.folder / "pick" / "story.toml").read_text()
    said = client.get("/stories/pick/takes?draft=true&scene=a").json()
    assert [take["chosen"] for take in said["scenes"][0]["takes"]] == [False, True, False]


def test_a_choice_is_an_event_and_what_cannot_be_chosen_says_why(client: httpx2.Client):
    send(client, "why")
    last = client.get("/jobs").json()["jobs"]
    refused = client.post("/stories/why/scenes/a/take", json={"take": 2, "draft": True})
    assert refused.status_code == 422
    assert "a has no takes: storyboard render why/story.toml --draft --scene a --takes 4" in refused.json()["detail"]
    assert client.post("/stories/why/scenes/z/take", json={"take": 2, "draft": True}).status_code == 404
    assert client.post("/stories/why/scenes/a/take", json={"take": 0}).status_code == 422
    render(client, "why", scenes=["a"], takes=2)
    job = client.get("/jobs?story=why").json()["jobs"][0]
    after = events_of(client, f"/jobs/{job['id']}/events")[-1]["id"]
    assert client.post("/stories/why/scenes/a/take", json={"take": 2, "draft": True}).status_code == 200
    with client.stream("GET", f"/events?after={after}") as answer:
        told = next(line for line in answer.iter_lines() if line.startswith("event: "))
    assert told == "event: take.chosen"
    assert len(client.get("/jobs").json()["jobs"]) == len(last) + 1, "choosing is no job"


def test_a_held_end_leaves_what_follows(client: httpx2.Client, server: Served):
    send(client, "hold")
    refused = client.post("/stories/hold/render?wait=true", json={"draft": True, "scenes": ["a"], "hold": True}).json()
    assert refused["state"] == "failed"
    assert "a is not rendered, so it has no end to hold" in refused["error"]
    render(client, "hold")
    before = {each["name"]: each["clip"] for each in client.get("/stories/hold/scenes?draft=true").json()["scenes"]}
    job = render(client, "hold", scenes=["a"], hold=True)
    assert isinstance(job["asked"], dict)
    assert isinstance(job["asked"]["seed"], int), "drawn once, so that the job goes on with it after a restart"
    text = (server.folder / "hold" / "story.toml").read_text()
    assert 'hold = "held/a.png"' in text
    assert f"seed = {job['asked']['seed']}\n" in text
    said = {each["name"]: each for each in client.get("/stories/hold/scenes?draft=true").json()["scenes"]}
    assert said["a"]["clip"] != before["a"]
    assert (said["b"]["clip"], said["b"]["state"]) == (before["b"], "kept")
    plan = client.get("/stories/hold/plan?draft=true").json()
    assert {each["state"] for each in plan["scenes"]} == {"kept"}


@pytest.mark.parametrize(
    "asked",
    [
        {"takes": 2},
        {"takes": 2, "scenes": ["a", "b"]},
        {"takes": 2, "scenes": ["a"], "reroll": True},
        {"takes": 2, "scenes": ["a"], "hold": True},
        {"takes": 2, "scenes": ["a"], "force": True},
        {"takes": 1, "scenes": ["a"]},
        {"hold": True},
        {"hold": True, "scenes": ["a"], "force": True},
    ],
)
def test_what_does_not_go_together_is_refused(client: httpx2.Client, asked: dict[str, object]):
    send(client, "odd")
    assert client.post("/stories/odd/render", json=asked).status_code == 422


def test_jobs_of_an_older_server_are_still_run():
    asked = {"draft": True, "keep_going": False, "scenes": ["a"], "seed": 3, "force": False, "forced": []}
    job = Job("0", 1, "s", asked, "queued", None, 0.0, None, None, 0, None, None, 0.0, 0, False, None)
    line = ["render", "s.toml", "--json", "--draft", "--scene", "a", "--seed", "3"]
    assert commands(job, Path("s.toml"), None, set()) == [line]


def test_takes_count_for_how_much_of_a_job_is_done(tmp_path: Path):
    ledger = Ledger(tmp_path / "serve.db")
    job, _ = ledger.add("s", {"takes": 2, "scenes": ["a"]}, None)
    lines: list[dict[str, object]] = [
        {"event": "run.started", "render": ["a.1", "a.2"], "finish": [], "takes": 2},
        {"event": "take.done", "scene": "a", "take": 1, "seconds": 1.0},
        {"event": "take.progress", "scene": "a", "take": 2, "done": 0.5, "time": 10.0},
    ]
    path = tmp_path / "journal.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    job, told = Journal(path, ledger, lambda value: value).read_on(job)
    assert [each.event for each in told] == ["run.started", "take.done", "take.progress"]
    assert job.part == 0.75
    ledger.close()
