"""The worker as a process of its own, behind the SDK's local server or behind an imitation of RunPod's queue."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from PIL import Image

from tests.stories import PLAIN, chart, scene

ROOT = Path(__file__).parents[1]
PATIENCE = 300.0


def picture(seed: int = 0, size: tuple[int, int] = (64, 48), form: str = "PNG") -> str:
    """A picture as base64."""
    buffer = io.BytesIO()
    Image.fromarray(chart(*size, seed=seed)).save(buffer, form)
    return base64.b64encode(buffer.getvalue()).decode()


def story(*names: str, look: str = 'size = "64x48"\nframes = 5\n', finish: str = PLAIN) -> str:
    """A chain of scenes, the first of which opens on a.png."""
    first, *others = names
    return f"[look]\n{look}\n{scene(first, image='a.png')}{''.join(scene(name) for name in others)}{finish}"


LONG = 'size = "256x192"\nframes = 81\n'


def environment(volume: Path, **more: str) -> dict[str, str]:
    own = {key: value for key, value in os.environ.items() if not key.startswith(("STORYBOARD_", "RUNPOD_", "BUCKET_"))}
    volume.mkdir(parents=True, exist_ok=True)
    return {**own, "STORYBOARD_VOLUME": str(volume), "PYTHONPATH": str(ROOT), **more}


class Worker:
    """handler.py, started; killed at the end, however that comes."""

    def __init__(self, volume: Path, *arguments: str, **more: str) -> None:
        self.volume = volume
        self.log = volume.parent / f"{volume.name}.{time.monotonic_ns()}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-u", ROOT / "handler.py", *arguments],
                cwd=volume.parent,
                env=environment(volume, **more),
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def rss(self) -> float:
        """Its memory in MB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024

    def children(self) -> list[int]:
        """Processes of this volume's other than the worker."""
        found: list[int] = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if f"STORYBOARD_VOLUME={self.volume}\0".encode() in (folder / "environ").read_bytes():
                    found.append(int(folder.name))
        return [pid for pid in found if pid != self.process.pid]


class LocalServer(Worker):
    """Behind `--rp_serve_api`."""

    def __init__(self, volume: Path, **more: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        super().__init__(volume, "--rp_serve_api", "--rp_api_port", str(self.port), **more)
        self.wait()

    def wait(self) -> None:
        wait_until(lambda: self.process.poll() is not None or self._answers())
        assert self.process.poll() is None, self.log.read_text()

    def _answers(self) -> bool:
        try:
            return bool(urllib.request.urlopen(f"http://localhost:{self.port}/openapi.json", timeout=5).read())
        except OSError:
            return False

    def post(self, path: str, body: object = None) -> dict[str, Any]:
        request = urllib.request.Request(
            f"http://localhost:{self.port}{path}",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
            method="POST",
        )
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as response:
                return json.loads(response.read())
        except urllib.error.HTTPError as error:
            return {"status": error.code, "error": error.read().decode()}

    def runsync(self, **order: Any) -> dict[str, Any]:
        return self.post("/runsync", {"input": order})


def wait_until(there: Callable[[], bool], seconds: float = PATIENCE) -> None:
    end = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def events(volume: Path) -> list[dict[str, Any]]:
    """Of every run in the store, in order of time."""
    lines = [line for path in volume.glob("storyboard/store/runs/*/events.jsonl") for line in whole_lines(path)]
    return sorted((json.loads(line) for line in lines), key=lambda event: event["time"])


def whole_lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").rpartition("\n")[0].splitlines()


def told(volume: Path, name: str) -> list[str]:
    return [event.get("scene", "") for event in events(volume) if event["event"] == name]


class Queue:
    """An imitation of what RunPod's workers talk to: they take jobs here and post what comes of them."""

    def __init__(self) -> None:
        self.jobs: list[dict[str, Any]] = []
        self.to_stop: list[str] = []
        self.posted: list[tuple[float, str, dict[str, Any]]] = []

    def answer(self, path: str) -> object:
        if path.startswith("/job-take/") and self.jobs:
            return self.jobs.pop(0)
        if path.startswith("/job-stop/") and self.to_stop:
            return {"jobsToStop": [self.to_stop.pop()]}
        return None

    def of(self, job: str) -> list[tuple[float, dict[str, Any]]]:
        """When what was posted about a job."""
        return [(when, facts) for when, which, facts in self.posted if which == job]

    def result(self, job: str) -> dict[str, Any] | None:
        return next((facts for _, facts in self.of(job) if facts.get("status") != "IN_PROGRESS"), None)


@contextlib.contextmanager
def queue() -> Iterator[tuple[Queue, dict[str, str]]]:
    """The imitation, and the variables that lead a worker there."""
    own = Queue()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            facts = own.answer(self.path)
            body = b"" if facts is None else json.dumps(facts).encode()
            if facts is None:
                time.sleep(0.1)  # RunPod holds it open for longer
            self.send_response(204 if facts is None else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            facts = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            own.posted.append((time.monotonic(), self.headers["X-Request-ID"], facts))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{server.server_port}"
    try:
        yield (
            own,
            {
                "RUNPOD_WEBHOOK_GET_JOB": f"{base}/job-take/endpoint/$ID?gpu=none",
                "RUNPOD_WEBHOOK_POST_OUTPUT": f"{base}/job-done/endpoint/$RUNPOD_POD_ID/$ID?gpu=none",
                "RUNPOD_POD_ID": "pod",
                "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true",  # they ask the internet, and want 10 % of the disk free
                "RUNPOD_SKIP_GPU_CHECK": "true",
            },
        )
    finally:
        server.shutdown()
        server.server_close()
