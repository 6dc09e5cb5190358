"""What is advised at a seam: only what is not done already, and what can mend it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from post.limits import Limits
from post.look import Step, look_at
from post.seams import Fault, Finding, Seam, frozen_on, measured_seam
from storyboard.report.advice import LOOK_AT_IT, Advice, Advising
from storyboard.report.survey import Meeting
from storyboard.story import read_story
from tests.stories import scene, write_picture, write_story
from tests.test_seams import grained
from tests.test_seams import shot as camera_shot


def still_seam(flow: float) -> Seam:
    """Between three frames and three, all alike, at that pace."""
    look = look_at(np.full((32, 48, 3), 90, np.uint8))
    seam = measured_seam([look] * 3, [look] * 3)
    return Seam(seam.drift, (Step(flow, 0.0),) * 5, seam.luma, seam.sharpness, 3)


def advised(folder: Path, fault: Fault, value: float, look: str = "", *others: Fault, **boat: Any) -> Advice:
    """At the seam from boat to sea, of dock -> boat -> sea -> isle."""
    story = three(folder, look, **boat)
    found = tuple(Finding(each, "warning", value, 1.0) for each in (fault, *others))
    meeting = Meeting(2, "boat", "sea", 1.0, "measured", still_seam(1.0), found)
    return Advising(read_story(story), draft=True).at(meeting, found[0])


def three(folder: Path, look: str = "", **boat: Any) -> Path:
    write_picture(folder, "dock.png")
    scenes = (scene("dock", image="dock.png"), scene("boat", **boat), scene("sea"), scene("isle"))
    return write_story(folder, *scenes, look=f'size = "64x48"\nframes = 9\n{look}')


@pytest.mark.parametrize(
    ("look", "does"),
    [
        ("", '`colour = "anchor"` in [look] takes'),
        ("colour = { strength = 0.5, drift = 0.2 }", "`colour = { strength = 1, drift = 0.2 }` in scene sea"),
        ('colour = "anchor"', "`storyboard render"),
    ],
)
def test_colour_is_held_where_it_is_not_yet(tmp_path: Path, look: str, does: str):
    advice = advised(tmp_path, "colour step", 2.0, look)
    assert advice.do[0].startswith(does)
    assert advice.do[-1] == f"`storyboard render {tmp_path}/story.toml --draft --scene sea --reroll --hold`"


def test_a_scene_that_stays_as_drawn_is_named(tmp_path: Path):
    story = read_story(three(tmp_path, 'colour = "anchor"', colour="none"))
    meeting = Meeting(1, "dock", "boat", 1.0, "measured", still_seam(1.0))
    advice = Advising(story, draft=True).at(meeting, Finding("luma step", "warning", 2.0, 1.5))
    assert advice.do[0].startswith('`colour = "anchor"` in scene boat takes')


def test_drift_along_a_run(tmp_path: Path):
    """A run's first scene is what the others are held to; where colour is held, what is left drifts within clips."""
    found = Finding("colour drift", "note", 6.0, 5.0)
    plain = Advising(read_story(three(tmp_path)), draft=True)
    assert plain.along("dock", found).do == (LOOK_AT_IT,)
    assert plain.along("sea", found).do[1].startswith('`colour = "anchor"` in [look]')
    held = Advising(read_story(three(tmp_path, 'colour = "anchor"')), draft=True)
    assert held.along("sea", found).do[1].startswith("`colour = { strength = 1, drift = 0.5 }` in scene sea, where")
    eased = Advising(read_story(three(tmp_path, "colour = { drift = 0.7 }")), draft=True)
    assert eased.along("sea", found).do == (LOOK_AT_IT,)


def test_a_last_frame_at_fault_is_not_held(tmp_path: Path):
    """`--hold` would end on the very frame that is blurred."""
    advice = advised(tmp_path, "blurred tail", 0.4, hand_on="sharpest of 3")
    assert advice.do == (f"`storyboard render {tmp_path}/story.toml --draft --scene boat --reroll`",)
    assert advised(tmp_path, "blurred tail", 0.4).do == ('`hand_on = "sharpest of 5"` in scene boat',)


def test_a_frame_that_is_held_is_let_go_first(tmp_path: Path):
    write_picture(tmp_path, "held.png")
    (does,) = advised(tmp_path, "blurred tail", 0.4, hold="held.png").do
    assert does.startswith("drop `hold` in scene boat, and `storyboard render")


def test_a_soft_beginning_follows_a_soft_end_or_is_its_own(tmp_path: Path):
    sharper = '`hand_on = "sharpest of 5"` in scene boat'
    assert advised(tmp_path, "blurred head", 0.5).do[0] == sharper
    (again,) = advised(tmp_path, "blurred head", 0.5, "", "sharpness step").do
    assert "--scene sea --reroll" in again


@pytest.mark.parametrize(("camera", "again"), [("pan right", False), ("handheld", True), ("a quiet look", True)])
def test_a_draft_is_drawn_again_where_its_seed_changes_it(tmp_path: Path, camera: str, again: bool):
    (does,) = advised(tmp_path, "blurred tail", 0.4, hand_on="sharpest of 3", camera=camera).do
    assert ("--reroll" in does) == again
    assert does.startswith("another `camera` in scene boat") != again


def test_names_of_files_are_quoted(tmp_path: Path):
    folder = tmp_path / "my film; rm"
    folder.mkdir()
    assert f"render '{folder}/story.toml' --draft" in advised(folder, "duplicate frame", 0.1).do[0]


def test_a_tail_is_frozen_for_as_long_as_its_frames_are_alike():
    """Of 33 frames the last 20 stand still, and the six that are looked at one by one all do."""
    camera, rng = camera_shot(np.random.default_rng(3), "coffee")._replace(pace=(1.5, 0.5)), np.random.default_rng(0)
    looks = [look_at(grained(camera.frame(min(index, 12)), rng)) for index in range(33)]
    moving = [look_at(grained(camera.frame(12 + index), rng)) for index in range(1, 7)]
    seam = measured_seam(looks[-6:], moving)
    along = [(number, looks[number]) for number in (0, 8, 16, 24, 32)]
    found = Finding("frozen tail", "error", 5, 2)
    assert frozen_on(found, seam, along, Limits()).value == 16
    fewer = Finding("frozen tail", "error", 3, 2)
    assert frozen_on(fewer, seam, along, Limits()) == fewer


def test_where_more_may_stand_still_that_is_said(tmp_path: Path):
    assert advised(tmp_path, "frozen tail", 2).says == "at least the last 2 steps of boat stand still"
    assert advised(tmp_path, "frozen tail", 2).do == ("`trim_end = 2` in scene boat",)
    (again,) = advised(tmp_path, "frozen tail", 6).do
    assert again.endswith("--scene boat --reroll`")
