"""Takes drawn by WAN on tiny weights: one studio, other noise, and a story that goes on from the one chosen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from scenes.shot import MachineLacks
from scenes.wan.renderer import Wan
from storyboard.choosing import choose
from storyboard.events import Event, Events
from storyboard.manifest import Manifest
from storyboard.options import Options
from storyboard.production import produce
from storyboard.rehearsal import Rehearsed, rehearse
from storyboard.retakes import make_takes
from storyboard.store import Store
from storyboard.story import read_story
from storyboard.takes import Take, Takes
from storyboard.verify import verify
from tests.stories import scene, write_picture, write_story
from tests.tiny_wan import write_comfy_folder

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_comfy_folder(tmp_path_factory.mktemp("models"))


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    for name in ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.setenv(name, str(tmp_path_factory.mktemp("hub")))
    return


class Film:
    """dock -> boat -> sea, rendered for real as the command does with --device cpu."""

    def __init__(self, folder: Path, weights: Path) -> None:
        write_picture(folder, "dock.png", 1)
        scenes = scene("dock", image="dock.png"), scene("boat"), scene("sea")
        self.path = write_story(folder, *scenes, look='size = "64x48"\nframes = 5\n')
        self.path.write_text("# of a dock\n" + self.path.read_text())
        self.store = Store(folder / ".storyboard")
        self.options = Options(False, device="cpu", weights=(weights,))
        self.events: list[Event] = []

    def _listening(self) -> Events:
        self.events = []
        return Events(None, (self.events.append,))

    def render(self) -> None:
        with self.store.in_use():
            produce(read_story(self.path), self.store, self.options, self._listening())

    def draw(self, count: int) -> None:
        with self.store.in_use():
            make_takes(read_story(self.path), self.store, self.options, self._listening(), "boat", count)

    def rehearsed(self) -> Rehearsed:
        return rehearse(read_story(self.path), self.store, self.options)

    def takes(self) -> tuple[Take, ...]:
        return Takes(self.store, Manifest(self.store, self.path), "real", "boat").all()

    def told(self, *names: str) -> list[str]:
        return [f"{e['scene']}.{e['take']}" if "take" in e else e["scene"] for e in self.events if e["event"] in names]

    def proved(self) -> int:
        found = list(verify(self.rehearsed(), self.store))
        assert [each.what for each in found if not each.holds] == []
        return len(found)


def test_from_takes_to_the_film(tmp_path: Path, weights: Path):
    film = Film(tmp_path, weights)
    film.render()
    film.draw(3)
    assert film.told("take.done", "scene.done") == ["boat.2", "boat.3"], "the boat that is there is take 1"
    assert len([event for event in film.events if event["event"] == "studio.opened"]) == 1
    assert film.told("segment.done") == []
    assert film.proved() == 5
    takes = film.takes()
    assert len({take.digest for take in takes}) == 3
    assert (tmp_path / "out" / "takes" / "boat.png").exists()
    assert (tmp_path / "out" / "takes" / "boat.3.mp4").exists()
    assert choose(film.rehearsed(), film.store, "boat", 3).written
    assert film.path.read_text().startswith("# of a dock\n")
    film.render()
    assert film.told("scene.done") == ["sea"]
    assert sorted(film.told("segment.done")) == ["boat", "sea"]
    assert film.proved() == 5
    choose(film.rehearsed(), film.store, "boat", 1)
    film.render()
    assert film.told("scene.done", "segment.done") == [], "the film that was there first"


def test_what_the_scene_needs_is_drawn_in_the_same_studio(tmp_path: Path, weights: Path):
    film = Film(tmp_path, weights)
    film.draw(2)
    assert film.told("take.done", "scene.done") == ["dock", "boat.1", "boat.2"]
    assert len([event for event in film.events if event["event"] == "studio.opened"]) == 1


def test_a_machine_that_cannot_draw_begins_nothing(tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch):
    film = Film(tmp_path, weights)
    film.render()
    monkeypatch.setattr("storyboard.gear.wan_problems", lambda story, device: ["no GPU here"])
    monkeypatch.setattr(Wan, "open", lambda *_: pytest.fail("loaded"))
    with pytest.raises(MachineLacks, match="no GPU here"):
        film.draw(2)
    assert film.takes() == ()
