"""Stages in threads: order, bounds, errors as themselves, and no thread left in any order of failure."""

from __future__ import annotations

import gc
import itertools
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Generator, Iterator
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from post.ahead import Heed, ahead


class Torn(Exception):  # noqa: N818
    """What a stage raises here."""


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() == before


def counting(stop: int, fail_at: int | None = None, pause: float = 0.0, seen: list[int] | None = None):
    """A stage that makes 0, 1, ... and fails where it is told to."""

    def stage(heed: Heed) -> Generator[int]:
        for number in range(stop):
            if number == fail_at:
                raise Torn(str(number))
            time.sleep(pause)
            if seen is not None:
                seen.append(number)
            yield number

    return stage


def doubling(source: Callable[[Heed], Generator[int]], room: int, fail_at: int | None = None, pause: float = 0.0):
    """A stage on a stage."""

    def stage(heed: Heed) -> Generator[int]:
        with closing(ahead(source, room)) as numbers:
            for index, number in enumerate(numbers):
                if index == fail_at:
                    raise Torn("between")
                time.sleep(pause)
                yield 2 * number

    return stage


@given(st.integers(0, 30), st.integers(1, 5), st.integers(1, 5))
@settings(max_examples=50, deadline=None)
def test_everything_comes_in_order(count: int, inner: int, outer: int):
    assert list(ahead(doubling(counting(count), inner), outer)) == [2 * i for i in range(count)]


times = st.sampled_from([0.0, 0.001])
places = st.none() | st.integers(0, 12)


@given(places, places, places, places, times, times, times, st.integers(1, 4), st.integers(1, 4))
@settings(max_examples=300, deadline=None)
def test_no_order_of_failures_hangs_or_leaves_a_thread(
    first: int | None,
    second: int | None,
    taker: int | None,
    leaves: int | None,
    slow_first: float,
    slow_second: float,
    slow_taker: float,
    inner: int,
    outer: int,
):
    before = threading.active_count()
    stage = doubling(counting(10, first, slow_first), inner, second, slow_second)
    taken: list[int] = []
    try:
        with closing(ahead(stage, outer)) as numbers:
            for index, number in enumerate(numbers):
                if index == leaves:
                    break
                if index == taker:
                    raise KeyError(index)
                time.sleep(slow_taker)
                taken.append(number)
        failed = None
    except (Torn, KeyError) as error:
        failed = error
    assert threading.active_count() == before
    assert taken == [2 * i for i in range(len(taken))]
    ends = [end for end in (first, second, taker, leaves) if end is not None and end < 10]
    if not ends:
        assert (failed, len(taken)) == (None, 10)
    else:
        assert len(taken) <= min(ends)
        assert failed is not None or leaves in ends


def test_an_error_arrives_as_itself_with_its_traceback():
    with pytest.raises(Torn, match="3") as raised:
        list(ahead(doubling(counting(9, fail_at=3), 2), 2))
    assert any(each.name == "stage" and "raise Torn" in str(each.line) for each in traceback.extract_tb(raised.tb))


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


def stages() -> int:
    return sum(thread.name == "stage" for thread in threading.enumerate())


def test_an_error_does_not_wait_for_what_is_still_held():
    taken = threading.Event()

    def stage(heed: Heed) -> Generator[int]:
        yield from range(4)
        taken.wait(10)
        raise Torn

    with closing(ahead(stage, 8)) as numbers:
        assert next(numbers) == 0
        taken.set()
        until(lambda: stages() == 0)
        with pytest.raises(Torn):
            next(numbers)


def test_a_stage_is_never_further_ahead_than_its_room():
    seen: list[int] = []
    with closing(ahead(counting(100, seen=seen), 3)) as numbers:
        assert next(numbers) == 0
        until(lambda: len(seen) == 5)  # one taken, three held, one that waits for room
        time.sleep(0.05)
        assert len(seen) == 5


def test_room_is_counted_in_sizes_and_one_thing_always_fits():
    seen: list[int] = []
    with closing(ahead(counting(100, seen=seen), 25, size=lambda number: 10)) as numbers:
        next(numbers)
        until(lambda: len(seen) == 4)
        time.sleep(0.05)
        assert len(seen) == 4
    assert list(ahead(counting(5), 0, size=lambda number: 10)) == list(range(5))


def test_stages_are_busy_at_once():
    """Two stages and their taker wait for one another in the midst of their work: one by one they would never meet."""
    meeting = threading.Barrier(3, timeout=10)

    def meeting_at_two(source: Callable[[Heed], Generator[int]]) -> Callable[[Heed], Generator[int]]:
        def stage(heed: Heed) -> Generator[int]:
            for number in source(heed):
                if number == 2:
                    meeting.wait()
                yield number

        return stage

    with closing(ahead(meeting_at_two(doubling(meeting_at_two(counting(9)), 4)), 4)) as numbers:
        assert next(numbers) == 0
        meeting.wait()
        assert list(numbers) == [2 * number for number in range(1, 9)]


def test_leaving_does_not_wait_for_a_stage_that_heeds():
    entered = threading.Event()

    def stage(heed: Heed) -> Generator[int]:
        yield 0
        entered.set()
        for _ in range(1000):
            time.sleep(0.005)
            heed()
        yield 1

    numbers = ahead(stage, 4)
    assert next(numbers) == 0
    assert entered.wait(5)
    started = time.monotonic()
    numbers.close()
    assert time.monotonic() - started < 1


def test_what_a_stage_holds_is_closed_in_its_own_thread():
    where: list[int] = []

    def stage(heed: Heed) -> Generator[int]:
        try:
            yield from itertools.count()
        finally:
            where.append(threading.get_ident())

    numbers = ahead(stage, 2)
    next(numbers)
    numbers.close()
    assert len(where) == 1
    assert where[0] != threading.get_ident()


class Memory:
    """Stands for a tensor."""


@pytest.mark.parametrize("deep", [False, True])
def test_an_error_that_is_kept_keeps_nothing_of_the_stage(deep: bool):
    held: list[weakref.ref[Memory]] = []

    def stage(heed: Heed) -> Generator[int]:
        memory = Memory()
        held.append(weakref.ref(memory))
        yield 0
        try:
            raise Torn
        except Torn as error:
            if deep:
                raise ValueError(memory is None) from error
            raise

    def outer(heed: Heed) -> Generator[int]:
        with closing(ahead(stage, 1)) as numbers:
            yield from numbers

    with pytest.raises(ValueError if deep else Torn) as raised:
        list(ahead(outer, 1))
    assert held[0]() is None
    del raised


def test_nothing_is_left_for_the_collector():
    gc.collect()
    gc.disable()
    try:
        before = len(gc.get_objects())
        for _ in range(20):
            with pytest.raises(Torn):
                list(ahead(doubling(counting(5, fail_at=3), 1), 1))
        assert len(gc.get_objects()) - before < 20 * 20
    finally:
        gc.enable()


def test_a_stage_that_was_never_begun_starts_nothing():
    seen: list[int] = []
    numbers = ahead(counting(3, seen=seen), 1)
    time.sleep(0.05)
    assert stages() == 0
    numbers.close()
    assert seen == []


def test_no_error_of_cleaning_up_hides_why_it_was_left():
    def stage(heed: Heed) -> Generator[int]:
        try:
            yield from itertools.count()
        finally:
            raise Torn

    with pytest.raises(KeyError), closing(ahead(stage, 1)) as numbers:  # noqa: PT012
        next(numbers)
        raise KeyError
