"""`storyboard models list`: which file serves what, told from tiny checkpoints in the formats people have."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from post import rife_weights
from storyboard.catalogue import CATALOGUE
from storyboard.models import Here, model_lines, models_here
from tests import plain_ifnet, tiny_wan
from tests.imitation import Imitation, serving

torch.set_num_threads(1)
ROOT = Path(__file__).parents[1]
FP8 = "wan2.2_i2v_{}_noise_14B_fp8_scaled.safetensors"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both models as ComfyUI keeps them, and what people have beside them."""
    folder = tmp_path_factory.mktemp("weights") / "models"
    tiny_wan.write_comfy_folder(folder)
    tiny_wan.write_comfy_5b(folder)
    tiny_wan.write_expert(folder, "wan2.2_i2v_high_noise_14B_Q4_K", "Q4_K", 1)
    tiny_wan.write_expert(folder, "wan2.1_t2v_14B_fp16", "fp16", 1, (16, 16))
    (folder / "diffusion_models" / "wan2.2_broken.safetensors").write_bytes(b"<html>log in</html>")
    return folder


@pytest.fixture(autouse=True)
def no_other_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)


def text(here: Here) -> str:
    return "\n".join(model_lines(here))


def test_every_part_and_the_file_that_serves_it(weights: Path):
    here = models_here([weights])
    served = {model.name: {f.part: (Path(f.path).name, f.format) for f in model.files} for model in here.models}
    umt5 = "umt5_xxl_fp8_e4m3fn_scaled.safetensors"
    assert served == {
        "wan2.2-i2v-a14b": {
            "high": (FP8.format("high"), "fp8 scaled"),
            "low": (FP8.format("low"), "fp8 scaled"),
            "vae": ("wan_2.1_vae.safetensors", "fp32"),
            "text encoder": (umt5, "fp8 scaled"),
            "tokenizer": (umt5, "in the text encoder"),
        },
        "wan2.2-ti2v-5b": {
            "expert": ("wan2.2_ti2v_5B_fp16.safetensors", "fp16"),
            "vae": ("wan2.2_vae.safetensors", "fp32"),
            "text encoder": (umt5, "fp8 scaled"),
            "tokenizer": (umt5, "in the text encoder"),
        },
    }
    assert all(model.lacks is None for model in here.models)
    for file in here.models[0].files[:-1]:
        assert file.bytes == Path(file.path).stat().st_size
        assert file.path in text(here)


def test_a_diffusers_folder_serves_too(tmp_path: Path):
    tiny_wan.write_diffusers_folder(tmp_path / "models" / "diffusers" / "Wan2.2-I2V-A14B-Diffusers")
    model = models_here([tmp_path / "models"]).models[0]
    assert model.lacks is None
    assert [(file.part, Path(file.path).name) for file in model.files][:2] == [
        ("high", "transformer"),
        ("low", "transformer_2"),
    ]
    assert all(file.bytes > 0 for file in model.files)


def test_recipes_and_their_loras(weights: Path):
    recipes = {recipe.name: recipe for recipe in models_here([weights]).recipes}
    pair = [f"wan2.2_i2v_lightx2v_4steps_lora_v1_{side}_noise.safetensors" for side in ("high", "low")]
    assert [Path(path).name for path in recipes["lightning-4"].loras] == pair
    assert recipes["lightning-4"].note is None
    assert recipes["motion-6"].note is not None  # another family's are here
    assert recipes["motion-6"].pull == "storyboard models pull lightx2v"
    assert [Path(path).name for path in recipes["hybrid-12"].loras] == pair[1:]  # it has none on the other expert
    assert (recipes["quality-40"].loras, recipes["quality-40"].lacks) == ((), None)
    assert re.search(r"quality-40 +none needed", text(models_here([weights])))


def test_what_is_refused_and_what_is_taken_instead(weights: Path):
    here = models_here([weights])
    refused = {Path(each.path).name: each.why for each in here.refused}
    assert set(refused) == {"wan2.1_t2v_14B_fp16.safetensors", "wan2.2_broken.safetensors"}
    assert "text-to-video" in refused["wan2.1_t2v_14B_fp16.safetensors"]
    assert "is a web page" in refused["wan2.2_broken.safetensors"]
    others = {Path(each.path).name: each.what for each in here.others}
    assert others == {"wan2.2_i2v_high_noise_14B_Q4_K.gguf": "expert of wan2.2-i2v-a14b, high noise, GGUF Q4_K"}
    assert all(why in text(here) for why in refused.values())


def test_what_is_missing_and_the_pull_that_brings_it(weights: Path, tmp_path: Path):
    shutil.copytree(weights / "vae", tmp_path / "models" / "vae")
    for folders in ([], [tmp_path / "models"], [tmp_path / "nowhere"]):
        here = models_here(folders)
        said = text(here)
        assert all(model.lacks and not model.files for model in here.models)
        pulls = set(re.findall(r"models pull ([\w.-]+)", said)) - {"NAME"}
        assert pulls >= {"wan2.2-i2v-a14b", "wan2.2-ti2v-5b", "lightning", "lightx2v"}
        assert pulls <= set(CATALOGUE)
    assert f"{tmp_path / 'nowhere'} is no folder" in said
    assert "no weights folder is named" in text(models_here([]))
    assert "its VAE," not in text(models_here([tmp_path / "models"]))
    assert "also here" in text(models_here([tmp_path / "models"]))


def test_upscalers_are_listed(weights: Path):
    here = models_here([weights])
    assert {"realesrgan-x4plus", "realesr-general-x4v3"} <= {each.name for each in here.upscalers}
    assert all((each.path is None) == (each.lacks is not None) for each in here.upscalers)


def test_interpolators_are_listed_with_what_serves_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rife_weights, "_package_models", lambda: None)
    pulled = CATALOGUE["rife-4.7"].files[0]
    path = tmp_path / pulled.folder / pulled.name
    path.parent.mkdir()
    torch.save(plain_ifnet.zeros(plain_ifnet.KINDS["4.7"]), path)
    here = models_here([tmp_path])
    assert {each.name: (each.path, each.version) for each in here.interpolators} == {
        "rife": (str(path), "4.7"),
        "rife-4.6": (None, None),
        "rife-4.7": (str(path), "4.7"),
        "rife-4.26": (None, None),
    }
    pulls = {each.name: each.pull for each in here.interpolators if each.pull}
    assert pulls["rife"] == pulls["rife-4.26"] == "storyboard models pull rife-4.26"
    assert {pull.rpartition(" ")[2] for pull in pulls.values()} <= set(CATALOGUE)
    assert re.search(rf"rife +4\.7 +{re.escape(str(path))}", text(here))
    assert re.search(r"rife-4\.6 +its weights are not in .*: put rife46\.pth", text(here))


def test_the_command_without_torch(weights: Path, tmp_path: Path):
    code = "import sys\nsys.modules['torch'] = None\nfrom storyboard.cli import main\nmain()\n"
    env = {**os.environ, "STORYBOARD_MODELS": str(weights), "HF_HOME": str(tmp_path)}
    for args in (["list"], ["list", "--json"]):
        command = [sys.executable, "-W", "error", "-c", code, "models", *args]
        ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=env, timeout=60)
        assert (ran.returncode, ran.stderr) == (0, "")
    facts = json.loads(ran.stdout)
    assert facts["folders"] == [str(weights)]
    assert [model["name"] for model in facts["models"]] == ["wan2.2-i2v-a14b", "wan2.2-ti2v-5b"]
    assert {each["name"] for each in facts["published"]} == set(CATALOGUE)


def test_what_is_pulled_serves(weights: Path, tmp_path: Path):
    """From nothing to a model that can be drawn with, in one pull."""
    bundle = CATALOGUE["wan2.2-i2v-a14b"]
    files = {(file.repo, file.path): (weights / file.folder / file.name).read_bytes() for file in bundle.files}
    home = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "STORYBOARD_MODELS": str(tmp_path / "models")}
    with serving(Imitation(files)) as hub:
        command = [sys.executable, "-W", "error", "-m", "storyboard", "models", "pull", bundle.name]
        env = {**os.environ, **home, "HF_ENDPOINT": hub.url, "no_proxy": "127.0.0.1"}
        ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=env, timeout=60)
    assert ran.returncode == 0, ran.stderr
    here = models_here([tmp_path / "models"])
    assert here.models[0].lacks is None
    assert next(recipe for recipe in here.recipes if recipe.name == "lightning-4").lacks is None
    assert here.refused == here.others == here.troubles == ()
