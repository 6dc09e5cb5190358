"""`storyboard clip`: one clip without a story, drawn as drafts here, by the same rules as a story's scene."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import pytest
from typer.testing import CliRunner

from storyboard.cli import app
from storyboard.clip import Asked, ClipError, clip_story
from storyboard.story import Story, read_story
from tests.commands import run_here
from tests.playing import played
from tests.stories import scene, write_picture, write_story

B5 = {"model": "wan2.2-ti2v-5b", "recipe": "quality-40"}
TINY = ("-w", "64", "--height", "48", "-l", "5", "--draft")


def run(folder: Path, *args: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "storyboard", "clip", *map(str, args)]
    ours = ("STORYBOARD_", "INPUT_", "POSITIVE_", "NEGATIVE_", "WIDTH", "HEIGHT", "LENGTH", "SEED")
    rest = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    whole = {**rest, "COLUMNS": "300", "PYTHONPATH": str(Path(__file__).parents[1]), **env}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=whole, cwd=folder, timeout=60)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a picture, which is the current one."""
    write_picture(tmp_path, "dock.png", 1)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said_by(clip: Path) -> dict[str, Any]:
    """What a film says of itself."""
    with av.open(str(clip)) as container:
        return json.loads(container.metadata["storyboard"])


def asked(**keys: Any) -> tuple[Story, list[str]]:
    """The story of a clip, and what was said about it."""
    said: list[str] = []
    resize = keys.pop("resize", True)
    given = {"image": Path("dock.png"), "prompt": "a boat leaves", **keys}
    return clip_story(Asked(**given), Path(".storyboard"), resize, said.append), said


def test_a_clip_is_one_file(here: Path):
    ran = run(here, "-i", "dock.png", "-p", "a boat leaves", "-n", "blurry", *TINY)
    assert ran.returncode == 0, ran.stderr
    clip = Path(ran.stdout.strip())
    assert clip.parent == here / "out"
    assert re.fullmatch(r"dock-[0-9a-f]{8}\.draft\.mp4", clip.name)
    assert sorted(path.name for path in here.iterdir()) == [".storyboard", "dock.png", "out"]
    assert [path.name for path in clip.parent.iterdir()] == [clip.name]
    assert not (here / ".storyboard" / "single").exists()
    assert len(played(clip, (64, 48))) == 10  # five, interpolated to twice the rate
    said = said_by(clip)
    assert said["scenes"][0] | {"name": ""} == {
        "name": "", "prompt": "a boat leaves", "seed": 0, "frames": 5, "recipe": "lightning-4",
    }  # fmt: skip
    assert "animatic stands in for wan2.2-i2v-a14b (draft)" in said["stand_ins"]
    assert "draft: animatic stands in" in ran.stderr


def test_the_same_clip_is_made_once(here: Path):
    first = run(here, "-i", "dock.png", "-p", "a boat leaves", *TINY)
    again = run(here, "-i", here / "dock.png", "-p", "a boat leaves", *TINY)
    assert "nothing to do" in again.stderr
    assert again.stdout == first.stdout
    other = run(here, "-i", "dock.png", "-p", "a boat returns", *TINY)
    assert other.stdout != first.stdout
    assert len(list((here / "out").iterdir())) == 2


def test_a_clip_is_the_scene_of_a_story(here: Path):
    clip = run(here, "-i", "dock.png", "-p", "a boat leaves", "--seed", "7", *TINY, "--interpolate", "none", "--json")
    assert clip.returncode == 0, clip.stderr
    keys = {event["key"] for event in map(json.loads, clip.stdout.splitlines()) if event["event"] == "scene.done"}
    assert len(keys) == 1
    path = write_story(here, scene("dock", image="dock.png", prompt="a boat leaves", seed=7))
    command = [sys.executable, "-m", "storyboard", "plan", str(path), "--draft", "--json"]
    planned = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert [each["state"] for each in planned["scenes"]] == ["kept"]


@pytest.mark.parametrize("size", [(64, 48), (300, 100), (100, 300), (50, 50), (90, 100), (1200, 1000)])
@pytest.mark.parametrize("model", ["wan2.2-i2v-a14b", "wan2.2-ti2v-5b"])
def test_auto_size_is_the_storys_rule(here: Path, size: tuple[int, int], model: str):
    write_picture(here, "dock.png", 1, size)
    recipe = "quality-40"
    look = f'size = "auto"\nmodel = "{model}"\nrecipe = "{recipe}"\n'
    story = read_story(write_story(here, scene("dock", image="dock.png"), look=look))
    mine, said = asked(model=model, recipe=recipe)
    assert (mine.size, mine.fps, mine.scenes[0].frames) == (story.size, story.fps, story.scenes[0].frames)
    assert said == []


@pytest.mark.parametrize(
    ("keys", "size", "says"),
    [
        ({"width": 832, "height": 480}, (832, 480), ""),
        ({"width": 850, "height": 470}, (848, 464), "850x470 is taken to 848x464: wan2.2-i2v-a14b draws"),
        ({"width": 3, "height": 3}, (16, 16), "multiples of 16"),
        ({"width": 640}, (640, 480), ""),
        ({"height": 100}, (128, 96), "128x100 is taken to 128x96"),
        ({"width": 850, "height": 470, **B5}, (864, 480), "multiples of 32"),
    ],
)  # fmt: skip
def test_sizes_are_taken_to_the_nearest(here: Path, keys: dict[str, Any], size: tuple[int, int], says: str):
    story, said = asked(**keys)
    assert story.size == size
    assert says in "".join(said)
    assert bool(said) == bool(says)


def test_frames_are_taken_to_4n_plus_1(here: Path):
    story, said = asked(frames=82)
    assert story.scenes[0].frames == 81
    assert said == ["-l 82 is taken to 81: wan2.2-i2v-a14b draws 4n+1 frames"]


def test_a_clip_is_finished_as_a_story_but_not_upscaled(here: Path):
    story, _ = asked()
    default = read_story(write_story(here, scene("dock", image="dock.png"), finish="")).finishing
    mine = story.finishing
    assert (mine.upscaler, mine.size) == ("none", story.size)
    assert (mine.interpolator, mine.factor) == (default.interpolator, default.factor)
    assert (mine.codec, mine.crf, mine.preset) == (default.codec, default.crf, default.preset)
    doubled, _ = asked(upscale="lanczos", interpolate="none", width=64, height=48)
    assert (doubled.finishing.size, doubled.finishing.factor) == ((128, 96), 1)


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"image": Path("dok.png")}, r'-i: image = ".*dok.png" is not there \(did you mean ".*dock.png"\?\)'),
        ({"image": Path("~nosuchuser/x.png")}, r"-i: image = .*~nosuchuser/x.png\" is not there"),
        ({"image": Path()}, r"-i: image = .* is a folder"),
        ({"end_image": Path("end.png")}, r"-e: end_image = .* is not there"),
        ({"width": 850, "height": 470, "resize": False}, r'-w and --height: .* of 16 \(nearest: "848x464"'),
        ({"width": 9000, "height": 480}, r"-w and --height: .* is past 4096"),
        ({"recipe": "lightnin-4"}, r"--recipe: .*lightnin-4.*lightning-4"),
        ({**B5, "end_image": Path("dock.png")}, r"-e: .*takes no end image"),
        ({"film": Path("x.mov")}, r"-o: .* must end in .mp4"),
        ({"film": Path("out.mp4")}, r"-o: .* is a folder"),
        ({"frames": 5000}, r"-l: .*5000"),
        ({"prompt": ""}, r"-p: .*prompt"),
        ({"upscale": "realesrgan"}, r"--upscale: there is no upscaler"),
        ({"interpolate": "raif"}, r"--interpolate: .*raif"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_in_the_commands_words(here: Path, keys: dict[str, Any], says: str):
    (here / "out.mp4").mkdir()
    with pytest.raises(ClipError, match=says):
        asked(**keys)


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (["-p", "x"], 2, "Missing option '--image'"),
        (["-i", "dock.png"], 2, "Missing option '--prompt'"),
        (["-i", "dok.png", "-p", "x", "-o", "x.mov"], 2, "-i: image ="),
        (["-i", "dock.png", "-p", "x", "--seed", "-1"], 2, "0"),
        (["-i", "dock.png", "-p", "x", "--draft", "--store", "dock.png"], 4, "is a file"),
        (["-i", "dock.png", "-p", "x", "--device", "cpu"], 4, "for a clip by --interpolate flow"),
        (["-i", "dock.png", "-p", "x", "--vram", "some"], 2, "--vram: some is no size"),
        (["-i", "half.png", "-p", "x", *TINY], 3, "half.png cannot be decoded"),
    ],
)
def test_exit_codes(here: Path, args: list[str], code: int, says: str):
    (here / "half.png").write_bytes((here / "dock.png").read_bytes()[:120])
    ran = run_here("clip", *args, env={"COLUMNS": "300"})
    assert ran.returncode == code, ran.stderr
    assert says in ran.stderr
    assert "Traceback" not in ran.stderr
    assert ran.stdout == ""


def test_variables_stand_in_for_options(here: Path):
    env = {"INPUT_IMAGE": "dock.png", "POSITIVE_PROMPT": "a boat", "NEGATIVE_PROMPT": "blur", "WIDTH": "64",
           "HEIGHT": "48", "LENGTH": "9", "SEED": "3", "STORYBOARD_STORE": "kept"}  # fmt: skip
    ran = run(here, "--draft", "--seed", "4", "-o", "here/mine.mp4", **env)
    assert ran.returncode == 0, ran.stderr
    assert Path(ran.stdout.strip()) == here / "here" / "mine.draft.mp4"
    said = said_by(here / "here" / "mine.draft.mp4")["scenes"][0]
    assert (said["prompt"], said["seed"], said["frames"]) == ("a boat", 4, 9)
    assert (here / "kept" / "clips").is_dir()


def test_a_clip_is_drawn_by_wan(here: Path, monkeypatch: pytest.MonkeyPatch):
    """The same path with a model: tiny weights, on the CPU; in this process, which has loaded torch before."""
    import torch

    from tests.tiny_wan import write_comfy_folder

    torch.set_num_threads(1)
    monkeypatch.setenv("STORYBOARD_MODELS", str(write_comfy_folder(here / "models")))
    for name in ("XDG_CACHE_HOME", "HF_HOME"):
        monkeypatch.setenv(name, str(here / "cache"))
    args = ("-w", "96", "--height", "64", "-l", "5", "--device", "cpu", "--interpolate", "none")
    ran = CliRunner().invoke(app, ["clip", "-i", "dock.png", "-p", "a boat leaves", "-n", "blurry", *args])
    assert ran.exit_code == 0, ran.stderr
    clip = Path(ran.stdout.strip())
    assert [path.name for path in clip.parent.iterdir()] == [clip.name]
    assert re.fullmatch(r"dock-[0-9a-f]{8}\.mp4", clip.name)
    assert played(clip, (96, 64)).shape == (5, 64, 96, 3)
    assert "stand_ins" not in said_by(clip)
