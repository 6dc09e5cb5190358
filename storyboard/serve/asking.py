"""Asks the reader process, starts it when there is a question, and ends it when there was none for a while."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from storyboard.serve.problems import Problem, missing, refused

IDLE = 30.0
FRESH = 5.0
"""Seconds for which an answer stands while the files that tell of change have not: gc from outside is seen after it."""
PLACES = ("footage", "film", "board", "thumbnails", "seam", "preview")
"""Questions whose answers are paths for the server itself, not for its clients."""
LONGEST = 2**26
REMEMBERED = 64


class Reader:
    """One question at a time; equal ones that come meanwhile share the answer."""

    def __init__(self, answer_within: float, idle: float = IDLE) -> None:
        self._within, self._idle = answer_within, idle
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()
        self._ending: asyncio.TimerHandle | None = None
        self._known: dict[str, tuple[object, float, asyncio.Future[Any]]] = {}
        self.plain: Callable[[Any], Any] = lambda value: value

    async def ask(self, what: str, **facts: Any) -> Any:
        """Raises Problem, where the story is wrong or cannot be read."""
        async with self._turn:
            try:
                said = await asyncio.wait_for(self._asked(what, facts), self._within)
            except (TimeoutError, OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
                process = self._process
                self._end()
                if process is not None and isinstance(error, asyncio.LimitOverrunError):
                    await process.communicate()  # the rest of its answer, or its pipe would stay open
                raise Problem(
                    503, "unreadable", "the story could not be read: it takes too long, or too much"
                ) from None
            except asyncio.CancelledError:
                self._end()  # its answer would be taken for the next one's
                raise
        return _meant(said if what in PLACES else self.plain(said))

    async def recall(self, story: Path, what: str, **facts: Any) -> Any:
        """The same, remembered while nothing has changed that the answer may hang on."""
        name = json.dumps([str(story), what, facts])
        stamp = await asyncio.to_thread(stamp_of, story)
        known = self._known.get(name)
        if known is not None and known[0] == stamp and (not known[2].done() or time.monotonic() - known[1] < FRESH):
            return await asyncio.shield(known[2])
        asked = asyncio.ensure_future(self.ask(what, path=str(story), **facts))
        asked.add_done_callback(lambda done: done.cancelled() or done.exception())  # heard even if nobody waits
        self._known.pop(name, None)
        self._known[name] = (stamp, time.monotonic(), asked)
        while len(self._known) > REMEMBERED:
            del self._known[next(iter(self._known))]
        return await asyncio.shield(asked)

    async def _asked(self, what: str, facts: dict[str, Any]) -> dict[str, Any]:
        process = await self._there()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps({"ask": what, "facts": facts}).encode() + b"\n")
        await process.stdin.drain()
        line = await process.stdout.readuntil(b"\n")
        self._ending = asyncio.get_running_loop().call_later(self._idle, self._end)
        return cast("dict[str, Any]", json.loads(line))

    async def _there(self) -> asyncio.subprocess.Process:
        if self._ending is not None:
            self._ending.cancel()
            self._ending = None
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "storyboard.serve.reader", str(os.getpid())),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                start_new_session=True,
                limit=LONGEST,
            )
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()

    async def close(self) -> None:
        process = self._process
        if self._ending is not None:
            self._ending.cancel()
        self._end()
        if process is not None:
            await process.wait()


def _meant(said: dict[str, Any]) -> Any:
    match said.get("wrong"):
        case None:
            return said["answer"]
        case "story":
            raise refused("the story has mistakes", said["mistakes"])
        case "picture" | "choice":
            raise refused(str(said["says"]))
        case "missing" | "usage":
            raise missing(str(said["says"]))
        case "not-current":
            raise Problem(404, "not-current", str(said["says"]))
        case "machine":
            raise Problem(503, "machine-lacks", str(said["says"]))
        case _:
            raise Problem(500, "bug", "an error of storyboard itself: the server's log has it")


def stamp_of(story: Path) -> object:
    """What changes where an answer may: the story's own files, and what the store noted of it last."""
    store = Path(os.environ.get("STORYBOARD_STORE") or story.parent / ".storyboard")
    found: list[object] = []
    for folder in (story.parent, story.parent / "out", store / "stories", store / "takes"):
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                if entry.name != ".storyboard":
                    facts = entry.stat(follow_symlinks=True)
                    found.append((entry.path, facts.st_mtime_ns, facts.st_size, facts.st_ino))
    return found
