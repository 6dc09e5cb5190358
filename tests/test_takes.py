"""Takes on the animatic: what is drawn, kept, listed, chosen and dropped."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from shutil import rmtree
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from scenes.animatic import AnimaticStudio
from scenes.files import load_clip, read_span, write_clip
from scenes.footage import Clip, Span
from scenes.shot import MachineLacks
from storyboard.candidates import seed_of
from storyboard.choosing import Chosen, NotToBeChosen, choose
from storyboard.contact_sheet import GAP, LABEL_WIDTH, Row, shown, write_preview, write_sheet
from storyboard.events import Event, Events
from storyboard.film import SceneFailed
from storyboard.lineage import ListedScene, as_json, lines, listed
from storyboard.manifest import Manifest
from storyboard.options import Options
from storyboard.progress import Bars, sentence
from storyboard.rehearsal import Rehearsed, rehearse
from storyboard.resolve import derived_seed
from storyboard.retakes import Drawn, make_takes
from storyboard.store import CLIPS, Store
from storyboard.story import read_story
from storyboard.sweep import Swept, note_dropped, resolved, sweep
from storyboard.takes import Take, Takes
from storyboard.verify import verify
from tests.commands import run_here
from tests.stories import Run, render, scene, write_picture, write_story
from tests.test_cli import run

ROOT = Path(__file__).parents[1]


@dataclass
class Film:
    """A story of drafts, as the commands see it."""

    path: Path
    events: list[Event] = field(default_factory=list[Event])

    @property
    def store(self) -> Store:
        return Store(self.path.parent / ".storyboard")

    @property
    def out(self) -> Path:
        return self.path.parent / "out" / "takes"

    def rehearsed(self) -> Rehearsed:
        return rehearse(read_story(self.path), self.store, Options(True))

    def draw(self, name: str, count: int, **options: Any) -> Drawn:
        store = self.store
        self.events.clear()
        with store.in_use():
            events = Events(None, (self.events.append,))
            return make_takes(read_story(self.path), store, Options(True, **options), events, name, count)

    def render(self, **options: Any) -> Run:
        return render(self.path, **options)

    def told(self, name: str) -> list[int]:
        return [event["take"] for event in self.events if event["event"] == name]

    def takes(self, name: str) -> tuple[Take, ...]:
        return Takes(self.store, Manifest(self.store, self.path), "draft", name).all()

    def choose(self, name: str, number: int) -> Chosen:
        return choose(self.rehearsed(), self.store, name, number)

    def listed(self) -> dict[str, ListedScene]:
        return {each.name: each for each in listed(self.rehearsed(), self.store, None)}

    def missing(self) -> tuple[set[str], set[str]]:
        crew = self.rehearsed().crew
        return crew.missing_clips, crew.missing_segments

    def seed(self, name: str) -> int:
        return read_story(self.path).scene(name).seed

    def clip(self, take: Take) -> Clip:
        home = Takes(self.store, Manifest(self.store, self.path), "draft", "boat").home(take)
        assert home is not None
        return load_clip(home)

    def proved(self) -> int:
        """How many things verify found exact; nothing may be broken."""
        found = list(verify(self.rehearsed(), self.store))
        assert [each.what for each in found if each.holds is False] == []
        return sum(each.holds is True for each in found)

    def edit(self, old: str, new: str) -> None:
        text = self.path.read_text(encoding="utf-8")
        assert old in text
        self.path.write_text(text.replace(old, new), encoding="utf-8")


@pytest.fixture
def film(tmp_path: Path) -> Film:
    """dock -> boat -> sea, and an inn after a cut. The boat's camera shakes by its seed."""
    write_picture(tmp_path, "dock.png", 1)
    write_picture(tmp_path, "inn.png", 2)
    path = write_story(
        tmp_path,
        scene("dock", image="dock.png", camera="push in"),
        scene("boat", camera="handheld"),
        scene("sea", camera="pan left"),
        scene("inn", image="inn.png", camera="hold"),
    )
    path.write_text("# of a dock\n" + path.read_text().replace('name = "boat"', 'name = "boat"   # rows'))
    return Film(path)


class TestDrawing:
    def test_only_the_takes_and_what_they_open_on(self, film: Film):
        drawn = film.draw("boat", 4)
        assert [event["scene"] for event in film.events if event["event"] == "scene.done"] == ["dock"]
        assert film.told("take.done") == [1, 2, 3, 4]
        assert not [event for event in film.events if event["event"].startswith(("segment", "film"))]
        assert film.missing() == ({"sea", "inn"}, {"dock", "boat", "sea", "inn"}), "the boat itself is take 1"
        assert len({take.digest for take in drawn.takes}) == 4
        assert not (film.path.parent / "out" / "story.draft.mp4").exists()

    def test_seeds_are_derived_from_the_scenes(self, film: Film):
        own = film.seed("boat")
        film.draw("boat", 3)
        assert [take.seed for take in film.takes("boat")] == [own, seed_of(own, 2), seed_of(own, 3)]
        assert seed_of(7, 2) == derived_seed(7, "take 2") == 3783010839

    def test_the_current_clip_counts(self, film: Film):
        film.render()
        film.draw("boat", 3)
        assert (film.told("take.kept"), film.told("take.done")) == ([1], [2, 3])
        assert film.missing() == (set(), set()), "the film is as it was"
        film.draw("boat", 3)
        assert film.told("take.done") == []
        film.draw("boat", 5)
        assert (film.told("take.kept"), film.told("take.done")) == ([1, 2, 3], [4, 5])

    def test_takes_of_a_scene_that_opens_on_a_picture(self, film: Film):
        film.draw("dock", 2)
        assert film.told("take.done") == [1, 2]
        assert [event["event"] for event in film.events if event["event"].startswith("scene")] == []

    def test_a_changed_scene_gets_takes_of_its_own(self, film: Film):
        film.draw("boat", 2)
        film.edit("a boat", "a red boat")
        film.draw("boat", 2)
        assert film.told("take.done") == [3, 4]
        film.edit("a red boat", "a boat")
        film.draw("boat", 2)
        assert film.told("take.done") == []
        assert [take.number for take in film.takes("boat")] == [1, 2, 3, 4]

    def test_what_was_damaged_is_drawn_again_under_its_number(self, film: Film):
        film.draw("boat", 3)
        damaged = film.takes("boat")[1]
        (film.clip(damaged).path / "clip.mkv").write_bytes(b"no clip")
        film.draw("boat", 3)
        assert film.told("take.done") == [2]
        assert film.takes("boat")[1].digest == damaged.digest

    def test_a_parent_made_again_as_it_was_brings_its_takes_back(self, film: Film):
        film.draw("boat", 3)
        (film.store.home(CLIPS, _key(film, "dock")) / "clip.mkv").unlink()
        film.draw("boat", 3)
        assert [event["scene"] for event in film.events if event["event"] == "scene.done"] == ["dock"]
        assert film.told("take.done") == []
        assert film.told("take.kept") == [1, 2, 3]

    def test_one_studio_for_all(self, film: Film, monkeypatch: pytest.MonkeyPatch):
        closed: list[int] = []
        monkeypatch.setattr(AnimaticStudio, "close", lambda studio: closed.append(1))
        film.draw("boat", 3)
        assert len([event for event in film.events if event["event"] == "studio.opened"]) == 1
        assert closed == [1]

    def test_alike_takes_are_noted(self, film: Film):
        film.draw("sea", 3)
        assert [event["text"] for event in film.events if event["event"] == "note"] == [
            "takes 1, 2, 3 are alike, pixel for pixel: a draft's seed moves its camera at most, "
            "and a move that the scene or its prompt names stays"
        ]

    def test_verify_passes(self, film: Film):
        film.render()
        film.draw("boat", 3)
        assert film.proved() == 6


def _key(film: Film, name: str) -> str:
    return Manifest(film.store, film.path).scene("draft", name)["shot"]


class TestFailing:
    @pytest.fixture
    def third_fails(self, film: Film, monkeypatch: pytest.MonkeyPatch) -> None:
        bad, whole = seed_of(film.seed("boat"), 3), AnimaticStudio.render

        def render(studio: AnimaticStudio, shot: Any, tell: Any) -> Any:
            if shot.seed == bad and not (film.path.parent / "mended").exists():
                raise ValueError("it would not do")
            return whole(studio, shot, tell)

        monkeypatch.setattr(AnimaticStudio, "render", render)

    def test_loses_none_of_those_done(self, film: Film, third_fails: None):
        with pytest.raises(SceneFailed, match=r'scene "boat": it would not do'):
            film.draw("boat", 4)
        assert film.told("take.failed") == [3]
        assert [take.number for take in film.takes("boat")] == [1, 2]
        assert (film.out / "boat.draft.png").exists(), "what is there may be looked at"
        assert film.events[-1]["text"].startswith("what is there so far is on ")
        (film.path.parent / "mended").touch()
        film.draw("boat", 4)
        assert film.told("take.done") == [3, 4]

    def test_goes_on_where_asked(self, film: Film, third_fails: None):
        drawn = film.draw("boat", 4, keep_going=True)
        assert drawn.failed == {"boat.3": "it would not do"}
        assert [take.number for take in drawn.takes] == [1, 2, 4]
        (film.path.parent / "mended").touch()
        film.draw("boat", 4)
        assert film.told("take.done") == [3]

    def test_ctrl_c_loses_none_of_those_done(self, tmp_path: Path):
        write_picture(tmp_path, "a.png", 1, (832, 480))
        path = write_story(
            tmp_path, scene("boat", image="a.png", camera="handheld"), look='size = "832x480"\nframes = 81\n'
        )
        command = [sys.executable, "-m", "storyboard", "render", str(path), "--draft", "--json"]
        command += ["--scene", "boat", "--takes", "3"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
        assert process.stdout is not None
        for line in process.stdout:
            event = json.loads(line)
            if event["event"] == "take.progress" and event["take"] == 2:
                break
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 130, said
        film = Film(path)
        assert [take.number for take in film.takes("boat")] == [1]
        film.draw("boat", 3)
        assert (film.told("take.kept"), film.told("take.done")) == ([1], [2, 3])

    def test_two_runs_at_once_lose_none(self, film: Film):
        film.render()
        environment = {**os.environ, "COLUMNS": "100"}
        commands = [
            [sys.executable, "-m", "storyboard", "render", str(film.path), "--draft", "--scene", name, "--takes", "4"]
            for name in ("boat", "dock", "boat")
        ]
        running = [
            subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=ROOT, env=environment)
            for command in commands
        ]
        for process in running:
            _, said = process.communicate(timeout=120)
            assert process.returncode == 0, said
        for name in ("boat", "dock"):
            assert [take.number for take in film.takes(name)] == [1, 2, 3, 4]

    def test_takes_noted_at_once_are_all_there(self, film: Film):
        film.draw("boat", 2)
        keys = [take.key for take in film.takes("boat")]

        def note(number: int) -> None:
            book = Takes(film.store, Manifest(film.store, film.path), "draft", f"other{number % 3}")
            book.note(keys[number % 2])

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(note, range(24)))
        assert [len(film.takes(f"other{index}")) for index in range(3)] == [2, 2, 2]
        assert len(film.takes("boat")) == 2


class TestSheet:
    def test_shows_five_frames_of_each(self, film: Film):
        drawn = film.draw("boat", 3)
        assert drawn.sheet == film.out / "boat.draft.png"
        sheet = np.asarray(Image.open(drawn.sheet).convert("RGB"))
        for row, take in enumerate(film.takes("boat")):
            clip = film.clip(take)
            for column, frame in enumerate(read_span(Span(clip, 0, 5))):
                y, x = 3 * GAP + 40 + row * (66 + GAP), LABEL_WIDTH + column * (64 + GAP)
                assert (sheet[y : y + 48, x : x + 64] == frame).all(), (take.number, column)
        assert shown(81) == [0, 20, 40, 60, 80]

    def test_a_heading_of_many_lines_is_one_and_fits(self, tmp_path: Path):
        frames = (np.full((48, 64, 3), 99, np.uint8),) * 5
        rows = [Row(("take 1", f"seed {2**63 - 1}"), frames)]
        for number, title in enumerate(("boat: a\nboat\tat\r\nsea", "sea " * 2000)):
            write_sheet(title, rows, 81, tmp_path / f"{number}.png")
        one, long = (np.asarray(Image.open(tmp_path / f"{number}.png")) for number in range(2))
        assert one.shape == long.shape
        assert one.shape[1] > LABEL_WIDTH + 5 * 64 + 6 * GAP, "room for the seed"
        assert (long[:30, -GAP:] == long[0, 0]).all(), "nothing runs over the edge"

    def test_previews_play_every_frame(self, film: Film):
        film.draw("boat", 2)
        for number in (1, 2):
            with av.open(film.out / f"boat.{number}.draft.mp4") as container:
                stream = container.streams.video[0]
                assert (stream.codec_context.name, stream.width, stream.height) == ("h264", 64, 48)
                assert len(list(container.decode(stream))) == 5

    def test_a_preview_is_small_and_written_once(self, tmp_path: Path):
        frames = [np.full((482, 834, 3), 9 * index, np.uint8) for index in range(9)]
        home = tmp_path / "clip"
        home.mkdir()
        write_clip(iter(frames), home, Fraction(16), 9, {})
        target = tmp_path / "preview.mp4"
        thumbs = write_preview(load_clip(home), target)
        assert [int(thumb[0, 0, 0]) // 9 for thumb in thumbs] == [0, 2, 4, 6, 8]
        with av.open(target) as container:
            stream = container.streams.video[0]
            assert (stream.width, stream.height) == (480, 278)
        before = target.stat()
        again = write_preview(load_clip(home), target)
        assert target.stat().st_ino == before.st_ino
        assert all((one == other).all() for one, other in zip(thumbs, again, strict=True))


class TestChoosing:
    def test_writes_the_seed_and_nothing_else(self, film: Film):
        film.render()
        film.draw("boat", 3)
        before = tomllib.loads(film.path.read_text())
        chosen = film.choose("boat", 3)
        text = film.path.read_text()
        assert text.startswith("# of a dock\n")
        assert 'name = "boat"   # rows\nseed = ' in text
        before["scene"][1]["seed"] = chosen.take.seed
        assert tomllib.loads(text) == before
        assert film.missing() == ({"sea"}, {"boat", "sea"})
        again = film.render()
        assert (again.rendered, sorted(again.finished)) == (["sea"], ["boat", "sea"])
        assert film.proved() == 6

    def test_and_back_again_makes_nothing(self, film: Film):
        film.render()
        film.draw("boat", 2)
        film.choose("boat", 2)
        film.render()
        chosen = film.choose("boat", 1)
        assert (chosen.written, chosen.swapped) == (True, False)
        assert film.missing() == (set(), set())
        assert film.render().rendered == []

    def test_what_was_forced_out_changes_places(self, film: Film):
        film.render()
        older = _other_pixels(film)
        film.render(anew=frozenset({"boat"}))
        first, second = film.takes("boat")
        assert (first.digest == older, second.digest == older) == (True, False)
        text = film.path.read_text()
        chosen = film.choose("boat", 1)
        assert (chosen.written, chosen.swapped) == (False, True)
        assert film.path.read_text() == text
        first, second = film.takes("boat")
        assert (first.folder, second.folder is None) == (None, False)
        assert film.clip(first).path == film.store.home(CLIPS, first.key)
        assert film.clip(first).digest == older
        assert film.clip(second).digest == second.digest
        assert film.render().rendered == [], "the sea that follows it is kept, too"
        (clip,) = film.listed()["sea"].takes
        assert (str(clip.made_of), clip.chosen) == ("boat's take 1", True)
        assert film.proved() == 6
        assert film.choose("boat", 2).swapped
        assert film.clip(second).path == film.store.home(CLIPS, first.key)

    def test_a_swap_cut_short_loses_nothing(self, film: Film, monkeypatch: pytest.MonkeyPatch):
        film.render()
        older = _other_pixels(film)
        film.render(anew=frozenset({"boat"}))
        newer = film.takes("boat")[1]
        monkeypatch.setattr(Path, "rename", _killed_at(2, Path.rename))
        with pytest.raises(KeyboardInterrupt):
            film.choose("boat", 1)
        monkeypatch.undo()
        sweep(film.store, "draft", resolved(film.rehearsed()), dry_run=False)
        first, second = film.takes("boat")
        assert (film.clip(first).digest, film.clip(second).digest) == (older, newer.digest)
        film.choose("boat", 2)
        assert film.rehearsed().reel.clips["boat"].digest == newer.digest

    def test_of_a_changed_scene_is_refused_with_the_reason(self, film: Film):
        film.draw("boat", 2)
        film.edit("a boat", "a red boat")
        text = film.path.read_text()
        with pytest.raises(NotToBeChosen, match=r"take 2 was made otherwise .*\(prompt changed\)") as refused:
            film.choose("boat", 2)
        assert f"--scene boat --seed {film.takes('boat')[1].seed}" in str(refused.value)
        assert film.path.read_text() == text

    def test_on_another_opening_is_refused(self, film: Film):
        film.draw("boat", 2)
        film.edit('camera = "push in"', 'camera = "pull out"')
        with pytest.raises(NotToBeChosen, match="boat waits for dock: render that first"):
            film.choose("boat", 2)
        film.render(scenes=frozenset({"dock"}))
        with pytest.raises(NotToBeChosen, match="opens on dock's new last frame"):
            film.choose("boat", 2)

    def test_what_is_not_there(self, film: Film):
        with pytest.raises(NotToBeChosen, match=r"boat has no takes: .*--takes 4 makes some"):
            film.choose("boat", 1)
        film.draw("boat", 3)
        with pytest.raises(NotToBeChosen, match="boat has no take 7; there are 1, 2, 3"):
            film.choose("boat", 7)

    def test_damaged_is_refused_and_drawn_again(self, film: Film):
        film.draw("boat", 2)
        clip = film.clip(film.takes("boat")[1]).path / "clip.mkv"
        clip.write_bytes(clip.read_bytes()[:-1] + b"!")
        text = film.path.read_text()
        with pytest.raises(NotToBeChosen, match=r"take 2 is damaged and was set aside .*: --takes draws it again"):
            film.choose("boat", 2)
        assert film.path.read_text() == text
        film.draw("boat", 2)
        assert film.told("take.done") == [2]
        film.choose("boat", 2)

    def test_seed_0_is_a_seed(self, film: Film):
        film.edit('name = "boat"   # rows', 'name = "boat"\nseed = 0')
        film.draw("boat", 2)
        film.choose("boat", 2)
        assert film.choose("boat", 1).take.seed == 0
        assert film.seed("boat") == 0

    def test_a_story_that_cannot_be_written_stays_as_it_is(self, film: Film, monkeypatch: pytest.MonkeyPatch):
        film.draw("boat", 2)
        text = film.path.read_text()
        monkeypatch.setattr("storyboard.choosing.os.access", lambda path, how: False)
        with pytest.raises(MachineLacks, match="cannot be written to"):
            film.choose("boat", 2)
        assert film.path.read_text() == text


def _other_pixels(film: Film) -> str:
    """The boat's kept clip as another machine would have drawn it: other pixels, same key. Gives its digest."""
    home = film.store.home(CLIPS, _key(film, "boat"))
    clip = load_clip(home)
    frames = [np.full((48, 64, 3), 40 + index, np.uint8) for index in range(clip.frames)]
    write_clip(iter(frames), home, clip.fps, clip.frames, {})
    film.render()
    return load_clip(home).digest


def _killed_at(count: int, rename: Any) -> Any:
    """Path.rename, killed instead of the count-th time."""
    calls: list[int] = []

    def killed(path: Path, target: Path) -> Path:
        calls.append(1)
        if len(calls) == count:
            raise KeyboardInterrupt
        return rename(path, target)

    return killed


class TestListing:
    def test_of_which_take_each_clip_was_made(self, film: Film):
        film.render()
        film.draw("boat", 2)
        film.choose("boat", 2)
        found = film.listed()
        one, two = found["boat"].takes
        assert (one.chosen, two.chosen) == (False, True)
        assert str(two.made_of) == "dock as it is"
        (clip,) = found["sea"].takes
        assert (clip.number, str(clip.made_of), clip.chosen) == (None, "boat's take 1", False)
        assert (found["sea"].state, found["sea"].why) == ("render", "opens on boat's new last frame")
        film.render()
        (clip,) = film.listed()["sea"].takes
        assert (str(clip.made_of), clip.chosen) == ("boat's take 2", True)

    def test_an_earlier_parent(self, film: Film):
        film.render()
        film.edit('camera = "handheld"', 'camera = "roll left"')
        film.render(scenes=frozenset({"boat"}))
        assert str(film.listed()["sea"].takes[0].made_of) == "an earlier boat"

    def test_as_text_and_as_json(self, film: Film):
        film.render()
        film.draw("boat", 2)
        film.edit("a boat", "a red boat")
        rehearsed = film.rehearsed()
        scenes = listed(rehearsed, film.store, frozenset({"boat"}))
        text = list(lines(scenes))
        assert text[0] == "boat  render: prompt changed"
        assert text[2].strip() == "made otherwise: prompt changed"
        assert text[1].startswith(f"  take 1     seed {film.takes('boat')[0].seed}")
        assert max(map(len, text)) <= 80
        facts = json.loads(json.dumps(as_json(rehearsed, scenes)))
        assert (facts["version"], facts["mode"]) == (1, "draft")
        assert [take["number"] for take in facts["scenes"][0]["takes"]] == [1, 2]
        assert facts["scenes"][0]["takes"][0]["misfits"] == ["prompt changed"]

    def test_a_broken_picture(self, film: Film):
        (film.path.parent / "dock.png").write_bytes((film.path.parent / "dock.png").read_bytes()[:120])
        text = "\n".join(lines(list(film.listed().values())))
        assert "dock.png" in text
        assert "boat  waits for dock" in text


class TestManifest:
    def test_older_records_are_read(self, film: Film):
        film.render()
        key, store = _key(film, "boat"), film.store
        moved = store.set_aside(store.home(CLIPS, key), "takes")
        assert moved is not None
        film.render()
        manifest = Manifest(store, film.path)
        facts = json.loads(manifest.path.read_text())
        facts["modes"]["draft"]["takes"] = {"boat": [moved.name, f"{key}.9"]}
        manifest.path.write_text(json.dumps(facts))
        first, gone = film.takes("boat")
        assert (first.number, first.folder, first.seed) == (1, moved.name, film.seed("boat"))
        assert (gone.number, gone.folder, gone.seed) == (2, f"{key}.9", None)
        assert sweep(store, "draft", dry_run=True).other == 0
        film.draw("boat", 2)
        assert [take.number for take in film.takes("boat")] == [1, 2, 3, 4]
        assert film.takes("boat")[0] == first
        with pytest.raises(NotToBeChosen, match="take 2 is gone"):
            film.choose("boat", 2)

    def test_a_record_that_is_none_is_told(self, film: Film):
        film.draw("boat", 2)
        manifest = Manifest(film.store, film.path)
        facts = json.loads(manifest.path.read_text())
        del facts["modes"]["draft"]["takes"]["boat"][0]["number"]
        manifest.path.write_text(json.dumps(facts))
        with pytest.raises(Exception, match="has a take that is none"):
            film.takes("boat")


class TestRerolled:
    def test_both_clips_are_takes(self, film: Film):
        film.render()
        old = film.seed("boat")
        assert run_here("render", film.path, "--draft", "--scene", "boat", "--seed", "12", env={}).returncode == 0
        assert [(take.number, take.seed) for take in film.takes("boat")] == [(1, old), (2, 12)]
        assert run_here("render", film.path, "--draft", "--scene", "boat", "--reroll", env={}).returncode == 0
        assert [take.number for take in film.takes("boat")] == [1, 2, 3]
        film.choose("boat", 1)
        assert film.seed("boat") == old
        run = film.render()
        assert "boat" not in [event["scene"] for event in run.events if event["event"] == "scene.done"]
        assert film.proved() == 6

    def test_without_a_clip_before_there_is_nothing_to_choose(self, film: Film):
        assert run_here("render", film.path, "--draft", "--scene", "boat", "--seed", "12", env={}).returncode == 0
        assert film.takes("boat") == ()

    def test_a_clip_that_is_gone_is_no_take(self, film: Film):
        film.render()
        old = Manifest(film.store, film.path).scene("draft", "boat")["shot"]
        film.edit('name = "boat"', 'name = "boat"\nseed = 5')
        rmtree(film.store.home(CLIPS, old))
        assert run_here("render", film.path, "--draft", "--scene", "boat", "--seed", "12", env={}).returncode == 0
        assert [take.seed for take in film.takes("boat")] == [12]


class TestSweep:
    def swept(self, film: Film, *, takes: bool = False, dry_run: bool = False) -> Swept:
        manifest = Manifest(film.store, film.path)
        found = sweep(
            film.store,
            "draft",
            resolved(film.rehearsed()),
            dry_run=dry_run,
            takes_of=manifest if takes else None,
        )
        if takes and not dry_run:
            note_dropped(film.store, manifest, "draft")
        return found

    def test_keeps_takes(self, film: Film):
        film.render()
        film.draw("boat", 4)
        found = self.swept(film)
        assert (found.clips, found.takes, found.other) == (0, 0, 0)
        film.draw("boat", 4)
        assert film.told("take.done") == []

    def test_drops_those_not_chosen_where_asked(self, film: Film):
        film.render()
        film.draw("boat", 4)
        film.choose("boat", 2)
        film.render()
        dry = self.swept(film, takes=True, dry_run=True)
        found = self.swept(film, takes=True)
        assert (found.clips, found.takes) == (1, 3), "the sea that the first take led to is no take"
        assert dry == found
        assert [take.dropped for take in film.takes("boat")] == [True, False, True, True]
        assert film.missing() == (set(), set())
        assert film.proved() == 6
        with pytest.raises(NotToBeChosen, match=r"take 3 is dropped: storyboard render .* --seed \d+ draws it"):
            film.choose("boat", 3)
        film.draw("boat", 3)
        assert (film.told("take.kept"), film.told("take.done")) == ([2], [5, 6]), "what was dropped is not drawn again"

    def test_forced_ones_are_takes_too(self, film: Film):
        film.render()
        _other_pixels(film)
        film.render(anew=frozenset({"boat"}))
        assert self.swept(film).takes == 0
        assert self.swept(film, takes=True).takes == 1

    def test_another_storys_takes_stay(self, film: Film, tmp_path: Path):
        film.draw("boat", 3)
        other = Film(tmp_path / "other.toml")
        other.path.write_text(film.path.read_text())
        other.draw("boat", 2)
        assert other.told("take.done") == []
        found = self.swept(film, takes=True)
        assert found.takes == 1
        assert [take.dropped for take in film.takes("boat")] == [False, False, True]


class TestCommands:
    def test_from_candidates_to_the_film(self, film: Film):
        made = run("render", film.path, "--draft", "--scene", "boat", "--takes", "3")
        assert made.returncode == 0, made.stderr
        assert made.stdout.strip() == str(film.out / "boat.draft.png")
        assert "1 clip to render first, 3 takes to render" in made.stderr
        assert re.search(r"boat take 2: seed \d+, .*boat\.2\.draft\.mp4", made.stderr)
        assert re.search(r"boat take 1: seed \d+, the story's, ", made.stderr)
        assert f"choose one: storyboard take {film.path} boat NUMBER --draft" in made.stderr
        assert run("render", film.path, "--draft").returncode == 0
        chosen = run("take", film.path, "boat", "2")
        assert chosen.returncode == 0, chosen.stderr
        assert chosen.stdout.splitlines()[1:] == [
            "sea: render, opens on boat's new last frame",
            f"1 clip to render, 2 to finish: storyboard render {film.path} --draft",
        ]
        assert "it was chosen by its draft" in chosen.stderr
        listing = run("takes", film.path, "--scene", "boat").stdout
        assert re.search(r"take 2   \* seed \d+ +\d{4}-\d\d-\d\d \d\d:\d\d +chosen, of dock as it is", listing)
        assert json.loads(run("takes", film.path, "--json").stdout)["version"] == 1
        assert run("verify", film.path).returncode == 0
        # The first is what the film in out/ was made of.
        assert run("gc", film.path, "--takes").stdout.startswith("dropped 1 takes, 0 clips, ")

    @pytest.mark.parametrize(
        ("args", "says"),
        [
            (["--takes", "4"], "--takes needs exactly one --scene NAME"),
            (["--takes", "4", "--scene", "boat", "--scene", "dock"], "--takes needs exactly one --scene NAME"),
            (["--takes", "4", "--scene", "boat", "--force"], "--takes goes with none of --force"),
            (["--takes", "4", "--scene", "boat", "--seed", "3"], "--takes goes with none of --force"),
            (["--takes", "4", "--scene", "boat", "--reroll"], "--takes goes with none of --force"),
            (["--takes", "4", "--scene", "boat", "--film", "x.mp4"], "--takes goes with none of --force"),
            (["--takes", "1", "--scene", "boat"], "greater than or equal to 2"),
            (["--takes", "4", "--scene", "baot"], 'did you mean "boat"?'),
        ],
    )
    def test_usage(self, film: Film, args: list[str], says: str):
        ran = run_here("render", film.path, "--draft", *args, env={"COLUMNS": "100"})
        assert ran.returncode == 2
        assert says in " ".join(ran.stderr.replace("│", " ").split())
        assert not film.store.root.exists()

    def test_what_cannot_be_chosen(self, film: Film):
        assert run("take", film.path, "baot", "1").returncode == 2
        assert run("take", film.path, "boat", "one").returncode == 2
        none = run("take", film.path, "boat", "1", "--draft")
        assert (none.returncode, "boat has no takes" in none.stderr) == (1, True)

    def test_without_weights_or_a_gpu_nothing_is_begun(self, film: Film):
        bare = {"STORYBOARD_MODELS": "", "CUDA_VISIBLE_DEVICES": "", "HF_HOME": str(film.path.parent / "none")}
        ran = run("render", film.path, "--scene", "boat", "--takes", "2", env=bare)
        assert ran.returncode == 4
        assert "--draft draws without" in ran.stderr
        assert not (film.store.root / "clips").exists()

    def test_a_broken_picture_is_the_storys_fault(self, film: Film):
        (film.path.parent / "dock.png").write_bytes((film.path.parent / "dock.png").read_bytes()[:120])
        for more in ([], ["--keep-going"]):
            ran = run("render", film.path, "--draft", "--scene", "boat", "--takes", "2", *more)
            assert ran.returncode == 3
            assert "Traceback" not in ran.stderr


def test_events_read_as_sentences():
    done = {"event": "take.done", "scene": "boat", "take": 3, "seconds": 2.04}
    assert sentence(done) == "boat take 3: rendered in 2.0 s"
    assert sentence({**done, "event": "take.failed"}) == "boat take 3: failed"
    started = {"event": "run.started", "render": ["boat.2"], "finish": [], "takes": 1}
    assert sentence(started) == "1 take to render"
    assert sentence({**started, "render": [], "takes": 0}) == "every take is kept"


def test_bars_count_takes(film: Film, capsys: pytest.CaptureFixture[str]):
    film.draw("boat", 3)
    with Bars() as bars:
        for event in film.events:
            bars(event)
    said = capsys.readouterr().err
    assert "boat take 3: rendered in" in said
    assert bars._work == {"render dock", "render boat.1", "render boat.2", "render boat.3"}
    assert {name for name, done in bars._done.items() if done == 1.0} >= bars._work
