"""Clips read several at once, in play order."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from post.devices import cores
from post.viewing import Part, Viewed, view

MOST_AT_ONCE = 8
"""Clips read at once: each takes a processor and some 20 MB."""


def in_order(
    pool: ThreadPoolExecutor, at_once: int, parts: Sequence[Part | None], shown: int
) -> Iterator[Viewed | None]:
    """The clips, read some ahead of who asks for them, and no more than that: a film's frames are not all held."""
    ahead: list[Future[Viewed] | None] = []
    for part in parts:
        ahead.append(pool.submit(view, part, shown) if part is not None else None)
        if len(ahead) > at_once + 1:
            yield _result(ahead.pop(0))
    yield from map(_result, ahead)


def _result(future: Future[Viewed] | None) -> Viewed | None:
    return future.result() if future is not None else None


@contextmanager
def readers() -> Generator[tuple[ThreadPoolExecutor, int]]:
    """Threads, and how many: decoding and OpenCV let others run meanwhile. Each works by itself."""
    import cv2

    at_once, threads = min(cores(), MOST_AT_ONCE), cv2.getNumThreads()
    pool = ThreadPoolExecutor(at_once)
    cv2.setNumThreads(1)
    try:
        yield pool, at_once
    finally:
        pool.shutdown(cancel_futures=True)
        cv2.setNumThreads(threads)
