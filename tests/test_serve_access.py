"""Who is let in: names, origins, tokens, cookies; and what every answer carries."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from storyboard.serve.access import Access, host_name
from storyboard.serve.doors import DOORS
from storyboard.serve.problems import Problem
from tests.serving import ROOT, TOKEN, Served, served


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("access") / "stories", "--name", "films.example", token=TOKEN) as running:
        yield running


@pytest.fixture
def nobody(server: Served) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=server.url) as client:
        yield client


def test_without_the_token_nothing_is_answered_but_health(nobody: httpx2.Client):
    for door in DOORS:
        path = door.path.format(story="a", scene="a", job="0" * 32, file="a", take="1")
        answer = nobody.request(door.method, path)
        assert (answer.status_code == 401) != door.open, (door.method, path, answer.status_code)
        if not door.open:
            assert answer.headers["www-authenticate"] == "Bearer"
    assert nobody.get("/nothing").status_code == 401, "nor what there is not"
    assert nobody.get("/health").json()["status"] == "ok"


@pytest.mark.parametrize(
    "sent",
    [
        "Bearer", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}", TOKEN, "Bearer \x80\xff",
        f"Bearer {TOKEN} {TOKEN}", "Bearer " + "x" * 5000,
    ],
)  # fmt: skip
def test_bad_tokens_are_refused(nobody: httpx2.Client, sent: str):
    assert nobody.get("/stories", headers={b"Authorization": sent.encode("latin-1")}).status_code == 401


def test_a_link_lets_a_browser_in_once_and_its_cookie_outlives_the_server(server: Served):
    with server.client() as owner:
        path = owner.post("/links").json()["path"]
    with httpx2.Client(base_url=server.url) as browser:
        answer = browser.get(path)
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert browser.get("/stories").status_code == 200
        ours = cookie.split(";")[0]
        for others in ('theme={"dark": true}', "name=a b", "x[y]=1", "\u540d=1"):  # of other servers on this host
            sent = f"{others}; {ours}".encode()
            assert httpx2.get(f"{server.url}/stories", headers={b"Cookie": sent}).status_code == 200, others
        assert server.end() == 0
        server.start()
        assert browser.get("/stories").status_code == 200
        assert browser.get(path).status_code == 403
    with httpx2.Client(base_url=server.url) as other:
        value = cookie.split(";")[0].partition("=")[2]
        for wrong in (value[:-1], f"x{value}", "." + value.partition(".")[2], "", "."):
            assert other.get("/stories", headers={"Cookie": f"storyboard={wrong}"}).status_code == 401


def test_names_of_others_are_refused(server: Served):
    with server.client() as client:
        for host in (
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "[::1",
            "",
            "a:b",
            "films.example.evil",
        ):
            assert client.get("/stories", headers={"Host": host}).status_code in (400, 421), host
        for host in ("localhost", "films.example", "FILMS.example.:80", "127.0.0.1:1", "[::1]:8", "10.0.0.7"):
            assert client.get("/stories", headers={"Host": host}).status_code == 200, host


def test_changes_come_from_no_other_page(server: Served):
    with server.client() as client:
        for headers in ({"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
            assert client.post("/links", headers=headers).status_code == 403
            assert client.get("/stories", headers=headers).status_code == 200
            assert "access-control-allow-origin" not in client.get("/stories", headers=headers).headers
        assert client.post("/links", headers={"Origin": server.url, "Sec-Fetch-Site": "same-origin"}).status_code == 201


def test_every_answer_keeps_browsers_safe(nobody: httpx2.Client, server: Served):
    with server.client() as client:
        for answer in (nobody.get("/stories"), client.get("/stories"), client.get("/none"), nobody.get("/health")):
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert "default-src 'self'" in answer.headers["content-security-policy"]
            assert "server" not in answer.headers


def test_garbage_on_the_wire_is_answered(server: Served):
    for garbage in (
        b"GET\r\n\r\n",
        b"\x16\x03\x01\x00\xff",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"x" * 99_999,
    ):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as wire:
            try:
                wire.sendall(garbage + b"\r\n\r\n")
                said = wire.recv(200)
            except (ConnectionError, TimeoutError):
                continue
            assert not said or said.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4")), said
    with server.client() as client:
        assert client.get("/health").status_code == 200


def command(*arguments: str, folder: Path, token: str | None = None) -> subprocess.CompletedProcess[str]:
    env = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(folder)}
    env |= {"STORYBOARD_TOKEN": token} if token is not None else {}
    line = [sys.executable, "-m", "storyboard", "serve", str(folder / "stories"), "--port", "0", *arguments]
    return subprocess.run(line, capture_output=True, text=True, env=env, timeout=60, check=False)


def test_others_are_served_only_with_a_token(tmp_path: Path):
    ran = command("--host", "0.0.0.0", folder=tmp_path)
    assert ran.returncode == 2
    assert "token" in ran.stderr
    short = tmp_path / "token"
    short.write_text("short\n")
    assert command("--token-file", str(short), folder=tmp_path).returncode == 4
    assert command("--token-file", str(tmp_path / "none"), folder=tmp_path).returncode == 4
    assert command(folder=tmp_path, token="x").returncode == 4
    assert command("--devices", "cuda:0,cuda:0", folder=tmp_path).returncode == 2


def test_the_link_for_a_browser_leads_somewhere(tmp_path: Path):
    with served(tmp_path / "stories", "--host", "0.0.0.0", token=TOKEN) as running:
        assert running.url == f"http://localhost:{running.port}"
        assert running.link is not None
        assert httpx2.get(running.link[1]).status_code == 303


def test_what_cannot_be_served_is_told_without_a_traceback(tmp_path: Path):
    database = tmp_path / "stories" / ".server" / "serve.db"
    database.parent.mkdir(parents=True)
    database.write_text("no database")
    ran = command(folder=tmp_path)
    assert ran.returncode == 4
    assert "serve.db cannot be used (file is not a database): where it is damaged, move it away" in ran.stderr
    assert "Traceback" not in ran.stderr
    story = tmp_path / "one" / "stories"
    story.parent.mkdir()
    story.write_text("x")
    ran = command(folder=story.parent)
    assert ran.returncode == 2
    assert "storyboard board" in ran.stderr


def test_one_server_a_library(server: Served):
    ran = command(folder=server.folder.parent)
    assert ran.returncode == 4
    assert "served already" in ran.stderr


@given(st.text(max_size=60))
def test_no_host_header_breaks_the_check(host: str):
    access = Access(None)
    headers = Headers({"host": host.encode("utf-8", "replace").decode("latin-1")})
    if host_name(headers["host"]) is None:
        with pytest.raises(Problem, match="does not go by"):
            access.check("GET", headers, open_to_all=True)
