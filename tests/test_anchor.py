"""Colour that holds along a run: what becomes of a chain that drifts, and what is made again when a clip of it is."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import skimage.data
from PIL import Image
from skimage.color import deltaE_ciede2000, rgb2lab

from post.grade import graded
from post.suite import Place, Suite
from scenes import animatic
from scenes.files import CLIP_FILE, load_clip, read_span
from scenes.footage import Clip, Frame, Span
from storyboard import colour
from storyboard.export import finishes_of
from storyboard.film import SceneFailed
from storyboard.identity import digest, recipe
from storyboard.manifest import Manifest
from storyboard.options import Options
from storyboard.plan import plan_of
from storyboard.plan_text import plan_lines
from storyboard.rehearsal import Rehearsed, rehearse
from storyboard.store import CLIPS, Store
from storyboard.story import Anchored, read_story
from tests.stories import Run, missing, render, scene, write_picture, write_story

SIZE = WIDTH, HEIGHT = 208, 112
LOOK = f'size = "{WIDTH}x{HEIGHT}"\nframes = 9\n'
SMALL = 'size = "64x48"\nframes = 5\n'

Change = Callable[[Frame, int], Frame]
"""What a renderer does to frame `index` of a clip."""


def gain(*rgb: float) -> np.ndarray:
    return np.column_stack([np.diag(rgb), np.zeros(3)])


def saturated(by: float) -> np.ndarray:
    luma = np.tile([0.2126, 0.7152, 0.0722], (3, 1))
    return np.column_stack([by * np.eye(3) + (1 - by) * luma, np.zeros(3)])


COLDER, WARMER, FLATTER = (
    gain(0.98, 1, 0.99),
    gain(1.01, 0.99, 0.98),
    np.column_stack([0.98 * np.eye(3), np.full(3, 3)]),
)
DRIFTS = {"colder": COLDER, "warmer": WARMER, "flatter": FLATTER, "paler": saturated(0.98)}


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> dict[str, Change]:
    """A renderer that changes the frames of scenes whose prompts hold a word."""
    changes: dict[str, Change] = {}
    draw = animatic.AnimaticStudio.render

    def drifting(self, shot, tell):
        mine = [change for word, change in changes.items() if word in shot.prompt]
        for index, frame in enumerate(draw(self, shot, tell)):
            for change in mine:
                frame = change(frame, index)
            yield frame

    monkeypatch.setattr(animatic.AnimaticStudio, "render", drifting)
    return changes


def drift(matrix: np.ndarray) -> Change:
    return lambda frame, index: graded(frame, matrix)


def clip_of(run: Run, name: str) -> Clip:
    return load_clip(run.store.home(CLIPS, Manifest(run.store, run.story.path).scene("draft", name)["shot"]))


def drawn(run: Run, name: str, start: int = 0) -> list[Frame]:
    clip = clip_of(run, name)
    return list(read_span(Span(clip, start, clip.frames)))


def rehearsed(path: Path) -> Rehearsed:
    return rehearse(read_story(path), Store(path.parent / ".storyboard"), Options(True))


def shown(path: Path, name: str) -> list[Frame]:
    """The frames that the film shows of a scene, before they are encoded."""
    suite = Suite(Place("cpu"))
    frames = list(suite.frames(rehearsed(path).crew.finishes[name], lambda done: None))
    suite.close()
    return frames


def apart(one: Frame, other: Frame) -> float:
    """ΔE2000 of two frames' mean colours."""
    a, b = (rgb2lab(frame / 255).mean((0, 1)) for frame in (one, other))
    return float(deltaE_ciede2000(a, b))


def apart_by_block(one: Frame, other: Frame) -> float:
    """Mean ΔE2000 of blocks of 8 pixels."""
    a, b = (cv2.resize(frame, (26, 14), interpolation=cv2.INTER_AREA) for frame in (one, other))
    return float(deltaE_ciede2000(rgb2lab(a / 255), rgb2lab(b / 255)).mean())


def photo(folder: Path, name: str) -> None:
    """Without its brightest parts: what a drift clips is gone for good."""
    picture = (getattr(skimage.data, name)() * 0.85 + 15).astype(np.uint8)
    Image.fromarray(picture).save(folder / f"{name}.png")


CAMERAS = ("push in", "pan left", "tilt up", "roll left", "handheld")


def chain(folder: Path, picture: str, length: int, asked: str = 'colour = "anchor"\n') -> Path:
    folder.mkdir(exist_ok=True)
    photo(folder, picture)
    scenes = [scene("s0", image=f"{picture}.png", camera="pan right", seed=1)]
    scenes += [scene(f"s{i}", prompt=f"drifting {i}", camera=CAMERAS[i % 5], seed=1) for i in range(1, length + 1)]
    return write_story(folder, *scenes, look=LOOK + asked)


# A chain that drifts


HOPS = [f"s{hop}" for hop in range(1, 11)]


@pytest.fixture(scope="module")
def undrifted(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, list[Frame]]]:
    """The frames of a chain of ten hops over a picture, as they should be: made once."""

    @cache
    def made(picture: str) -> dict[str, list[Frame]]:
        run = render(chain(tmp_path_factory.mktemp("undrifted"), picture, 10, ""))
        return {name: drawn(run, name, 1) for name in HOPS}

    return made


@pytest.mark.parametrize("picture", ["coffee", "chelsea"])
@pytest.mark.parametrize("how", DRIFTS)
def test_ten_hops_of_two_per_cent(
    tmp_path: Path,
    model: dict[str, Change],
    undrifted: Callable[[str], dict[str, list[Frame]]],
    picture: str,
    how: str,
):
    whole = undrifted(picture)
    model["drifting"] = drift(DRIFTS[how])
    path = chain(tmp_path / "drifted", picture, 10)
    run = render(path)
    source, should, is_now = drawn(run, "s10", 1), whole["s10"], shown(path, "s10")
    before, after = (np.mean([apart(f, g) for f, g in zip(should, those, strict=True)]) for those in (source, is_now))
    blocks = np.mean([apart_by_block(f, g) for f, g in zip(should, is_now, strict=True)])
    assert before > 1.4
    assert after < 0.5
    assert blocks < 1
    for name in HOPS:
        source, should, now = drawn(run, name, 1), whole[name], shown(path, name)
        moved = np.mean([apart_by_block(f, g) for f, g in zip(source, now, strict=True)])
        drifted = np.mean([apart_by_block(f, g) for f, g in zip(source, should, strict=True)])
        assert moved <= drifted + 0.1, f"{name} is further from its source than the drift it removes"
        steps, steps_now = (np.diff([f.mean((0, 1)) for f in frames], axis=0) for frames in (should, now))
        assert np.abs(steps - steps_now).max() < 0.1, "frame to frame, mean colour changes as undrifted"


def test_the_seam_closes(tmp_path: Path, model: dict[str, Change]):
    """Frame 0 of each clip, graded, looks like the frame handed on as that is shown."""
    model["drifting"] = drift(COLDER)
    path = chain(tmp_path, "coffee", 4)
    run = render(path)
    grades = {name: shade.grade for name, shade in rehearsed(path).reel.shades.items()}
    for hop in range(1, 5):
        first, last = drawn(run, f"s{hop}")[0], drawn(run, f"s{hop - 1}")[-1]
        before, own = grades[f"s{hop - 1}"], grades[f"s{hop}"]
        assert own is not None
        last = graded(last, before.at(8)) if before else last
        assert apart(graded(first, own.at(0)), last) < 0.15
        assert apart(first, last) > 0.3 * hop


def test_grain_does_not_wash_a_chain_out(tmp_path: Path, model: dict[str, Change]):
    """A model's grain, and no drift: after ten hops contrast is still there."""
    rng = np.random.default_rng(0)
    model["drifting"] = lambda frame, index: np.clip(frame + rng.normal(0, 2, frame.shape), 0, 255).astype(np.uint8)
    path = chain(tmp_path, "chelsea", 10)
    run = render(path)
    for source, now in zip(drawn(run, "s10", 1), shown(path, "s10"), strict=True):
        assert now.std() == pytest.approx(source.std(), rel=0.03)


def test_drift_within_clips_is_eased(tmp_path: Path, model: dict[str, Change]):
    """Each clip darkens towards its end, and the camera holds."""
    model["drifting"] = lambda frame, index: graded(frame, gain(*[1 - 0.02 * index / 8] * 3))
    stories = {}
    for share in (0.0, 0.5, 1.0):
        folder = tmp_path / str(share)
        path = chain(folder, "coffee", 4, f"colour = {{ drift = {share} }}\n")
        path.write_text(path.read_text().replace('"pan right"', '"hold"'), encoding="utf-8")
        for camera in CAMERAS:
            path.write_text(path.read_text().replace(f'"{camera}"', '"hold"'), encoding="utf-8")
        render(path)
        stories[share] = [frame.mean() for name in ("s1", "s2", "s3", "s4") for frame in shown(path, name)]
        assert np.abs(np.diff(stories[share])).max() < 0.6, "no step anywhere"
    lost = {share: means[0] - means[-1] for share, means in stories.items()}
    assert lost[0.0] > 6
    assert lost[0.5] == pytest.approx(lost[0.0] / 2, abs=1)
    assert abs(lost[1.0]) < 0.6


# What is touched, and what is not


@pytest.fixture
def five(tmp_path: Path) -> Path:
    """dock -> boat -> sea -> isle, and an inn after a cut that an old man follows; colour is held."""
    return story_of_five(tmp_path, 'colour = "anchor"\n')


def story_of_five(folder: Path, asked: str, **sea: str) -> Path:
    photo(folder, "coffee")
    write_picture(folder, "inn.png", 2)
    return write_story(
        folder,
        scene("dock", image="coffee.png"),
        scene("boat", prompt="drifting boat"),
        scene("sea", prompt="drifting sea", **sea),
        scene("isle", prompt="drifting isle"),
        scene("inn", image="inn.png"),
        scene("man", prompt="a man"),
        look=SMALL + asked,
    )


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def keys(path: Path) -> dict[str, str]:
    return {name: digest(finish) for name, finish in rehearsed(path).crew.finishes.items()}


def test_cuts_and_anchors_are_untouched(five: Path, model: dict[str, Change]):
    model["drifting"] = drift(COLDER)
    run = render(five)
    now = keys(five)
    for name in ("dock", "inn", "man"):
        start = int(name == "man")
        assert all(map(np.array_equal, shown(five, name), drawn(run, name, start))), name
    edit(five, 'colour = "anchor"\n', "")
    plain = keys(five)
    assert {name for name in now if now[name] != plain[name]} == {"boat", "sea", "isle"}
    assert sorted(render(five).finished) == ["boat", "isle", "sea"]


def test_off_by_default_and_no_key_changes_without_drift(five: Path):
    """The animatic redraws exactly: there is nothing to correct, so nothing is made again when it is asked for."""
    assert all(scene.colour == Anchored() for scene in read_story(five).scenes)
    on = keys(five)
    render(five)
    edit(five, 'colour = "anchor"\n', "")
    assert all(scene.colour is None for scene in read_story(five).scenes)
    assert render(five).finished == []
    off = rehearsed(five)
    assert {name: digest(finish) for name, finish in off.crew.finishes.items()} != on, "those were unmade"
    assert all(finish.colour is None for finish in off.crew.finishes.values())
    assert all("colour" not in recipe(finish) for finish in off.crew.finishes.values())  # type: ignore[operator]
    assert "colour" not in " ".join(plan_lines(plan_of(off, Store(five.parent / ".storyboard"))))


def test_a_scene_may_stay_as_drawn(tmp_path: Path, model: dict[str, Change]):
    """And what follows is matched to it."""
    model["drifting"] = drift(COLDER)
    path = story_of_five(tmp_path, 'colour = "anchor"\n', colour="none")
    run = render(path)
    assert all(map(np.array_equal, shown(path, "sea"), drawn(run, "sea", 1)))
    shades = rehearsed(path).reel.shades
    assert shades["sea"].grade is None
    boat, isle = shades["boat"].grade, shades["isle"].grade
    assert boat is not None
    assert isle is not None
    assert np.allclose(isle.at(0), boat.at(0), atol=np.array([0.02, 0.02, 0.02, 2])), "one hop, not three"
    plan = plan_of(rehearsed(path), run.store)
    said = {scene.name: scene.colour for scene in plan.scenes}
    assert said["sea"] == "as drawn: the scenes after it are matched to it"
    assert str(said["isle"]).startswith("matched to sea: ")


def test_strength(tmp_path: Path, model: dict[str, Change]):
    model["drifting"] = drift(COLDER)
    path = story_of_five(tmp_path, "colour = { strength = 0.5 }\n")
    render(path)
    half = rehearsed(path).reel.shades["boat"].grade
    edit(path, "strength = 0.5", "strength = 1")
    whole = rehearsed(path).reel.shades["boat"].grade
    assert half is not None
    assert whole is not None
    away = [grade.at(0) - np.eye(3, 4) for grade in (half, whole)]
    assert np.allclose(away[0], away[1] / 2, atol=np.array([0.001, 0.001, 0.001, 0.1]))


def test_a_new_clip_that_ends_alike_changes_only_the_colour_of_what_follows(five: Path, model: dict[str, Change]):
    """Its frame 0 is warmer, its last frame the same: clips after it stay, their segments follow its colour."""
    model["drifting"] = drift(COLDER)
    render(five)
    model["warm boat"] = lambda frame, index: graded(frame, gain(1.04, 1, 1)) if index == 0 else frame
    edit(five, "drifting boat", "drifting, a warm boat")
    again = render(five)
    assert again.rendered == ["boat"]
    assert sorted(again.finished) == ["boat", "isle", "sea"]
    notes = [event["text"] for event in again.events if event["event"] == "note"]
    assert [text[: text.index(": matched")] for text in notes] == ["colour of boat", "colour of sea", "colour of isle"]
    assert render(five).finished == []


def test_the_same_correction_stops_it(five: Path, model: dict[str, Change]):
    """Other frames between, but the first and the last are the same, and so is the quantised grade."""
    model["drifting"] = drift(COLDER)
    render(five)
    model["dark boat"] = lambda frame, index: frame // 2 if index == 2 else frame
    edit(five, "drifting boat", "drifting, a dark boat")
    again = render(five)
    assert again.rendered == ["boat"]
    assert again.finished == ["boat"]


def test_one_scene_rendered_alone_takes_its_run_along(five: Path, model: dict[str, Change]):
    model["drifting"] = drift(COLDER)
    render(five)
    model["warm boat"] = lambda frame, index: graded(frame, gain(1.04, 1, 1)) if index == 0 else frame
    edit(five, "drifting boat", "drifting, a warm boat")
    again = render(five, scenes=frozenset({"boat"}))
    assert sorted(again.finished) == ["boat", "isle", "sea"]
    assert again.outcome.joined


def test_the_plan_says_which_clip_the_colour_follows(five: Path, model: dict[str, Change]):
    model["drifting"] = drift(COLDER)
    run = render(five)
    model["warm boat"] = lambda frame, index: graded(frame, gain(1.04, 1, 1)) if index == 0 else frame
    edit(five, "drifting boat", "drifting, a warm boat")
    edit(five, "a inn", "camera pan left over an inn")  # not rendered, so that the film is not made whole
    render(five, scenes=frozenset({"boat"}))
    plan = plan_of(rehearsed(five), run.store)
    said = {scene.name: scene for scene in plan.scenes}
    assert (said["sea"].state, said["sea"].segment) == ("kept", "make")
    assert said["sea"].colour_why == "colour follows boat's new clip"
    assert said["isle"].colour_why == "colour follows boat's new clip"
    assert said["boat"].colour_why is None
    assert any(line.endswith("kept  (finished anew: colour follows boat's new clip)") for line in plan_lines(plan))
    edit(five, "camera pan left over an inn", "a inn")
    render(five)
    edit(five, 'colour = "anchor"', "colour = { strength = 0.5 }")
    said = {scene.name: scene.colour_why for scene in plan_of(rehearsed(five), run.store).scenes}
    assert said["sea"] == "its colour is corrected otherwise"
    edit(five, "colour = { strength = 0.5 }", 'colour = "none"')
    said = {scene.name: scene.colour_why for scene in plan_of(rehearsed(five), run.store).scenes}
    assert said == {
        **dict.fromkeys(said),
        **dict.fromkeys(("boat", "sea", "isle"), "its colour is not corrected any more"),
    }


def test_frames_are_read_once(five: Path, model: dict[str, Change], monkeypatch: pytest.MonkeyPatch):
    model["drifting"] = drift(COLDER)
    render(five).store.memory.save()
    monkeypatch.setattr(colour, "_first", lambda clip: pytest.fail("a frame is read again"))
    assert missing(five) == (set(), set())


def test_memory_that_cannot_be_read_costs_time_only(five: Path, model: dict[str, Change]):
    model["drifting"] = drift(COLDER)
    run = render(five)
    before = keys(five)
    path = clip_of(run, "boat").path / CLIP_FILE
    run.store.memory.note(path, "[1, 2]", f"match/1 {clip_of(run, 'dock').last.digest}")
    run.store.memory.save()
    assert keys(five) == before


# What is said


def test_it_is_said_in_the_plan_and_the_film(five: Path, model: dict[str, Change]):
    model["drifting"] = drift(gain(1.02, 1, 0.99))
    before = {scene.name: scene.colour for scene in plan_of(rehearsed(five), Store(five.parent)).scenes}
    assert before["boat"] == "matched to dock, once boat is drawn"
    run = render(five)
    plan = plan_of(rehearsed(five), run.store)
    said = {scene.name: scene.colour for scene in plan.scenes}
    assert said["dock"] == said["inn"] == "as drawn: the scenes after it are matched to it"
    assert re.fullmatch(r"matched to dock: -(1\.9|2\.0) % red, \+1\.0 % blue", str(said["boat"]))
    assert said["man"] == "matched to inn: nothing to correct"
    assert sum("- colour " in line for line in plan_lines(plan)) == 6
    assert plan.json()["scenes"][1]["colour"] == said["boat"]
    assert run.outcome.film is not None
    with av.open(run.outcome.film) as film:
        facts = json.loads(film.metadata["storyboard"])
    assert {scene["name"]: scene["colour"] for scene in facts["scenes"]} == said
    edit(five, 'colour = "anchor"\n', "")
    with av.open(render(five).outcome.film) as film:  # type: ignore[arg-type]
        assert "colour" not in film.metadata["storyboard"]


def test_words():
    from post.grade import Grade, numbers_of
    from storyboard.corrections import correction

    def said(matrix: np.ndarray, last: np.ndarray | None = None) -> str:
        return correction(Grade(numbers_of(matrix), None if last is None else numbers_of(last), 8))

    assert said(saturated(0.95)) == "-5.0 % saturation"
    assert said(np.column_stack([0.9 * np.eye(3), np.full(3, 12.8)])) == "-10.0 % contrast"
    assert said(gain(1.0002, 1, 1)) == "less than 0.05 %"
    assert said(gain(1.02, 1, 1), gain(1.02, 1.01, 1)) == "+2.0 % red; at its end +2.0 % red, +1.0 % green"
    assert correction(None) == "nothing to correct"


# Everywhere that the film goes


def test_exports_and_stills_have_it(five: Path, model: dict[str, Change], tmp_path: Path):
    from storyboard.conforming import conformed
    from storyboard.stills import write_stills

    model["drifting"] = drift(COLDER)
    run = render(five)
    finishes = finishes_of(rehearsed(five))
    stills = tmp_path / "stills"
    write_stills(run.story, finishes, stills, run.store, lambda scene, done: None)
    pictures = sorted(stills.iterdir())
    for index, name in enumerate(("dock", "boat", "sea")):
        still = np.asarray(Image.open(pictures[index]))
        middle = len(shown(five, name)) // 2
        assert np.array_equal(still, shown(five, name)[middle]), name
    conform = conformed(finishes, finishes[0].fps * 2)
    assert [finish.colour for finish in conform] == [finish.colour for finish in finishes]


def test_a_dissolve_has_both_grades(tmp_path: Path, model: dict[str, Change]):
    """The end of a graded run, under the first frames of the next scene; also where that is rendered alone."""
    model["drifting"] = drift(gain(0.9, 1, 1))
    path = story_of_five(tmp_path, 'colour = "anchor"\n')
    edit(path, 'image = "inn.png"', 'image = "inn.png"\nseam = "dissolve 0.1s"')
    run = render(path)
    finish = rehearsed(path).crew.finishes["inn"]
    isle = rehearsed(path).reel.shades["isle"].grade
    assert isle is not None
    assert finish.colour is not None
    assert (finish.colour.clip, finish.colour.tail) == (None, isle)
    first, plain = shown(path, "inn")[0], drawn(run, "isle")[-2]
    assert apart(first, plain) > 1
    edit(path, "a inn", "camera pan left over an inn")
    alone = render(path, scenes=frozenset({"inn"}))
    assert alone.finished == ["inn"]
    assert alone.outcome.missing == ("man",), "whose opening is another now"
    assert missing(path) == ({"man"}, {"man"}), "the inn is as the whole film has it"


def test_the_lead_of_a_follower_is_graded_as_its_own_clip_was(five: Path, model: dict[str, Change]):
    model["drifting"] = drift(COLDER)
    render(five)
    finishes = rehearsed(five).crew.finishes
    boat, sea = finishes["boat"].colour, finishes["sea"].colour
    assert boat is not None
    assert sea is not None
    assert boat.lead is None, "the anchor's"
    assert sea.lead == boat.clip


def test_a_damaged_opening_is_told(five: Path, model: dict[str, Change], monkeypatch: pytest.MonkeyPatch):
    model["drifting"] = drift(COLDER)
    from scenes.footage import DamagedFile

    def torn(clip: Clip) -> Frame:
        raise DamagedFile(clip.path / CLIP_FILE, "frame 0 does not decode")

    with monkeypatch.context() as patch:
        patch.setattr(colour, "_first", torn)
        with pytest.raises(SceneFailed, match=r'scene "boat": .*frame 0 does not decode'):
            render(five)
        run = render(five, keep_going=True)
        assert "frame 0 does not decode" in run.outcome.failed["boat"]
        assert run.outcome.skipped == {"sea", "isle"}, "what it hands on is not to be trusted"
        assert run.outcome.failed.keys() == {"boat", "man"}
    assert render(five).outcome.film is not None, "set aside, it is drawn again"


def test_a_clip_that_ends_on_a_picture_ends_as_that_is_shown(tmp_path: Path, model: dict[str, Change]):
    """A model drawn towards a picture leaves its drift behind: corrected all the same, it would overshoot."""
    model["drifting"] = lambda frame, index: graded(frame, gain(0.9, 1, 1)) if index < 4 else frame
    model["steady"] = drift(gain(0.9, 1, 1))
    photo(tmp_path, "coffee")
    path = write_story(
        tmp_path,
        scene("dock", image="coffee.png", camera="hold"),
        scene("boat", prompt="steady", camera="hold"),
        scene("sea", prompt="drifting", end_image="coffee.png"),
        scene("isle", prompt="isle"),
        scene("loop", prompt="drifting loop", end_on="boat"),
        scene("home", prompt="home", end_on="sea"),
        look=SMALL + "colour = { drift = 1.0 }\n",
    )
    run = render(path)
    shades = rehearsed(path).reel.shades
    sea = shades["sea"].grade
    assert sea is not None
    assert np.array_equal(sea.at(4), np.eye(3, 4))
    assert np.array_equal(shown(path, "sea")[-1], drawn(run, "sea")[-1])
    assert np.array_equal(shown(path, "loop")[-1], drawn(run, "dock")[-1]), "what boat opens on, as it is shown"
    home, boat = shades["home"].grade, shades["boat"].grade
    assert home is not None
    assert boat is not None
    assert home.end == boat.end, "what sea opens on, as it is shown"
    assert apart(shown(path, "home")[-1], shown(path, "boat")[-1]) < 0.1


def test_a_clip_that_opens_on_something_else_is_shown_as_the_one_before(five: Path, model: dict[str, Change]):
    model["drifting boat"] = drift(COLDER)
    model["drifting sea"] = lambda frame, index: np.ascontiguousarray(255 - frame[::-1])
    run = render(five)
    shades = rehearsed(five).reel.shades
    assert shades["boat"].grade is not None
    assert shades["sea"].grade == shades["boat"].grade
    said = {scene.name: scene.colour for scene in plan_of(rehearsed(five), run.store).scenes}
    assert said["sea"] == ("shown as boat: its first frame is too unlike what it opens on to be matched to dock")


def test_drift_beyond_the_bounds_is_said(five: Path, model: dict[str, Change]):
    model["drifting boat"] = drift(gain(0.8, 1, 1))
    run = render(five)
    said = {scene.name: scene.colour for scene in plan_of(rehearsed(five), run.store).scenes}
    assert str(said["boat"]).startswith("matched to dock, as far as a grade may go: +")
    assert str(said["sea"]).startswith("matched to dock: +")
