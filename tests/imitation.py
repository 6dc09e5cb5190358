"""A hub on loopback that answers as Hugging Face's does, its bytes on another host, and that can be made to fail."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Imitation:
    """`files`: bytes by (repo, path). What it was asked is in `asked`: host ("hub" or "cdn"), path, headers.

    `breaks`: each of the next answers of the CDN ends after so many bytes; `answers`: status codes instead of answers,
    by a part of the path, for as long as they last.
    """

    files: dict[tuple[str, str], bytes]
    licence: str | None = "apache-2.0"
    url: str = ""
    cdn: str = ""
    ranges: bool = True
    rotten: bool = False
    sizes: dict[str, int] = field(default_factory=dict[str, int])
    breaks: list[int] = field(default_factory=list[int])
    answers: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    gate: threading.Event | None = None
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list[tuple[str, str, dict[str, str]]])

    def ranges_asked(self) -> list[str | None]:
        return [headers.get("Range") for host, _, headers in self.asked if host == "cdn"]

    def info(self, repo: str) -> dict[str, object]:
        """As GET /api/models/REPO?blobs=true answers."""
        siblings: list[dict[str, object]] = [{"rfilename": "README.md", "blobId": "0" * 40, "size": 3}]
        for (of, path), data in self.files.items():
            size = self.sizes.get(path, len(data))
            lfs = {"sha256": sha256(data), "size": size, "pointerSize": 135}
            siblings += [{"rfilename": path, "blobId": "1" * 40, "size": size, "lfs": lfs}] if of == repo else []
        card = {"license": self.licence} if self.licence else {}
        return {"id": repo, "modelId": repo, "sha": COMMIT, "private": False, "gated": False, "disabled": False,
                "downloads": 1, "likes": 1, "tags": [], "cardData": card, "siblings": siblings}  # fmt: skip


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@contextmanager
def serving(imitation: Imitation) -> Iterator[Imitation]:
    """Both of its hosts, for as long as the block runs."""
    servers = {
        host: ThreadingHTTPServer(("127.0.0.1", 0), partial(Answers, imitation, host)) for host in ("hub", "cdn")
    }
    imitation.url, imitation.cdn = (f"http://127.0.0.1:{server.server_address[1]}" for server in servers.values())
    threads = [threading.Thread(target=partial(s.serve_forever, poll_interval=0.02)) for s in servers.values()]
    for thread in threads:
        thread.start()
    try:
        yield imitation
    finally:
        if imitation.gate is not None:
            imitation.gate.set()
        for server, thread in zip(servers.values(), threads, strict=True):
            server.shutdown()
            thread.join()
            server.server_close()


class Answers(BaseHTTPRequestHandler):
    def __init__(self, imitation: Imitation, host: str, *args: object) -> None:
        self._imitation, self._host = imitation, host
        super().__init__(*args)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def _answer(self) -> None:
        imitation, path = self._imitation, unquote(urlsplit(self.path).path)
        imitation.asked.append((self._host, path, dict(self.headers.items())))
        for part, codes in imitation.answers.items():
            if part in path and codes:
                self._send(codes.pop(0))
                return
        if self._host == "cdn":
            self._give(next(d for d in imitation.files.values() if path == f"/xet/{sha256(d)}"))
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)", path):
            told = imitation.info(found[1])
            if "blobs=true" not in urlsplit(self.path).query:
                told["siblings"] = [{"rfilename": each["rfilename"]} for each in told["siblings"]]  # type: ignore[union-attr]
            self._send(200, json.dumps(told).encode(), **{"Content-Type": "application/json"})
        elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self._point(imitation.files.get((found[1], found[3])))
        else:
            self._send(404)

    def _point(self, data: bytes | None) -> None:
        if data is None:
            self._send(404, **{"X-Error-Code": "EntryNotFound"})
            return
        digest = sha256(data)
        linked = {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(data)), "X-Repo-Commit": COMMIT}
        self._send(302, b"Found.", Location=f"{self._imitation.cdn}/xet/{digest}", **linked)

    def _give(self, data: bytes) -> None:
        imitation, digest = self._imitation, sha256(data)
        found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")) if imitation.ranges else None
        begin = int(found[1]) if found else 0
        if begin and begin >= len(data):
            self._send(416)
            return
        body = (data[:-1] + bytes([data[-1] ^ 1]) if imitation.rotten else data)[begin:]
        self.send_response(206 if found else 200)
        if found:
            self.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{digest}"')
        self.end_headers()
        if self.command == "HEAD":
            return
        whole = len(body)
        if imitation.breaks:
            body = body[: imitation.breaks.pop(0)]
        self.wfile.write(body)
        self.wfile.flush()
        if imitation.gate is not None and len(body) < whole:
            imitation.gate.wait(30)  # a connection that gives nothing more

    def _send(self, code: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Tests read `asked`."""
