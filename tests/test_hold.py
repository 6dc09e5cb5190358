"""A scene made again in place: between its own first frame and the one it ends on, so that what follows stays."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from scenes.files import load_clip, read_facts, read_span, read_still
from scenes.footage import Frame, Frames, Span, frame_digest
from scenes.shot import MachineLacks, Shot, Tell
from scenes.wan.renderer import Wan
from storyboard.edit import with_key, write_keys
from storyboard.events import Event, Events
from storyboard.failures import FAILED
from storyboard.failures import failure as exit_code
from storyboard.film import SceneFailed
from storyboard.hand_on import LAST
from storyboard.hold import produce_held
from storyboard.manifest import Manifest
from storyboard.mending import TooFar
from storyboard.mistakes import StoryError
from storyboard.options import Options
from storyboard.plan import plan_of
from storyboard.production import Outcome, produce
from storyboard.progress import sentence
from storyboard.rehearsal import Rehearsed, rehearse
from storyboard.store import CLIPS, Store
from storyboard.story import Scene, read_story
from storyboard.sweep import resolved, sweep
from storyboard.verify import verify
from tests.stories import scene, write_picture, write_story
from tests.test_wan_story import models as models
from tests.test_wan_story import published as published

LOOK = 'size = "64x48"\nframes = 17\nrecipe = "lightning-4"\n'


@dataclass
class Film:
    """A story in a folder, drawn by the animatic or by a stand-in for WAN."""

    path: Path
    draft: bool = True
    more: dict[str, Any] = field(default_factory=dict[str, Any])
    events: list[Event] = field(default_factory=list[Event])

    @property
    def store(self) -> Store:
        return Store(self.path.parent / ".storyboard")

    def options(self, **more: Any) -> Options:
        return Options(self.draft, **{**self.more, **more})

    def _run(self, work: Any) -> Outcome:
        self.events.clear()
        store = self.store
        with store.in_use():
            return work(store, Events(None, (self.events.append,)))

    def render(self, **more: Any) -> Outcome:
        return self._run(lambda store, events: produce(read_story(self.path), store, self.options(**more), events))

    def hold(self, name: str, seed: int | None = None) -> Outcome:
        return self._run(
            lambda store, events: produce_held(read_story(self.path), store, self.options(), name, seed, events)
        )

    def told(self, name: str) -> list[str]:
        return [event["scene"] for event in self.events if event["event"] == name]

    def noted(self) -> list[str]:
        return [text for event in self.events if (text := sentence(event))]

    def rehearsed(self) -> Rehearsed:
        return rehearse(read_story(self.path), self.store, self.options())

    def missing(self) -> tuple[set[str], set[str]]:
        crew = self.rehearsed().crew
        return crew.missing_clips, crew.missing_segments

    def frames(self, name: str) -> list[Frame]:
        clip = self.rehearsed().reel.clips[name]
        return list(read_span(Span(clip, 0, clip.frames)))

    def verified(self) -> list[str]:
        found = list(verify(self.rehearsed(), self.store))
        assert all(each.holds for each in found), found
        return [f"{each.scene} {each.what}" for each in found]

    def scene(self, name: str) -> Scene:
        return read_story(self.path).scene(name)

    def edit(self, old: str, new: str) -> None:
        text = self.path.read_text(encoding="utf-8")
        assert old in text
        self.path.write_text(text.replace(old, new), encoding="utf-8")


@dataclass
class Hand:
    """Draws towards the shot's last still, and misses it by `off` levels; else fades to a colour of the seed's own."""

    off: float = 6.0
    log: list[str] = field(default_factory=list[str])

    @property
    def made(self) -> dict[str, Any]:
        return {"renderer": "fake"}

    def open(self, shots: Sequence[Shot]) -> Hand:
        self.log.append(f"open {len(shots)}")
        return self

    def render(self, shot: Shot, tell: Tell) -> Frames:
        self.log.append(f"render {shot.prompt}")
        opening = read_still(shot.opening[-1]).astype(np.float32)
        flat = np.full_like(opening, shot.seed % 200)
        ending = read_still(shot.last) + self.off if shot.last else opening / 2 + flat / 2
        for index in range(shot.frames):
            part = index / (shot.frames - 1)
            wave = (shot.seed % 7) * np.sin(np.pi * part)  # each seed on a way of its own
            yield np.clip(opening * (1 - part) + ending * part + wave, 0, 255).round().astype(np.uint8)
            tell((index + 1) / shot.frames)

    def close(self) -> None:
        self.log.append("close")


def three(folder: Path, look: str = LOOK, **boat: Any) -> Path:
    """dock -> boat -> sea, and an inn after a cut."""
    folder.mkdir(exist_ok=True)
    write_picture(folder, "dock.png", 1)
    write_picture(folder, "inn.png", 2)
    scenes = (scene("dock", image="dock.png"), scene("boat", **boat), scene("sea"), scene("inn", image="inn.png"))
    path = write_story(folder, *scenes, look=look)
    path.write_text(path.read_text().replace('name = "boat"\n', 'name   = "boat" # ours\n'))
    return path


@pytest.fixture
def draft(tmp_path: Path) -> Film:
    film = Film(three(tmp_path / "story"))
    film.render()
    return film


@pytest.fixture
def hand(monkeypatch: pytest.MonkeyPatch) -> Hand:
    drawing = Hand()
    monkeypatch.setattr(Wan, "open", lambda wan, shots, machine: drawing.open(shots))
    return drawing


@pytest.fixture
def wan(tmp_path: Path, models: Path, hand: Hand) -> Film:
    film = Film(three(tmp_path / "story"), False, {"device": "cpu", "weights": (models,)})
    film.render()
    return film


class TestDraft:
    def test_only_the_scene_is_made_and_what_follows_stays(self, draft: Film):
        before, text = draft.rehearsed(), draft.path.read_text()
        frames = {name: draft.frames(name) for name in ("boat", "sea")}
        outcome = draft.hold("boat", 77)
        assert draft.told("scene.done") == ["boat"]
        assert draft.told("segment.done") == ["boat"]
        assert outcome.film is not None
        assert outcome.joined
        after = draft.rehearsed()
        assert after.crew.shots["sea"] == before.crew.shots["sea"]
        assert after.crew.finishes["sea"] == before.crew.finishes["sea"]
        np.testing.assert_array_equal(draft.frames("boat")[-1], frames["boat"][-1])
        assert not np.array_equal(draft.frames("boat")[8], frames["boat"][8])
        added = 'name   = "boat" # ours\nseed   = 77\nhold   = "held/boat.png"\n'
        assert draft.path.read_text() == text.replace('name   = "boat" # ours\n', added)
        assert any("boat ends on the frame it holds, pixel for pixel" in said for said in draft.verified())
        assert draft.missing() == (set(), set())

    def test_the_frame_lies_beside_the_story(self, draft: Film):
        last = draft.frames("boat")[-1]
        draft.hold("boat", 77)
        with Image.open(draft.path.parent / "held" / "boat.png") as picture:
            np.testing.assert_array_equal(np.asarray(picture), last)
        assert sorted(path.name for path in (draft.path.parent / "held").iterdir()) == ["boat.png"]
        held = draft.scene("boat")
        (said,) = [each.hands_on for each in plan_of(draft.rehearsed(), draft.store).scenes if each.hands_on]
        assert said == "ends on the frame it holds, boat.png"
        assert (held.held, held.ends_on) == (True, draft.path.parent / "held/boat.png")

    def test_it_is_told(self, draft: Film):
        draft.hold("boat", 77)
        told = draft.noted()
        written = f'boat: seed 77 and hold = "held/boat.png" written into {draft.path}; sea: as before'
        assert written in told
        assert any("a draft's frame" in text for text in told)

    def test_a_seed_is_drawn_where_none_is_named(self, draft: Film):
        draft.hold("boat")
        (written,) = [event for event in draft.events if event["event"] == "hold.written"]
        assert draft.scene("boat").seed == written["seed"]
        assert "seed" in draft.path.read_text()

    def test_again_the_frame_held_stays_the_target(self, draft: Film):
        draft.hold("boat", 77)
        picture = (draft.path.parent / "held" / "boat.png").read_bytes()
        draft.hold("boat", 78)
        assert draft.told("scene.done") == ["boat"]
        assert draft.scene("boat").seed == 78
        assert (draft.path.parent / "held" / "boat.png").read_bytes() == picture
        assert draft.path.read_text().count("hold ") == 1
        draft.verified()

    def test_the_story_means_the_same_without_the_store(self, draft: Film, tmp_path: Path):
        draft.hold("boat", 77)
        frames = draft.frames("boat")
        shutil.rmtree(draft.store.root)
        moved = Film(Path(shutil.move(draft.path.parent, tmp_path / "elsewhere")) / "story.toml")
        moved.render()
        assert all(np.array_equal(a, b) for a, b in zip(frames, moved.frames("boat"), strict=True))
        moved.verified()

    def test_an_edited_scene_is_held_to_what_it_was_rendered_as(self, draft: Film):
        last = draft.frames("boat")[-1]
        draft.edit("a boat", "a ship")
        assert draft.missing()[0] == {"boat", "sea"}
        draft.hold("boat", 77)
        assert draft.told("scene.done") == ["boat"]
        np.testing.assert_array_equal(draft.frames("boat")[-1], last)
        assert draft.missing() == (set(), set())

    def test_an_edit_of_a_held_scene_leaves_what_follows(self, draft: Film):
        draft.hold("boat", 77)
        draft.edit("a boat", "a ship")
        assert draft.missing() == ({"boat"}, {"boat"})
        draft.render()
        assert draft.told("scene.done") == ["boat"]
        assert draft.told("segment.done") == [], "the animatic draws the same, whatever the prompt"
        draft.verified()

    def test_one_that_is_not_rendered_has_no_end(self, tmp_path: Path):
        from storyboard.export import NotRendered

        film = Film(three(tmp_path / "story"))
        with pytest.raises(NotRendered, match="boat is not rendered, so it has no end to hold: run `storyboard render"):
            film.hold("boat")
        assert "hold" not in film.path.read_text()

    def test_the_frame_handed_on_is_held_where_it_is_not_the_last(self, tmp_path: Path):
        film = Film(three(tmp_path / "story", trim_end=3, hand_on="sharpest of 4"))
        film.render()
        handed = film.rehearsed().reel.handed["boat"]
        film.hold("boat", 5)
        assert film.told("scene.done") == ["boat"]
        assert frame_digest(film.frames("boat")[-1]) == handed.still.digest
        assert film.scene("boat").hand_on == LAST
        assert 'trim_end = 0\nhand_on = "last"\n' in film.path.read_text()
        film.verified()

    def test_a_look_that_trims_gives_way(self, tmp_path: Path):
        film = Film(three(tmp_path / "story", look=f"{LOOK}trim_end = 2\n"))
        film.render()
        film.hold("boat", 5)
        assert film.told("scene.done") == ["boat"]
        assert film.scene("boat").hand_on == LAST
        assert film.path.read_text().count("trim_end") == 1
        film.verified()

    def test_a_picture_of_that_name_is_left_alone(self, draft: Film):
        (draft.path.parent / "held").mkdir()
        write_picture(draft.path.parent / "held", "boat.png", 9)
        before = (draft.path.parent / "held" / "boat.png").read_bytes()
        draft.hold("boat", 77)
        assert (draft.path.parent / "held" / "boat.png").read_bytes() == before
        assert 'hold   = "held/boat.2.png"' in draft.path.read_text()
        draft.verified()

    def test_a_folder_that_cannot_be_written_to_is_told_first(self, draft: Film):
        (draft.path.parent / "held").write_text("a file")
        with pytest.raises(MachineLacks, match="held cannot be written to, and the frame that boat is to hold"):
            draft.hold("boat")
        assert draft.events == []

    def test_in_place_of_an_end_image(self, tmp_path: Path):
        folder = tmp_path / "story"
        film = Film(three(folder, end_image="inn.png"))
        film.render()
        film.hold("boat", 5)
        assert film.scene("boat").ends_on == folder / "held" / "boat.png"
        film.verified()


class TestWan:
    def test_the_end_is_mended_and_the_clip_before_it_is_as_drawn(self, wan: Film, hand: Hand):
        last, hand.log[:] = wan.frames("boat")[-1], []
        wan.hold("boat", 33)
        assert hand.log == ["open 1", "render a boat", "close"]
        assert wan.told("scene.done") == wan.told("scene.mended") == ["boat"]
        assert wan.told("segment.done") == ["boat"]
        ready = wan.rehearsed()
        mend, drawn = ready.crew.mends["boat"], load_clip(ready.crew.mends["boat"].clip.path)
        frames = wan.frames("boat")
        np.testing.assert_array_equal(frames[-1], last)
        assert frame_digest(last) == ready.crew.shots["sea"].opening[-1].digest
        as_drawn = list(read_span(Span(drawn, 0, 5)))
        assert all(np.array_equal(a, b) for a, b in zip(as_drawn, frames, strict=False))
        assert not np.array_equal(read_still(drawn.last), last)
        assert any("its first 5 frames are as drawn" in said for said in wan.verified())
        assert mend.frames == 12
        assert wan.missing() == (set(), set())
        assert any(text.startswith("boat: mended to end on the frame it holds; as drawn") for text in wan.noted())
        assert read_facts(ready.reel.clips["boat"].path / "recipe.json")["recipe"]["kind"] == "mend/1"

    def test_too_far_changes_nothing_and_says_what_to_do(self, wan: Film, hand: Hand):
        text, before, hand.off = wan.path.read_text(), wan.rehearsed(), 60
        with pytest.raises(SceneFailed) as failure:
            wan.hold("boat", 33)
        assert isinstance(failure.value.__cause__, TooFar)
        assert exit_code(failure.value) == FAILED
        said = str(failure.value)
        assert said.startswith('scene "boat": its new end is too far from the frame it holds: colour ')
        assert "(at most 4)" in said
        assert f"`storyboard render {wan.path} --scene boat --hold` tries another seed" in said
        assert f"`storyboard render {wan.path} --scene boat --seed 33` draws it without, and what follows anew" in said
        assert wan.path.read_text() == text
        assert not (wan.path.parent / "held").exists()
        assert wan.missing() == (set(), set())
        assert wan.rehearsed().reel.clips == before.reel.clips
        (failed,) = [event for event in wan.events if event["event"] == "scene.failed"]
        assert "trace" not in failed
        wan.verified()

    def test_a_take_that_was_too_far_is_kept(self, wan: Film, hand: Hand):
        hand.off = 60
        with pytest.raises(SceneFailed):
            wan.hold("boat", 33)
        (take,) = Manifest(wan.store, wan.path).takes("real", "boat")
        sweep(wan.store, "real", resolved(wan.rehearsed()), dry_run=False)
        assert load_clip(wan.store.home(CLIPS, take["key"])).frames == 17
        hand.log.clear()
        with pytest.raises(SceneFailed):
            wan.hold("boat", 33)
        assert hand.log == [], "it is not drawn again to be judged again"

    def test_a_held_scene_of_a_story_is_mended_all_the_same_and_it_is_told(self, wan: Film, hand: Hand):
        wan.hold("boat", 33)
        hand.off = 60
        wan.edit("a boat", "a ship")
        wan.render()
        assert wan.told("scene.done") == ["boat"]
        assert any("mended all the same, which may show" in text for text in wan.noted())
        wan.verified()
        assert wan.missing() == (set(), set())

    def test_gc_keeps_both_clips_and_drops_the_old_one(self, wan: Film):
        old = wan.rehearsed().reel.clips["boat"].path
        wan.hold("boat", 33)
        mend = wan.rehearsed().crew.mends["boat"]
        for current in (resolved(wan.rehearsed()), ()):  # as the story stands, and as it was last rendered
            sweep(wan.store, "real", current, dry_run=False)
            assert wan.missing() == (set(), set())
            assert mend.clip.path.is_dir()
            assert not old.exists()
        wan.verified()
        sweep(wan.store, "draft", (), dry_run=False)
        assert wan.missing() == (set(), set()), "a mended clip is of the mode of what it was mended from"

    def test_without_hold_again_the_mended_clip_goes(self, wan: Film):
        wan.hold("boat", 33)
        mended = wan.rehearsed().reel.clips["boat"].path
        wan.edit('hold   = "held/boat.png"\n', "")
        wan.render()
        sweep(wan.store, "real", resolved(wan.rehearsed()), dry_run=False)
        assert not mended.exists()
        wan.verified()

    def test_forced_it_is_drawn_and_mended_again(self, wan: Film, hand: Hand):
        wan.hold("boat", 33)
        hand.off = 4
        wan.render(scenes=frozenset({"boat"}), anew=frozenset({"boat"}))
        assert wan.told("scene.done") == wan.told("scene.mended") == ["boat"]
        wan.verified()

    def test_a_mended_clip_that_is_gone_is_mended_without_drawing(self, wan: Film, hand: Hand):
        wan.hold("boat", 33)
        shutil.rmtree(wan.rehearsed().reel.clips["boat"].path)
        hand.log.clear()
        wan.render()
        assert wan.told("scene.mended") == ["boat"]
        assert "render a boat" not in hand.log
        wan.verified()

    def test_a_model_that_takes_no_end_image(self, tmp_path: Path, models: Path, hand: Hand):
        look = 'size = "64x64"\nframes = 17\nmodel = "wan2.2-ti2v-5b"\n'
        film = Film(three(tmp_path / "story", look=look), False, {"device": "cpu", "weights": (models,)})
        with pytest.raises(StoryError, match=r"wan2.2-ti2v-5b takes no end image, so no scene can be drawn up to"):
            film.hold("boat")
        assert hand.log == []


def test_tiny_wan_itself(tmp_path: Path, models: Path):
    """Random weights draw no end that is near: the scene is refused, and mended where the story says hold."""
    path = three(tmp_path / "story", look=LOOK.replace("17", "9"))
    film = Film(path, False, {"device": "cpu", "weights": (models,), "compile": False})
    film.render()
    with pytest.raises(SceneFailed, match="too far from the frame it holds"):
        film.hold("boat", 5)
    last, sea = film.frames("boat")[-1], film.rehearsed().crew.shots["sea"]
    Image.fromarray(last).save(path.parent / "end.png")
    film.edit('name   = "boat" # ours', 'name   = "boat" # ours\nhold = "end.png"\nseed = 5')
    film.render()
    assert film.told("scene.done") == [], "it was drawn when it was refused"
    assert film.told("scene.mended") == film.told("segment.done") == ["boat"]
    np.testing.assert_array_equal(film.frames("boat")[-1], last)
    assert film.rehearsed().crew.shots["sea"] == sea
    film.verified()


class TestStory:
    def written(self, tmp_path: Path, size: tuple[int, int] = (64, 48), **boat: Any) -> Path:
        path = three(tmp_path / "story", hold="end.png", **boat)
        write_picture(path.parent, "end.png", 3, size)
        return path

    @pytest.mark.parametrize(
        ("keys", "told"),
        [
            ({"trim_end": 2}, "trim_end = 2: this scene ends on what it holds: drop trim_end, or drop hold"),
            ({"hand_on": "sharpest of 5"}, 'hand_on = "sharpest of 5": this scene ends on what it holds: drop hand_on'),
        ],
    )
    def test_hold_says_where_it_ends(self, tmp_path: Path, keys: dict[str, Any], told: str):
        with pytest.raises(StoryError) as error:
            read_story(self.written(tmp_path, **keys))
        assert told in str(error.value)

    def test_a_picture_of_another_size(self, tmp_path: Path):
        with pytest.raises(StoryError, match=r'hold = "end.png" is 128x96, and the clips are 64x48: name a frame of'):
            read_story(self.written(tmp_path, size=(128, 96)))

    def test_a_picture_that_is_not_there(self, tmp_path: Path):
        with pytest.raises(StoryError, match=r'hold = "ned.png" is not there'):
            read_story(three(tmp_path / "story", hold="ned.png"))

    def test_a_model_that_takes_no_end_image(self, tmp_path: Path):
        path = self.written(tmp_path)
        path.write_text(path.read_text().replace('recipe = "lightning-4"', 'model = "wan2.2-ti2v-5b"'))
        with pytest.raises(StoryError, match=r"wan2.2-ti2v-5b takes no end image: drop hold, or use wan2.2-i2v-a14b"):
            read_story(path)

    def test_the_picture_is_taken_as_it_is(self, tmp_path: Path):
        """Whatever the scene's fit: its size is the clips' own."""
        path = self.written(tmp_path, fit="contain")
        film = Film(path)
        film.render()
        with Image.open(path.parent / "end.png") as picture:
            np.testing.assert_array_equal(film.frames("boat")[-1], np.asarray(picture))


class TestWriting:
    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ('[[scene]]\nname = "a"\n', '[[scene]]\nname = "a"\nseed = 9\nhold = "held/a.png"\n'),
            (
                '[[scene]]\nname = "a"\nseed = 1 # lucky\nhold = "b.png" # mine\n',
                '[[scene]]\nname = "a"\nseed = 9 # lucky\nhold = "held/a.png" # mine\n',
            ),
            ('scene = [{ name="a", x = 1 }]\n', 'scene = [{ name="a", seed=9, hold="held/a.png", x = 1 }]\n'),
        ],
    )
    def test_both_keys_at_once(self, tmp_path: Path, before: str, after: str):
        path = tmp_path / "story.toml"
        path.write_text(before)
        write_keys(path, "a", {"seed": 9, "hold": "held/a.png"})
        assert path.read_text() == after

    def test_a_file_that_cannot_be_written_says_what_was_not(self, tmp_path: Path):
        with pytest.raises(StoryError, match=r'its new seed, 9, was not written, nor hold = "held/a.png": the file'):
            write_keys(tmp_path / "gone.toml", "a", {"seed": 9, "hold": "held/a.png"})

    def test_any_text(self):
        assert with_key('[[scene]]\nname = "a"', "a", "hold", 'a "b"\\é') == (
            '[[scene]]\nname = "a"\nhold = "a \\"b\\"\\\\é"'
        )


def command(*args: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "storyboard", *map(str, args)], capture_output=True, text=True, encoding="utf-8"
    )


def test_the_command(draft: Film):
    ran = command("render", draft.path, "--draft", "--scene", "boat", "--hold", "--json")
    assert ran.returncode == 0, ran.stderr
    events = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [event["scene"] for event in events if event["event"] == "scene.done"] == ["boat"]
    (written,) = [event for event in events if event["event"] == "hold.written"]
    assert (written["hold"], written["stays"]) == ("held/boat.png", ["sea"])
    assert draft.scene("boat").seed == written["seed"]
    assert command("verify", draft.path, "--draft").returncode == 0


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--hold"], "need exactly one --scene NAME"),
        (["--hold", "--scene", "boat", "--scene", "sea"], "need exactly one --scene NAME"),
        (["--hold", "--scene", "boat", "--force"], "one of --hold and --force"),
        (["--hold", "--scene", "boat", "--seed", "1", "--reroll"], "one of --seed and --reroll"),
    ],
)
def test_what_is_asked_wrongly(tmp_path: Path, args: list[str], says: str):
    ran = command("render", three(tmp_path / "story"), "--draft", *args)
    assert ran.returncode == 2
    assert says in " ".join(ran.stderr.replace("│", " ").split())
