"""The RunPod worker, as a process behind the SDK's own local server and behind an imitation of their queue."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import pytest

from tests.runpod_worker import (
    LONG,
    PATIENCE,
    ROOT,
    LocalServer,
    Worker,
    environment,
    events,
    picture,
    queue,
    story,
    told,
    wait_until,
)

pytest.importorskip("runpod")

DRAFT: dict[str, Any] = {"story": story("a", "b"), "pictures": {"a.png": picture(1)}, "draft": True}
CHAIN: dict[str, Any] = {
    "story": story("a", "b", "c", "d", look=LONG),
    "pictures": {"a.png": picture(2, (320, 240))},
    "draft": True,
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    with LocalServer(tmp_path_factory.mktemp("runpod") / "volume") as running:
        yield running


def frames(video: dict[str, Any]) -> int:
    with av.open(io.BytesIO(base64.b64decode(video["data"]))) as container:
        return sum(1 for _ in container.decode(video=0))


def test_a_job_gives_its_film_its_seams_and_its_times(server: LocalServer):
    answer = server.runsync(**DRAFT)
    assert answer["status"] == "COMPLETED", answer
    output = answer["output"]
    (film,) = output["videos"]
    assert film["name"] == "story.draft.mp4"
    assert film["type"] == "video/mp4"
    assert film["bytes"] == len(base64.b64decode(film["data"]))
    assert (film["frames"], film["fps"], film["seconds"]) == (9, "16", 0.562)  # 5, and 4 after the shared frame
    assert frames(film) == 9
    assert [(seam["scene"], seam["holds"]) for seam in output["seams"]] == [("a", True), ("b", True), ("b", True)]
    assert output["made"] == ["a", "b"]
    assert {"fetch", "render", "verify", "deliver", "total", "scenes"} == output["timings"].keys()
    assert any("animatic stands in" in note for note in output["notes"])

    again = server.runsync(**DRAFT)["output"]  # another job, the same story: all of it is kept
    assert again["made"] == []
    assert again["videos"] == output["videos"]


def test_the_command_finds_what_the_worker_kept(server: LocalServer):
    server.runsync(**DRAFT)
    (folder,) = {Path(event["story"]).parent for event in events(server.volume) if event["event"] == "run.started"}
    store = str(server.volume / "storyboard/store")
    command = [sys.executable, "-m", "storyboard", "render", str(folder / "story.toml"), "--draft", "--store", store]
    done = subprocess.run(command, env=environment(server.volume), capture_output=True, text=True, check=True)
    assert "nothing to do: the film is as the story says" in done.stderr


def test_a_job_may_be_asked_for_and_fetched_later(server: LocalServer):
    asked = server.post("/run", {"input": {**DRAFT, "scenes": ["a"]}})
    assert asked["status"] == "IN_PROGRESS"
    answer = server.post(f"/status/{asked['id']}")
    assert answer["status"] == "COMPLETED"
    assert [video["name"] for video in answer["output"]["videos"]][:1] == ["a.draft.mp4"]
    assert server.post("/status/nobody")["error"] == "Job ID not found"


def test_mistakes_of_the_story_come_back_in_full(server: LocalServer):
    wrong = story("a").replace("prompt", "promt", 1) + "\n[finsh]\n"
    answer = server.runsync(story=wrong, pictures={"a.png": picture()}, draft=True)
    assert answer["status"] == "FAILED"
    assert 'scene "a": unknown key "promt" (did you mean "prompt"?)' in answer["error"]
    assert '    7 | promt = "a a"\n      | ^^^^^' in answer["error"]
    assert 'unknown key "finsh" (did you mean "finish"?)' in answer["error"]
    assert str(server.volume) not in answer["error"]
    assert "Traceback" not in answer["error"]


def test_the_worker_stays_small(server: LocalServer):
    server.runsync(**DRAFT)
    assert server.rss() < 120


def test_the_worker_loads_neither_numpy_nor_av_nor_torch():
    code = "import sys, storyboard.runpod as r; print([n for n in ('numpy', 'av', 'torch', 'cv2') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_two_jobs_take_turns_on_a_gpu(server: LocalServer):
    """Both are answered, and no run begins before the other's end."""
    answers: list[dict[str, Any]] = []
    before = len([event for event in events(server.volume) if event["event"] == "run.done"])

    def ask(seed: int) -> None:
        order = {
            **DRAFT,
            "story": story("a", "b", look='size = "160x112"\nframes = 61\n'),
            "pictures": {"a.png": picture(seed)},
        }
        answers.append(server.runsync(**order))

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in (11, 12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer["status"] for answer in answers] == ["COMPLETED", "COMPLETED"]
    marks = [event["event"] for event in events(server.volume) if event["event"] in ("run.started", "run.done")]
    assert marks[2 * before :] == ["run.started", "run.done"] * 2


@pytest.mark.slow
def test_a_killed_worker_leaves_no_child_and_the_next_goes_on(tmp_path: Path):
    volume = tmp_path / "volume"
    with LocalServer(volume) as first:
        lost: list[BaseException] = []

        def ask() -> None:
            try:
                first.runsync(**CHAIN)
            except OSError as error:
                lost.append(error)

        asking = threading.Thread(target=ask)
        asking.start()
        wait_until(lambda: bool(told(volume, "scene.done")))
        assert first.children()
        first.kill()
        asking.join()
        wait_until(lambda: not first.children(), seconds=20)
    done = told(volume, "scene.done")
    assert lost
    assert done
    assert len(done) < 4, "it must die before the end"
    with LocalServer(volume) as second:
        output = second.runsync(**CHAIN)["output"]
    assert output["made"] == sorted({"a", "b", "c", "d"} - set(done))
    assert sorted(told(volume, "scene.done")) == ["a", "b", "c", "d"]  # none twice
    assert all(seam["holds"] for seam in output["seams"])


@pytest.mark.slow
def test_progress_is_told_once_a_second_at_most_and_never_after_the_result(tmp_path: Path):
    with queue() as (runpod, variables), Worker(tmp_path / "volume", **variables):
        runpod.jobs.append({"id": "film", "input": CHAIN})
        wait_until(lambda: runpod.result("film") is not None)
        posted = runpod.of("film")
    assert all(facts["status"] == "IN_PROGRESS" for _, facts in posted[:-1])
    assert posted[-1][1]["output"]["made"] == ["a", "b", "c", "d"]
    progress = [facts["output"] for _, facts in posted[:-1]]
    assert len(progress) >= 2
    assert all(later - before > 0.8 for (before, _), (later, _) in pairwise(posted[:-1]))  # as they arrive
    parts = [facts["done"] for facts in progress if facts["step"] == "render" and "done" in facts]
    assert parts == sorted(parts)
    assert all(0 <= part <= 1 for part in parts)


@pytest.mark.slow
def test_a_cancelled_job_stops_and_the_worker_takes_the_next(tmp_path: Path):
    volume = tmp_path / "volume"
    with queue() as (runpod, variables), Worker(volume, **variables) as worker:
        runpod.jobs.append({"id": "first", "input": CHAIN})
        wait_until(lambda: bool(told(volume, "scene.done")))
        runpod.to_stop.append("first")
        wait_until(lambda: bool(told(volume, "run.interrupted")))
        wait_until(lambda: not worker.children(), seconds=60)
        done = told(volume, "scene.done")
        assert len(done) < 4
        runpod.jobs.append({"id": "second", "input": CHAIN})
        wait_until(lambda: runpod.result("second") is not None)
        assert (runpod.result("second") or {})["output"]["made"] == sorted({"a", "b", "c", "d"} - set(done))
    assert runpod.result("first") is None


def test_a_worker_may_be_tried_with_one_input(tmp_path: Path):
    """As RunPod's own examples do it."""
    job = json.dumps({"input": DRAFT})
    with Worker(tmp_path / "volume", "--test_input", job) as worker:
        assert worker.process.wait(PATIENCE) == 0
        assert "completed successfully" in worker.log.read_text()
