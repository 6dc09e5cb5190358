"""Which frame a scene hands on, and that what comes after it leaves the film too."""

from __future__ import annotations

import json
import shutil
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from post.finish import load_segment
from post.transition import Dissolve
from scenes.files import load_clip, read_span, read_still, read_video, write_clip
from scenes.footage import Clip, DamagedFile, Span, frame_digest
from storyboard.conforming import conformed
from storyboard.export import export
from storyboard.hand_on import LAST, HandOn
from storyboard.handed import handed
from storyboard.handing import suggested
from storyboard.identity import digest
from storyboard.mistakes import StoryError
from storyboard.options import Options
from storyboard.plan import plan_of
from storyboard.plan_text import plan_lines
from storyboard.rehearsal import Rehearsed, rehearse
from storyboard.store import SEGMENTS, Store
from storyboard.story import read_story
from storyboard.sweep import resolved, sweep
from storyboard.targets import Export
from storyboard.verify import verify
from tests.stories import chart, missing, render, scene, write_picture, write_story

LOOK = 'size = "64x48"\nframes = 9\n'
NOISE = np.random.default_rng(1)


def written(tmp_path: Path, *scenes: str, look: str = LOOK) -> Path:
    write_picture(tmp_path, "dock.png", 1)
    write_picture(tmp_path, "inn.png", 2)
    return write_story(tmp_path, scene("dock", image="dock.png", camera="push in"), *scenes, look=look)


def rehearsed(path: Path) -> Rehearsed:
    return rehearse(read_story(path), Store(path.parent / ".storyboard"), Options(True))


def frames_of(clip: Clip) -> list[np.ndarray]:
    return list(read_span(Span(clip, 0, clip.frames)))


def proved(path: Path) -> list[str]:
    findings = list(verify(rehearsed(path), Store(path.parent / ".storyboard")))
    assert all(finding.holds for finding in findings), findings
    return [finding.what for finding in findings]


def kept(folder: Path, frames: list[np.ndarray]) -> Clip:
    folder.mkdir()
    write_clip(frames, folder, Fraction(16), len(frames), {})
    return load_clip(folder)


def test_frames_trimmed_leave_the_film_and_the_one_before_them_is_handed_on(tmp_path: Path):
    path = written(tmp_path, scene("boat", trim_end=3), scene("sea"))
    run = render(path)
    ready = rehearsed(path)
    boat, sea = (frames_of(ready.reel.clips[name]) for name in ("boat", "sea"))
    np.testing.assert_array_equal(sea[0], boat[5])
    assert frame_digest(boat[5]) != frame_digest(boat[8])
    assert ready.crew.shots["sea"].opening[-1].digest == frame_digest(boat[5])
    assert ready.crew.finishes["boat"].span == Span(ready.reel.clips["boat"], 1, 6)
    assert ready.crew.finishes["sea"].lead == ready.crew.shots["sea"].opening[-1]
    np.testing.assert_array_equal(read_still(ready.crew.shots["sea"].opening[-1]), boat[5])
    assert "opens on frame 6 of boat's 9, the last that is shown of it, pixel for pixel" in proved(path)
    assert plan_of(ready, run.store).film_frames == 9 + 5 + 8
    assert render(path).rendered == []


def test_the_seam_is_exact_in_the_frames_of_an_export(tmp_path: Path):
    path = written(tmp_path, scene("boat"), scene("sea"), look=f"{LOOK}trim_end = 2\n")
    run = render(path)
    ready = rehearsed(path)
    count = export(ready, run.store, Export("ffv1", tmp_path / "film.mkv", None), lambda scene, done: None)
    clips = [frames_of(ready.reel.clips[name]) for name in ("dock", "boat", "sea")]
    shown = [*clips[0][:7], *clips[1][1:7], *clips[2][1:7]]
    found = list(read_video(tmp_path / "film.mkv", 0, count))
    assert len(found) == count == len(shown)
    assert all(np.array_equal(a, b) for a, b in zip(found, shown, strict=True))


def test_the_sharpest_of_the_last_is_handed_on(tmp_path: Path):
    sharp = [cv2.GaussianBlur(chart(seed=4), (0, 0), sigma) for sigma in (1.0, 0.4, 0.3, 0.9, 0.4, 2.0, 3.0)]
    clip, store = kept(tmp_path / "clip", sharp), Store(tmp_path / "store")
    for how, stop in ((HandOn(0, 5), 3), (HandOn(0, 4), 5), (HandOn(3, 2), 3), (HandOn(1, 1), 6), (HandOn(6), 1)):
        found = handed(store, clip, how, keep=True)
        assert (found.stop, found.still.digest) == (stop, frame_digest(sharp[stop - 1])), how
        np.testing.assert_array_equal(read_still(found.still), sharp[stop - 1])
    assert handed(store, clip, LAST, keep=True).still == clip.last


def test_of_two_as_sharp_the_later_is_handed_on(tmp_path: Path):
    picture = chart(seed=4)
    clip = kept(tmp_path / "clip", [picture, picture, picture, cv2.GaussianBlur(picture, (0, 0), 2)])
    assert handed(Store(tmp_path / "store"), clip, HandOn(0, 4), keep=False).stop == 3


def test_what_is_handed_on_is_read_once_and_found_again_without_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = written(tmp_path, scene("boat", hand_on="sharpest of 3"), scene("sea"))
    run = render(path)
    assert missing(path) == (set(), set())
    with monkeypatch.context() as patch:
        patch.setattr("storyboard.handed.read_span", lambda span: pytest.fail("it was read again"))
        assert missing(path) == (set(), set())
    (run.store.root / "remembered.json").unlink()
    assert missing(path) == (set(), set())
    shutil.rmtree(run.store.root / "stills")
    sea = rehearsed(path).reel.clips["sea"].path
    shutil.rmtree(sea)
    assert render(path).rendered == ["sea"], "the still is made again from its clip"
    proved(path)


def test_a_damaged_frame_that_is_not_shown_is_found(tmp_path: Path):
    frames = [NOISE.integers(0, 256, (24, 32, 3), dtype=np.uint8) for _ in range(6)]
    clip = kept(tmp_path / "clip", frames)
    shutil.rmtree(clip.path)
    other = kept(tmp_path / "clip", [*frames[:5], 255 - frames[5]])
    assert other.digest != clip.digest
    with pytest.raises(DamagedFile, match="not those that were drawn"):
        list(read_span(Span(clip, 0, 3)))
    with pytest.raises(DamagedFile):
        handed(Store(tmp_path / "store"), clip, HandOn(2), keep=True)


def test_a_dissolve_takes_the_end_that_is_shown(tmp_path: Path):
    path = written(tmp_path, scene("inn", image="inn.png", seam="dissolve 0.1s"), look=f"{LOOK}trim_end = 3\n")
    render(path)
    finishes = rehearsed(path).crew.finishes
    opens = finishes["inn"].opens
    assert isinstance(opens, Dissolve)
    assert opens.tail == Span(finishes["dock"].span.clip, 4, 6)
    assert (finishes["dock"].span.stop, finishes["dock"].frames) == (6, 4)
    segment = load_segment(Store(tmp_path / ".storyboard").home(SEGMENTS, digest(finishes["dock"])))
    assert segment.frames == 4


def test_an_export_at_another_rate_ends_where_the_film_does(tmp_path: Path):
    path = written(tmp_path, scene("inn", image="inn.png", seam="dissolve 0.2s"), look=f"{LOOK}trim_end = 2\n")
    render(path)
    ready = rehearsed(path)
    film = [ready.crew.finishes[name] for name in ("dock", "inn")]
    slower = conformed(film, Fraction(24))
    assert [finish.span for finish in slower] == [finish.span for finish in film]
    opens = slower[1].opens
    assert isinstance(opens, Dissolve)
    assert (opens.tail.clip, opens.tail.stop) == (film[0].span.clip, 7)


def test_the_plan_says_at_least_and_at_most_until_it_is_known(tmp_path: Path):
    path = written(tmp_path, scene("boat", hand_on="sharpest of 5", trim_end=0), scene("sea"))
    before = plan_of(rehearsed(path), Store(path.parent / ".storyboard"))
    assert (before.film_frames_at_least, before.film_frames) == (9 + 4 + 8, 9 + 8 + 8)
    assert before.scenes[1].hands_on == "hands on the sharpest of 5: 0 to 4 of 9 frames left out at the end"
    assert any(line.startswith("  film: 21 to 25 frames") for line in plan_lines(before))
    run = render(path)
    after = plan_of(rehearsed(path), run.store)
    stop = rehearsed(path).reel.handed["boat"].stop
    assert (after.film_frames_at_least, after.film_frames) == (None, 9 + stop - 1 + 8)
    assert after.scenes[1].hands_on == (
        f"hands on frame {stop} of 9, the sharpest of 5: {9 - stop} left out at the end"
    )
    assert after.scenes[0].hands_on is None
    assert run.outcome.film is not None


def test_a_look_is_for_every_scene_and_a_scene_may_have_it_otherwise(tmp_path: Path):
    look = f'{LOOK}trim_end = 1\nhand_on = "sharpest of 3"\n'
    path = written(tmp_path, scene("boat", trim_end=0, hand_on="last"), scene("sea"), look=look)
    how = [each.hand_on for each in read_story(path).scenes]
    assert how == [HandOn(1, 3), LAST, HandOn(1)], "nobody opens on the sea: none of its frames is to be chosen"


def test_gc_keeps_what_is_handed_on(tmp_path: Path):
    path = written(tmp_path, scene("boat", trim_end=2), scene("sea"))
    run = render(path)
    sweep(run.store, "draft", resolved(rehearsed(path)), dry_run=False)
    assert missing(path) == (set(), set())
    proved(path)


def test_what_is_trimmed_changes_no_clip_but_those_after(tmp_path: Path):
    path = written(tmp_path, scene("boat"), scene("sea"), scene("inn", image="inn.png"))
    render(path)
    path.write_text(path.read_text().replace('name = "boat"', 'name = "boat"\ntrim_end = 2'))
    assert missing(path) == ({"sea"}, {"boat", "sea"})


WRONG = {
    "frames": ({"trim_end": 5}, 'trim_end = 5 leaves 4 of the 9 frames of "boat", and 5 must remain: name less'),
    "all": ({"trim_end": 90}, 'trim_end = 90 leaves 0 of the 9 frames of "boat"'),
    "chosen": ({"hand_on": "sharpest of 6"}, 'hand_on = "sharpest of 6" may leave 4 of the 9 frames of "boat"'),
    "both": ({"hand_on": "sharpest of 4", "trim_end": 3}, 'hand_on = "sharpest of 4" may leave 3 of the 9'),
    "bare": ({"hand_on": "sharpest"}, '"sharpest" names no frame (did you mean "sharpest of 5"?): write "last" or'),
    "none": ({"hand_on": "sharpest of 0"}, '"sharpest of 0" names no frame'),
    "typo": ({"hand_on": "lats"}, '"lats" names no frame (did you mean "last"?)'),
    "less": ({"trim_end": -1}, "trim_end"),
}


@pytest.mark.parametrize(("keys", "told"), WRONG.values(), ids=list(WRONG))
def test_what_cannot_be(tmp_path: Path, keys: dict[str, object], told: str):
    path = written(tmp_path, scene("boat", **keys), scene("sea"))
    with pytest.raises(StoryError) as error:
        read_story(path)
    assert told in str(error.value)
    (mistake,) = error.value.mistakes
    source = path.read_text().splitlines()[(mistake.line or 0) - 1]
    assert source.startswith(told.split(" ")[0] if told[0] in "th" else "hand_on")


def test_one_that_nobody_opens_on_chooses_nothing(tmp_path: Path):
    path = written(tmp_path, scene("boat", hand_on="sharpest of 3"))
    with pytest.raises(StoryError, match="no scene opens on this one: drop hand_on"):
        read_story(path)


def test_a_look_that_leaves_too_little_is_told_once_where_it_is_said(tmp_path: Path):
    path = written(tmp_path, scene("boat", frames=5), scene("inn", frames=5), look=f"{LOOK}trim_end = 1\n")
    with pytest.raises(StoryError) as error:
        read_story(path)
    (mistake,) = error.value.mistakes
    assert (mistake.line, mistake.scene) == (4, None)
    assert 'leaves 4 of the 5 frames of "boat"' in mistake.message


@pytest.mark.parametrize(
    ("keys", "frozen", "blurred", "said"),
    [
        ({}, 0, False, None),
        ({}, 3, False, "trim_end = 3"),
        ({"trim_end": 1}, 3, True, "trim_end = 4"),
        ({"trim_end": 1}, 4, False, None),
        ({}, 0, True, 'hand_on = "sharpest of 5"'),
        ({"trim_end": 2}, 0, True, 'hand_on = "sharpest of 3"'),
        ({"hand_on": "sharpest of 3"}, 0, True, None),
    ],
)
def test_what_helps_a_frozen_or_blurred_end(
    tmp_path: Path, keys: dict[str, object], frozen: int, blurred: bool, said: str | None
):
    story = read_story(written(tmp_path, scene("boat", **keys), scene("sea")))
    assert suggested(story.scene("boat"), frozen, blurred) == said


def test_the_plan_as_json_says_it(tmp_path: Path):
    path = written(tmp_path, scene("boat", trim_end=2), scene("sea"))
    plan = json.loads(json.dumps(plan_of(rehearsed(path), Store(tmp_path / ".storyboard")).json()))
    assert plan["scenes"][1]["hands_on"] == "hands on frame 7 of 9: 2 left out at the end"
    assert plan["film_frames"] == 9 + 6 + 8
