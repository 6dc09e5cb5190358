"""LoRAs: every format loads exactly, and what would not load is an error."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from scenes.shot import Lora as ShotLora
from scenes.shot import Machine
from scenes.wan.anatomy import ExpertShape
from scenes.wan.budget import Placement
from scenes.wan.cast import Cast
from scenes.wan.checkpoint import CheckpointError, read_checkpoint
from scenes.wan.experts import Expert
from scenes.wan.loras import Lora, load_lora
from scenes.wan.recipes import LoraFile, Recipe, Step
from tests import tiny_wan
from tests.tiny_wan import State

torch.set_num_threads(1)

CPU = torch.device("cpu")
A14B = ExpertShape(dim=256, ffn=512, layers=2, in_channels=36, out_channels=16, text_dim=256, freq_dim=256)
BASE = tiny_wan.expert(1)
Q = "blocks.0.self_attn.q"


def inputs(channels: int = 36) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return (
        torch.randn(1, channels, 3, 8, 8, generator=generator),
        torch.tensor([500.0]),
        torch.randn(1, 32, 256, generator=generator),
    )


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_wan.write_expert(tmp_path_factory.mktemp("weights"), "base", "fp32", 1)


def expert(path: Path, resident: bool = False) -> Expert:
    return Expert(read_checkpoint(path), CPU, Placement(resident, "ram"))


def with_deltas(deltas: State) -> torch.Tensor:
    """What diffusers' model gives with these added to its parameters."""
    model = tiny_wan.expert(1)
    state = model.state_dict()
    with torch.no_grad():
        for name, delta in deltas.items():
            state[name] += delta.view(state[name].shape)
        return model(*inputs(), return_dict=False)[0]


def written(state: State, path: Path, metadata: dict[str, str] | None = None) -> Lora:
    return load_lora(tiny_wan.write_safetensors(state, path, metadata), A14B)


def close_to(out: torch.Tensor, expected: torch.Tensor) -> bool:
    return float((out - expected).norm() / expected.norm()) < 2e-6


def factors(seed: int = 7, rank: int = 4) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """down and up by WAN's own module names."""
    state = tiny_wan.lora(seed, rank, "lora_A/B")
    names = {re.sub(r"^diffusion_model\.|\.lora_[AB]\.weight$", "", key) for key in state}
    return {
        name: (state[f"diffusion_model.{name}.lora_A.weight"], state[f"diffusion_model.{name}.lora_B.weight"])
        for name in names
    }


def deltas_of(pairs: dict[str, tuple[torch.Tensor, torch.Tensor]], scale: float) -> State:
    return {f"{tiny_wan._diffusers_name(name)}.weight": scale * (up @ down) for name, (down, up) in pairs.items()}


def ours(name: str) -> str:
    return tiny_wan._diffusers_name(name)


# Each way of writing the two keys of a module, and alpha's where it has one; {} is WAN's own name of the module.
LAYOUTS: dict[str, tuple[Callable[[str], tuple[str, str, str | None]], float]] = {
    "Lightning, lightx2v": (
        lambda n: (
            f"diffusion_model.{n}.lora_down.weight",
            f"diffusion_model.{n}.lora_up.weight",
            f"diffusion_model.{n}.alpha",
        ),
        8.0,
    ),
    "lora_A/B": (lambda n: (f"diffusion_model.{n}.lora_A.weight", f"diffusion_model.{n}.lora_B.weight", None), 4.0),
    "ComfyUI's whole prefix": (
        lambda n: (
            f"model.diffusion_model.{n}.lora_down.weight",
            f"model.diffusion_model.{n}.lora_up.weight",
            f"model.diffusion_model.{n}.alpha",
        ),
        2.0,
    ),
    "musubi": (
        lambda n: (
            f"lora_unet_{n.replace('.', '_')}.lora_down.weight",
            f"lora_unet_{n.replace('.', '_')}.lora_up.weight",
            f"lora_unet_{n.replace('.', '_')}.alpha",
        ),
        2.0,
    ),
    "PEFT": (lambda n: (f"transformer.{ours(n)}.lora_A.weight", f"transformer.{ours(n)}.lora_B.weight", None), 4.0),
    "PEFT, second expert": (
        lambda n: (f"transformer_2.{ours(n)}.lora_A.weight", f"transformer_2.{ours(n)}.lora_B.weight", None),
        4.0,
    ),
    "bare PEFT": (lambda n: (f"{ours(n)}.lora_A.weight", f"{ours(n)}.lora_B.weight", None), 4.0),
    "PEFT's own": (
        lambda n: (f"base_model.model.{ours(n)}.lora_A.weight", f"base_model.model.{ours(n)}.lora_B.weight", None),
        4.0,
    ),
    "PEFT with its adapter's name": (
        lambda n: (f"{n}.lora_A.default.weight", f"{n}.lora_B.default.weight", None),
        4.0,
    ),
    "WAN's names without a prefix": (lambda n: (f"{n}.lora_A.weight", f"{n}.lora_B.weight", f"{n}.alpha"), 16.0),
    "DiffSynth": (
        lambda n: (f"pipe.dit.{n}.lora_A.default.weight", f"pipe.dit.{n}.lora_B.default.weight", None),
        4.0,
    ),
    "diffusers with alpha": (
        lambda n: (
            f"transformer.{ours(n)}.lora.down.weight",
            f"transformer.{ours(n)}.lora.up.weight",
            f"transformer.{ours(n)}.alpha",
        ),
        1.0,
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_format_adds_exactly_its_delta(layout: str, weights: Path, tmp_path: Path):
    keys, alpha = LAYOUTS[layout]
    state: State = {}
    pairs = factors()
    for name, (down, up) in pairs.items():
        down_key, up_key, alpha_key = keys(name)
        state[down_key], state[up_key] = down, up
        if alpha_key is not None:
            state[alpha_key] = torch.tensor(alpha)
    lora = written(state, tmp_path / "lora.safetensors")
    assert len(lora.deltas) == len(pairs) == 20
    assert lora.left_out == ()
    model = expert(weights)
    model.set_loras([(lora, 0.75)])
    assert close_to(model(*inputs()), with_deltas(deltas_of(pairs, 0.75 * alpha / 4)))
    model.close()


@pytest.mark.parametrize("form", ["lightning", "lora_A/B", "musubi", "peft"])
def test_the_published_forms(form: str, weights: Path, tmp_path: Path):
    lora = written(tiny_wan.lora(7, 4, form), tmp_path / "lora.safetensors")
    scale = {"lightning": 2.0, "musubi": 0.5}.get(form, 1.0)
    model = expert(weights)
    model.set_loras([(lora, 1.0)])
    assert close_to(model(*inputs()), with_deltas(deltas_of(factors(), scale)))
    model.close()


OUTSIDE = (
    "patch_embedding",
    "text_embedding.0",
    "text_embedding.2",
    "time_embedding.0",
    "time_embedding.2",
    "time_projection.1",
    "head.head",
)


@pytest.mark.parametrize("prefix", ["diffusion_model.", "lora_unet_"])
def test_modules_outside_of_the_blocks_take_loras_with_alpha(prefix: str, weights: Path, tmp_path: Path):
    generator = torch.Generator().manual_seed(3)
    sizes = tiny_wan.original_expert(BASE.state_dict())
    state: State = {}
    deltas: State = {}
    for name in OUTSIDE:
        size = sizes[f"{name}.weight"].shape
        down = torch.randn(4, *size[1:], generator=generator) * 0.1
        up = torch.randn(size[0], 4, *(1 for _ in size[2:]), generator=generator) * 0.1
        key = prefix + (name.replace(".", "_") if prefix == "lora_unet_" else name)
        state |= {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up, f"{key}.alpha": torch.tensor(2.0)}
        deltas[f"{ours(name)}.weight"] = 0.5 * (up.flatten(1) @ down.flatten(1))
    model = expert(weights)
    model.set_loras([(written(state, tmp_path / "lora.safetensors"), 1.0)])
    assert close_to(model(*inputs()), with_deltas(deltas))
    model.set_loras([])
    assert torch.equal(model(*inputs()), with_deltas({})), "taken off again to the bit"
    model.close()


def test_differences_are_added_to_weights_biases_and_norms(weights: Path, tmp_path: Path):
    generator = torch.Generator().manual_seed(4)
    sizes = tiny_wan.original_expert(BASE.state_dict())
    changed = {
        "patch_embedding": ("diff", "diff_b"),
        "head.head": ("diff", "diff_b"),
        "blocks.0.self_attn.q": ("diff_b",),
        "blocks.1.ffn.2": ("diff", "diff_b"),
        "blocks.1.norm3": ("diff", "diff_b"),
        "blocks.0.cross_attn.norm_k": ("diff",),
        "time_projection.1": ("diff_b",),
    }
    state: State = {}
    deltas: State = {}
    for module, endings in changed.items():
        for ending in endings:
            leaf = "weight" if ending == "diff" else "bias"
            diff = torch.randn(sizes[f"{module}.{leaf}"].shape, generator=generator) * 0.05
            state[f"diffusion_model.{module}.{ending}"] = diff
            deltas[ours(f"{module}.{leaf}")] = -1.5 * diff
    model = expert(weights)
    model.set_loras([(written(state, tmp_path / "lora.safetensors"), -1.5)])
    assert close_to(model(*inputs()), with_deltas(deltas))
    model.close()


def test_a_peft_bias_is_scaled_with_its_factors(weights: Path, tmp_path: Path):
    down, up = factors()[Q]
    bias = torch.linspace(-1, 1, 256)
    name = ours(Q)
    state = {f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up, f"{name}.lora_B.bias": bias}
    lora = written({**state, f"{name}.alpha": torch.tensor(2.0)}, tmp_path / "lora.safetensors")
    model = expert(weights)
    model.set_loras([(lora, 1.0)])
    assert close_to(model(*inputs()), with_deltas({f"{name}.weight": 0.5 * (up @ down), f"{name}.bias": 0.5 * bias}))
    model.close()


def test_keys_of_the_image_branch_are_reported_and_left_out(weights: Path, tmp_path: Path):
    state = tiny_wan.lora()
    image = (
        "diffusion_model.blocks.0.cross_attn.k_img.lora_down.weight",
        "diffusion_model.blocks.0.cross_attn.k_img.lora_up.weight",
        "diffusion_model.blocks.0.cross_attn.k_img.alpha",
        "diffusion_model.blocks.1.cross_attn.v_img.diff_b",
        "diffusion_model.blocks.1.cross_attn.norm_k_img.diff",
        "diffusion_model.img_emb.proj.1.lora_down.weight",
        "diffusion_model.img_emb.proj.0.diff",
        "diffusion_model.blocks.0.diff_m",
        "lora_unet_blocks_0_cross_attn_v_img.alpha",
        "transformer.blocks.0.attn2.add_k_proj.lora_A.weight",
        "transformer.condition_embedder.image_embedder.ff.net.2.lora_B.weight",
    )
    lora = written({**state, **{key: torch.zeros(3, 5) for key in image}}, tmp_path / "lora.safetensors")
    assert sorted(lora.left_out) == sorted(image)
    model = expert(weights)
    model.set_loras([(lora, 1.0)])
    assert close_to(model(*inputs()), with_deltas(deltas_of(factors(), 2.0)))
    model.close()


def test_a_file_of_both_experts_is_taken_apart(weights: Path, tmp_path: Path):
    state: State = {}
    for half, seed in (("transformer", 1), ("transformer_2", 2)):
        for name, (down, up) in factors(seed).items():
            state[f"{half}.{ours(name)}.lora_A.weight"], state[f"{half}.{ours(name)}.lora_B.weight"] = down, up
    path = tiny_wan.write_safetensors(state, tmp_path / "both.safetensors")
    model = expert(weights)
    for which, seed in (("high", 1), ("low", 2)):
        model.set_loras([(load_lora(path, A14B, "high" if which == "high" else "low"), 1.0)])
        assert close_to(model(*inputs()), with_deltas(deltas_of(factors(seed), 1.0)))
    model.close()


@pytest.mark.parametrize(
    ("told", "scale"),
    [
        ({"transformer.r": 4, "transformer.lora_alpha": 8}, 2.0),
        ({"transformer.r": 4, "transformer.lora_alpha": 8, "transformer.use_rslora": True}, 4.0),
        ({"transformer.r": 4, "transformer.lora_alpha": 8, "transformer.alpha_pattern": {"attn1.to_q": 2}}, 0.5),
    ],
)
def test_the_scale_that_diffusers_keeps_in_the_metadata(told: dict[str, object], scale: float, weights, tmp_path: Path):
    down, up = factors()[Q]
    state = {f"transformer.{ours(Q)}.lora_A.weight": down, f"transformer.{ours(Q)}.lora_B.weight": up}
    metadata = {"format": "pt", "lora_adapter_metadata": json.dumps(told)}
    model = expert(weights)
    model.set_loras([(written(state, tmp_path / "lora.safetensors", metadata), 1.0)])
    assert close_to(model(*inputs()), with_deltas({f"{ours(Q)}.weight": scale * (up @ down)}))
    model.close()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn])
def test_factors_of_any_type_are_multiplied_in_fp32(dtype: torch.dtype, weights: Path, tmp_path: Path):
    state = tiny_wan.lora(form="lora_A/B")
    lora = written({key: tensor.to(dtype) for key, tensor in state.items()}, tmp_path / "lora.safetensors")
    pairs = {name: (down.to(dtype).float(), up.to(dtype).float()) for name, (down, up) in factors().items()}
    model = expert(weights)
    model.set_loras([(lora, 1.0)])
    assert close_to(model(*inputs()), with_deltas(deltas_of(pairs, 1.0)))
    model.close()


def test_one_lora_on_both_experts_takes_its_alpha_once_on_each(tmp_path: Path):
    """Trap 7: diffusers' converters scale a dict that is in memory once more each time it is loaded."""
    path = tiny_wan.write_safetensors(tiny_wan.lora(), tmp_path / "lora.safetensors")
    lora = load_lora(path, A14B)
    experts = [expert(tiny_wan.write_expert(tmp_path, name, "fp32", 1)) for name in ("high", "low")]
    for each in experts:
        each.set_loras([(lora, 1.0)])
    for each in experts:
        assert close_to(each(*inputs()), with_deltas(deltas_of(factors(), 2.0)))
        each.close()


@pytest.mark.parametrize("resident", [True, False])
def test_strengths_change_from_call_to_call_and_loras_add_up(resident: bool, weights: Path, tmp_path: Path):
    first = written(tiny_wan.lora(1), tmp_path / "a.safetensors")
    second = written(tiny_wan.lora(2, 8, "lora_A/B"), tmp_path / "b.safetensors")
    one, two = deltas_of(factors(1), 2.0), deltas_of(factors(2, 8), 1.0)
    model = expert(weights, resident)
    base = model(*inputs())
    for a, b in ((1.0, 0.0), (3.0, -0.5), (0.0, 0.25), (1.0, 0.0)):
        model.set_loras([(first, a), (second, b)])
        assert close_to(model(*inputs()), with_deltas({name: a * one[name] + b * two[name] for name in one}))
    model.set_loras([(first, 0.0), (second, 0.0)])
    assert torch.equal(model(*inputs()), base), "at strength 0 nothing is added, not even a rounding"
    model.set_loras([])
    assert torch.equal(model(*inputs()), base)
    model.close()


@pytest.mark.parametrize("form", ["fp8_scaled", "fp8_rowwise", "Q8_0", "bf16"])
def test_loras_are_merged_with_widened_weights(form: str, tmp_path: Path):
    """In fp32, before the one cast: so a LoRA on an fp8 or GGUF file loses nothing to that format."""
    path = tiny_wan.write_expert(tmp_path, "e", form, 1)
    model = expert(path)
    plain = {name: target.weight.clone() for name, target in model._hold(0).targets.items()}
    model.set_loras([(written(tiny_wan.lora(), tmp_path / "lora.safetensors"), 1.0)])
    merged = model._hold(0).targets
    deltas = deltas_of(factors(), 2.0)
    for name, before in plain.items():
        expected = before + deltas.get(f"blocks.0.{name}", torch.zeros(())) if before.ndim == 2 else before
        assert torch.allclose(merged[name].weight, expected, atol=1e-6), name
    model.close()


def refused(state: State, path: Path, match: str) -> None:
    with pytest.raises(CheckpointError, match=match) as error:
        written(state, path)
    assert str(path) in str(error.value)


def test_what_would_not_load_is_an_error_that_names_it(tmp_path: Path):
    path = tmp_path / "lora.safetensors"
    good = tiny_wan.lora()
    down = f"diffusion_model.{Q}.lora_down.weight"
    refused({**good, "diffusion_model.blocks.0.extra.alpha": torch.tensor(1.0)}, path, r"blocks\.0\.extra\.alpha")
    refused({**good, "something.else": torch.zeros(2)}, path, r"something\.else")
    refused({**good, "text_encoder.q.lora_A.weight": torch.zeros(2, 2)}, path, r"text_encoder")
    refused({key: tensor for key, tensor in good.items() if key != down}, path, r"self_attn\.q.*lacks its down")
    refused({f"diffusion_model.{Q}.alpha": torch.tensor(1.0)}, path, "alpha and no weights")
    refused({**good, f"diffusion_model.{Q}.dora_scale": torch.zeros(256)}, path, "DoRA")
    refused({"lora_unet_blocks_0_self_attn_q.hada_w1_a": torch.zeros(4, 4)}, path, "LoHa")
    refused({"diffusion_model.img_emb.proj.0.diff": torch.zeros(4)}, path, "adds nothing")
    refused({"diffusion_model.blocks.0.norm1.diff": torch.zeros(256)}, path, r"norm1\.diff")
    refused({"diffusion_model.blocks.0.self_attn.norm_q.diff_b": torch.zeros(256)}, path, "norm_q has no bias")


def test_a_lora_for_another_model_is_an_error(tmp_path: Path):
    path = tmp_path / "lora.safetensors"
    wide = {
        f"diffusion_model.{Q}.lora_down.weight": torch.zeros(4, 384),
        f"diffusion_model.{Q}.lora_up.weight": torch.zeros(384, 4),
    }
    refused(wide, path, r"self_attn\.q.*another model")
    high = {f"diffusion_model.{Q.replace('0', '30')}.lora_{part}.weight": torch.zeros(4, 4) for part in ("down", "up")}
    refused(high, path, r"blocks\.30.*another model")
    five = ExpertShape(256, 512, 2, 48, 48, 256, 256)
    patch = {"diffusion_model.patch_embedding.diff": torch.zeros(256, 36, 1, 2, 2)}
    tiny_wan.write_safetensors(patch, path)
    assert load_lora(path, A14B).deltas
    with pytest.raises(CheckpointError, match=r"patch_embedding.*another model"):
        load_lora(path, five)


def test_a_lora_that_is_cut_short_after_it_was_opened(weights: Path, tmp_path: Path):
    lora = written(tiny_wan.lora(), tmp_path / "lora.safetensors")
    with lora.path.open("r+b") as file:
        file.truncate(lora.path.stat().st_size // 2)
    model = expert(weights)
    model.set_loras([(lora, 1.0)])
    with pytest.raises(CheckpointError, match=r"lora\.safetensors has been cut short"):
        model(*inputs())
    model.close()


class Listed:
    """An expert that only notes which LoRAs it was given."""

    shape = A14B

    def __init__(self) -> None:
        self.loras: list[tuple[str, float]] = []

    def set_loras(self, loras: list[tuple[Lora, float]]) -> None:
        self.loras = [(lora.path.stem, strength) for lora, strength in loras]


def test_a_lora_is_loaded_for_no_expert_on_which_it_never_acts(tmp_path: Path):
    """Its file may have nothing for that one. At 0 in some steps only it stays loaded; it is unloaded for the next."""
    one, other = (tiny_wan.write_safetensors(tiny_wan.lora(), tmp_path / f"{name}.safetensors") for name in ("a", "b"))
    half: State = {f"transformer.{ours(Q)}.lora_A.weight": torch.zeros(4, 256)}
    for name, (down, up) in factors(1).items():
        half[f"transformer_2.{ours(name)}.lora_A.weight"], half[f"transformer_2.{ours(name)}.lora_B.weight"] = down, up
    low_only = tiny_wan.write_safetensors(half, tmp_path / "low.safetensors")
    with pytest.raises(CheckpointError, match="lacks its up"):
        load_lora(low_only, A14B, "high")
    steps = [Step(0.9, "high", 1.0, (0.0, 0.0)), Step(0.8, "high", 1.0, (0.5, 0.0)), Step(0.5, "low", 1.0, (0.0, 1.0))]
    recipe = Recipe("euler", tuple(steps), loras=(LoraFile("a", one), LoraFile("b", other)))
    high, low = Listed(), Listed()
    parts: tuple[Any, ...] = (CPU, None, False, None, high, low, Machine())
    cast = Cast(*parts)
    cast.take(recipe, (ShotLora("low", 0.0, 0.7, low_only),))
    assert (high.loras, low.loras) == ([("a", 0.0)], [("b", 1.0), ("low", 0.7)])
    cast._merge(cast.high, steps[1])
    assert high.loras == [("a", 0.5)]
    cast.take(recipe, ())
    assert low.loras == [("b", 1.0)]


def test_plans_tell_loras_and_experts_without_torch():
    names = "anatomy, lora_formats, loras, numbers, parts, stored"
    code = f"import sys; from scenes.wan import {names}; assert not {{'torch', 'diffusers', 'gguf'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
