"""One story at three doors: what the command line, the server and the board make is kept for each other."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2

from tests.serving import boarded, ended, events_of, png, served, two_scenes

MADE = ("scene.done", "segment.done", "film.done")


def written(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "story.toml").write_text(two_scenes())
    (folder / "a.png").write_bytes(png())
    return folder / "story.toml"


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "storyboard", *arguments]
    return subprocess.run(line, capture_output=True, text=True, check=True)


def rendered(story: Path) -> list[str]:
    """What a render by the command line makes."""
    told = [json.loads(line) for line in command("render", str(story), "--draft", "--json").stdout.splitlines()]
    return made(told)


def made(told: list[dict[str, Any]]) -> list[str]:
    return [f"{each['event']} {each.get('scene', '')}".strip() for each in told if each["event"] in MADE]


ALL = sorted(["scene.done a", "scene.done b", "segment.done a", "segment.done b", "film.done"])


def check_kept(client: httpx2.Client, film: Path) -> None:
    """Nothing is left to be made, and the film that is served is the file that lies there."""
    (story,) = client.get("/stories").json()["stories"]
    plan = client.get(f"/stories/{story['id']}/plan?draft=true").json()
    assert [(each["state"], each["segment"]) for each in plan["scenes"]] == [("kept", "kept")] * 2
    assert plan["at_most"] == 0
    for path in (f"/stories/{story['id']}/film.mp4?draft=true", f"/board/{story['id']}/film.mp4?mode=draft"):
        answer = client.get(path)
        assert answer.status_code == 200, answer.text
        assert answer.content == film.read_bytes()
        part = client.get(path, headers={"Range": "bytes=-9", "If-Range": answer.headers["etag"]})
        assert (part.status_code, part.content) == (206, film.read_bytes()[-9:])
    assert job_made(client, story["id"]) == []


def job_made(client: httpx2.Client, story: str) -> list[str]:
    """What a job makes."""
    job = client.post(f"/stories/{story}/render", json={"draft": True}).json()["id"]
    assert ended(client, job)["state"] == "done"
    return made(events_of(client, f"/jobs/{job}/events"))


def entered(client: httpx2.Client, link: str) -> httpx2.Client:
    """Come in by the board's link, as a browser does."""
    assert client.get(link).status_code == 303
    return client


def test_what_the_command_line_made_is_served_and_shown(tmp_path: Path):
    story = written(tmp_path / "films" / "dock")
    film = story.parent / "out" / "story.draft.mp4"
    assert sorted(rendered(story)) == ALL
    with served(tmp_path / "films") as server, server.client() as client:
        check_kept(client, film)
    with boarded(story) as server, server.client() as client:
        assert server.link is not None
        check_kept(entered(client, server.link[1]), film)
    assert rendered(story) == []


def test_what_the_server_made_is_kept_for_the_command_line_and_the_board(tmp_path: Path):
    story = written(tmp_path / "films" / "dock")
    with served(tmp_path / "films") as server, server.client() as client:
        assert sorted(job_made(client, "dock")) == ALL
    assert rendered(story) == []
    with boarded(story) as server, server.client() as client:
        assert server.link is not None
        check_kept(entered(client, server.link[1]), story.parent / "out" / "story.draft.mp4")


def test_what_the_board_made_is_kept_for_the_command_line_and_the_server(tmp_path: Path):
    story = written(tmp_path / "films" / "dock")
    with boarded(story) as server, server.client() as client:
        assert server.link is not None
        (listed,) = entered(client, server.link[1]).get("/stories").json()["stories"]
        assert sorted(job_made(client, listed["id"])) == ALL
    assert rendered(story) == []
    with served(tmp_path / "films") as server, server.client() as client:
        check_kept(client, story.parent / "out" / "story.draft.mp4")


def test_a_folder_may_go_by_another_name_at_each_door(tmp_path: Path):
    """As in a container, where the same folder is mounted elsewhere, by a link, and when it is moved."""
    story = written(tmp_path / "films" / "dock")
    assert sorted(rendered(story)) == ALL
    (tmp_path / "mounted").symlink_to(tmp_path / "films")
    with served(tmp_path / "mounted") as server, server.client() as client:
        check_kept(client, story.parent / "out" / "story.draft.mp4")
    shutil.move(tmp_path / "films", tmp_path / "moved")
    assert rendered(tmp_path / "moved" / "dock" / "story.toml") == []
