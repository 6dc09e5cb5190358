"""Headless Chromium, driven over its own pipe: a page opened as people do, and what it asked the network for."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

FOUND = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
]
PATIENCE = 60.0


class Browser:
    """Messages go to the browser's third descriptor and come from its fourth, each ended by a zero."""

    def __init__(self, into: int, out: int) -> None:
        self._into, self._out = into, out
        self._count, self._left = 0, b""
        self.session = ""
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        self._count += 1
        asked = {"id": self._count, "method": method, "params": params}
        if self.session:
            asked["sessionId"] = self.session
        os.write(self._into, json.dumps(asked).encode() + b"\0")
        while True:
            said = self._read()
            if said.get("id") == self._count:
                assert "error" not in said, said
                return said["result"]
            self.events.append(said)

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._left:
            more = os.read(self._out, 1 << 20)
            assert more, "the browser went away"
            self._left += more
        said, _, self._left = self._left.partition(b"\0")
        return json.loads(said)

    def open(self, path: Path, width: int, height: int, *, dark: bool = False) -> None:
        self.look(width, height, dark=dark)
        self.call("Page.navigate", url=path.absolute().as_uri())
        self.wait("document.readyState === 'complete' && location.protocol === 'file:'")

    def visit(self, url: str, until: str = "true") -> None:
        """A page of a server; `until` holds once it is there."""
        self.call("Page.navigate", url=url)
        self.wait(f"document.readyState === 'complete' && location.protocol === 'http:' && ({until})")

    def look(self, width: int, height: int, *, dark: bool = False) -> None:
        self.events.clear()
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )

    def wait(self, script: str) -> None:
        self._until(lambda: self.value(script) is True, script)

    def _until(self, holds: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + PATIENCE
        while not holds():
            assert time.monotonic() < end, f"never came: {what}"
            time.sleep(0.05)

    def value(self, script: str) -> Any:
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def asked(self) -> list[str]:
        """What the page asked for, but for itself and what it holds inside."""
        sent = [each["params"] for each in self.events if each.get("method") == "Network.requestWillBeSent"]
        return [each["request"]["url"] for each in sent if not each["request"]["url"].startswith(("data:", "blob:"))]

    def complaints(self) -> list[str]:
        """What stands in the console: errors, and what the page's own policy kept from it."""
        logged = [each["params"]["entry"] for each in self.events if each.get("method") == "Log.entryAdded"]
        thrown = [str(each["params"]) for each in self.events if each.get("method") == "Runtime.exceptionThrown"]
        return [entry["text"] for entry in logged if entry["level"] == "error"] + thrown

    def screenshot(self, path: Path, height: int | None = None) -> None:
        """The whole page, or its first `height` pixels."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": height or size["height"], "scale": 1}
        shot = self.call("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))


@contextlib.contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    assert FOUND is not None
    to_read, to_write = os.pipe()
    from_read, from_write = os.pipe()
    # The shell puts the pipes where the browser looks for them: descriptors 3 and 4.
    moved = f'exec "$0" "$@" 3<&{to_read} 4>&{from_write}'
    command = ["bash", "-c", moved, FOUND, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, pass_fds=(to_read, from_write), stdin=quiet, stdout=quiet, stderr=quiet)
    os.close(to_read)
    os.close(from_write)
    try:
        driven = Browser(to_write, from_read)
        target = next(t for t in driven.call("Target.getTargets")["targetInfos"] if t["type"] == "page")
        attached = driven.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        driven.session = attached["sessionId"]
        for domain in ("Network", "Page", "Runtime", "Log"):
            driven.call(f"{domain}.enable")
        yield driven
    finally:
        os.close(to_write)
        os.close(from_read)
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        if process.poll() is None:
            process.kill()
            process.wait()
