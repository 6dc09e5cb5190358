"""What every test has: goldens that can be made anew, random numbers left as they were found, a quick collector."""

from __future__ import annotations

import gc
import random
import signal
from collections.abc import Iterator

import numpy as np
import pytest


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # So a shell starts what runs in its background, and so do we then start processes that are to be interrupted.
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-goldens", action="store_true", help="write what is found as what is expected")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow tests begin first, so that none of them is left running alone at the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def pytest_collection_finish() -> None:
    """What all test files have imported stays: the collector need not walk it whenever a test asks for a collection."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def update_goldens(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update-goldens"))


@pytest.fixture(autouse=True)
def same_random_numbers() -> Iterator[None]:
    state, legacy = random.getstate(), np.random.get_state()
    yield
    random.setstate(state)
    np.random.set_state(legacy)
