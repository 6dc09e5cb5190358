"""What happens, for a page that is open: that something changed, and progress as the very parts that show it.

Numbers are the server's own of its events: a browser that lost the stream says the last one it has, and what it missed
comes. That somebody else wrote to the story or its pictures is noticed within a second.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from storyboard.board.page import written
from storyboard.board.view import Asked, Doing, asked, follow, work
from storyboard.serve.asking import stamp_of
from storyboard.serve.feed import RETRY
from storyboard.serve.ledger import Told
from storyboard.serve.problems import Problem

LOOK = 1.0
"""Seconds between two looks at the story's files."""
QUIET = 15
"""Looks without news after which a sign of life is sent."""
REST = 0.3


async def events(request: Request) -> Response:
    ask = asked(request)
    feed = ask.serving.feed
    if feed.streams >= ask.serving.limits.streams:
        raise Problem(503, "too-many-streams", "too many pages are open", headers={"Retry-After": "10"})
    known = request.headers.get("last-event-id") or request.query_params.get("after", "")
    after = min(int(known), feed.last) if known.isdecimal() and len(known) < 16 else feed.last
    again = "last-event-id" in request.headers or "again" in request.query_params
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(_stream(ask, after, again), 200, headers, "text/event-stream")


async def _stream(ask: Asked, number: int, again: bool) -> AsyncIterator[bytes]:
    feed, quiet, quarter = ask.serving.feed, 0, -1
    stamp = await asyncio.to_thread(stamp_of, ask.path)
    feed.streams += 1
    try:
        yield f"retry: {RETRY // 2}\n\n".encode()
        while not feed.closing:
            more, told, before = feed.more, feed.after(number), stamp
            number, stamp = told[-1].id if told else number, await asyncio.to_thread(stamp_of, ask.path)
            ours = [each for each in told if each.story == ask.story]
            if again or stamp != before or any(not each.event.endswith(".progress") for each in ours):
                yield _sent("changed", "1", number)
            if ours:
                text, quarter = _progress(ask, ours, quarter)
                yield _sent("progress", text, number)
                await asyncio.sleep(REST)
            quiet = 0 if ours else quiet + 1
            if quiet % QUIET == QUIET - 1:
                yield b": still here\n\n"
            again = False
            if not told:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(more.wait(), LOOK)
    finally:
        feed.streams -= 1


def _progress(ask: Asked, ours: list[Told], quarter: int) -> tuple[str, int]:
    """The parts of the page that show it. A screen reader hears of it by quarters."""
    found: dict[str, Doing] = {}
    for each in ours:
        follow(found, each)
    job = work(ask)
    names = {str(each.facts["scene"]) for each in ours if "scene" in each.facts}
    here = job is not None and job["draft"] is (ask.mode == "draft")
    touched = {name: found.get(name) for name in sorted(names)} if here else {}
    at = job["percent"] // 25 if job and job["active"] else -1
    return written(
        "progress.html", doing=touched, job=job, aloud=at != quarter, story=ask.story, mode=ask.mode or ""
    ), at


def _sent(event: str, text: str, number: int) -> bytes:
    data = "".join(f"data: {line}\n" for line in text.splitlines() if line.strip())
    return f"id: {number}\nevent: {event}\n{data}\n".encode()
