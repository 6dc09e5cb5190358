"""Prompt presets: what `storyboard presets` lists, and what each must say to a model that is given a picture."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from storyboard.presets import NEGATIVES, POSITIVES
from storyboard.story import read_story
from storyboard.wording import model_prompt
from tests.stories import scene, write_picture, write_story


def test_the_presets_that_were_asked_for():
    assert {"static-portrait", "figure-skating", "combat", "waving"} <= set(POSITIVES)
    assert {"mouth-movement", "blur", "wan-official"} <= set(NEGATIVES)


@pytest.mark.parametrize("name", POSITIVES)
def test_each_says_motion_and_camera_and_joins_a_prompt(name: str, tmp_path: Path):
    text = POSITIVES[name]
    assert re.search(r"camera", text)  # Wan's formula for image-to-video: motion and camera
    assert re.search(r"one continuous take", text)
    assert not re.search(r"[.,;\s]$|\.\s", text)  # clauses, which a comma joins to the prompt before
    write_picture(tmp_path, "a.png")
    story = read_story(write_story(tmp_path, scene("a", image="a.png", prompt="a woman", presets=[name])))
    assert model_prompt(story.scenes[0]) == f"a woman, {text}"


def test_what_is_to_stay_still_is_told_to():
    for name in ("static-portrait", "waving"):
        assert "static camera, fixed shot" in POSITIVES[name]
    assert "lips closed" in POSITIVES["static-portrait"]
