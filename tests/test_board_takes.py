"""Takes on the board, and ends that are kept: planned, drawn, listed, used."""

from __future__ import annotations

import re
import time
from html import unescape

import httpx2

from tests.serving import Served, ended, events_of, two_scenes
from tests.test_board import HTMX, decoded, render, send
from tests.test_board import client as client
from tests.test_board import server as server


def test_takes_are_planned_drawn_listed_and_used(client: httpx2.Client, server: Served):
    send(client, "picks", two_scenes())
    shown = client.get("/board/picks/scenes/a/takes?mode=draft", headers=HTMX).text
    assert "None yet" in shown
    assert "scene=a&amp;takes=4" in shown
    plan = client.get("/board/picks/plan?mode=draft&scene=b&takes=4", headers=HTMX).text
    assert "4 clips of b with other seeds will be drawn" in plan
    assert "Made before that" in plan
    assert "<strong>a</strong>" in plan
    assert "Then the film" not in plan
    sent = {"scene": "b", "takes": "4"}
    assert client.post("/board/picks/render?mode=draft", data=sent, headers=HTMX).status_code == 200
    job = client.get("/jobs?story=picks").json()["jobs"][0]
    assert job["asked"]["takes"] == 4
    assert ended(client, job["id"])["state"] == "done"
    shown = client.get("/board/picks/scenes/b/takes?mode=draft", headers=HTMX).text
    assert re.findall(r"<strong>(Take \d)</strong>", shown) == ["Take 1", "Take 2", "Take 3", "Take 4"]
    assert "4 more takes" in shown
    stills = re.findall(r'<img src="([^"]+)"', shown)
    assert len(stills) == 4
    assert all(client.get(path).content.startswith(b"\xff\xd8") for path in stills)
    again = unescape(re.search(r'hx-get="([^"]+mark=[^"]+)"', shown)[1])  # type: ignore[index]  # it is there
    assert client.get(again, headers=HTMX).status_code == 204, "what is the same is left as it is"
    player = client.get("/board/picks/play/take?mode=draft&scene=b&take=2", headers=HTMX).text
    path = unescape(re.search(r'<video[^>]* src="([^"]+)"', player)[1])  # type: ignore[index]  # it plays
    assert len(decoded(client.get(path).content)) == 9
    seed = client.get("/stories/picks/takes?draft=true&scene=b").json()["scenes"][0]["takes"][1]["seed"]
    used = client.post("/board/picks/scenes/b/use?mode=draft", data={"take": "2", "order": "a b"}, headers=HTMX)
    assert f"Take 2 of b is used: seed {seed} is written into story.toml." in used.text
    assert 'id="now-b"' in used.text
    assert f"seed = {seed}\n" in (server.folder / "picks" / "story.toml").read_text()
    for odd in ("9", "x", "", "-1"):
        refused = client.post("/board/picks/scenes/b/use?mode=draft", data={"take": odd}, headers=HTMX)
        assert refused.status_code == 422, odd
    assert "b has no take 9; there are 1, 2, 3, 4" in (
        client.post("/board/picks/scenes/b/use?mode=draft", data={"take": "9"}, headers=HTMX).text
    )


def test_no_take_is_used_while_the_story_is_rendered(client: httpx2.Client):
    send(client, "busy", two_scenes(frames=241))
    job = client.post("/stories/busy/render", json={"draft": True}).json()["id"]
    while client.get(f"/jobs/{job}").json()["state"] == "queued":
        time.sleep(0.01)
    refused = client.post("/board/busy/scenes/a/use?mode=draft", data={"take": "2"}, headers=HTMX)
    assert refused.status_code == 409
    assert "the story is being rendered" in refused.text
    assert client.post("/stories/busy/scenes/a/take", json={"take": 2}).status_code == 409
    client.post(f"/jobs/{job}/cancel")


def test_an_end_is_kept_or_the_plan_says_why_not(client: httpx2.Client, server: Served):
    send(client, "ends", two_scenes())
    path = server.folder / "ends" / "story.toml"
    plan = client.get("/board/ends/plan?mode=draft&scene=a&hold=1", headers=HTMX).text
    assert "a is not rendered, so it has no end to hold" in plan
    assert 'id="start"' not in plan
    assert "keep its end" not in client.get("/board/ends?mode=draft").text
    render(client, "ends")
    assert "keep its end" in client.get("/board/ends?mode=draft").text
    before = path.read_text()
    plan = client.get("/board/ends/plan?mode=draft&scene=a&hold=1", headers=HTMX).text
    assert "What goes on from it stays as it is: b" in plan
    assert path.read_text() == before, "a plan writes nothing"
    client.post("/board/ends/render?mode=draft", data={"scene": "a", "hold": "1"}, headers=HTMX)
    job = client.get("/jobs?story=ends").json()["jobs"][0]
    assert ended(client, job["id"])["state"] == "done"
    assert [
        told["scene"] for told in events_of(client, f"/jobs/{job['id']}/events") if told["event"] == "scene.done"
    ] == ["a"]
    assert 'hold = "held/a.png"' in path.read_text()
    text = path.read_text().replace('hold = "held/a.png"\n', "").replace("64x48", "64x64")
    path.write_text(text.replace("[look]", '[look]\nmodel = "wan2.2-ti2v-5b"'))
    plan = client.get("/board/ends/plan?mode=draft&scene=a&hold=1", headers=HTMX).text
    assert "takes no end image, so no scene can be drawn up to a frame" in plan
    assert 'id="start"' not in plan
