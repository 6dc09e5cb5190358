"""WAN from a folder of files to a film, on tiny weights in the exact formats: no network, no GPU."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from scenes.files import read_still
from scenes.footage import Clip
from storyboard.film import film
from storyboard.options import Options
from storyboard.production import produce
from storyboard.rehearsal import rehearse
from storyboard.store import Store
from storyboard.story import read_story
from storyboard.verify import verify
from tests.stories import Run, scene, write_picture, write_story
from tests.tiny_wan import as_dtype, lora, write_comfy_5b, write_comfy_folder, write_safetensors

torch.set_num_threads(1)
LOOK = 'size = "64x48"\nframes = 5\n'


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_comfy_folder(tmp_path_factory.mktemp("models"))


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("something reached for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    return


def render(path: Path, weights: Path, **options: object) -> Run:
    """Render for real, as the command does with --device cpu."""
    from storyboard.events import Event, Events

    story = read_story(path)
    kept = Store(path.parent / ".storyboard")
    heard: list[Event] = []
    with kept.in_use():
        asked = Options(False, device="cpu", weights=(weights,), **options)  # type: ignore[arg-type]
        outcome = produce(story, kept, asked, Events(None, (heard.append,)))
    return Run(outcome, story, kept, heard)


def clips(run: Run, weights: Path) -> dict[str, Clip]:
    """The kept clip of every scene."""
    return rehearse(run.story, run.store, Options(False, device="cpu", weights=(weights,))).reel.clips


def proved(run: Run, weights: Path) -> int:
    """How many seams hold; every check of the seam contract must."""
    rehearsed = rehearse(run.story, run.store, Options(False, device="cpu", weights=(weights,)))
    findings = list(verify(rehearsed, run.store))
    assert all(finding.holds for finding in findings), findings
    return sum("opens on" in finding.what for finding in findings)


def test_two_chained_scenes_become_a_film(tmp_path: Path, weights: Path) -> None:
    write_picture(tmp_path, "dock.png")
    path = write_story(tmp_path, scene("dock", image="dock.png"), scene("boat"), look=LOOK)
    run = render(path, weights)
    assert run.rendered == ["dock", "boat"]
    assert run.outcome.film is not None
    assert run.outcome.film.stat().st_size > 1000
    made = clips(run, weights)
    kept = json.loads((made["boat"].path / "clip.json").read_text())
    assert kept["made"]["renderer"] == "wan"
    recipe = json.loads((made["boat"].path / "recipe.json").read_text())["recipe"]
    assert recipe["opening"][0]["digest"] == made["dock"].last.digest
    assert [step["expert"] for step in recipe["renderer"]["recipe"]["steps"]] == ["high", "high", "low", "low"]
    assert proved(run, weights) == 1
    assert render(path, weights).rendered == []


def test_a_scene_alone_is_as_within_its_story(tmp_path: Path, weights: Path) -> None:
    for name in ("all", "one"):
        (tmp_path / name).mkdir()
        write_picture(tmp_path / name, "dock.png")
    scenes = (scene("dock", image="dock.png"), scene("boat"), scene("storm", after="dock"))
    whole = clips(render(write_story(tmp_path / "all", *scenes, look=LOOK), weights), weights)
    alone = render(write_story(tmp_path / "one", *scenes, look=LOOK), weights, scenes=frozenset({"storm"}))
    assert set(alone.rendered) == {"dock", "storm"}
    assert clips(alone, weights)["storm"].digest == whole["storm"].digest


def test_five_scenes_with_branch_join_end_picture_and_lora(tmp_path: Path, weights: Path) -> None:
    for seed, name in enumerate(("dock.png", "end.png")):
        write_picture(tmp_path, name, seed)
    write_safetensors(as_dtype(lora(77), torch.float16), tmp_path / "storm.safetensors")
    path = write_story(
        tmp_path,
        scene("dock", image="dock.png"),
        scene("boat", frames=9),
        scene("storm", after="dock", end_image="end.png", negative_prompt="blurry"),
        scene("calm"),
        scene("home", end_on="boat"),
        look=LOOK,
    )
    text = path.read_text().replace(
        'name = "calm"\n', 'name = "calm"\nloras = [{ file = "storm.safetensors", high = 0.0, low = 0.7 }]\n'
    )
    path.write_text(text)
    run = render(path, weights)
    assert run.rendered == ["dock", "boat", "storm", "calm", "home"]
    rehearsed = rehearse(run.story, run.store, Options(False, device="cpu", weights=(weights,)))
    assert proved(run, weights) == 4
    calm = rehearsed.crew.shots["calm"]
    assert [(lora.high, lora.low) for lora in calm.loras] == [(0.0, 0.7)]
    nag = rehearsed.crew.shots["storm"].renderer.recipe.nag  # type: ignore[attr-defined]
    assert nag is not None
    assert rehearsed.crew.shots["dock"].negative_prompt is None
    # A changed strength draws that scene anew, and what hangs on its last frame.
    path.write_text(text.replace("low = 0.7", "low = 0.2"))
    assert render(path, weights).rendered == ["calm", "home"]


KILLED = """
import os, signal, sys
from scenes.wan import studio
from storyboard.cli import app

denoise, shots = studio.denoise, []

def dying(*given, told, **more):
    def tell(step):
        if len(shots) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        told(step)
    shots.append(1)
    return denoise(*given, told=tell, **more)

studio.denoise = dying
app(sys.argv[1:])
"""


def test_killed_between_two_steps_it_goes_on_from_there(tmp_path: Path, weights: Path) -> None:
    scenes = (scene("dock", image="dock.png"), scene("boat"), scene("storm"))
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
        write_picture(tmp_path / name, "dock.png")
    whole = clips(render(write_story(tmp_path / "whole", *scenes, look=LOOK), weights), weights)
    path = write_story(tmp_path / "killed", *scenes, look=LOOK)
    command = [sys.executable, "-c", KILLED, "render", str(path), "--device", "cpu"]
    environment = {**os.environ, "STORYBOARD_MODELS": str(weights), "OMP_NUM_THREADS": "1"}
    killed = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    resumed = render(path, weights)
    assert resumed.rendered == ["boat", "storm"]
    assert proved(resumed, weights) == 2
    assert {name: clip.digest for name, clip in clips(resumed, weights).items()} == {
        name: clip.digest for name, clip in whole.items()
    }
    assert not list((resumed.store.root / "making").iterdir())


def test_the_5b_draws_too(tmp_path: Path) -> None:
    weights = write_comfy_5b(tmp_path / "models")
    write_picture(tmp_path, "dock.png")
    look = 'model = "wan2.2-ti2v-5b"\nsize = "64x64"\nframes = 5\nrecipe = "mine"\n'
    finish = '[recipe.mine]\nsampler = "uni_pc"\nsteps = 2\ncfg = 5.0\n'
    path = write_story(tmp_path, scene("dock", image="dock.png"), scene("boat"), look=look)
    path.write_text(path.read_text() + finish)
    run = render(path, weights)
    assert run.rendered == ["dock", "boat"]
    made = clips(run, weights)
    # The 5B's first latent is the picture's own: frame 0 redraws it, as near as the VAE can.
    assert read_still(made["boat"].last).shape == (64, 64, 3)
    assert film is not None
