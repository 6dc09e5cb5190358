"""Threads that do a run's works of one sort, in order, and tell how each goes."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from post.encode import EncoderMissing
from post.rife_ncnn import NcnnFailed
from post.weights import Lacking
from scenes.footage import DamagedFile
from scenes.shot import MachineLacks, Stopped
from scenes.wan.checkpoint import CheckpointError
from storyboard.events import Events
from storyboard.mending import TooFar
from storyboard.shortage import explained
from storyboard.store import Store
from storyboard.turns import Ticket, Turns

T = TypeVar("T")

TOLD = (MachineLacks, Lacking, EncoderMissing, CheckpointError, DamagedFile, NcnnFailed, OSError, TooFar)
"""What says all that there is to say in its message."""


@dataclass(frozen=True, slots=True)
class Shift:
    """What the workers of a run share. `turns`: None where all may work on the device at once."""

    store: Store
    events: Events
    turns: Turns | None
    stopping: threading.Event = field(default_factory=threading.Event)

    def heed(self) -> None:
        """Raises Stopped where the run is to stop."""
        if self.stopping.is_set():
            raise Stopped

    def ticket(self) -> Ticket | None:
        return self.turns.ticket() if self.turns is not None else None

    def turn(self, ticket: Ticket | None) -> AbstractContextManager[None]:
        """The device is this ticket's within `with`; nothing where all may work on it at once."""
        return nullcontext() if self.turns is None or ticket is None else self.turns.taken(ticket, self.heed)

    def found(self, shelf: str, key: str, scene: str) -> Path | None:
        """Kept work, if it is whole; that it is damaged is told."""

        def damaged(error: DamagedFile) -> None:
            self.events.tell("damaged", scene=scene, path=str(error.path), what=error.what)

        return self.store.find(shelf, key, damaged)

    def teller(self, event: str, scene: str) -> Callable[[float], None]:
        """Hears how much of a work is done, and stops it where the run is to stop."""

        def tell(done: float) -> None:
            self.heed()
            self.events.progress(event, scene, done)

        return tell


class Worker:
    """`hands`: so many works at once. `failed`: the event that tells of a work that failed; `gpu_remedy`: what helps a
    full GPU."""

    def __init__(self, name: str, shift: Shift, failed: str, gpu_remedy: str, hands: int = 1) -> None:
        self._threads = ThreadPoolExecutor(hands, name)
        self._shift, self._failed, self._gpu_remedy = shift, failed, gpu_remedy

    def submit(self, scene: str, ticket: Ticket | None, work: Callable[[], T]) -> Future[T]:
        """The work, in its turn; what it asked for is given back however it ends, also where it is never begun."""
        future = self._threads.submit(self._tried, scene, work)
        turns = self._shift.turns
        if turns is not None and ticket is not None:
            future.add_done_callback(lambda _: turns.give_back(ticket))
        return future

    def note(self, what: Callable[[], None]) -> None:
        """Something that is no work of its own, in its turn; what it raises is lost. Dropped while closing, as what
        waits is."""
        with suppress(RuntimeError):  # submit's own, once the threads are told to end
            self._threads.submit(what)

    def _tried(self, scene: str, work: Callable[[], T]) -> T:
        """The work; that it failed is told at once, as a run that keeps going ends much later."""
        try:
            return explained(work, self._gpu_remedy)
        except Stopped:
            raise
        except Exception as error:
            told = isinstance(error, TOLD)
            trace = None if told else "".join(traceback.format_exception(error))
            self._shift.events.tell(self._failed, scene=scene, why=str(error), trace=trace)
            raise

    def close(self) -> None:
        """Let what is under way end, and drop what waits."""
        self._threads.shutdown(wait=True, cancel_futures=True)


def settled(value: T) -> Future[T]:
    future: Future[T] = Future()
    future.set_result(value)
    return future
