"""Another process that draws frames for us. Nothing of it is trusted: that it lives, that it answers, what it says."""

from __future__ import annotations

import json
import mmap
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any, BinaryIO, cast

import numpy as np

from post.weights import Lacking
from scenes.footage import Frame, Size

START = 180.0
"""Seconds in which it loads the package and the model, compiles shaders and draws a trial frame."""

# What ncnn and drivers write when work on a GPU has gone wrong. The package itself says nothing and gives a frame.
COMPLAINT = re.compile(r"\b(failed|error|lost|cancelled|not exists?|not ready|out of (host |device )?memory)\b", re.I)

# Whatever can be imported here can be imported there, and nothing more: no current folder, no other environment.
PROGRAM = "import sys; sys.path[:] = {path}; from post.rife_ncnn_worker import main; main()"


# OpenMP's threads wait by spinning. Where other work shares the cores they do little else: 7 s a frame of 480×384 on
# two busy cores, and 0.4 s this way.
PATIENT = {"OMP_WAIT_POLICY": "passive"}


class WorkerLost(Exception):  # noqa: N818 (it names what is wrong)
    """The process crashed, hung, or said what makes no sense; it is gone. The message says which, as a clause."""


class Worker:
    """The process, from its start until `close`. It ends by itself when we end, however we end.

    Raises:
        Lacking: it says what it needs and is not here.
        WorkerLost: from every method.
    """

    def __init__(self, folder: Path, device: str | None, seconds: float = START) -> None:
        self._frames = frames_file()
        self._said = cast("BinaryIO", tempfile.TemporaryFile())  # noqa: SIM115 (closed in close)
        self._seen = 0
        self._shared: mmap.mmap | None = None
        self._used: Size | None = None
        replies, theirs = os.pipe()
        lifeline, self._lifeline = os.pipe()
        given = {"folder": str(folder), "device": device, "memory": self._frames, "replies": theirs}
        program = PROGRAM.format(path=[str(Path(entry).absolute()) for entry in sys.path])
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", program, json.dumps({**given, "lifeline": lifeline})],
            stdin=subprocess.PIPE,
            stdout=self._said,  # the package prints; answers have a pipe of their own
            stderr=self._said,
            pass_fds=(self._frames, theirs, lifeline),
            env={**PATIENT, **os.environ},
        )
        os.close(theirs)
        os.close(lifeline)
        self._replies = replies
        self._pending = b""
        try:
            answer = self._answer(seconds)
            if "lacking" in answer:
                raise Lacking(str(answer["lacking"]))
            self.device = self._expect(answer, "ready", str)
        except BaseException:
            self.close(0)
            raise
        self._seen = len(self._written(0))  # drivers greet; only what follows is a complaint

    def draw(self, before: Frame, after: Frame, time: float, multiple: int, seconds: float) -> Frame:
        """The frame between two of one size. They lie on black, so that the sides are multiples of `multiple`."""
        height, width = before.shape[:2]
        size = (-(-width // multiple) * multiple, -(-height // multiple) * multiple)
        first, second, out = self._views(size, (width, height))
        first[:height, :width], second[:height, :width] = before, after
        try:
            self._send({"size": size, "time": time, "bytes": len(cast("mmap.mmap", self._shared))})
            answer = self._answer(seconds)
            if "failed" in answer:
                raise WorkerLost(f"{answer['failed']}{self._words()}")
            if tuple(self._expect(answer, "drawn", list)) != size:
                raise WorkerLost(f"drew {answer['drawn']} where {list(size)} was asked for")
            self._listen()
        except BaseException:
            self.close(0)
            raise
        return out[:height, :width].copy()

    def close(self, seconds: float = 5) -> None:
        """Ends the process, by force where it is not gone after so many seconds, and frees what was shared with it."""
        if self._said.closed:
            return
        self._end(seconds)
        for descriptor in (self._replies, self._frames, self._lifeline):
            os.close(descriptor)
        self._shared = None
        self._said.close()

    def _end(self, seconds: float) -> None:
        with suppress(BrokenPipeError):  # it was gone already
            cast("BinaryIO", self._process.stdin).close()
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _views(self, size: Size, used: Size) -> list[Frame]:
        """Before, after and drawn, in the memory that both see; black beyond what is used."""
        step = 3 * size[0] * size[1]
        if self._shared is None or len(self._shared) < 3 * step:
            grow(self._frames, 3 * step)
            self._shared = mmap.mmap(self._frames, 3 * step)
        views = [np.frombuffer(self._shared, np.uint8, step, i * step).reshape(size[1], size[0], 3) for i in range(3)]
        if self._used != used:
            for view in views:
                view[:] = 0
            self._used = used
        return views

    def _send(self, asked: Mapping[str, Any]) -> None:
        pipe = cast("BinaryIO", self._process.stdin)
        try:
            pipe.write(json.dumps(asked).encode() + b"\n")
            pipe.flush()
        except BrokenPipeError:
            raise WorkerLost(self._fate()) from None

    def _answer(self, seconds: float) -> dict[str, Any]:
        """One line of JSON."""
        until = monotonic() + seconds
        poll = select.poll()  # and not select, which knows no descriptor above 1023
        poll.register(self._replies, select.POLLIN)
        while b"\n" not in self._pending:
            if not poll.poll(1000 * max(0, until - monotonic())):
                raise WorkerLost(f"gave no answer for {seconds:.0f} s and was ended{self._words()}")
            got = os.read(self._replies, 65536)
            if not got:
                raise WorkerLost(self._fate())
            self._pending += got
        line, _, self._pending = self._pending.partition(b"\n")
        try:
            answer = json.loads(line)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise WorkerLost(f"answered {line[:80]!r}, which makes no sense")
        return cast("dict[str, Any]", answer)

    def _expect(self, answer: dict[str, Any], key: str, kind: type) -> Any:
        if not isinstance(answer.get(key), kind):
            raise WorkerLost(f"answered {str(answer)[:80]}, which makes no sense")
        return answer[key]

    def _fate(self) -> str:
        """How it ended, after it hung up."""
        try:
            code = self._process.wait(5)
        except subprocess.TimeoutExpired:
            return f"hung up and went on{self._words()}"
        ended = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        return f"{ended}{self._words()}"

    def _listen(self) -> None:
        """Raises WorkerLost where a complaint was written while it drew: such a frame may hold anything."""
        new = self._written(self._seen)
        self._seen += len(new)
        complaints = [line for line in lines_of(new) if COMPLAINT.search(line)]
        if complaints:
            raise WorkerLost(f"drew with a complaint: {complaints[0]}")

    def _words(self) -> str:
        """The line it wrote that tells most, to be added to a clause: the first complaint, or else the last line."""
        lines = lines_of(self._written(0))
        telling = [line for line in lines if COMPLAINT.search(line)] or lines[-1:]
        return f" (it wrote: {telling[0]})" if telling else ""

    def _written(self, start: int) -> bytes:
        """What it wrote from some byte on. Read without seeking: it writes wherever the file's one position is."""
        descriptor = self._said.fileno()
        return os.pread(descriptor, os.fstat(descriptor).st_size - start, start)


def lines_of(text: bytes) -> list[str]:
    """Those that say something, none too long for a message."""
    return [line.strip()[:200] for line in text.decode(errors="replace").splitlines() if line.strip()]


def frames_file() -> int:
    """A descriptor of memory to share: not in /dev/shm, which containers keep small. Nothing of it outlives us."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("frames")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def grow(descriptor: int, count: int) -> None:
    """Raises OSError where there is no room, which would else end us at the first write."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, count)
    else:
        os.ftruncate(descriptor, count)
