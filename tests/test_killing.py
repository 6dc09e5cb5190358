"""kill -9 at any moment: the next run completes, makes no finished clip again, and the film is the same."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import pytest

from scenes.footage import PixelDigest
from tests.stories import render, scene, write_picture, write_story

ROOT = Path(__file__).parents[1]


def decoded(film: Path) -> str:
    digest = PixelDigest()
    with av.open(film) as container:
        for frame in container.decode(video=0):
            digest.add(frame.to_ndarray(format="rgb24"))
    return f"{digest.frames} {digest.hex()}"


@pytest.mark.parametrize("first", [0, 15])
def test_killed_runs_lose_nothing(tmp_path: Path, first: int):
    write_picture(tmp_path, "a.png", 1)
    write_picture(tmp_path, "b.png", 2)
    story = write_story(
        tmp_path,
        scene("a", image="a.png", camera="push in"),
        scene("b", camera="pan left"),
        scene("c", image="b.png", end_on="a", camera="roll left"),
        scene("d", after="a", camera="tilt up"),
        look='size = "64x48"\nframes = 9\n',
        finish='[finish]\nupscale = { model = "lanczos", scale = 2 }\nencode = { preset = "ultrafast" }\n',
    )
    film = render(story, tmp_path / "whole").outcome.film
    assert film is not None
    whole = decoded(film)
    trials = killed(story, tmp_path, list(range(first, first + 15)), "--draft")
    assert sum(trial["killed"] for trial in trials) >= 8, "most runs must die before they end"
    for trial in trials:
        check(trial, whole)


def test_killed_runs_of_wan_lose_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """While weights load, between steps, as frames are decoded."""
    from tests.tiny_wan import write_comfy_folder

    monkeypatch.setenv("STORYBOARD_MODELS", str(write_comfy_folder(tmp_path / "models")))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for name in ("XDG_CACHE_HOME", "HF_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "cache"))
    write_picture(tmp_path, "a.png", 1)
    story = write_story(tmp_path, scene("a", image="a.png"), scene("b"), scene("c", end_on="a", negative_prompt="x"))
    moments = {
        ("run.done", "", 1): 3,  # nothing is left to do: what it made is what the others must make
        ("note", "", 1): 0,
        ("scene.progress", "b", 0.4): 1,
        ("scene.progress", "b", 0.95): 1,
    }
    trials = killed(story, tmp_path, list(map(list, moments)), "--device", "cpu", "--no-compile")
    whole = decoded(Path(trials[0]["film"]))
    for trial, finished in zip(trials, moments.values(), strict=True):
        assert trial["killed"], trial
        assert (len(trial["finished"]), len(trial["rendered"])) == (finished, 3 - finished), trial
        check(trial, whole)


def killed(story: Path, folder: Path, moments: list[Any], *options: str) -> list[dict[str, Any]]:
    """Renders with these options: killed at a moment each, then let run to their end."""
    command = [sys.executable, "-m", "tests.killing", str(story), str(folder), json.dumps(moments), *options]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=300)
    assert ran.returncode == 0, ran.stderr
    trials = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]
    assert len(trials) == len(moments)
    return trials


def check(trial: dict[str, Any], whole: str) -> None:
    """The run after the killed one made what was missing and no more, and the same film."""
    assert trial["status"] == 0, trial
    assert not set(trial["finished"]) & set(trial["rendered"]), f"made again: {trial}"
    assert decoded(Path(trial["film"])) == whole, trial
    assert not list(Path(trial["store"], "making").iterdir()), trial
