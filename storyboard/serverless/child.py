"""Commands of storyboard as children: their lines read as they come, stopped when the job is."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

LINE_LIMIT = 1 << 26  # bytes: the first event of a long story names all its scenes
SAID_LIMIT = 32_000  # characters of what a child says that are remembered: the last
GRACE = 30.0
"""Seconds for the step that is under way, before a child that is to stop is killed."""


@dataclass(frozen=True, slots=True)
class Ended:
    """`said`: what it wrote to stderr, the last of it."""

    code: int
    out: str
    said: str


async def storyboard(
    *command: str,
    environment: Mapping[str, str],
    lock: Path | None = None,
    hear: Callable[[str], None] | None = None,
) -> Ended:
    """A command line, run. hear: called with each line of stdout, which is then not kept."""
    held = str(lock) if lock is not None else "-"
    return await _run(
        "storyboard.serverless.tied", str(os.getpid()), held, *command, environment=environment, hear=hear
    )


async def ask(*question: str, environment: Mapping[str, str]) -> Ended:
    return await _run("storyboard.serverless.asked", *question, environment=environment)


async def _run(
    module: str, *arguments: str, environment: Mapping[str, str], hear: Callable[[str], None] | None = None
) -> Ended:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**environment, "PYTHONIOENCODING": "utf-8"},
        limit=LINE_LIMIT,
    )
    stdout, stderr = cast(asyncio.StreamReader, process.stdout), cast(asyncio.StreamReader, process.stderr)
    out: list[str] = []
    said: list[str] = []
    try:
        await asyncio.gather(_lines(stdout, hear or out.append), _tail(stderr, said))
        code = await process.wait()
    except BaseException:
        await asyncio.shield(_stop(process))
        raise
    return Ended(code, "".join(out), "".join(said)[-SAID_LIMIT:].strip())


async def _lines(stream: asyncio.StreamReader, hear: Callable[[str], None]) -> None:
    while line := await stream.readline():
        hear(line.decode("utf-8", "replace"))


async def _tail(stream: asyncio.StreamReader, said: list[str]) -> None:
    while part := await stream.read(1 << 16):
        said.append(part.decode("utf-8", "replace"))
        if sum(map(len, said)) > 2 * SAID_LIMIT:
            said[:] = ["".join(said)[-SAID_LIMIT:]]


async def _stop(process: asyncio.subprocess.Process) -> None:
    """As Ctrl-C does: between two steps. What was finished is kept either way."""
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGINT)
    try:
        await asyncio.wait_for(process.communicate(), GRACE)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
