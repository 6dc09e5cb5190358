"""Events as they are told: kept in the ledger, and passed on to whoever streams them.

A reader has no buffer of its own: it reads on from the last number it has, so a slow one costs nothing and loses
nothing.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from itertools import takewhile

from storyboard.serve.ledger import Ledger, Told, Untold

RECENT = 2000
AT_ONCE = 200
HEARTBEAT = 15.0
RETRY = 2000
"""Milliseconds after which a browser that lost the stream comes back."""


class Feed:
    """What was told last, and a signal when there is more."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._recent: deque[Told] = deque(maxlen=RECENT)
        self._last = ledger.bounds()[1]
        self._since = self._last  # all past this number are among the recent ones, until some are pushed out
        self._more = asyncio.Event()
        self.closing = False
        self.streams = 0

    def tell(self, event: str, job: str | None = None, story: str | None = None, **facts: object) -> None:
        self.publish([self._ledger.tell(Untold(event, job, story, facts))])

    def publish(self, told: Sequence[Told]) -> None:
        """Events that are in the ledger already."""
        for each in told:
            if len(self._recent) == RECENT:
                self._since = self._recent[0].id
            self._recent.append(each)
            self._last = each.id
        if told:
            self._wake()

    def close(self) -> None:
        """End all streams."""
        self.closing = True
        self._wake()

    def _wake(self) -> None:
        self._more.set()
        self._more = asyncio.Event()

    @property
    def more(self) -> asyncio.Event:
        """Set when something is told after this was asked for."""
        return self._more

    @property
    def last(self) -> int:
        return self._last

    def after(self, number: int, job: str | None = None) -> list[Told]:
        if number >= self._since:
            newer = [*takewhile(lambda each: each.id > number, reversed(self._recent))]
            return [each for each in reversed(newer) if job in (None, each.job)][:AT_ONCE]
        return self._ledger.events(number, job, AT_ONCE)

    async def stream(
        self, number: int, job: str | None, over: Callable[[], bool], heartbeat: float = HEARTBEAT
    ) -> AsyncIterator[bytes]:
        """Server-sent events past a number, until the server closes or it is `over` and all was sent."""
        self.streams += 1
        try:
            yield f"retry: {RETRY}\n\n".encode()
            first, last = self._ledger.bounds()
            if job is None and (number > last or number + 1 < first):
                yield _dropped(first)
                number = min(number, last)  # a number that was never told is of a library that is no more
            while not self.closing:
                more, ended = self._more, over()
                told = self.after(number, job)
                for each in told:
                    yield sent(each)
                    number = each.id
                if told:
                    continue
                if ended:
                    return
                try:
                    await asyncio.wait_for(more.wait(), heartbeat)
                except TimeoutError:
                    yield b": still here\n\n"
        finally:
            self.streams -= 1


def sent(told: Told) -> bytes:
    return f"id: {told.id}\nevent: {told.event}\ndata: {json.dumps(told.json())}\n\n".encode()


def _dropped(first: int) -> bytes:
    """What was asked for is partly gone: the client had better read everything anew."""
    return f"event: events.dropped\ndata: {json.dumps({'event': 'events.dropped', 'first': first})}\n\n".encode()
