"""Weights are found where people keep them, those that belong together are taken, and what is wrong is said."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from scenes.files import file_digest
from scenes.shot import MachineLacks
from scenes.wan import candidates as candidates_module
from scenes.wan.checkpoint import CheckpointError, read_checkpoint
from scenes.wan.file_names import family, side_of
from scenes.wan.identify import expert_names
from scenes.wan.models import I2V_A14B, TI2V_5B, WanModel
from scenes.wan.weights import (
    Located,
    WeightsMissing,
    candidates,
    find_lora,
    find_weights,
    hashed,
    lora_files,
    troubles,
)
from scenes.wan.weights_folders import hub_cache
from storyboard.identity import digest
from tests import tiny_wan
from tests.wan_heads import TINY, expert_tensors, some, write_head

torch.set_num_threads(1)

A14B, B5 = I2V_A14B.name, TI2V_5B.name
HIGH, LOW = "wan2.2_i2v_high_noise_14B_fp16", "wan2.2_i2v_low_noise_14B_fp16"
Heads = dict[str, tuple[str, tuple[int, ...]]]


@pytest.fixture(autouse=True)
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No test looks into the hub's cache of whoever runs it."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


# Files of a few kB that are whole but for their weights.


def heads(state: Mapping[str, torch.Tensor]) -> Heads:
    return {name: ("BF16", tuple(tensor.shape)) for name, tensor in state.items()}


@cache
def vae(z: int, ours: bool = False) -> Heads:
    model = tiny_wan.vae21() if z == 16 else tiny_wan.vae22()
    return heads(model.state_dict() if ours else tiny_wan.original_vae(model))


@cache
def text(tokenizer: bool = True) -> Heads:
    state = heads(tiny_wan.comfy_text_encoder(tiny_wan.text_encoder()))
    return state | ({"spiece_model": ("U8", (100,))} if tokenizer else {})


def put(folder: Path, name: str, tensors: Heads) -> Path:
    return write_head(folder / (name if name.endswith(".safetensors") else f"{name}.safetensors"), tensors)


def expert(folder: Path, name: str, dtype: str = "F16", channels: tuple[int, int] = (36, 16), layers: int = 2) -> Path:
    shape = replace(TINY, in_channels=channels[0], out_channels=channels[1], layers=layers)
    return put(folder / "diffusion_models", name, expert_tensors(shape, dtype))


def comfy(folder: Path, *experts: str) -> Path:
    """ComfyUI's `models` with all that both models need, but for the experts not named."""
    for name in experts or (HIGH, LOW):
        expert(folder, name)
    put(folder / "vae", "wan_2.1_vae", vae(16))
    put(folder / "vae", "wan2.2_vae", vae(48))
    put(folder / "text_encoders", "umt5_xxl_fp16", text())
    return folder


def find(folder: Path, named: str | Mapping[str, str] = A14B, model: WanModel = I2V_A14B) -> Located:
    return find_weights(named, model, folder.parent, [folder])


def pair(folder: Path) -> tuple[str, str]:
    located = find(folder)
    assert located.low is not None
    return located.high.name, located.low.name


def whole(folder: Path, low: bool = True, channels: tuple[int, int] = (36, 16)) -> Path:
    """A folder as diffusers writes it."""
    shape = replace(TINY, in_channels=channels[0], out_channels=channels[1])
    for part in ("transformer", *(["transformer_2"] if low else [])):
        write_head(folder / part / "diffusion_pytorch_model.safetensors", expert_tensors(shape, ours=True))
    z = 48 if channels[0] == 48 else 16
    write_head(folder / "vae" / "diffusion_pytorch_model.safetensors", vae(z, ours=True))
    write_head(folder / "text_encoder" / "model.safetensors", text(tokenizer=False))
    (folder / "tokenizer").mkdir()
    (folder / "tokenizer" / "spiece.model").write_bytes(b"pieces")
    (folder / "tokenizer" / "tokenizer.json").write_text("{}")
    none = [None, None]
    index = {
        "_class_name": "WanImageToVideoPipeline" if low else "WanPipeline",
        "expand_timesteps": not low,
        "image_encoder": none,
        "transformer": ["diffusers", "WanTransformer3DModel"],
        "transformer_2": ["diffusers", "WanTransformer3DModel"] if low else none,
    }
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


# Where people keep them.


def test_comfyuis_folders_are_found_from_above_and_within(tmp_path: Path) -> None:
    models = comfy(tmp_path / "ComfyUI" / "models")
    expected = Located(
        models / "diffusion_models" / f"{HIGH}.safetensors",
        models / "diffusion_models" / f"{LOW}.safetensors",
        models / "vae" / "wan_2.1_vae.safetensors",
        models / "text_encoders" / "umt5_xxl_fp16.safetensors",
        None,
    )
    for root in (models, tmp_path / "ComfyUI", tmp_path):
        assert find(root) == expected


@pytest.mark.parametrize("experts", ["unet", "checkpoints", "diffusion_models/wan/22"])
def test_older_names_of_the_folders_and_sub_folders(experts: str, tmp_path: Path) -> None:
    models = comfy(tmp_path / "models")
    (models / "text_encoders").rename(models / "clip")
    aside = models / "aside"
    (models / "diffusion_models").rename(aside)
    (models / experts).parent.mkdir(parents=True, exist_ok=True)
    aside.rename(models / experts)
    located = find(models)
    assert located.high.parent == models / experts
    assert located.text_encoder.parent.name == "clip"


def test_a_tiny_comfyui_folder_in_the_exact_formats(tmp_path: Path) -> None:
    located = find(tiny_wan.write_comfy_folder(tmp_path / "models"))
    assert located.high.name == "wan2.2_i2v_high_noise_14B_fp8_scaled.safetensors"
    assert located.text_encoder.name == "umt5_xxl_fp8_e4m3fn_scaled.safetensors"
    assert located.tokenizer is None


def test_a_folder_of_files_without_sub_folders(tmp_path: Path) -> None:
    models = comfy(tmp_path / "models")
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in models.rglob("*.safetensors"):
        path.rename(flat / path.name)
    assert find(flat).vae == flat / "wan_2.1_vae.safetensors"
    assert find(tmp_path / "models" / "none", {"high": f"{flat / HIGH}", "low": f"{flat / LOW}"} | named_rest(flat))


def named_rest(folder: Path) -> dict[str, str]:
    return {"vae": f"{folder}/wan_2.1_vae", "text_encoder": f"{folder}/umt5_xxl_fp16"}


def test_extra_model_paths(tmp_path: Path) -> None:
    models = comfy(tmp_path / "ComfyUI" / "models")
    elsewhere = tmp_path / "big disk"
    elsewhere.mkdir()
    (models / "diffusion_models").rename(elsewhere / "unet")
    (models / "vae").rename(elsewhere / "vae2")
    (tmp_path / "ComfyUI" / "extra_model_paths.yaml").write_text(f"""
comfyui:
    base_path: {elsewhere}
    is_default: true
    vae: vae2
    diffusion_models: |
        missing/
        unet/   # legacy location
other_ui: null
a111:
    loras: |
        {elsewhere}/loras
""")
    for root in (models, tmp_path / "ComfyUI"):
        located = find(root)
        assert located.high == elsewhere / "unet" / f"{HIGH}.safetensors"
        assert located.vae == elsewhere / "vae2" / "wan_2.1_vae.safetensors"


def test_a_broken_extra_model_paths_is_told_of(tmp_path: Path) -> None:
    models = comfy(tmp_path / "models")
    (models / "extra_model_paths.yaml").write_text("comfyui: [")
    assert find(models).high.name == f"{HIGH}.safetensors"
    (said,) = troubles([models])
    assert said.startswith(f"{models / 'extra_model_paths.yaml'} cannot be read (while parsing a flow")


def test_a_whole_model_by_name_in_the_folders_and_in_the_hubs_cache(tmp_path: Path, hub: Path) -> None:
    named = whole(tmp_path / "Wan2.2-I2V-A14B-Diffusers")
    expected = Located(
        named / "transformer",
        named / "transformer_2",
        named / "vae",
        named / "text_encoder",
        named / "tokenizer" / "spiece.model",
    )
    assert find(tmp_path / "none", str(named)) == expected
    assert find(tmp_path / "none", named.name) == expected  # beside the story
    assert find(tmp_path) == expected  # a folder of models
    snapshot = in_cache(hub, "Wan-AI/Wan2.2-I2V-A14B-Diffusers")
    named.rename(snapshot)
    assert find(tmp_path / "none").high == snapshot / "transformer"
    assert find(tmp_path / "none", "Wan-AI/Wan2.2-I2V-A14B-Diffusers").low == snapshot / "transformer_2"


def in_cache(hub: Path, repo: str, revision: str = "abc") -> Path:
    """Where a snapshot would lie; its folder is not made."""
    home = hub / f"models--{repo.replace('/', '--')}"
    (home / "snapshots").mkdir(parents=True)
    (home / "snapshots" / "0older").mkdir()
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(revision)
    return home / "snapshots" / revision


def test_the_hubs_cache_lies_where_the_hub_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HF_HUB_CACHE")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    assert hub_cache() == tmp_path / "hub"
    monkeypatch.delenv("HF_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert hub_cache() == tmp_path / "huggingface" / "hub"


def test_repackaged_files_in_the_hubs_cache_and_named_folders_before_it(tmp_path: Path, hub: Path) -> None:
    snapshot = in_cache(hub, "Comfy-Org/Wan_2.2_ComfyUI_Repackaged")
    comfy(snapshot / "split_files")
    assert find(tmp_path / "none").high.parent == snapshot / "split_files" / "diffusion_models"
    names = [name.replace("fp16", "fp8_scaled") for name in (HIGH, LOW)]
    models = comfy(tmp_path / "models", *names)
    assert pair(models) == tuple(f"{name}.safetensors" for name in names)  # less exact, and where the person said
    (models / "vae" / "wan_2.1_vae.safetensors").unlink()
    assert find(models).vae == snapshot / "split_files" / "vae" / "wan_2.1_vae.safetensors"


def test_wan_ais_own_repository_with_its_shards(tmp_path: Path) -> None:
    models = comfy(tmp_path / "models", "other")
    for side in ("high", "low"):
        folder = models / "diffusion_models" / "Wan2.2-I2V-A14B" / f"{side}_noise_model"
        tensors = list(expert_tensors().items())
        where: dict[str, str] = {}
        for number, part in enumerate((tensors[:20], tensors[20:]), 1):
            name = f"diffusion_pytorch_model-0000{number}-of-00002.safetensors"
            write_head(folder / name, dict(part))
            where |= dict.fromkeys(dict(part), name)
        index = folder / "diffusion_pytorch_model.safetensors.index.json"
        index.write_text(json.dumps({"weight_map": where}))
    assert pair(models) == ("high_noise_model", "low_noise_model")


# Which one is taken.


def test_sides_are_told_by_names() -> None:
    names = {
        "wan2.2_i2v_high_noise_14B_fp8_scaled.safetensors": "high",
        "Wan2.2-I2V-A14B-LowNoise-Q3_K_L.gguf": "low",
        "Wan2_2-I2V-A14B-HIGH_fp8_e4m3fn_scaled_KJ.safetensors": "high",
        "smoothMixWan22I2VT2V_i2vHigh.safetensors": "high",
        "wan22Remix_i2vLowV20.safetensors": "low",
        "wan22EnhancedNSFWCamera_v2FP8H.safetensors": "high",
        "Wan2.2-I2V-A14B-L-Q4_K_M.gguf": "low",
        "HighNoise/model.gguf": "high",
        "low/wan22.safetensors": "low",
        "wan2.2-Q3_K_L.gguf": None,
        "wan_high_low_merge.safetensors": None,
        "slowmotion_highlights.safetensors": None,
        "high/wan_high_low_merge.safetensors": None,
    }
    assert {name: side_of(Path(name)) for name in names} == names


def test_experts_of_one_model_have_one_family() -> None:
    together = [
        ("wan2.2_i2v_high_noise_14B_fp16", "wan2.2_i2v_low_noise_14B_fp16"),
        ("Wan2.2-I2V-A14B-HighNoise-Q4_K_M", "Wan2.2-I2V-A14B-LowNoise-Q4_K_M"),
        ("smoothMix_i2vHigh", "smoothMix_i2vLow"),
    ]
    for high, low in together:
        assert family(Path(f"{high}.gguf")) == family(Path(f"{low}.gguf"))
    assert family(Path(together[0][0])) != family(Path(together[1][1]))


def test_the_more_exact_format_is_taken_then_the_published_name(tmp_path: Path) -> None:
    models = comfy(tmp_path / "models", "smoothMix_i2vHigh", "smoothMix_i2vLow")
    assert pair(models) == ("smoothMix_i2vHigh.safetensors", "smoothMix_i2vLow.safetensors")
    names = {"F8_E5M2": "fp8_e5m2", "F8_E4M3": "fp8_e4m3fn", "F16": "fp16", "BF16": "bf16"}
    for dtype, form in names.items():
        high, low = (expert(models, f"Wan2_2-I2V-A14B-{side}_{form}", dtype).name for side in ("HIGH", "LOW"))
        assert pair(models) == (high, low)


def test_gguf_comes_after_the_others_and_the_largest_first(tmp_path: Path) -> None:
    models = comfy(tmp_path / "models", "other")
    (models / "diffusion_models" / "other.safetensors").unlink()
    state = tiny_wan.original_expert(tiny_wan.expert().state_dict())
    for kind in ("Q4_0", "Q4_K", "Q8_0"):
        for side in ("High", "Low"):
            path = models / "diffusion_models" / f"{side}Noise" / f"Wan2.2-I2V-A14B-{side}Noise-{kind}.gguf"
            tiny_wan.write_gguf(state, path, kind)
        assert find(models).high.name == f"Wan2.2-I2V-A14B-HighNoise-{kind}.gguf"
    expert(models, HIGH, "F8_E4M3")
    expert(models, LOW, "F8_E4M3")
    assert pair(models) == (f"{HIGH}.safetensors", f"{LOW}.safetensors")


def test_finetunes_are_never_mixed_with_others(tmp_path: Path) -> None:
    models = comfy(tmp_path / "models", "smoothMix_i2vHigh", LOW)
    with pytest.raises(WeightsMissing, match="whose partner is not here"):
        find(models)
    high = expert(models, "wan2.2_i2v_high_noise_14B_fp8_scaled", "F8_E4M3")  # of other precision, but of one model
    assert pair(models) == (high.name, f"{LOW}.safetensors")


def test_of_several_finetunes_one_must_be_named(tmp_path: Path) -> None:
    models = comfy(tmp_path / "models", "smoothMix_i2vHigh", "smoothMix_i2vLow", "remix_i2vHigh", "remix_i2vLow")
    first, second = (models / "diffusion_models" / f"{name}_i2vHigh.safetensors" for name in ("remix", "smoothMix"))
    with pytest.raises(CheckpointError) as raised:
        find(models)
    assert str(raised.value) == f"{first}, {second} could each be meant: name the one to use in [look] model"
    assert find(models, {"high": second.name}).low == second.with_name("smoothMix_i2vLow.safetensors")
    whole(models / "Wan2.2-I2V-A14B-Diffusers")  # the model itself
    assert pair(models) == ("transformer", "transformer_2")
    (models / "Wan2.2-I2V-A14B-Diffusers").rename(models / "MyMix-Diffusers")
    with pytest.raises(CheckpointError, match="could each be meant"):
        find(models)


def test_vae_and_text_encoder_fit_the_model(tmp_path: Path) -> None:
    models = comfy(tmp_path / "models")
    expert(models, "wan2.2_ti2v_5B_fp16", channels=(48, 48))
    put(models / "text_encoders", "umt5_base", narrow())
    located = find(models, B5, TI2V_5B)
    assert (located.high.name, located.low, located.vae.name) == (
        "wan2.2_ti2v_5B_fp16.safetensors",
        None,
        "wan2.2_vae.safetensors",
    )
    assert located.text_encoder.name == "umt5_xxl_fp16.safetensors"


def narrow() -> Heads:
    """A UMT5 of half the width."""
    return {
        name: (dtype, tuple(side // 2 if side == 256 and "embed" not in name else side for side in shape))
        for name, (dtype, shape) in text().items()
    }


def test_files_of_unlikely_names_are_read_only_where_nothing_else_serves(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    models = comfy(tmp_path / "models")
    for index in range(200):
        write_head(models / "diffusion_models" / f"sdxl{index}.safetensors", some(["x"]))
    read: list[Path] = []

    def counting(path: Path) -> object:
        read.append(path)
        return read_checkpoint(path)

    monkeypatch.setattr(candidates_module, "read_checkpoint", counting)
    find(models)
    assert len(read) == 5
    for name in (HIGH, LOW):
        path = models / "diffusion_models" / f"{name}.safetensors"
        path.rename(path.with_name(f"my_{'H' if name is HIGH else 'L'}.safetensors"))
    read.clear()
    assert pair(models) == ("my_H.safetensors", "my_L.safetensors")
    assert len(read) == 5  # a look for marks in the others' heads is enough


def test_links_that_lead_in_circles_and_to_nowhere(tmp_path: Path) -> None:
    models = comfy(tmp_path / "models")
    (models / "diffusion_models" / "again").symlink_to(models, target_is_directory=True)
    (models / "diffusion_models" / "here").symlink_to(".", target_is_directory=True)
    (models / "diffusion_models" / "wan_gone.safetensors").symlink_to(tmp_path / "nowhere")
    (models / "loras").symlink_to("loras")
    assert pair(models) == (f"{HIGH}.safetensors", f"{LOW}.safetensors")
    assert f"{models / 'diffusion_models' / 'wan_gone.safetensors'} is not there" in refusals(models)


def refusals(folder: Path) -> set[str | None]:
    return {each.refusal for each in candidates([folder])}


def test_unreadable_files_and_folders_are_told_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    models = comfy(tmp_path / "models")
    locked = expert(models, "wan_locked_high")
    closed = models / "diffusion_models" / "closed"
    closed.mkdir()
    opened, listed = Path.open, Path.iterdir

    def open_(path: Path, mode: str = "r", **more: Any) -> Any:
        if path == locked:
            raise PermissionError(13, "Permission denied")
        return opened(path, mode, **more)

    def iterdir(path: Path) -> Any:
        if path == closed:
            raise PermissionError(13, "Permission denied")
        return listed(path)

    monkeypatch.setattr(Path, "open", open_)
    monkeypatch.setattr(Path, "iterdir", iterdir)
    assert pair(models) == (f"{HIGH}.safetensors", f"{LOW}.safetensors")
    assert f"{locked} cannot be read (Permission denied)" in refusals(models)
    for name in (HIGH, LOW):
        (models / "diffusion_models" / f"{name}.safetensors").unlink()
    with pytest.raises(WeightsMissing, match=r"Of no use: .*closed cannot be read \(Permission denied\): give .*; "):
        find(models)


def test_damaged_files_are_told_of_and_stop_nobody(tmp_path: Path) -> None:
    models = comfy(tmp_path / "models")
    torn = models / "diffusion_models" / "wan2.2_i2v_high_noise_14B_bf16.safetensors"
    torn.write_bytes(b"<html>")
    assert pair(models) == (f"{HIGH}.safetensors", f"{LOW}.safetensors")
    page = f"{torn} is a web page: the download asked for a log-in or a wrong address; download the file itself"
    assert page in refusals(models)


def test_what_there_is_and_what_it_serves(tmp_path: Path) -> None:
    models = comfy(tmp_path / "models")
    expert(models, "wan2.2_t2v_high_noise_14B_fp16", channels=(16, 16))
    write_head(models / "diffusion_models" / "flux1-dev.safetensors", some(["double_blocks.0.x"]))
    found = {each.path.stem: each for each in candidates([models])}
    assert set(found) == {HIGH, LOW, "wan2.2_t2v_high_noise_14B_fp16", "wan_2.1_vae", "wan2.2_vae", "umt5_xxl_fp16"}
    assert found[HIGH].identity is not None
    assert (found[HIGH].identity.format, found[HIGH].side, found[LOW].side) == ("fp16", "high", "low")
    assert "is text-to-video; storyboard needs image-to-video" in (
        found["wan2.2_t2v_high_noise_14B_fp16"].refusal or ""
    )


# What a story names.


def test_a_story_names_files_beside_it_by_path_or_in_the_weights_folders(tmp_path: Path) -> None:
    models = comfy(tmp_path / "models", "sub/mine_high", "sub/mine_low")
    put(tmp_path, "own.safetensors", vae(16))
    for high in (
        "sub/mine_high.safetensors",
        "mine_high.safetensors",
        "mine_high",
        str(models / "diffusion_models/sub/mine_high"),
    ):
        located = find(models, {"high": high, "low": "mine_low", "vae": "own"})
        assert located.high == models / "diffusion_models" / "sub" / "mine_high.safetensors"
        assert located.vae == tmp_path / "own.safetensors"
        assert located.text_encoder.name == "umt5_xxl_fp16.safetensors"


def test_an_expert_named_alone_brings_its_partner(tmp_path: Path) -> None:
    models = comfy(tmp_path / "models", HIGH, LOW, "mine_high", "mine_low")
    assert find(models, {"high": "mine_high"}).low == models / "diffusion_models" / "mine_low.safetensors"
    assert find(models, {"low": "mine_low"}).high == models / "diffusion_models" / "mine_high.safetensors"
    assert pair(models) == (f"{HIGH}.safetensors", f"{LOW}.safetensors")


def test_a_folder_of_files_as_the_model(tmp_path: Path) -> None:
    models = comfy(tmp_path / "models")
    mine = tmp_path / "mine"
    put(mine, "finetuned_high", expert_tensors())
    put(mine, "finetuned_low", expert_tensors())
    located = find(models, "mine")
    assert (located.high, located.vae.name) == (mine / "finetuned_high.safetensors", "wan_2.1_vae.safetensors")
    (mine / "finetuned_low.safetensors").unlink()
    with pytest.raises(WeightsMissing):  # and not those of another folder
        find(models, "mine")


def test_a_single_file_is_the_5b(tmp_path: Path) -> None:
    models = comfy(tmp_path / "models")
    one = expert(models, "wan2.2_ti2v_5B_fp16", channels=(48, 48))
    assert find(models, one.name, TI2V_5B).high == one
    assert find(models, str(one), TI2V_5B).vae.name == "wan2.2_vae.safetensors"


def test_the_tokenizer_is_found_where_the_encoder_has_none(tmp_path: Path, hub: Path) -> None:
    models = comfy(tmp_path / "models")
    encoders = models / "text_encoders"
    put(encoders, "umt5_xxl_fp16", text(tokenizer=False))
    with pytest.raises(WeightsMissing) as raised:
        find(models)
    assert str(raised.value) == (
        f"{encoders / 'umt5_xxl_fp16.safetensors'} comes without a tokenizer: put "
        "umt5_xxl_fp8_e4m3fn_scaled.safetensors, which holds it, or the spiece.model of google/umt5-xxl beside it"
    )
    snapshot = whole(in_cache(hub, "Wan-AI/Wan2.2-TI2V-5B-Diffusers"), low=False, channels=(48, 48))
    assert find(models).tokenizer == snapshot / "tokenizer" / "spiece.model"
    (encoders / "spiece.model").write_bytes(b"pieces")
    assert find(models).tokenizer == encoders / "spiece.model"


# Digests.


def test_weights_are_known_by_what_they_hold(tmp_path: Path) -> None:
    models = comfy(tmp_path / "models")
    weights = hashed(find(models), file_digest)
    assert weights.high.digest == file_digest(weights.high.path)
    moved = tmp_path / "moved"
    models.rename(moved)
    assert hashed(find(moved), file_digest) == weights
    assert digest(hashed(find(moved), file_digest)) == digest(weights)


def test_a_components_folder_is_known_by_what_is_read_of_it(tmp_path: Path) -> None:
    located = find(tmp_path / "none", str(whole(tmp_path / "model")))
    weights = hashed(located, file_digest)
    (file,) = located.high.glob("*.safetensors")
    line = f"diffusion_pytorch_model.safetensors {file_digest(file)}\n"
    assert weights.high.digest == hashlib.sha256(line.encode()).hexdigest()
    assert weights.tokenizer is not None
    (located.high / "README.md").write_text("something new")
    (located.high / "diffusion_pytorch_model.fp16.safetensors").write_bytes(b"not read")
    assert hashed(located, file_digest) == weights


def test_files_in_the_hubs_cache_are_known_without_being_read(tmp_path: Path, hub: Path) -> None:
    snapshot = comfy(in_cache(hub, "Comfy-Org/Wan_2.2_ComfyUI_Repackaged"))
    blobs = snapshot.parent.parent / "blobs"
    blobs.mkdir()
    names: dict[str, str] = {}
    for path in snapshot.rglob("*.safetensors"):
        names[path.name] = file_digest(path)
        path.rename(blobs / names[path.name])
        path.symlink_to(blobs / names[path.name])

    def never(path: Path) -> str:
        raise AssertionError(path)

    weights = hashed(find(tmp_path / "none"), never)
    assert weights.high.digest == names[f"{HIGH}.safetensors"]


# LoRAs.


def lora(path: Path) -> Path:
    return write_head(path, some(["diffusion_model.blocks.0.ffn.0.lora_A.weight"]))


def test_loras_are_found_by_name(tmp_path: Path) -> None:
    models = comfy(tmp_path / "models")
    there = lora(models / "loras" / "motion" / "storm.safetensors")
    for name in ("storm.safetensors", "storm", "motion/storm.safetensors", str(there)):
        assert find_lora(name, tmp_path, [models]) == there
    beside = lora(tmp_path / "storm.safetensors")
    assert find_lora("storm", tmp_path, [models]) == beside
    assert lora_files([models], []) == {"motion/storm.safetensors": there}


def test_a_lora_in_extra_model_paths(tmp_path: Path) -> None:
    models = comfy(tmp_path / "models")
    there = lora(tmp_path / "disk" / "Lora" / "storm.safetensors")
    (models / "extra_model_paths.yaml").write_text(f"x:\n  base_path: {tmp_path / 'disk'}\n  loras: Lora\n")
    assert find_lora("storm.safetensors", tmp_path / "story", [models]) == there


# What is wrong, and the whole of what is said. Case(folder) makes it wrong and gives what is asked for.

I2V = "wan2.2_i2v_high_noise_14B_fp8_scaled.safetensors and wan2.2_i2v_low_noise_14B_fp8_scaled.safetensors"
UMT5 = "umt5_xxl_fp8_e4m3fn_scaled.safetensors or umt5_xxl_fp16.safetensors"
PULL = "`storyboard models pull {0}` brings all of it (Comfy-Org/Wan_2.2_ComfyUI_Repackaged)"
REPO = "Comfy-Org/Wan_2.2_ComfyUI_Repackaged"
Asked = tuple[str | Mapping[str, str], WanModel]


def both(**named: str) -> Asked:
    return {"high": f"{HIGH}.safetensors", "low": f"{LOW}.safetensors", **named}, I2V_A14B


def one_missing(folder: Path) -> Asked:
    (folder / "diffusion_models" / f"{LOW}.safetensors").unlink()
    return A14B, I2V_A14B


def no_vae(folder: Path) -> Asked:
    (folder / "vae" / "wan_2.1_vae.safetensors").unlink()
    return A14B, I2V_A14B


def no_5b(folder: Path) -> Asked:
    return B5, TI2V_5B


def nameless(folder: Path) -> Asked:
    for side, name in (("a", HIGH), ("b", LOW)):
        path = folder / "diffusion_models" / f"{name}.safetensors"
        path.rename(path.with_name(f"wan22_{side}.safetensors"))
    return A14B, I2V_A14B


def torn(folder: Path) -> Asked:
    path = folder / "diffusion_models" / f"{HIGH}.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    return both()


def torn_and_unnamed(folder: Path) -> Asked:
    return A14B, torn(folder)[1]


def other_shape(folder: Path) -> Asked:
    expert(folder, LOW, layers=3)
    return both()


def same_file(folder: Path) -> Asked:
    (folder / "diffusion_models" / "mine.safetensors").symlink_to(folder / "diffusion_models" / f"{HIGH}.safetensors")
    os.link(folder / "diffusion_models" / f"{HIGH}.safetensors", folder / "diffusion_models" / "also.safetensors")
    return both(high="mine.safetensors", low="also.safetensors")


def wan21(folder: Path) -> Asked:
    put(folder / "diffusion_models", "wan2.1_i2v", expert_tensors() | some(["img_emb.proj.0.weight"]))
    return both(high="wan2.1_i2v.safetensors")


def wan21_folder(folder: Path) -> Asked:
    made = whole(folder.parent / "Wan2.1-I2V-14B-480P-Diffusers", low=False)
    index = json.loads((made / "model_index.json").read_text())
    index["image_encoder"] = ["transformers", "CLIPVisionModel"]
    (made / "model_index.json").write_text(json.dumps(index))
    return made.name, I2V_A14B


def lacks_transformer_2(folder: Path) -> Asked:
    return whole(folder.parent / "model", low=False).name, I2V_A14B


def lost_transformer_2(folder: Path) -> Asked:
    made = whole(folder.parent / "model")
    (made / "transformer_2" / "diffusion_pytorch_model.safetensors").unlink()
    (made / "transformer_2").rmdir()
    return made.name, I2V_A14B


def another_pipeline(folder: Path) -> Asked:
    made = whole(folder.parent / "model")
    (made / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    return made.name, I2V_A14B


def damaged_index(folder: Path) -> Asked:
    made = whole(folder.parent / "model")
    (made / "model_index.json").write_text("{")
    return made.name, I2V_A14B


def a_lora_as_expert(folder: Path) -> Asked:
    lora(folder / "diffusion_models" / "style_high.safetensors")
    return both(high="style_high.safetensors")


def t5_as_encoder(folder: Path) -> Asked:
    biases = [name for name in text() if "relative_attention_bias" in name and "block.1" in name]
    put(folder / "text_encoders", "t5xxl", {name: it for name, it in text().items() if name not in biases})
    return both(text_encoder="t5xxl.safetensors")


def a_small_umt5(folder: Path) -> Asked:
    put(folder / "text_encoders", "umt5_base", narrow())
    return both(text_encoder="umt5_base.safetensors")


def half_an_encoder(folder: Path) -> Asked:
    tensors = {name: it for name, it in text().items() if "block.1.layer.1.DenseReluDense.wo" not in name}
    put(folder / "text_encoders", "umt5_half", tensors)
    return both(text_encoder="umt5_half.safetensors")


def the_5b_as_high(folder: Path) -> Asked:
    expert(folder, "wan2.2_ti2v_5B_fp16", channels=(48, 48))
    return both(high="wan2.2_ti2v_5B_fp16.safetensors")


def one_file(folder: Path) -> Asked:
    return f"{HIGH}.safetensors", I2V_A14B


def pickle_vae(folder: Path) -> Asked:
    (folder / "vae" / "Wan2.1_VAE.pth").write_bytes(b"PK\x03\x04" + bytes(50))
    return both(vae="Wan2.1_VAE.pth")


def twice(folder: Path) -> Asked:
    for sub in ("a", "b"):
        expert(folder, f"{sub}/mine_high")
    return both(high="mine_high.safetensors")


def alone(folder: Path) -> Asked:
    expert(folder, "mine_high")
    return {"high": "mine_high"}, I2V_A14B


WRONG: dict[str, tuple[Callable[[Path], Asked], str]] = {
    "the low-noise expert is missing": (
        one_missing,
        f"{A14B} lacks a high and a low-noise expert that belong together, {I2V}. Looked in M/diffusion_models; and in "
        f"H. {PULL.format(A14B)}. Of no use: M/diffusion_models/{HIGH}.safetensors, whose partner is not here",
    ),
    "the VAE is missing": (
        no_vae,
        f"{A14B} lacks its VAE, wan_2.1_vae.safetensors. Looked in M/vae; and in H. {PULL.format(A14B)}. Of no use: "
        f"M/vae/wan2.2_vae.safetensors is the VAE of {B5}: {A14B} takes wan_2.1_vae.safetensors",
    ),
    "the 5B is missing": (
        no_5b,
        f"{B5} lacks its weights, wan2.2_ti2v_5B_fp16.safetensors. Looked in M/diffusion_models; and in H. "
        f"{PULL.format(B5)}",
    ),
    "names that do not tell high from low": (
        nameless,
        f"{A14B} lacks a high and a low-noise expert that belong together, {I2V}. Looked in M/diffusion_models; and in "
        f"H. {PULL.format(A14B)}. Of no use: M/diffusion_models/wan22_a.safetensors, whose name does not say which "
        "expert it is: name both, high and low; M/diffusion_models/wan22_b.safetensors, whose name does not say which "
        "expert it is: name both, high and low",
    ),
    "a named expert is cut short": (
        torn,
        f"high: M/diffusion_models/{HIGH}.safetensors is cut short: S of B bytes are here: download it again",
    ),
    "the only expert is cut short": (
        torn_and_unnamed,
        f"{A14B} lacks a high and a low-noise expert that belong together, {I2V}. Looked in M/diffusion_models; and in "
        f"H. {PULL.format(A14B)}. Of no use: M/diffusion_models/{HIGH}.safetensors is cut short: S of B bytes are "
        f"here: download it again; M/diffusion_models/{LOW}.safetensors, whose partner is not here",
    ),
    "high and low swapped": (
        lambda folder: ({"high": f"{LOW}.safetensors", "low": f"{HIGH}.safetensors"}, I2V_A14B),
        f"high: M/diffusion_models/{LOW}.safetensors is the low-noise expert by its name: are high and low swapped?",
    ),
    "low served by the high-noise expert": (
        lambda folder: both(low=f"{HIGH}.safetensors"),
        f"low: M/diffusion_models/{HIGH}.safetensors is the high-noise expert by its name: are high and low swapped?",
    ),
    "one file for both": (
        same_file,
        f"M/diffusion_models/mine.safetensors is named as high and as low: the model has a file for each, take {I2V}",
    ),
    "experts of two shapes": (
        other_shape,
        f"M/diffusion_models/{HIGH}.safetensors and M/diffusion_models/{LOW}.safetensors are of different models "
        f"(2 layers of 256, 3 layers of 256): take {I2V}",
    ),
    "a WAN 2.1 expert": (
        wan21,
        "high: M/diffusion_models/wan2.1_i2v.safetensors is WAN 2.1's image-to-video model (it has a branch for CLIP), "
        f"and WAN 2.2 is wanted: use {I2V}, or wan2.2_ti2v_5B_fp16.safetensors ({REPO})",
    ),
    "a WAN 2.1 folder": (
        wan21_folder,
        "T/Wan2.1-I2V-14B-480P-Diffusers is WAN 2.1's image-to-video model (it has an image_encoder), and WAN 2.2 is "
        "wanted: take Wan-AI/Wan2.2-I2V-A14B-Diffusers or Wan-AI/Wan2.2-TI2V-5B-Diffusers",
    ),
    "a folder without a second expert": (
        lacks_transformer_2,
        "T/model lacks transformer_2, the low-noise expert: download it again",
    ),
    "a folder whose second expert is lost": (lost_transformer_2, "low: T/model/transformer_2 is not there"),
    "a folder of another model": (
        another_pipeline,
        "T/model is StableDiffusionPipeline, no model of WAN: take Wan-AI/Wan2.2-I2V-A14B-Diffusers",
    ),
    "a folder with a damaged index": (
        damaged_index,
        "T/model is a damaged model, no model of WAN: take Wan-AI/Wan2.2-I2V-A14B-Diffusers",
    ),
    "a LoRA as an expert": (
        a_lora_as_expert,
        "high: M/diffusion_models/style_high.safetensors is a LoRA: LoRAs go into a scene or recipe",
    ),
    "a VAE as an expert": (
        lambda folder: both(high=str(folder / "vae" / "wan_2.1_vae.safetensors")),
        "high: M/vae/wan_2.1_vae.safetensors is a VAE: an expert is wanted here",
    ),
    "an expert as a VAE": (
        lambda folder: both(vae=str(folder / "diffusion_models" / f"{HIGH}.safetensors")),
        f"vae: M/diffusion_models/{HIGH}.safetensors is an expert: a VAE is wanted here",
    ),
    "the other model's VAE": (
        lambda folder: both(vae="wan2.2_vae.safetensors"),
        f"vae: M/vae/wan2.2_vae.safetensors is the VAE of {B5}: {A14B} takes wan_2.1_vae.safetensors",
    ),
    "the 5B as the high-noise expert": (
        the_5b_as_high,
        f"high: M/diffusion_models/wan2.2_ti2v_5B_fp16.safetensors is {B5}'s, and the model here is {A14B}: take "
        f'{I2V}, or write model = "{B5}"',
    ),
    "T5 as the text encoder": (
        t5_as_encoder,
        "text_encoder: M/text_encoders/t5xxl.safetensors is T5, the text encoder of other models; WAN reads prompts "
        f"with UMT5-XXL: take {UMT5}",
    ),
    "a small UMT5": (
        a_small_umt5,
        "M/text_encoders/umt5_base.safetensors is 128 wide, and the experts read 256: it is a smaller UMT5 than "
        f"UMT5-XXL, take {UMT5}",
    ),
    "half a text encoder": (
        half_an_encoder,
        "text_encoder: M/text_encoders/umt5_half.safetensors is not a UMT5 text encoder: it has no "
        "encoder.block.1.layer.1.DenseReluDense.wo.weight: it is another model's, or a part of it is missing. "
        "WAN 2.2 takes UMT5-XXL, such as umt5_xxl_fp8_e4m3fn_scaled.safetensors",
    ),
    "one file for two experts": (
        one_file,
        f'model = "{HIGH}.safetensors" is one file, and {A14B} has two experts: '
        'write model = { high = "...", low = "..." }',
    ),
    "a pickle": (
        pickle_vae,
        "vae: M/vae/Wan2.1_VAE.pth is a pickle (.pth, .bin, .ckpt), which can run programs when it is opened and is "
        "not: take the .safetensors of the same weights, or convert it",
    ),
    "two files of one name": (
        twice,
        'high = "mine_high.safetensors" is there 2 times (M/diffusion_models/a/mine_high.safetensors, '
        "M/diffusion_models/b/mine_high.safetensors): write its folder before its name",
    ),
    "a name that is not there": (
        lambda folder: both(high="wan2.2_i2v_high_noise_14B_fp61.safetensors"),
        'high = "wan2.2_i2v_high_noise_14B_fp61.safetensors" is not there: looked beside the story (T) and in '
        f'M/diffusion_models: did you mean "{HIGH}.safetensors"?',
    ),
    "a model that is not there": (
        lambda folder: ("wan3.0", I2V_A14B),
        'model = "wan3.0" is not there: looked beside the story (T) and in M/diffusion_models; models have the names '
        f"{A14B} and {B5}",
    ),
    "an expert without its partner": (
        alone,
        f"{A14B} lacks the low-noise expert that belongs to M/diffusion_models/mine_high.safetensors: name it, "
        f'low = "...". Looked in M/diffusion_models; and in H. {PULL.format(A14B)}. Of no use: '
        f"M/diffusion_models/mine_high.safetensors, whose partner is not here; "
        f"M/diffusion_models/{HIGH}.safetensors, whose partner is not here; "
        f"M/diffusion_models/{LOW}.safetensors, whose partner is not here",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said(name: str, tmp_path: Path, hub: Path) -> None:
    wrong, says = WRONG[name]
    models = comfy(tmp_path / "models")
    path = models / "diffusion_models" / f"{HIGH}.safetensors"
    size = path.stat().st_size
    named, model = wrong(models)
    with pytest.raises((CheckpointError, WeightsMissing)) as raised:
        find(models, named, model)
    for mark, real in (("S of B", f"{size - 100} of {size}"), ("M/", f"{models}/"), ("T/", f"{tmp_path}/")):
        says = says.replace(mark, real)
    says = says.replace("(T)", f"({tmp_path})").replace("in H.", f"in {hub}.")
    assert str(raised.value) == says


def test_nothing_at_all_is_all_said_at_once(tmp_path: Path, hub: Path) -> None:
    with pytest.raises(WeightsMissing) as raised:
        find_weights(A14B, I2V_A14B, tmp_path, [])
    assert str(raised.value) == (
        f"{A14B} lacks a high and a low-noise expert that belong together, {I2V}; its VAE, wan_2.1_vae.safetensors; "
        f"its text encoder, {UMT5}. Looked in no weights folder, since none is named: set STORYBOARD_MODELS, or models "
        f"in the config file, to your ComfyUI/models folder; and in {hub}. {PULL.format(A14B)}"
    )
    assert isinstance(raised.value, MachineLacks)


def test_a_weights_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match=r"Of no use: .*nowhere is no folder$"):
        find_weights(A14B, I2V_A14B, tmp_path, [tmp_path / "nowhere"])


def test_loras_that_are_none(tmp_path: Path) -> None:
    models = comfy(tmp_path / "models")
    storm = lora(models / "loras" / "storm.safetensors")

    def said(name: str) -> str:
        with pytest.raises((CheckpointError, WeightsMissing)) as raised:
            find_lora(name, tmp_path, [models])
        return str(raised.value)

    assert said("strom.safetensors") == (
        f'LoRA "strom.safetensors" is not there: looked beside the story ({tmp_path}) and in {models / "loras"}: '
        'did you mean "storm.safetensors"?'
    )
    named = models / "diffusion_models" / f"{HIGH}.safetensors"
    assert said(str(named)) == f"{named} is an expert, not a LoRA: it goes into [look] model"
    for sub in ("a", "b"):
        lora(models / "loras" / sub / "high_noise_model.safetensors")
    assert said("high_noise_model") == (
        f'LoRA "high_noise_model" is there 2 times ({models}/loras/a/high_noise_model.safetensors, '
        f"{models}/loras/b/high_noise_model.safetensors): write its folder before its name"
    )
    storm.write_bytes(b"")
    assert said("storm") == f"{storm} is empty: download it again"


def test_an_expert_found_is_an_expert_that_loads(tmp_path: Path) -> None:
    located = find(comfy(tmp_path / "models"))
    assert len(expert_names(read_checkpoint(located.high))) == 15 + 27 * 2
