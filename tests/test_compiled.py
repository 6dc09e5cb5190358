"""Compiled functions and threads."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch

from scenes.compiled import compiled


def test_while_one_compiles_another_that_is_called_waits(monkeypatch: pytest.MonkeyPatch):
    compiling, go_on, told = threading.Event(), threading.Event(), list[str]()

    def slow(value: int) -> int:
        compiling.set()
        assert go_on.wait(10)
        told.append("slow")
        return value

    def quick(value: int) -> int:
        told.append("quick")
        return value

    options: list[dict[str, Any]] = []
    monkeypatch.setattr(torch, "compile", lambda function, **given: options.append(given) or function)
    one, other = compiled(slow, dynamic=False), compiled(quick)
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(one, 1)
        assert compiling.wait(10)
        second = threads.submit(other, 2)
        assert not second.done()
        go_on.set()
        assert (first.result(10), second.result(10)) == (1, 2)
    assert told == ["slow", "quick"]
    assert options == [{"dynamic": False}, {}]
