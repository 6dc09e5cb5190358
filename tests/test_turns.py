"""Turns: first come, first served, and nobody waits for who never comes."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from scenes.shot import Stopped
from storyboard.turns import Turns


def test_turns_are_taken_in_the_order_in_which_they_were_asked_for():
    turns, taken = Turns(), list[int]()
    tickets = [turns.ticket() for _ in range(20)]
    inside = threading.Semaphore(1)

    def work(index: int) -> None:
        with turns.taken(tickets[index]):
            assert inside.acquire(blocking=False), "two at once"
            taken.append(index)
            inside.release()

    with ThreadPoolExecutor(20) as workers:
        list(workers.map(work, reversed(range(20))))
    assert taken == list(range(20))


def test_a_ticket_given_back_holds_nobody_up():
    turns = Turns()
    first, second = turns.ticket(), turns.ticket()
    turns.give_back(first)
    turns.give_back(first)
    with turns.taken(second):
        pass


def test_the_turn_ends_with_an_error():
    turns = Turns()
    first, second = turns.ticket(), turns.ticket()
    with pytest.raises(ValueError, match="broken"), turns.taken(first):
        raise ValueError("broken")
    with turns.taken(second):
        pass


def test_who_waits_heeds_the_order_to_stop():
    turns = Turns()
    turns.ticket()  # never used
    second, third = turns.ticket(), turns.ticket()

    def heed() -> None:
        raise Stopped

    with pytest.raises(Stopped), turns.taken(second, heed):
        pytest.fail("it was another's turn")
    with pytest.raises(Stopped), turns.taken(third, heed):
        pytest.fail("it was another's turn")
