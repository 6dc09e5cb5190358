"""Tests that need a CUDA device: skipped without one, failed instead where REQUIRE_GPU=1."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True, scope="session")
def gpu() -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        return
    if os.environ.get("REQUIRE_GPU") == "1":
        pytest.fail("REQUIRE_GPU=1, and there is no CUDA device")
    pytest.skip("no CUDA device")
