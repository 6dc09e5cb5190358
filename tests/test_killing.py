"""kill -9 at 30 random moments: the next run completes, makes no finished clip again, and the film is the same."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

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
    command = [sys.executable, "-m", "tests.killing", str(story), str(tmp_path), str(first), "15"]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=300)
    assert ran.returncode == 0, ran.stderr
    trials = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]
    assert len(trials) == 15
    assert sum(trial["killed"] for trial in trials) >= 8, "most runs must die before they end"
    for trial in trials:
        assert trial["status"] == 0, trial
        assert not set(trial["finished"]) & set(trial["rendered"]), f"made again: {trial}"
        assert decoded(Path(trial["film"])) == whole, trial
        assert not list((tmp_path / f"store{trial['number']}" / "making").iterdir()), trial
