"""Stories over HTTP: sent, read, rendered as jobs, followed by events, and their files fetched."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import av
import httpx2
import pytest

from storyboard.plan import Plan
from storyboard.schema import NAME_PATTERN
from storyboard.serve.answers import PlanSaid
from storyboard.serve.names import SCENE_NAME
from tests.serving import Served, ended, events_of, picture, png, put, served, story_text, two_scenes, worked, zipped
from tests.stories import scene


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("serve") / "stories") as running:
        yield running


@pytest.fixture
def client(server: Served) -> Iterator[httpx2.Client]:
    with server.client() as client:
        yield client


def render(client: httpx2.Client, story: str, **asked: object) -> dict[str, object]:
    answer = client.post(f"/stories/{story}/render?wait=true", json={"draft": True, **asked})
    assert answer.status_code == 200, answer.text
    return answer.json()


def problem(answer: httpx2.Response, status: int) -> dict[str, object]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    said = answer.json()
    assert said["status"] == status
    return said


def test_a_story_is_sent_listed_fetched_replaced_and_deleted(client: httpx2.Client, server: Served):
    files = {"story.toml": two_scenes(), "a.png": png()}
    made = put(client, "whole", files)
    assert made.status_code == 201
    assert made.json()["files"] == ["a.png", "story.toml"]
    assert made.headers["location"] == "/stories/whole"
    assert "whole" in [story["id"] for story in client.get("/stories").json()["stories"]]
    assert client.get("/stories/whole/files/a.png").content == files["a.png"]
    render(client, "whole")
    kept = server.folder / "whole" / ".storyboard" / "clips"
    before = sorted(kept.glob("*/*"))
    assert before
    again = put(client, "whole", {"story.toml": two_scenes(), "a.png": png(), "more/b.png": png(2)})
    assert again.status_code == 200
    assert again.json()["files"] == ["a.png", "more/b.png", "story.toml"]
    assert sorted(kept.glob("*/*")) == before, "kept work stays"
    assert client.get("/stories/whole/film.mp4?draft=true").status_code == 200
    put(client, "whole", files)
    assert client.get("/stories/whole").json()["files"] == ["a.png", "story.toml"], "it is replaced whole"
    assert client.delete("/stories/whole").status_code == 204
    problem(client.get("/stories/whole"), 404)
    assert not (server.folder / "whole").exists()


def test_a_form_of_files_and_a_zipped_folder_are_stories_too(client: httpx2.Client):
    sent = [("files", ("story.toml", 'title = "Two Boats!"\n' + two_scenes())), ("files", ("a.png", png()))]
    answer = client.post("/stories", files=sent)
    assert answer.status_code == 201, answer.text
    assert answer.json()["id"] == "two-boats"
    assert client.post("/stories", files=sent).json()["id"] == "two-boats-2"
    folder = {"my film/story.toml": two_scenes(), "my film/a.png": png(), "__MACOSX/x": b"", "my film/.DS_Store": b""}
    answer = client.post("/stories?id=foldered", files=[("zip", ("film.zip", zipped(folder)))])
    assert answer.status_code == 201, answer.text
    assert answer.json()["files"] == ["a.png", "story.toml"]
    problem(client.post("/stories?id=foldered", files=sent), 409)
    problem(client.post("/stories?id=FOLDERED", files=sent), 409)


def test_a_storys_mistakes_come_back_with_their_places(client: httpx2.Client):
    text = two_scenes().replace("camera", "camra", 1)
    said = problem(put(client, "wrong", {"story.toml": text, "a.png": png()}), 422)
    (mistake,) = said["mistakes"]  # type: ignore[misc]
    assert mistake["file"] == "story.toml"
    assert mistake["line"] == text[: text.index("camra")].count("\n") + 1
    assert mistake["column"] == 1
    assert 'unknown key "camra"' in mistake["message"]
    assert mistake["scene"] == "a"
    problem(client.get("/stories/wrong"), 404)


def test_a_refused_replacement_leaves_the_story(client: httpx2.Client):
    put(client, "stays", {"story.toml": two_scenes(), "a.png": png()})
    problem(put(client, "stays", {"story.toml": two_scenes()}), 422)
    assert client.get("/stories/stays").json()["files"] == ["a.png", "story.toml"]


def test_the_plan_and_the_scenes_say_what_the_command_line_says(client: httpx2.Client, server: Served):
    put(client, "planned", {"story.toml": two_scenes(), "a.png": png()})
    before = client.get("/stories/planned/scenes?draft=true").json()
    assert [(s["name"], s["state"], s["clip"]) for s in before["scenes"]] == [
        ("a", "render", None),
        ("b", "waits", None),
    ]
    assert before["scenes"][1]["opens_on"]["scene"] == "a"
    assert before["scenes"][0]["opens_on"]["picture"] == "a.png"
    render(client, "planned")
    command = [sys.executable, "-m", "storyboard", "plan", str(server.folder / "planned" / "story.toml"), "--draft"]
    ran = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
    theirs, ours = json.loads(ran.stdout), client.get("/stories/planned/plan?draft=true").json()
    root = f"{server.folder}/"
    theirs |= {"story": theirs["story"].removeprefix(root), "film": theirs["film"].removeprefix(root)}
    assert {k: v for k, v in ours.items() if k != "disk_free"} == {k: v for k, v in theirs.items() if k != "disk_free"}
    assert {s["state"] for s in ours["scenes"]} == {"kept"}
    assert [s["name"] for s in client.get("/stories/planned/plan?draft=true&scene=a").json()["scenes"]] == ["a"]
    problem(client.get("/stories/planned/plan?scene=zz"), 404)
    assert client.get("/stories/planned/graph").text.startswith("       a")
    assert "flowchart" in client.get("/stories/planned/graph?form=mermaid").text
    assert client.get("/stories/planned/graph?form=svg").headers["content-type"] == "image/svg+xml"


def test_what_is_kept_at_one_door_is_kept_at_the_other(client: httpx2.Client, server: Served):
    put(client, "shared", {"story.toml": two_scenes(), "a.png": png()})
    path = server.folder / "shared" / "story.toml"
    ran = subprocess.run(
        [sys.executable, "-m", "storyboard", "render", str(path), "--draft"], capture_output=True, check=True
    )
    assert ran.stdout
    job = render(client, "shared")
    told = events_of(client, f"/jobs/{job['id']}/events")
    assert not [each for each in told if each["event"] in ("scene.done", "segment.done", "film.done")]
    assert [each["scene"] for each in told if each["event"] == "scene.kept"] == ["a", "b"]


def test_files_play_are_exact_and_come_in_ranges(client: httpx2.Client):
    put(client, "media", {"story.toml": two_scenes(), "a.png": png()})
    problem(client.get("/stories/media/scenes/a/segment.mp4?draft=true"), 404)
    assert client.get("/stories/media/scenes/a/opening.png?draft=true").status_code == 200
    problem(client.get("/stories/media/scenes/b/opening.png?draft=true"), 404)
    render(client, "media")
    last = client.get("/stories/media/scenes/a/last.png")
    assert last.content == client.get("/stories/media/scenes/b/opening.png").content, "the seam"
    tags: dict[str, str] = {}
    for path, frames, kind in (
        ("scenes/b/clip.mkv", 9, "video/matroska"),
        ("scenes/b/segment.mp4", 8, "video/mp4"),
        ("film.mp4", 17, "video/mp4"),
    ):
        whole = client.get(f"/stories/media/{path}")
        assert whole.headers["content-type"] == kind
        with av.open(io.BytesIO(whole.content)) as container:
            assert sum(1 for _ in container.decode(video=0)) == frames
        size = len(whole.content)
        for asked, start, stop in (
            ("bytes=0-0", 0, 1),
            ("bytes=100-199", 100, 200),
            (f"bytes={size - 7}-", size - 7, size),
            ("bytes=-5", size - 5, size),
            (f"bytes=10-{size * 2}", 10, size),
        ):
            part = client.get(f"/stories/media/{path}", headers={"Range": asked})
            assert part.status_code == 206
            assert part.content == whole.content[start:stop]
            assert part.headers["content-range"] == f"bytes {start}-{stop - 1}/{size}"
        past = client.get(f"/stories/media/{path}", headers={"Range": f"bytes={size}-"})
        problem(past, 416)
        assert past.headers["content-range"] == f"bytes */{size}"
        for passed_over in ("bytes=5-2", "bytes=", "bytes=0-1,5-9", "lines=1-2", "bytes=a-b"):
            assert client.get(f"/stories/media/{path}", headers={"Range": passed_over}).content == whole.content
        tag = tags[path] = whole.headers["etag"]
        assert client.get(f"/stories/media/{path}", headers={"If-None-Match": tag}).status_code == 304
        assert (
            client.get(f"/stories/media/{path}", headers={"Range": "bytes=0-3", "If-Range": '"x"'}).status_code == 200
        )
        head = client.head(f"/stories/media/{path}")
        assert (head.status_code, head.headers["content-length"], head.content) == (200, str(size), b"")
        head = client.head(f"/stories/media/{path}", headers={"Range": "bytes=0-3"})
        assert (head.status_code, head.headers["content-length"]) == (200, str(size)), "ranges are of GET alone"
    assert render(client, "media", force=True)["state"] == "done"
    known = {"If-None-Match": tags["scenes/b/clip.mkv"]}
    assert client.get("/stories/media/scenes/b/clip.mkv", headers=known).status_code == 200, (
        "made anew, of the same key"
    )
    known = {"If-None-Match": tags["film.mp4"]}
    assert client.get("/stories/media/film.mp4", headers=known).status_code == 304, "of the same frames as before"


def test_the_last_frame_is_the_one_that_is_handed_on(client: httpx2.Client):
    put(client, "trimmed", {"story.toml": two_scenes(trim_end=3), "a.png": png()})
    assert render(client, "trimmed")["state"] == "done"
    last, opening = (client.get(f"/stories/trimmed/scenes/{name}.png") for name in ("a/last", "b/opening"))
    assert (last.status_code, opening.status_code) == (200, 200)
    assert last.content == opening.content


def test_work_that_is_out_of_date_is_not_served(client: httpx2.Client):
    put(client, "stale", {"story.toml": two_scenes(), "a.png": png()})
    render(client, "stale")
    assert client.get("/stories/stale/film.mp4").status_code == 200
    put(client, "stale", {"story.toml": two_scenes(), "a.png": png(7)})
    for path in ("film.mp4", "scenes/a/clip.mkv", "scenes/a/last.png", "scenes/b/segment.mp4"):
        assert problem(client.get(f"/stories/stale/{path}"), 404)["type"] == "urn:storyboard:not-current"
    states = [each["state"] for each in client.get("/stories/stale/scenes").json()["scenes"]]
    assert states == ["render", "waits"]


def test_a_job_tells_all_that_happens_and_replays_from_any_number(client: httpx2.Client):
    put(client, "told", {"story.toml": two_scenes(), "a.png": png()})
    job = client.post("/stories/told/render", json={"draft": True})
    assert job.status_code == 202
    name = job.json()["id"]
    live = events_of(client, f"/jobs/{name}/events")
    kinds = [each["event"] for each in live]
    assert kinds[:2] == ["job.queued", "job.started"]
    assert kinds[-2:] == ["run.done", "job.done"]
    assert [each["scene"] for each in live if each["event"] == "scene.done"] == ["a", "b"]
    numbers = [each["id"] for each in live]
    assert numbers == sorted(set(numbers))
    assert not any("/" in str(each.get("path", "")).split("told/")[0] for each in live), "no paths of the machine"
    again = events_of(client, f"/jobs/{name}/events", headers={"Last-Event-ID": str(numbers[4])})
    assert again == live[5:]
    done = client.get(f"/jobs/{name}/events", headers={"Last-Event-ID": str(numbers[-1])})
    assert done.status_code == 204, "a browser comes back no more"
    said = client.get(f"/jobs/{name}").json()
    assert (said["state"], said["part"], said["code"], said["attempt"]) == ("done", 1.0, 0, 1)
    with client.stream("GET", f"/events?after={numbers[0] - 1}") as stream:
        found = []
        for line in stream.iter_lines():
            if line.startswith("data: "):
                found.append(json.loads(line[6:]))
            if found and found[-1]["id"] >= numbers[-1]:
                break
    assert found == live


def test_numbers_of_a_library_that_is_no_more_are_told_so(client: httpx2.Client):
    client.post("/stories/none/render", json={})
    put(client, "numbers", {"story.toml": two_scenes(), "a.png": png()})
    with client.stream("GET", "/events", headers={"Last-Event-ID": "999999999"}) as stream:
        lines = stream.iter_lines()
        assert "event: events.dropped" in [next(lines) for _ in range(4)]
        put(client, "numbers", {"story.toml": two_scenes(), "a.png": png()})
        assert "event: story.replaced" in [next(lines) for _ in range(4)]


def test_the_head_of_a_stream_is_no_stream(client: httpx2.Client):
    answer = client.head("/events")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert "storyboard_streams 0\n" in client.get("/metrics").text


def test_renders_take_the_options_of_the_command(client: httpx2.Client, server: Served):
    text = story_text(scene("a", image="a.png"), scene("b", image="a.png"), scene("c"))
    put(client, "options", {"story.toml": text, "a.png": png()})

    def made(**asked: object) -> list[str]:
        job = render(client, "options", **asked)
        assert job["state"] == "done", job
        return [e["scene"] for e in events_of(client, f"/jobs/{job['id']}/events") if e["event"] == "scene.done"]

    assert made(scenes=["b"]) == ["b"]
    assert made() == ["a", "c"]
    assert made(force=True, scenes=["a"]) == ["a"]
    assert made(scenes=["a"], seed=41) == ["a"]
    assert "seed = 41" in (server.folder / "options" / "story.toml").read_text()
    job = render(client, "options", scenes=["c"], reroll=True)
    assert isinstance(job["asked"], dict)
    assert f"seed = {job['asked']['seed']}" in client.get("/stories/options/files/story.toml").text
    for wrong in (
        {"scenes": ["zz"]},
        {"seed": 1},
        {"seed": 1, "reroll": True, "scenes": ["a"]},
        {"scenes": []},
        {"x": 1},
    ):
        problem(client.post("/stories/options/render", json=wrong), 422)
    said = problem(client.post("/stories/options/render", json={"scene": ["a"]}), 422)
    assert [each["message"] for each in said["mistakes"]] == ['the body has no "scene" (did you mean "scenes"?)']  # type: ignore[attr-defined]
    problem(client.post("/stories/options/render", content=b"{", headers={"Content-Type": "application/json"}), 400)
    problem(client.post("/stories/options/render", content=b"a=1", headers={"Content-Type": "text/plain"}), 415)
    problem(client.post("/stories/none/render", json={}), 404)


def test_a_render_that_fails_says_what_the_command_says(client: httpx2.Client, server: Served):
    put(client, "fails", {"story.toml": two_scenes(), "a.png": png()})
    answer = client.post("/stories/fails/render?wait=true", json={})  # WAN, without weights or a GPU
    said = answer.json()
    assert said["state"] == "failed"
    assert said["code"] == 4
    assert "weights" in said["error"]
    assert str(server.folder) not in said["error"]


def test_the_same_key_is_the_same_job(client: httpx2.Client):
    put(client, "keyed", {"story.toml": two_scenes(), "a.png": png()})
    put(client, "keyed2", {"story.toml": two_scenes(), "a.png": png()})
    headers = {"Idempotency-Key": "once"}
    first = client.post("/stories/keyed/render", json={"draft": True}, headers=headers)
    second = client.post("/stories/keyed/render", json={"draft": True}, headers=headers)
    assert (first.status_code, second.status_code) == (202, 200)
    assert first.json()["id"] == second.json()["id"]
    problem(client.post("/stories/keyed2/render", json={"draft": True}, headers=headers), 409)
    ended(client, first.json()["id"])


def long_story(count: int = 12) -> str:
    return story_text(
        *(scene(f"s{n}", image="a.png") for n in range(count)), look='[look]\nsize = "320x240"\nframes = 81\n'
    )


def test_a_running_job_is_cancelled_between_steps_and_a_queued_one_at_once(client: httpx2.Client):
    put(client, "long", {"story.toml": long_story(), "a.png": png()})
    put(client, "later", {"story.toml": two_scenes(), "a.png": png()})
    running = client.post("/stories/long/render", json={"draft": True}).json()["id"]
    queued = client.post("/stories/later/render", json={"draft": True}).json()["id"]
    with client.stream("GET", f"/jobs/{running}/events") as stream:
        for line in stream.iter_lines():
            if line == "event: scene.done":
                break
    problem(put(client, "long", {"story.toml": long_story(), "a.png": png()}), 409)
    problem(client.delete("/stories/long"), 409)
    problem(client.delete("/stories/later"), 409)
    assert client.post(f"/jobs/{queued}/cancel").json()["state"] == "cancelled"
    problem(client.post(f"/jobs/{queued}/cancel"), 409)
    assert client.post(f"/jobs/{running}/cancel").status_code == 202
    said = ended(client, running)
    assert (said["state"], said["code"]) == ("cancelled", 130)
    kept = [s["name"] for s in client.get("/stories/long/scenes?draft=true").json()["scenes"] if s["clip"]]
    assert 1 <= len(kept) < 12, "what was made is kept"
    assert [j["id"] for j in client.get("/jobs?state=cancelled&story=long").json()["jobs"]] == [running]


def test_pages_of_stories_and_jobs(client: httpx2.Client):
    for number in range(3):
        put(client, f"page{number}", {"story.toml": two_scenes(), "a.png": png()})
    found: list[str] = []
    after = ""
    while True:
        page = client.get(f"/stories?limit=2{after}").json()
        found += [story["id"] for story in page["stories"]]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert found == sorted(found)
    assert {"page0", "page1", "page2"} <= set(found)
    for number in range(2):
        ended(client, client.post(f"/stories/page{number}/render", json={"draft": True}).json()["id"])
    jobs = client.get("/jobs?limit=1").json()
    assert len(jobs["jobs"]) == 1
    assert client.get(f"/jobs?limit=1&before={jobs['next']}").json()["jobs"][0]["number"] < jobs["next"]


def test_wrong_paths_methods_types_and_queries_are_answered_well(client: httpx2.Client):
    problem(client.get("/nothing"), 404)
    answer = client.delete("/stories")
    problem(answer, 405)
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD", "POST"}
    problem(client.put("/stories/x", content=b"x", headers={"Content-Type": "text/plain"}), 415)
    problem(client.put("/stories/x", content=b"PK", headers={"Content-Type": "application/zip"}), 422)
    problem(client.put("/stories/x", content=b"x", headers={"Content-Type": "multipart/form-data"}), 400)
    for query in ("limit=0", "limit=x", "limit=1&limit=2", "unknown=1", "after=%00"):
        problem(client.get(f"/stories?{query}"), 422)
    problem(client.get("/jobs/zz"), 404)
    problem(client.get("/jobs/" + "0" * 32), 404)
    problem(client.get("/events", headers={"Last-Event-ID": "x"}), 422)
    problem(client.get("/enter?code=x"), 403)


@pytest.mark.parametrize(
    "path",
    ["../story.toml", "..%2f..%2f.server%2fserve.db", ".storyboard/x", "out/story.mp4", "%2fetc%2fpasswd", "%00"],
)
def test_no_path_leads_out_of_a_story(client: httpx2.Client, path: str):
    put(client, "closed", {"story.toml": two_scenes(), "a.png": png()})
    assert client.get(f"/stories/closed/files/{path}").status_code == 404


def test_files_of_a_story_that_are_links_lead_nowhere_else(client: httpx2.Client, server: Served, tmp_path: Path):
    put(client, "linked", {"story.toml": two_scenes(), "a.png": png()})
    (tmp_path / "secret.png").write_bytes(picture(tmp_path))
    (server.folder / "linked" / "b.png").symlink_to(tmp_path / "secret.png")
    problem(client.get("/stories/linked/files/b.png"), 404)


def test_hidden_files_are_neither_listed_nor_served(client: httpx2.Client, server: Served):
    put(client, "hidden", {"story.toml": two_scenes(), "a.png": png()})
    (server.folder / "hidden" / ".git").mkdir()
    (server.folder / "hidden" / ".git" / "config").write_text("x")
    assert client.get("/stories/hidden").json()["files"] == ["a.png", "story.toml"]
    problem(client.get("/stories/hidden/files/.git/config"), 404)


def test_metrics_are_prometheus(client: httpx2.Client):
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    for line in answer.text.splitlines():
        assert line.startswith("# ") or (line.rpartition(" ")[0] and float(line.rpartition(" ")[2]) >= 0)
    for number in range(20):
        answer = client.request(f"BREW{number}", "/stories")
        assert f"BREW{number} is not for this path: it takes" in str(problem(answer, 405)["detail"])
    text = client.get("/metrics").text
    assert 'storyboard_requests_total{method="GET",route="/metrics"' in text
    assert 'storyboard_requests_total{method="other",route="/stories",status="405"} 20' in text
    assert "BREW" not in text, "whoever asks cannot make the counts grow"
    assert 'storyboard_jobs{state="running"} 0\n' in text, "what is not there is said too"


def test_the_server_is_small_and_loads_nothing_heavy(server: Served):
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    resident = int(status.partition("VmRSS:")[2].split()[0]) / 1024
    assert resident < 120, f"{resident} MB"
    maps = Path(f"/proc/{server.process.pid}/maps").read_text()
    assert not [name for name in ("numpy", "torch", "libavcodec", "cv2") if name in maps]


def test_fifty_scenes_are_planned_within_a_tenth_of_a_second(client: httpx2.Client, server: Served):
    text = story_text(*(scene(f"s{n:02}", **({"image": "a.png"} if n % 10 == 0 else {})) for n in range(50)))
    put(client, "fifty", {"story.toml": text, "a.png": png()})
    client.get("/stories/fifty/scenes?draft=true")
    for path in ("scenes", "plan"):
        took = 0.0
        for _ in range(10):
            put(client, "fifty", {"story.toml": text, "a.png": png()})  # nothing is remembered
            before = worked(server)[0]
            assert client.get(f"/stories/fifty/{path}?draft=true").status_code == 200
            took += worked(server)[0] - before
        assert took / 10 < 0.1, f"{took / 10} s of CPU time, which other work on this machine does not change"


def test_two_clients_wait_for_one_answer(client: httpx2.Client, server: Served):
    put(client, "same", {"story.toml": two_scenes(), "a.png": png()})
    answers: list[int] = []

    def ask() -> None:
        with server.client() as other:
            answers.append(other.get("/stories/same/plan?draft=true").status_code)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 8


def test_names_and_plans_are_those_of_stories():
    assert NAME_PATTERN.replace("+", "{1,80}") == SCENE_NAME
    known = set(PlanSaid.model_fields)
    assert known <= set(Plan.__dataclass_fields__)
