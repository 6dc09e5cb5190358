"""Colour, handed frames, held ends and takes in one story: what each makes of the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from post.grade import graded
from scenes import animatic
from scenes.files import read_still
from storyboard.choosing import choose
from storyboard.events import Event, Events
from storyboard.export import NotRendered
from storyboard.hold import produce_held
from storyboard.lineage import lines, listed
from storyboard.manifest import DRAFT, Manifest
from storyboard.options import Options
from storyboard.plan import Plan, plan_of
from storyboard.plan_text import plan_lines
from storyboard.progress import sentence
from storyboard.rehearsal import Rehearsed, rehearse
from storyboard.retakes import make_takes
from storyboard.store import Store
from storyboard.story import read_story
from storyboard.sweep import resolved, sweep
from storyboard.verify import verify
from tests.stories import missing, render, scene, write_picture, write_story
from tests.test_cli import run as run_command

LOOK = 'size = "64x48"\nframes = 17\n'
HELD = 2.0
"""Levels by which a draft misses the frame it holds."""


@pytest.fixture(autouse=True)
def drifting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Red falls by the seed's last digit in per cent; a clip that is drawn towards a frame ends beside it."""
    draw = animatic.AnimaticStudio.render

    def drifted(self: animatic.AnimaticStudio, shot: Any, tell: Any):
        by = np.column_stack([np.diag([1 - shot.seed % 10 / 100, 1, 1]), np.zeros(3)])
        for index, frame in enumerate(draw(self, shot, tell)):
            off = 0 if shot.last is None else HELD * index / (shot.frames - 1)
            yield np.clip(graded(frame, by) + off, 0, 255).astype(np.uint8)

    monkeypatch.setattr(animatic.AnimaticStudio, "render", drifted)


def chain(folder: Path, *more: str, look: str = LOOK, **boat: Any) -> Path:
    """dock -> boat -> sea, and more."""
    write_picture(folder, "a.png", 1)
    write_picture(folder, "b.png", 2)
    scenes = scene("dock", image="a.png", seed=0), scene("boat", **{"seed": 2, **boat}), scene("sea", seed=1)
    return write_story(folder, *scenes, *more, look=look)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def store_of(path: Path) -> Store:
    return Store(path.parent / ".storyboard")


def rehearsed(path: Path) -> Rehearsed:
    return rehearse(read_story(path), store_of(path), Options(True))


def plan(path: Path) -> Plan:
    return plan_of(rehearsed(path), store_of(path))


def hold(path: Path, name: str, seed: int) -> list[Event]:
    heard: list[Event] = []
    store = store_of(path)
    with store.in_use():
        produce_held(read_story(path), store, Options(True), name, seed, Events(None, (heard.append,)))
    return heard


def draw_takes(path: Path, name: str, count: int) -> list[Event]:
    heard: list[Event] = []
    store = store_of(path)
    with store.in_use():
        make_takes(read_story(path), store, Options(True), Events(None, (heard.append,)), name, count)
    return heard


def gc(path: Path) -> None:
    sweep(store_of(path), DRAFT, resolved(rehearsed(path)), dry_run=False)


def told(events: Sequence[Event], name: str) -> Counter[str]:
    return Counter(event["scene"] for event in events if event["event"] == name)


def verified(path: Path) -> None:
    found = list(verify(rehearsed(path), store_of(path)))
    assert found
    assert all(each.holds for each in found), found


def anchored(path: Path) -> None:
    edit(path, "[look]\n", '[look]\ncolour = "anchor"\n')


class TestAClipFromBeforeAnEdit:
    """Too short for what the scene now leaves out at its end."""

    @pytest.fixture
    def edited(self, tmp_path: Path) -> Path:
        path = chain(tmp_path)
        render(path)
        draw_takes(path, "boat", 2)
        edit(path, 'name = "boat"\n', 'name = "boat"\nframes = 33\ntrim_end = 17\nhand_on = "sharpest of 3"\n')
        return path

    def test_is_listed(self, edited: Path):
        boat, sea = listed(rehearsed(edited), store_of(edited), frozenset({"boat", "sea"}))
        assert [take.number for take in boat.takes] == [1, 2]
        assert sea.takes[0].made_of is not None
        assert sea.takes[0].made_of.take is None

    def test_what_waits_is_said_once(self, edited: Path):
        boat, sea = listed(rehearsed(edited), store_of(edited), frozenset({"boat", "sea"}))
        headings = [line for line in lines([boat, sea]) if not line.startswith(" ")]
        assert headings == ["boat  render: frames 17 -> 33", "sea  waits for boat"]

    def test_has_no_end_to_hold(self, edited: Path):
        before = edited.read_bytes()
        with pytest.raises(NotRendered, match="boat is not rendered as the story has it now, so") as error:
            hold(edited, "boat", 5)
        assert edited.read_bytes() == before
        assert str(error.value).endswith(f": run `storyboard render {edited} --draft --scene boat` first")


class TestColourAfterAHeldEnd:
    """The clips after it are there while its own is not."""

    def test_a_segment_from_before_colour_is_not_taken_for_the_one_to_come(self, tmp_path: Path):
        path = chain(tmp_path)
        render(path)
        hold(path, "boat", 3)
        anchored(path)
        edit(path, "seed = 3", "seed = 4")
        assert missing(path) == ({"boat"}, {"boat", "sea"})
        run = render(path)
        assert (run.rendered, sorted(run.finished)) == (["boat"], ["boat", "sea"])
        verified(path)

    def test_the_plan_says_that_it_waits(self, tmp_path: Path):
        path = chain(tmp_path, scene("rock"))
        anchored(path)
        render(path)
        hold(path, "boat", 3)
        edit(path, "seed = 3", "seed = 4")
        planned = {scene.name: scene for scene in plan(path).scenes}
        for name in ("sea", "rock"):
            assert (planned[name].state, planned[name].segment) == ("kept", "waits")
            assert planned[name].colour_why == "colour follows boat's new clip"
            assert planned[name].colour == "matched to dock, once boat is drawn"
        (sea,) = (line for line in plan_lines(plan(path)) if line.startswith("  sea"))
        assert sea.endswith("kept  (colour follows boat's new clip: finished anew where that changes it)")

    def test_what_dissolves_from_its_run_is_finished_once(self, tmp_path: Path):
        path = chain(tmp_path, scene("inn", image="b.png", seed=5, seam="dissolve 0.2s"))
        anchored(path)
        render(path)
        hold(path, "boat", 3)
        edit(path, "seed = 3", "seed = 5")
        run = render(path, scenes=frozenset({"boat", "inn"}))
        assert run.rendered == ["boat"]
        assert Counter(run.finished) == Counter(["boat", "sea", "inn"])
        assert run.outcome.film is not None
        assert missing(path) == (set(), set())

    def test_so_does_one_that_ends_where_a_clip_of_its_run_opens(self, tmp_path: Path):
        """pier -> loop is a run of its own, and loop ends on the frame that sea hands on."""
        more = scene("rock", seed=1), scene("pier", image="b.png", seed=0), scene("loop", seed=3, end_on="rock")
        path = chain(tmp_path, *more)
        anchored(path)
        render(path)
        hold(path, "boat", 3)
        edit(path, "seed = 3", "seed = 4")
        assert missing(path) == ({"boat"}, {"boat", "sea", "rock", "loop"})
        assert {scene.name: scene.segment for scene in plan(path).scenes}["loop"] == "waits"
        run = render(path)
        assert run.rendered == ["boat"]
        assert {*run.finished} <= {"boat", "sea", "rock", "loop"}
        verified(path)


class TestTakesOfAHeldScene:
    @pytest.fixture
    def held(self, tmp_path: Path) -> Path:
        path = chain(tmp_path)
        render(path)
        hold(path, "boat", 3)
        return path

    def test_chosen_and_played(self, held: Path):
        events = draw_takes(held, "boat", 3)
        assert told(events, "take.done")["boat"] == told(events, "take.mended")["boat"] == 2
        choose(rehearsed(held), store_of(held), "boat", 2)
        assert missing(held) == (set(), {"boat"})
        assert render(held).finished == ["boat"]
        verified(held)
        gc(held)
        verified(held)
        assert missing(held) == (set(), set())

    def test_one_whose_mending_is_gone_is_not_drawn_for_it(self, held: Path):
        draw_takes(held, "boat", 3)
        gc(held)
        choose(rehearsed(held), store_of(held), "boat", 2)
        crew = rehearsed(held).crew
        assert (crew.missing_clips, crew.to_mend, crew.undrawn) == ({"boat"}, {"boat"}, set())
        planned = plan(held)
        assert (planned.scenes[1].state, planned.scenes[1].why) == ("mend", "to end on the frame it holds")
        assert planned.at_most == 0
        boat = listed(rehearsed(held), store_of(held), frozenset({"boat"}))[0]
        assert [take.chosen for take in boat.takes] == [False, True, False]
        run = render(held)
        started = next(event for event in run.events if event["event"] == "run.started")
        assert started["render"] == []
        assert run.rendered == []
        assert run.told("scene.mended") == ["boat"]
        verified(held)

    def test_back_again_the_film_is_to_be_joined(self, held: Path):
        draw_takes(held, "boat", 2)
        for number, finish in ((2, 1), (1, 0)):
            said = run_command("take", held, "boat", str(number)).stdout.splitlines()
            assert said[-1] == f"no clip to render, {finish} to finish: storyboard render {held} --draft"
            assert render(held).outcome.joined
        assert run_command("take", held, "boat", "1").stdout.splitlines()[-1] == "nothing is stale"

    def test_what_follows_is_of_the_chosen_one(self, held: Path):
        draw_takes(held, "boat", 2)
        (sea,) = listed(rehearsed(held), store_of(held), frozenset({"sea"}))
        assert str(sea.takes[0].made_of) == "boat's take 1"

    def test_both_clips_of_one_are_noted(self, held: Path, tmp_path: Path):
        """As after a render: gc of another story in the same store keeps them."""
        before = Manifest(store_of(held), held).scene(DRAFT, "boat")
        assert before["mend"]
        edit(held, "seed = 3", "seed = 4")
        draw_takes(held, "boat", 2)
        after = Manifest(store_of(held), held).scene(DRAFT, "boat")
        assert after["shot"] != before["shot"]
        assert after["mend"] != before["mend"]
        edit(held, "seed = 4", "seed = 5")
        draw_takes(held, "sea", 2)
        last = Manifest(store_of(held), held).scene(DRAFT, "boat")
        assert last["shot"] != after["shot"]
        assert last["mend"] != after["mend"]
        assert store_of(held).find("clips", last["mend"]) is not None

    def test_without_hold_the_mended_clip_is_forgotten(self, held: Path):
        edit(held, 'hold = "held/boat.png"\n', "")
        draw_takes(held, "boat", 2)
        assert not Manifest(store_of(held), held).scene(DRAFT, "boat")["mend"]

    def test_one_that_ends_too_far_is_told_by_its_number(self, held: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr("tests.test_together.HELD", 60.0)
        said = [text for event in draw_takes(held, "boat", 2) if (text := sentence(event))]
        (far,) = (text for text in said if "too far" in text)
        assert far.startswith("boat take 2: its new end is too far from the frame it holds: colour")
        assert far.endswith("mended all the same, which may show")


@pytest.mark.parametrize("parent", [{"trim_end": 3}, {"hand_on": "sharpest of 5"}, {"trim_end": 2, "hand_on": "last"}])
def test_a_parent_that_hands_on_an_earlier_frame(tmp_path: Path, parent: dict[str, Any]):
    """Takes and a held end of the scene that opens there."""
    write_picture(tmp_path, "a.png", 1)
    dock = scene("dock", image="a.png", seed=0, **parent)
    path = write_story(
        tmp_path, dock, scene("boat", seed=2, trim_end=2), scene("sea", seed=1, end_on="boat"), look=LOOK
    )
    anchored(path)
    render(path)
    draw_takes(path, "boat", 2)
    assert missing(path) == (set(), set())
    handed = rehearsed(path).reel.handed["boat"]
    events = hold(path, "boat", 6)
    assert told(events, "scene.done") == Counter(["boat"])
    after = rehearsed(path)
    assert after.reel.handed["boat"].still.digest == handed.still.digest
    assert np.array_equal(read_still(after.reel.clips["boat"].last), read_still(handed.still))
    assert (after.crew.missing_clips, after.crew.missing_segments) == (set(), set())
    verified(path)
    gc(path)
    assert missing(path) == (set(), set())
    verified(path)


def test_what_is_left_out_where_nothing_opens_is_not_called_handed_on(tmp_path: Path):
    path = chain(tmp_path, look=LOOK + "trim_end = 2\n")
    said = {scene.name: scene.hands_on for scene in plan(path).scenes}
    assert said["boat"] == "hands on frame 15 of 17: 2 left out at the end"
    assert said["sea"] == "ends on frame 15 of 17: 2 left out at the end"
