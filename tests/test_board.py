"""The board over HTTP: pages, stills and seams, edits, clashes, plans, and texts that are no markup."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import av
import httpx2
import pytest

from storyboard.board.lanes import paths
from storyboard.board.lasting import lasting
from storyboard.edit import Clash, digest_of, with_keys, write_text
from tests.serving import Served, boarded, ended, events_of, png, put, served, story_text, two_scenes
from tests.stories import scene

EVIL = '"><script>alert(1)</script><img src=x onerror=alert(2)>&amp;{{7*7}}'
HTMX = {"HX-Request": "true"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("board") / "stories") as running:
        yield running


@pytest.fixture
def client(server: Served) -> Iterator[httpx2.Client]:
    with server.client(follow_redirects=True) as client:
        yield client


def send(client: httpx2.Client, story: str, text: str) -> None:
    assert put(client, story, {"story.toml": text, "a.png": png()}).status_code in (200, 201)


def render(client: httpx2.Client, story: str) -> None:
    answer = client.post(f"/stories/{story}/render?wait=true", json={"draft": True})
    assert answer.json()["state"] == "done", answer.text


def fields(client: httpx2.Client, story: str, name: str) -> dict[str, str]:
    """What the edit form holds, as a browser would send it back."""
    return shown_fields(client.get(f"/board/{story}/scenes/{name}/edit?mode=draft").text)


def shown_fields(page: str) -> dict[str, str]:
    found = {key: unescape(value) for key, value in re.findall(r'<input[^>]* name="(\w+)"[^>]* value="([^"]*)"', page)}
    found |= {
        key: unescape(text)
        for key, text in re.findall(r'<textarea[^>]* name="(\w+)"[^>]*>\n(.*?)</textarea>', page, re.S)
    }
    chosen = re.search(r"<option[^>]* selected>([^<]*)</option>", page)
    return {**found, "recipe": chosen[1] if chosen and "the story" not in chosen[1] else ""}


def save(client: httpx2.Client, story: str, name: str, sent: dict[str, str]) -> httpx2.Response:
    return client.post(f"/board/{story}/scenes/{name}/save?mode=draft", data=sent, headers=HTMX)


class TestPages:
    def test_stories_and_their_boards(self, client: httpx2.Client, server: Served):
        send(client, "pages", two_scenes())
        home = client.get("/")
        assert home.url.path == "/board"
        assert '<a href="/board/pages">' in home.text
        page = client.get("/board/pages?mode=draft")
        assert page.headers["content-type"].startswith("text/html")
        assert re.findall(r'<li class="row" id="scene-(\w+)"', page.text) == ["a", "b"]
        assert "opens on a.png" in page.text
        assert 'opens on the last frame of <a href="#scene-a">a</a>' in page.text
        assert "2 of 2 scenes still to be made" in page.text
        assert client.get("/board/none").status_code == 404
        assert client.get("/board/pages?mode=other").status_code == 404

    def test_all_that_a_page_needs_is_here_and_its_policy_holds(self, client: httpx2.Client):
        send(client, "assets", two_scenes())
        page = client.get("/board/assets?mode=draft")
        assert "default-src 'self'" in page.headers["content-security-policy"]
        assert "unsafe" not in page.headers["content-security-policy"]
        found = re.findall(r'(?:src|href)="(/board/static/[^"]+)"', page.text)
        assert len(found) == 5
        for path in found:
            asset = client.get(path)
            assert asset.status_code == 200
            assert client.get(path, headers={"If-None-Match": asset.headers["etag"]}).status_code == 304
        assert not re.search(r"<script(?![^>]* src=)|<style| style=| on\w+=", page.text)
        assert client.get("/board/static/LICENSE.htmx").status_code == 404

    def test_stills_clips_seams_and_the_film_once_they_are_there(self, client: httpx2.Client):
        send(client, "played", two_scenes())
        assert client.get("/board/played/play/film?mode=draft", headers=HTMX).status_code == 404
        render(client, "played")
        page = client.get("/board/played?mode=draft").text
        stills = re.findall(r'<img src="([^"]+)"', page)
        assert len(stills) == 4
        assert all(client.get(path).content.startswith(b"\xff\xd8") for path in stills)
        for what, frames in (("clip?scene=b", 9), ("seam?scene=b", 18), ("film?", 17)):
            shown = client.get(f"/board/played/play/{what}&mode=draft", headers=HTMX).text
            path = unescape(re.search(r'<video[^>]* src="([^"]+)"', shown)[1])  # type: ignore[index]  # it plays
            answer = client.get(path)
            assert answer.status_code == 200, what
            assert client.get(path, headers={"Range": "bytes=0-9"}).status_code == 206
            assert len(decoded(answer.content)) in (frames, frames - 1), what
        assert client.get("/board/played/play/seam?scene=a&mode=draft", headers=HTMX).status_code == 404

    def test_a_broken_story_shows_its_mistakes(self, client: httpx2.Client, server: Served):
        send(client, "broken", two_scenes())
        path = server.folder / "broken" / "story.toml"
        path.write_text(path.read_text().replace('camera = "pan left"', 'camra = "<b>left"'))
        page = client.get("/board/broken?mode=draft")
        assert page.status_code == 200
        assert "Mistakes in the story" in page.text
        assert "camra = &#34;&lt;b&gt;left&#34;" in page.text

    def test_texts_are_no_markup(self, client: httpx2.Client):
        send(client, "evil", f"title = '{EVIL}'\n" + two_scenes(prompt=EVIL, negative_prompt=EVIL))
        for path in (
            "/board",
            "/board/evil?mode=draft",
            "/board/evil/scenes/a/edit?mode=draft",
            "/board/evil/plan?mode=draft",
        ):
            text = client.get(path).text
            assert "<script>alert" not in text, path
            assert "<img src=x" not in text, path
            assert "49" not in re.sub(r"seed \d+|[0-9a-f]{16,}|\d+-frame|placeholder=\"\d+\"", "", text), path
        assert fields(client, "evil", "a")["prompt"] == EVIL
        shown = client.get("/board/evil/plan?mode=draft&scene=%3Cscript%3Ealert(1)", headers=HTMX)
        assert shown.status_code == 422
        assert "<script>" not in shown.text

    def test_changes_from_other_sites_are_refused(self, client: httpx2.Client):
        send(client, "site", two_scenes())
        for path in ("render", "cancel", "scenes/a/save"):
            answer = client.post(f"/board/site/{path}", data={}, headers={"Origin": "http://example.org"})
            assert answer.status_code == 403


def decoded(data: bytes) -> list[object]:
    import io

    with av.open(io.BytesIO(data)) as container:
        return list(container.decode(video=0))


class TestEdits:
    def test_what_is_edited_is_written_and_the_rest_stays(self, client: httpx2.Client, server: Served):
        send(client, "edit", "# the first line\n" + two_scenes(seed=5) + "\n# the last line\n")
        path = server.folder / "edit" / "story.toml"
        before = path.read_text()
        sent = fields(client, "edit", "a")
        assert sent["seed"] == "5"
        answer = save(
            client, "edit", "a", {**sent, "prompt": 'rain on the "sea"\r\nand wind', "seed": "", "recipe": "motion-6"}
        )
        assert answer.status_code == 200, answer.text
        after = path.read_text()
        assert 'prompt = """\nrain on the \\"sea\\"\nand wind"""' in after or "rain on the" in after
        assert "seed = 5" not in after
        assert 'recipe = "motion-6"' in after
        assert after.startswith("# the first line\n")
        assert after.endswith("# the last line\n")
        assert set(before.splitlines()) - set(after.splitlines()) == {'prompt = "a a"', "seed = 5"}
        page = client.get("/board/edit?mode=draft").text
        assert "rain on the &#34;sea&#34;" in page
        assert "motion-6" in page

    def test_what_is_not_changed_is_not_written(self, client: httpx2.Client, server: Served):
        send(client, "same", two_scenes())
        path = server.folder / "same" / "story.toml"
        stamp = path.stat().st_mtime_ns
        answer = save(client, "same", "a", fields(client, "same", "a"))
        assert "Nothing was changed" in answer.text
        assert path.stat().st_mtime_ns == stamp

    @pytest.mark.parametrize(
        ("name", "value", "says"),
        [
            ("seed", "many", "a whole number"),
            ("seed", "9" * 19, "seed"),
            ("seconds", "0", "more than 0"),
            ("seconds", "nan", "more than 0"),
            ("prompt", "", "prompt"),
            ("recipe", "lightning-5", "did you mean"),
            ("negative_prompt", "\x00", ""),
        ],
    )
    def test_mistakes_are_shown_at_their_fields(
        self, client: httpx2.Client, server: Served, name: str, value: str, says: str
    ):
        send(client, "wrong", two_scenes())
        path = server.folder / "wrong" / "story.toml"
        before = path.read_bytes()
        answer = save(client, "wrong", "a", {**fields(client, "wrong", "a"), name: value})
        if name == "negative_prompt":  # a control character is escaped, and read again as it was
            assert answer.status_code == 200
            return
        assert answer.status_code == 422
        shown = re.search(rf'<div id="wrong-{name}-a">(.*?)</div>', answer.text, re.S)
        assert shown is not None, answer.text
        assert says in unescape(shown[1])
        assert f'aria-describedby="wrong-{name}-a" aria-invalid="true"' in answer.text
        assert path.read_bytes() == before

    def test_a_clash_is_shown_and_nothing_is_overwritten(self, client: httpx2.Client, server: Served):
        send(client, "clash", two_scenes())
        path = server.folder / "clash" / "story.toml"
        mine = {**fields(client, "clash", "a"), "prompt": "mine"}
        path.write_text(path.read_text().replace('"a a"', '"theirs <b>"') + "# theirs\n")
        theirs = path.read_bytes()
        answer = save(client, "clash", "a", mine)
        assert answer.status_code == 409
        assert path.read_bytes() == theirs
        assert 'The file says now: <span class="theirs">theirs &lt;b&gt;</span>' in answer.text
        assert ">\nmine</textarea>" in answer.text
        digest = re.search(r'name="digest" value="([0-9a-f]+)"', answer.text)[1]  # type: ignore[index]  # it is there
        assert save(client, "clash", "a", {**mine, "digest": digest}).status_code == 200
        assert 'prompt = "mine"' in path.read_text()
        assert path.read_text().endswith("# theirs\n")

    def test_what_was_not_touched_is_taken_from_the_file(self, client: httpx2.Client, server: Served):
        send(client, "merge", two_scenes(seed=5))
        path = server.folder / "merge" / "story.toml"
        mine = {**fields(client, "merge", "a"), "prompt": "mine"}
        path.write_text(path.read_text().replace("seed = 5", "seed = 6"))
        answer = save(client, "merge", "a", mine)
        assert answer.status_code == 409
        assert "Nothing that you changed was changed there" in answer.text
        again = shown_fields(answer.text)
        assert (again["prompt"], again["seed"]) == ("mine", "6")
        assert save(client, "merge", "a", again).status_code == 200
        assert "seed = 6" in path.read_text()
        assert 'prompt = "mine"' in path.read_text()

    def test_seconds_take_the_place_of_frames(self, client: httpx2.Client, server: Served):
        send(client, "length", two_scenes(frames=13))
        path = server.folder / "length" / "story.toml"
        assert save(client, "length", "a", {**fields(client, "length", "a"), "seconds": "1,5"}).status_code == 200
        assert "seconds = 1.5" in path.read_text()
        assert "frames = 13" not in path.read_text()

    def test_odd_requests(self, client: httpx2.Client):
        send(client, "odd", two_scenes())
        assert save(client, "odd", "none", {}).status_code == 404
        assert save(client, "odd", "a", {}).status_code == 409, "no digest is no file's"
        assert client.post("/board/odd/scenes/a/save", content=b"\xff=%ff", headers=HTMX).status_code == 400
        assert client.post("/board/odd/scenes/a/save", content=b"a" * 300_000, headers=HTMX).status_code == 413
        assert client.post("/board/odd/cancel", data={"job": "x"}, headers=HTMX).status_code == 404
        assert client.post("/board/odd/render?mode=draft", data={"reroll": "1"}, headers=HTMX).status_code == 422
        assert client.get("/board/odd/stills/..%2f..%2fstory.jpg").status_code == 404


class TestRenders:
    def test_the_plan_then_the_render_then_how_long_another_takes(self, client: httpx2.Client):
        send(client, "work", two_scenes())
        plan = client.get("/board/work/plan?mode=draft", headers=HTMX).text
        assert "<strong>a</strong>, 9 frames" in plan
        assert "not known yet" in plan
        answer = client.post("/board/work/render?mode=draft", data={"order": "a b"}, headers=HTMX)
        assert 'id="job"' in answer.text
        job = client.get("/jobs?story=work").json()["jobs"][0]
        assert job["asked"]["draft"] is True
        assert ended(client, job["id"])["state"] == "done"
        plan = client.get("/board/work/plan?mode=draft&scene=a&reroll=1", headers=HTMX).text
        assert "made again too where it ends on another frame: b" in plan
        assert "It takes a few seconds" in plan
        client.post("/board/work/render?mode=draft", data={"scene": "a", "reroll": "1"}, headers=HTMX)
        job = client.get("/jobs?story=work").json()["jobs"][0]
        assert ended(client, job["id"])["state"] == "done"
        assert [told["event"] for told in events_of(client, f"/jobs/{job['id']}/events")].count("scene.done") == 1

    def test_a_failed_scene_says_so_on_its_card(self, client: httpx2.Client, server: Served):
        send(client, "fails", two_scenes())
        render(client, "fails")
        story = server.folder / "fails" / "story.toml"
        story.write_text(story.read_text().replace("pan left", "pan right"))
        blocked = server.folder / "fails" / ".storyboard" / "segments"
        blocked.rename(blocked.with_name("aside"))
        blocked.write_text("in the way")
        client.post("/stories/fails/render?wait=true", json={"draft": True})
        page = client.get("/board/fails?mode=draft").text
        assert re.search(r'id="doing-a" class="doing"><p class="wrong">could not be finished: ', page), page

    def test_a_stream_goes_on_past_an_event(self, client: httpx2.Client):
        send(client, "stream", two_scenes())
        render(client, "stream")
        with client.stream("GET", "/board/stream/events?mode=draft&after=0") as answer:
            said = []
            for line in answer.iter_lines():
                said.append(line)
                if line == "event: progress":
                    break
        assert "event: changed" in said
        number = next(line for line in said if line.startswith("id: "))[4:]
        with client.stream("GET", "/board/stream/events?mode=draft", headers={"Last-Event-ID": number}) as answer:
            first = next(line for line in answer.iter_lines() if line.startswith("event: "))
        assert first == "event: changed", "a page that was away looks anew"


def test_a_board_lets_in_by_its_link_alone_and_again_after_a_restart(tmp_path: Path):
    (tmp_path / "a.png").write_bytes(png())
    story = tmp_path / "story.toml"
    story.write_text(two_scenes())
    with boarded(story, "--draft") as server, server.client(follow_redirects=True) as client:
        name = tmp_path.name.replace("_", "-")
        assert client.get("/").status_code == 401
        page = client.get(server.link[1])  # type: ignore[index]  # a board always says one
        assert page.status_code == 200
        assert page.url.path.startswith("/board/")
        assert "Drafts: camera moves" in page.text
        assert client.get(server.link[1]).status_code == 403, name  # type: ignore[index]
        assert server.end() in (0, 143)
        server.start()
        assert client.get("/").status_code == 200
        assert (tmp_path / ".storyboard" / "server" / "token").stat().st_mode & 0o077 == 0


def test_the_server_holds_no_frames():
    heavy = "[m for m in ('numpy', 'av', 'cv2', 'torch') if m in sys.modules]"
    code = f"import storyboard.board.routes, storyboard.serve.app, sys; print({heavy})"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == "[]\n"


class TestText:
    TEXT = '# top\n[[scene]]\nname   = "a" # first\nseed   = 3   # mine\nprompt = "x"\n'

    def test_a_key_leaves_with_its_line_but_not_its_comment(self):
        assert with_keys(self.TEXT, "a", {"seed": None}) == self.TEXT.replace("seed   = 3   # mine", "# mine")
        assert with_keys(self.TEXT, "a", {"seed": None, "recipe": None}) == self.TEXT.replace(
            "seed   = 3   # mine", "# mine"
        )

    @pytest.mark.parametrize("newline", ["\n", "\r\n"])
    @pytest.mark.parametrize("value", ['a\n"', 'a """\n"""', "\\\n\\", '\n\n""""', 'é "b" \\', "\x7f\t", "a\rb\nc"])
    def test_any_text_is_read_again_as_it_was(self, value: str, newline: str):
        import tomllib

        changed = with_keys(self.TEXT.replace("\n", newline), "a", {"prompt": value, "negative_prompt": value})
        assert tomllib.loads(changed)["scene"][0]["negative_prompt"] == value

    def test_inline_tables(self):
        text = 'scene = [{ name = "a", seed = 3 }, { name = "b", seed = 1, prompt = "q" }]\n'
        changed = with_keys(with_keys(text, "a", {"seed": None}), "b", {"seed": None, "seconds": 2.5})
        assert changed == 'scene = [{ name = "a" }, { name = "b", seconds = 2.5, prompt = "q" }]\n'

    def test_a_file_that_changed_is_not_written(self, tmp_path: Path):
        path = tmp_path / "story.toml"
        path.write_text(self.TEXT)
        with pytest.raises(Clash):
            write_text(path, "new", digest_of(b"old"))
        write_text(path, "new", digest_of(self.TEXT.encode()))
        assert path.read_text() == "new"


def test_lines_of_the_graph_do_not_cross_in_one_lane():
    def linked(name: str, after: str | None, ends: str | None = None) -> dict[str, object]:
        return {
            "name": name,
            "opens_on": {"scene": after} if after else {"picture": "a.png"},
            "ends_on": {"scene": ends} if ends else None,
        }

    rows, width = paths(
        [linked("a", None), linked("b", "a"), linked("c", "a"), linked("d", "a"), linked("e", None, "a")]
    )
    assert ("M12 50V100", False) in rows[0]
    assert [dashed for _, dashed in rows[4]] == [True]
    assert width == 24 + 3 * 14
    for row in rows:
        assert len({path for path, _ in row}) == len(row)
    many = [linked(str(n), None if n < 20 else str(n - 20)) for n in range(40)]
    assert paths(many)[1] <= 24 + 70, "on a phone the scenes have room beside them"


@pytest.mark.parametrize(
    ("seconds", "said"), [(3, "a few seconds"), (42, "about 40 s"), (200, "about 3 min"), (9000, "about 2.5 h")]
)
def test_lengths_of_time(seconds: float, said: str):
    assert lasting(seconds) == said


def test_scenes_are_named_in_the_page_as_in_the_story(client: httpx2.Client):
    send(client, "names", story_text(scene("dock-1", image="a.png"), scene("B_2")))
    page = client.get("/board/names?mode=draft").text
    assert 'id="scene-dock-1"' in page
    assert 'hx-get="/board/names/scenes/B_2/edit?mode=draft"' in page
