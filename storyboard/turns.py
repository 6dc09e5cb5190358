"""Turns on a GPU that drawing and finishing share, where its memory holds one of them at a time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager

LOOK = 0.5
"""Seconds between two looks at whether the person asked to stop."""


class Ticket:
    """A place in the queue."""


class Turns:
    """First come, first served. Who comes later waits until every ticket before its own was used or given back."""

    def __init__(self) -> None:
        self._queue: deque[Ticket] = deque()
        self._changed = threading.Condition()

    def ticket(self) -> Ticket:
        """A place at the end of the queue; it must be used or given back, or all wait for it."""
        ticket = Ticket()
        with self._changed:
            self._queue.append(ticket)
        return ticket

    def give_back(self, ticket: Ticket) -> None:
        """Nothing where it was used or given back before."""
        with self._changed:
            if ticket in self._queue:
                self._queue.remove(ticket)
                self._changed.notify_all()

    @contextmanager
    def taken(self, ticket: Ticket, heed: Callable[[], None] = lambda: None) -> Generator[None]:
        """The ticket's turn; over when `with` ends. heed: called while waiting; it may raise."""
        try:
            with self._changed:
                while self._queue[0] is not ticket:
                    self._changed.wait(LOOK)
                    heed()
            yield
        finally:
            self.give_back(ticket)
