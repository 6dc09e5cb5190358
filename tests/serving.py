"""A server of a library in a process of its own, and a client of it."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from tests.stories import chart, scene, write_picture

ROOT = Path(__file__).parents[1]
LOOK = '[look]\nsize = "64x48"\nframes = 9\n'
FINISH = '[finish]\nupscale = { model = "none" }\ninterpolate = { model = "none" }\nencode = { preset = "ultrafast" }\n'
TOKEN = "a-token-of-tests-0123456789"


class Served:
    """A running server. `url` is where; the process is started in a group of its own."""

    def __init__(self, folder: Path, *options: str, token: str | None = None) -> None:
        self.folder, self._options, self._token = folder, options, token
        self.log = folder.with_name(f"{folder.name}.log")
        self.port = 0
        self.start()

    def start(self) -> None:
        env = {key: value for key, value in os.environ.items() if not key.startswith("STORYBOARD_")}
        env["PYTHONPATH"] = str(ROOT)
        if self._token is not None:
            env["STORYBOARD_TOKEN"] = self._token
        command = [sys.executable, "-m", "storyboard", *self.command(), "--port", str(self.port)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, *self._options], stderr=log, stdout=log, env=env, start_new_session=True
            )
        said = self._said()
        self.link = re.search(r"once: (http://\S+)", said)
        self.url = re.search(r"(?:served on|once:) (http://[^/\s]+)", said)[1]  # type: ignore[index]  # _said waited for it
        self.port = int(self.url.rpartition(":")[2])

    def command(self) -> list[str]:
        return ["serve", str(self.folder)]

    def _said(self) -> str:
        for _ in range(600):
            said = self.log.read_text()
            if "once:" in said or ("served on" in said and self._token is None):
                return said
            assert self.process.poll() is None, said
            time.sleep(0.05)
        raise AssertionError(f"the server does not start: {self.log.read_text()}")

    def client(self, **more: Any) -> httpx2.Client:
        headers = {"Authorization": f"Bearer {self._token}"} if self._token is not None else {}
        return httpx2.Client(base_url=self.url, timeout=120, headers=headers, **more)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(90)


class Boarded(Served):
    """The board of one story: `folder` is its file."""

    def command(self) -> list[str]:
        return ["board", str(self.folder), "--no-open"]


@contextmanager
def boarded(story: Path, *options: str) -> Iterator[Served]:
    server = Boarded(story, *options)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.kill()


@contextmanager
def served(folder: Path, *options: str, token: str | None = None) -> Iterator[Served]:
    server = Served(folder, *options, token=token)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.kill()


def story_text(*scenes: str, look: str = LOOK) -> str:
    return f"{look}\n{''.join(scenes)}{FINISH}"


def two_scenes(**keys: Any) -> str:
    return story_text(scene("a", image="a.png", camera="push in", **keys), scene("b", camera="pan left"))


def picture(folder: Path, seed: int = 1) -> bytes:
    return write_picture(folder, f"picture{seed}.png", seed).read_bytes()


def zipped(files: dict[str, bytes | str]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def png(seed: int = 1, size: tuple[int, int] = (64, 48)) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(chart(*size, seed=seed)).save(out, "PNG")
    return out.getvalue()


def put(client: httpx2.Client, story: str, files: dict[str, bytes | str]) -> httpx2.Response:
    return client.put(f"/stories/{story}", content=zipped(files), headers={"Content-Type": "application/zip"})


def events_of(client: httpx2.Client, path: str, **more: Any) -> list[dict[str, Any]]:
    """All events of a stream that ends."""
    found: list[dict[str, Any]] = []
    with client.stream("GET", path, **more) as answer:
        assert answer.status_code == 200, answer.status_code
        found += [json.loads(line[6:]) for line in answer.iter_lines() if line.startswith("data: ")]
    return found


def ended(client: httpx2.Client, job: str, within: float = 60) -> dict[str, Any]:
    until = time.monotonic() + within
    while time.monotonic() < until:
        said = client.get(f"/jobs/{job}").json()
        if said["state"] not in ("queued", "running"):
            return said
        time.sleep(0.05)
    raise AssertionError(f"the job does not end: {said}")


def worked(server: Served) -> tuple[float, float]:
    """CPU seconds of the server with its reader, and of the jobs that have ended."""
    own = theirs = 0.0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
            is_reader = b"storyboard.serve.reader" in path.with_name("cmdline").read_bytes()
        except OSError:
            continue
        ours = int(path.parent.name) == server.process.pid
        if ours or (int(fields[1]) == server.process.pid and is_reader):
            own += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        if ours:
            theirs = (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")
    return own, theirs
