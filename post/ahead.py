"""A stage in a thread of its own, working ahead of whoever takes what it makes."""

from __future__ import annotations

import threading
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import Generic, TypeVar

T = TypeVar("T")

Heed = Callable[[], None]
"""Ends a stage that nobody takes from any more, by an exception that it lets pass; for before what takes long."""

WAKE = 0.5  # seconds: a wait without an end would not hear Ctrl-C on Windows


class _Left(BaseException):
    """Nobody takes what the stage makes."""


def ahead(stage: Callable[[Heed], Generator[T]], room: int, size: Callable[[T], int] = lambda item: 1) -> Generator[T]:
    """What a stage makes, in order, made in another thread that is at most `room` ahead, or one thing if that is more.

    The thread starts with the first `next` and has ended when the last thing is taken, an error has come over or this
    generator is closed: close it (`contextlib.closing`). The stage's errors arrive here as themselves, at once, before
    what is still held. What holds on to the stage's own values (frames of its traceback) is let go first.

    size: what one thing counts against `room`.
    """
    channel = _Channel[T](room)
    thread = threading.Thread(target=_work, args=(stage, channel, size), name="stage", daemon=True)
    try:
        thread.start()
        yield from channel.taken()
    finally:
        channel.leave()
        if thread.ident is not None:  # Ctrl-C may come while it starts
            thread.join()


def _work(stage: Callable[[Heed], Generator[T]], channel: _Channel[T], size: Callable[[T], int]) -> None:
    error: BaseException | None = None
    try:
        channel.heed()
        with closing(stage(channel.heed)) as made:
            for item in made:
                channel.put(item, size(item))
    except _Left:
        pass
    except BaseException as caught:  # crosses over, whatever it is
        error = caught
        _let_go(caught)
    channel.end(error)
    del error  # this frame is in its traceback: a ring that only the collector would find


def _let_go(error: BaseException) -> None:
    """Frees what an error's frames hold: a GPU's memory must not hang on a traceback that someone keeps."""
    each: BaseException | None = error
    while each is not None:
        traceback.clear_frames(each.__traceback__)
        each = each.__cause__ or each.__context__


class _Channel(Generic[T]):
    """What one thread made and another has not taken yet."""

    def __init__(self, room: int) -> None:
        self._changed = threading.Condition()
        self._held: deque[tuple[T, int]] = deque()
        self._room, self._filled = room, 0
        self._ended = self._left = False
        self._error: BaseException | None = None

    def put(self, item: T, size: int) -> None:
        """Waits for room. Raises _Left."""
        with self._changed:
            while self._held and self._filled + size > self._room and not self._left:
                self._changed.wait()
            self.heed()
            self._held.append((item, size))
            self._filled += size
            self._changed.notify_all()

    def heed(self) -> None:
        if self._left:
            raise _Left

    def end(self, error: BaseException | None) -> None:
        with self._changed:
            self._ended, self._error = True, error
            self._changed.notify_all()

    def leave(self) -> None:
        with self._changed:
            self._left = True
            self._error = None
            self._held.clear()
            self._changed.notify_all()

    def taken(self) -> Iterator[T]:
        while (item := self._take()) is not None:
            yield item[0]

    def _take(self) -> tuple[T, int] | None:
        with self._changed:
            while not self._held and not self._ended:
                self._changed.wait(WAKE)
            if self._error is not None:
                raise self._error
            if not self._held:
                return None
            item = self._held.popleft()
            self._filled -= item[1]
            self._changed.notify_all()
            return item
