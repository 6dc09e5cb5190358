"""A run from its begin to its end: where it may write, and how it is stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from storyboard.session import open_session
from storyboard.settings import SettingsError
from storyboard.stopping import stoppable
from tests.stories import scene, write_picture, write_story

ROOT = Path(__file__).parents[1]
STUBBORN = """
import sys, time
from storyboard.stopping import stoppable
with stoppable():
    try:
        print("begun", flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        print("stopping", flush=True)
        time.sleep(60)  # a step that takes its time
"""


def test_a_store_that_cannot_be_written_to_is_told_before_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_picture(tmp_path, "a.png")
    session = open_session(write_story(tmp_path, scene("a", image="a.png")), tmp_path / "kept")
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)
    with pytest.raises(SettingsError, match="cannot be written to: --store names another folder"), session.run():
        pass
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize("asked", [signal.SIGINT, signal.SIGTERM])
def test_the_second_signal_leaves_at_once(asked: signal.Signals):
    process = subprocess.Popen(
        [sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    process.send_signal(asked)
    assert process.stdout.readline() == "stopping\n"
    process.send_signal(asked)  # the same one, passed on by a terminal and by what runs in it
    time.sleep(1.1)
    assert process.poll() is None
    process.send_signal(asked)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert said.split("\n") == [
        "", "stopping after the step that is under way; once more leaves at once",
        "", "left at once; what was finished is kept", "",
    ]  # fmt: skip


def test_signals_are_as_they_were_afterwards():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with stoppable():
        assert signal.getsignal(signal.SIGINT) is not before[0]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
