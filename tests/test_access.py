"""A folder of models that this user may not look into: told of with the remedy, and all else is found nevertheless."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from post import rife_weights
from post.rife_weights import find_rife, known_rife
from post.weights import WeightsMissing, find_upscaler, known_upscalers
from scenes.access import REMEDY, denied
from scenes.wan import weights
from scenes.wan.models import I2V_A14B
from scenes.wan.weights import find_lora, find_weights, lora_files
from storyboard import doctor, wan_doctor
from storyboard.finding import Finding
from storyboard.models import model_lines, models_here
from storyboard.options import Options
from storyboard.plan import plan_of
from storyboard.rehearsal import rehearse
from storyboard.store import Store
from storyboard.story import read_story
from tests.stories import scene, write_picture, write_story
from tests.wan_heads import some, write_head

SAID = "cannot be read (Permission denied)"


@pytest.fixture(autouse=True)
def no_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(rife_weights, "_package_models", lambda: None)


@pytest.fixture
def closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As the system does it for everyone but root: neither is the folder listed, nor anything in it found."""
    folder = tmp_path / "closed"
    for name in ("vae", "loras", "upscale_models", "rife"):
        (folder / name).mkdir(parents=True)
    scandir, stat = os.scandir, Path.stat

    def refused(path: Any) -> bool:
        return Path(path).is_relative_to(folder)

    def scandir_(path: Any) -> Any:
        if refused(path):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    def stat_(path: Path, **more: Any) -> os.stat_result:
        if refused(path) and path != folder:
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, **more)

    monkeypatch.setattr(os, "scandir", scandir_)
    monkeypatch.setattr(Path, "stat", stat_)
    return folder


def test_what_is_said(closed: Path, tmp_path: Path) -> None:
    assert denied(closed) == f"{closed} {SAID}: {REMEDY}"
    assert denied(closed / "vae") == f"{closed / 'vae'} {SAID}: {REMEDY}"
    (tmp_path / "file").touch()
    assert [denied(path) for path in (tmp_path, tmp_path / "nowhere", tmp_path / "file")] == [None] * 3


def test_wans_files(closed: Path, tmp_path: Path) -> None:
    with pytest.raises(weights.WeightsMissing) as raised:
        find_weights(I2V_A14B.name, I2V_A14B, tmp_path, [closed])
    assert "Looked in no weights folder; and in" in str(raised.value)
    assert str(raised.value).endswith(f"Of no use: {closed} {SAID}: {REMEDY}")
    with pytest.raises(weights.WeightsMissing, match=r"in no weights folder\. Of no use: .*closed cannot be read"):
        find_lora("storm", tmp_path, [closed])
    opened = write_head(tmp_path / "open" / "loras" / "storm.safetensors", some(["a.lora_A.weight"]))
    assert find_lora("storm", tmp_path, [closed, tmp_path / "open"]) == opened


def test_upscalers(closed: Path, tmp_path: Path) -> None:
    name = "realesrgan-x2plus"
    with pytest.raises(WeightsMissing, match=rf"no folder of models can be read for .*\. {closed} cannot be read"):
        find_upscaler(name, [closed])
    assert SAID in str(known_upscalers([closed])[name])
    path = tmp_path / "RealESRGAN_x2plus.pth"
    path.write_bytes(b"\x80")
    assert find_upscaler(name, [closed, tmp_path]).path == path


def test_rife(closed: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match="closed cannot be read") as raised:
        find_rife("rife", [tmp_path, closed])
    assert str(raised.value).count(SAID) == 1
    assert REMEDY in str(known_rife([closed])["rife-4.7"])


def test_models_list_plan_and_doctor_go_on(closed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = list(model_lines(models_here([closed])))
    assert f"{closed} {SAID}: {REMEDY}" in lines
    assert lines[-1].strip().startswith("lightx2v-t2v")

    write_picture(tmp_path, "dock.png")
    story = write_story(tmp_path, scene("dock", image="dock.png"))
    rehearsed = rehearse(read_story(story), Store(tmp_path / "store"), Options(False, weights=(closed,)))
    assert any(f"{closed} {SAID}: {REMEDY}" in lack for lack in rehearsed.lacks)
    assert [each.name for each in plan_of(rehearsed, rehearsed.crew.store).scenes] == ["dock"]

    monkeypatch.setattr(doctor, "gpus", list)
    monkeypatch.setattr(wan_doctor, "gpus", list)
    found = list(doctor.examine([closed], tmp_path))
    assert Finding("models", "missing", f"{closed} {SAID}", REMEDY) in found
    assert found[-1].part == "disk"


def test_a_folder_of_loras_within(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is found in the others is listed, and the closed one told of; deeper ones too."""
    there = write_head(tmp_path / "loras" / "storm.safetensors", some(["a.lora_A.weight"]))
    (tmp_path / "loras" / "private").mkdir()
    scandir = os.scandir

    def scandir_(path: Any) -> Any:
        if Path(path).name == "private":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scandir_)
    troubles: list[str] = []
    assert lora_files([tmp_path], troubles) == {"storm.safetensors": there}
    assert troubles == [f"{tmp_path / 'loras' / 'private'} {SAID}: {REMEDY}"]
    assert models_here([tmp_path]).troubles == tuple(troubles)
    assert Finding("recipe", "note", troubles[0]) in list(wan_doctor.recipes([tmp_path]))


@pytest.mark.parametrize("name", ["Strom", "STORM-V2.safetensors", "storm_v2.gguf"])
def test_a_name_nearly_right(name: str, tmp_path: Path) -> None:
    for each in ("storm-v2.safetensors", "a-rain-of-frogs.safetensors"):
        write_head(tmp_path / "loras" / each, some(["a.lora_A.weight"]))
    hint = r'did you mean "storm-v2\.safetensors"\?$'
    with pytest.raises(weights.WeightsMissing, match=hint if name != "Strom" else r"loras$"):
        find_lora(name, tmp_path, [tmp_path])


def test_an_ending_alike_makes_no_name_alike(tmp_path: Path) -> None:
    write_head(tmp_path / "loras" / "rain.safetensors", some(["a.lora_A.weight"]))
    with pytest.raises(weights.WeightsMissing, match=r"loras$"):
        find_lora("snow.safetensors", tmp_path, [tmp_path])
