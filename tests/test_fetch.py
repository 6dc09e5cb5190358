"""Pictures from addresses that strangers name: public hosts only, each hop checked, within a size and a time."""

from __future__ import annotations

import base64
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from storyboard.serverless import pictures
from storyboard.serverless.fetch import FetchError, Limits, addresses, fetch, is_public
from storyboard.serverless.order import OrderError
from storyboard.serverless.pictures import write_pictures

Answer = Callable[[BaseHTTPRequestHandler], None]
PUBLIC = "93.184.216.34"


@contextmanager
def web(answer: Answer) -> Iterator[tuple[int, list[tuple[str, str]]]]:
    """A server on loopback: its port, and the path and Host of each request."""
    asked: list[tuple[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers["Host"]))
            answer(self)

        def log_message(self, format: str, *arguments: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port, asked
    finally:
        server.shutdown()
        server.server_close()


def giving(content: bytes, status: int = 200, **headers: str) -> Answer:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    return answer


def here(host: str, port: int) -> list[str]:
    return ["127.0.0.1"]


def anywhere(address: str) -> bool:
    return True


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.255.0.9", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1"),
        *(
            "169.254.169.254",
            "100.64.0.1",
            "100.127.255.255",
            "192.0.0.1",
            "192.0.0.192",
            "168.63.129.16",
            "192.0.2.1",
            "198.18.0.1",
            "203.0.113.7",
        ),
        *("224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255"),
        *("::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "fec0::1", "ff02::1", "2001:db8::1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1"),
        *("2002:7f00:1::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1"),
        *("", "example.com", "127.1"),
    ],
)
def test_inward_addresses_are_not_public(address: str):
    assert not is_public(address)


@pytest.mark.parametrize("address", [PUBLIC, "1.1.1.1", "2606:4700:4700::1111", "::ffff:1.1.1.1"])
def test_machines_on_the_internet_are(address: str):
    assert is_public(address)


@pytest.mark.parametrize("host", ["localhost", "127.1", "0x7f000001", "2130706433", "0177.0.0.1", "[::1]", "[::]"])
def test_this_machine_is_refused_however_it_is_spelt(tmp_path: Path, host: str):
    with (
        web(giving(b"secret")) as (port, asked),
        pytest.raises(FetchError, match=r"not on the public internet|there is no host"),
    ):
        fetch(f"http://{host}:{port}/", tmp_path / "a")
    assert not asked
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("file:///etc/passwd", "must begin with http"),
        ("ftp://example.com/a", "must begin with http"),
        ("gopher://example.com", "must begin with http"),
        ("http://", "names no host"),
        ("http:///a", "names no host"),
        ("http://user:word@example.com/", "must not hold a user"),
        ("http://example.com:99999/", "is no web address"),
        ("http://example.com:0/", "names no host"),
        ("http://example.com/a b", "is no web address"),
        ("http://example.com/\r\nHost: inside", "is no web address"),
        ("http://[::1/", "is no web address"),
        ("http://" + "a" * 9000, "is no web address"),
    ],
)
def test_addresses_of_other_kinds_are_refused_without_asking_anyone(tmp_path: Path, url: str, said: str):
    with pytest.raises(FetchError, match=said):
        fetch(url, tmp_path / "a", resolve=lambda host, port: pytest.fail("asked"))


def test_a_name_is_resolved_once_and_the_connection_goes_there(tmp_path: Path):
    """A name server that answers otherwise the second time has no effect."""
    with web(giving(b"picture")) as (port, asked):
        answers = iter([["127.0.0.1"]])
        fetch(
            f"http://pictures.example:{port}/a.png?x=1",
            tmp_path / "a",
            resolve=lambda *_: next(answers),
            allowed=anywhere,
        )
    assert (tmp_path / "a").read_bytes() == b"picture"
    assert asked == [("/a.png?x=1", f"pictures.example:{port}")]


def test_a_host_with_one_inward_address_is_refused(tmp_path: Path):
    with pytest.raises(FetchError, match=r"leads to pictures\.example, which is not on the public internet"):
        fetch("http://pictures.example/", tmp_path / "a", resolve=lambda *_: [PUBLIC, "10.0.0.1"])


def test_the_next_address_is_tried_where_one_does_not_answer(tmp_path: Path):
    with web(giving(b"picture")) as (port, _), socket.socket() as closed:
        closed.bind(("127.0.0.2", 0))
        fetch(
            f"http://a.example:{port}/", tmp_path / "a", resolve=lambda *_: ["127.0.0.2", "127.0.0.1"], allowed=anywhere
        )
    assert (tmp_path / "a").read_bytes() == b"picture"


def test_redirects_are_followed_and_each_is_checked(tmp_path: Path):
    def answer(request: BaseHTTPRequestHandler) -> None:
        if request.path == "/first":
            giving(b"", 302, Location="/second")(request)
        else:
            giving(b"", 307, Location="http://inside.example/meta-data")(request)

    names = {"a.example": ["127.0.0.1"], "inside.example": ["169.254.169.254"]}
    with web(answer) as (port, asked), pytest.raises(FetchError, match=r"leads to inside\.example, which is not on"):
        fetch(
            f"http://a.example:{port}/first",
            tmp_path / "a",
            resolve=lambda host, _: names[host],
            allowed=lambda address: address == "127.0.0.1" or is_public(address),
        )
    assert [path for path, _ in asked] == ["/first", "/second"]


@pytest.mark.parametrize("where", ["file:///etc/passwd", "gopher://a.example/"])
def test_redirects_to_other_kinds_are_refused(tmp_path: Path, where: str):
    with web(giving(b"", 301, Location=where)) as (port, _), pytest.raises(FetchError, match="must begin with http"):
        fetch(f"http://a.example:{port}/", tmp_path / "a", resolve=here, allowed=anywhere)


def test_redirects_in_a_ring_end(tmp_path: Path):
    with web(giving(b"", 302, Location="/")) as (port, asked), pytest.raises(FetchError, match="more than 5 times"):
        fetch(f"http://a.example:{port}/", tmp_path / "a", resolve=here, allowed=anywhere)
    assert len(asked) == 6


@pytest.mark.parametrize("told", ["2000000", "10"], ids=["told", "untold"])
def test_large_files_are_refused(tmp_path: Path, told: str):
    answer = giving(bytes(2_000_000), Content_Length=told) if told == "2000000" else giving(bytes(2_000_000))
    with web(answer) as (port, _), pytest.raises(FetchError, match=r"is larger than 0\.5 MB"):
        fetch(f"http://a.example:{port}/", tmp_path / "a", Limits(bytes=500_000), here, anywhere)


def test_endless_files_are_refused(tmp_path: Path):
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        while True:
            request.wfile.write(bytes(65536))

    with web(quiet(answer)) as (port, _), pytest.raises(FetchError, match=r"is larger than 0\.5 MB"):
        fetch(f"http://a.example:{port}/", tmp_path / "a", Limits(bytes=500_000), here, anywhere)
    assert (tmp_path / "a").stat().st_size <= 500_000


def quiet(answer: Answer) -> Answer:
    """What happens to the server once the client has left is no news."""

    def quietly(request: BaseHTTPRequestHandler) -> None:
        try:
            answer(request)
        except OSError:
            request.close_connection = True

    return quietly


@pytest.mark.parametrize("part", ["headers", "body"])
def test_whoever_drips_is_cut_off_in_time(tmp_path: Path, part: str):
    """Each byte comes well before the next would be missed."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        if part == "body":
            request.send_response(200)
            request.end_headers()
        for _ in range(100):
            request.wfile.write(b"x" if part == "body" else b"HTTP/1.1 200 OK\r\nx"[_ : _ + 1])
            request.wfile.flush()
            time.sleep(0.05)

    began = time.monotonic()
    with web(quiet(answer)) as (port, _), pytest.raises(FetchError, match=r"took longer than 0\.4 s"):
        fetch(f"http://a.example:{port}/", tmp_path / "a", Limits(seconds=0.4, idle=2), here, anywhere)
    assert time.monotonic() - began < 2


def test_a_tls_handshake_that_drips_is_cut_off_in_time(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(FetchError, match=r"took longer than 0\.4 s"):
            fetch(f"https://a.example:{port}/", tmp_path / "a", Limits(seconds=0.4, idle=30), here, anywhere)


def test_a_host_that_does_not_answer_is_given_up(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(FetchError, match="cannot be fetched"):
            fetch(f"http://a.example:{port}/", tmp_path / "a", Limits(idle=0.2), here, anywhere)


def test_certificates_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    asked: list[str] = []

    def named(sock: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        asked.append(str(name))

    context.sni_callback = named
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            opened, _ = server.accept()
            with opened:
                try:
                    context.wrap_socket(opened, server_side=True)
                except OSError:
                    return  # it has no certificate to show

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(FetchError, match="cannot be fetched"):
            fetch(f"https://a.example:{server.getsockname()[1]}/", tmp_path / "a", Limits(), here, anywhere)
        thread.join()
    assert asked == ["a.example"]  # the name is said, though the address is connected to


@pytest.mark.parametrize("status", [404, 500, 204, 206])
def test_other_answers_than_200_are_told(tmp_path: Path, status: int):
    with (
        web(giving(b"" if status == 204 else b"x", status)) as (port, _),
        pytest.raises(FetchError, match=f"answers {status}"),
    ):
        fetch(f"http://a.example:{port}/", tmp_path / "a", resolve=here, allowed=anywhere)


def test_files_that_are_cut_off_are_told(tmp_path: Path):
    def answer(request: BaseHTTPRequestHandler) -> None:
        giving(b"half", Content_Length="8")(request)
        request.close_connection = True

    with web(answer) as (port, _), pytest.raises(FetchError, match=r"cut off|IncompleteRead|cannot be fetched"):
        fetch(f"http://a.example:{port}/", tmp_path / "a", resolve=here, allowed=anywhere)


def test_proxies_of_the_environment_are_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with web(giving(b"proxied")) as (port, asked):
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
        with pytest.raises(FetchError):
            fetch("http://a.example:9/", tmp_path / "a", Limits(idle=0.5), here, anywhere)
    assert not asked


def test_names_that_no_one_has_are_told():
    with pytest.raises(FetchError, match="there is no host"):
        addresses("nobody.invalid", 80)


def test_pictures_come_as_urls_and_as_base64(tmp_path: Path):
    text = base64.b64encode(b"four").decode()
    given = {
        "a.png": f"data:image/png;base64,{text}",
        "day 1/b.png": f"{text[:3]}\n{text[3:]}",
        "c.png": "https://c.example",
    }
    write_pictures(given, tmp_path, fetch=lambda url, target: target.write_text(url) and None)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "day 1/b.png").read_bytes() == b"four"
    assert (tmp_path / "c.png").read_text() == "https://c.example"


def test_no_more_is_fetched_than_all_pictures_may_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pictures, "ALL_BYTES", 1000)
    monkeypatch.setattr(pictures, "AT_ONCE", 1)
    fetched: list[str] = []

    def give(url: str, target: Path) -> None:
        fetched.append(url)
        target.write_bytes(bytes(600))

    with pytest.raises(OrderError, match="together"):
        write_pictures({f"{n}.png": f"https://a.example/{n}" for n in range(9)}, tmp_path, give)
    assert len(fetched) == 2


def test_every_picture_that_cannot_be_had_is_told(tmp_path: Path):
    def failing(url: str, target: Path) -> None:
        raise FetchError("answers 404 Not Found")

    given = {
        "a.png": "https://a.example/x",
        "b.png": "%%%",
        "c.png": "data:image/png,raw",
        "d.png": "file:///etc/passwd",
    }
    with pytest.raises(OrderError) as told:
        write_pictures(given, tmp_path, fetch=failing)
    assert str(told.value).splitlines() == [
        'picture "a.png": https://a.example/x answers 404 Not Found',
        'picture "b.png" is no base64 (only base64 data is allowed)',
        'picture "c.png" must be an http:// or https:// address, a data:...;base64, URL or base64',
        'picture "d.png" must be an http:// or https:// address, a data:...;base64, URL or base64',
    ]
