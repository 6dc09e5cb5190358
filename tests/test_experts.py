"""Experts in every format: the weights that arrive, what is computed with them, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from diffusers import WanTransformer3DModel
from gguf import GGMLQuantizationType, quants
from safetensors.torch import load_file

from scenes.shot import MachineLacks
from scenes.wan import arrive, dequantise, experts, fp8, tensors, widen
from scenes.wan.anatomy import ExpertShape, is_linear, parameters, stays_fp32
from scenes.wan.budget import Placement
from scenes.wan.checkpoint import CheckpointError, TensorInfo, read_checkpoint
from scenes.wan.experts import Expert
from scenes.wan.loras import load_lora
from scenes.wan.nag import NagProcessor
from scenes.wan.needs import expert_bytes
from scenes.wan.recipes import Nag
from tests import tiny_wan
from tests.tiny_wan import State

torch.set_num_threads(1)

CPU = torch.device("cpu")
RAM = Placement(resident=False, source="ram")
RESIDENT = Placement(resident=True, source="ram")
A14B = ExpertShape(dim=256, ffn=512, layers=2, in_channels=36, out_channels=16, text_dim=256, freq_dim=256)
GGUF_FORMS = ("F16", "BF16", "Q8_0", "Q5_0", "Q5_1", "Q4_0", "Q4_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K")


def inputs(channels: int = 36, tokens: int = 32) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return (
        torch.randn(1, channels, 3, 8, 8, generator=generator),
        torch.tensor([500.0]),
        torch.randn(1, tokens, 256, generator=generator),
    )


def predicted(path: Path, *given: torch.Tensor, placement: Placement = RAM) -> torch.Tensor:
    expert = Expert(read_checkpoint(path), CPU, placement)
    out = expert(*(given or inputs()))
    expert.close()
    return out


def diffusers_own(state: State, *given: torch.Tensor, channels: tuple[int, int] = (36, 16)) -> torch.Tensor:
    model = tiny_wan.expert(0, channels)
    model.load_state_dict(state)
    with torch.no_grad():
        return model(*(given or inputs()), return_dict=False)[0]


def apart(out: torch.Tensor, expected: torch.Tensor) -> float:
    return float((out.float() - expected.float()).norm() / expected.float().norm())


def widened(form: str, state: State) -> State:
    """What a format keeps of weights, told by safetensors' and gguf's own readers' arithmetic."""
    if form in tiny_wan.FORMS:
        written = tiny_wan.FORMS[form](state)
        kept: State = {}
        for name in state:
            module = name.removesuffix(".weight")
            scale = written.get(f"{module}.scale_weight", written.get(f"{module}.weight_scale", torch.ones(())))
            scaled = scale.reshape(-1, 1) if name.endswith(".weight") and scale.numel() > 1 else scale.reshape(())
            kept[name] = written[name].float() * scaled if written[name].dtype.itemsize == 1 else written[name].float()
        return kept
    quant = GGMLQuantizationType[form]
    return {
        name: torch.from_numpy(quants.dequantize(tiny_wan.quantised(tensor.numpy(), quant, name), quant).copy())
        if tiny_wan._is_linear(name, tensor)
        else tensor
        for name, tensor in state.items()
    }


def diffusers_names(state: State) -> State:
    return {
        tiny_wan._diffusers_name(name) if "modulation" not in name else _table(name): t for name, t in state.items()
    }


def _table(name: str) -> str:
    return "scale_shift_table" if name == "head.modulation" else name.replace("modulation", "scale_shift_table")


def test_an_expert_is_made_of_what_diffusers_makes_it_of():
    model = tiny_wan.expert()
    assert parameters(A14B) == {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    kept = {"rope", *(part for part in WanTransformer3DModel._keep_in_fp32_modules)}
    for name in parameters(A14B):
        assert stays_fp32(name) == any(part in name.split(".") for part in kept), name
    linears = {f"{name}.weight" for name, module in model.blocks[0].named_modules() if type(module) is torch.nn.Linear}
    assert linears == {name for name, _ in model.blocks[0].named_parameters() if is_linear(name)}
    assert set(tensors.WIDENED) == {*widen.PLAIN, *dequantise.WIDTHS}


@pytest.mark.parametrize("form", [*tiny_wan.FORMS, *GGUF_FORMS])
def test_every_format_computes_with_the_weights_that_it_holds(form: str, tmp_path: Path):
    path = tiny_wan.write_expert(tmp_path, "expert", form, seed=1)
    original = tiny_wan.original_expert(tiny_wan.expert(1).state_dict())
    expected = diffusers_own(diffusers_names(widened(form, original)))
    assert apart(predicted(path), expected) < 1e-6
    assert torch.equal(predicted(path, placement=RESIDENT), predicted(path))


# Relative error of the prediction against fp32 weights, as diffusers initialises them; a tenth above what was measured.
BOUNDS = {
    "fp32": 0.0,
    "F16": 3e-5,
    "fp16": 0.00033,
    "BF16": 0.001,
    "bf16": 0.0027,
    "fp8_scaled": 0.008,
    "fp8_weight_scale": 0.008,
    "fp8_rowwise": 0.008,
    "fp8_scaled_e5m2": 0.016,
    "Q8_0": 0.0006,
    "Q5_1": 0.0055,
    "Q4_0": 0.011,
}


@pytest.mark.parametrize("form", BOUNDS)
def test_error_of_each_format(form: str, tmp_path: Path):
    torch.manual_seed(0)
    model = WanTransformer3DModel(
        num_attention_heads=2, in_channels=36, out_channels=16, text_dim=256, ffn_dim=512, num_layers=2
    )
    state = tiny_wan.original_expert(model.state_dict())
    if form in tiny_wan.FORMS:
        path = tiny_wan.write_safetensors(tiny_wan.FORMS[form](state), tmp_path / "expert.safetensors")
    else:
        path = tiny_wan.write_gguf(state, tmp_path / "expert.gguf", form)
    error = apart(predicted(path), diffusers_own(model.state_dict()))
    assert error <= BOUNDS[form], f"{form}: {error}"


@pytest.mark.parametrize("kind", dequantise.WIDTHS)
def test_gguf_blocks_are_widened_as_gguf_py_does(kind: str):
    rng = np.random.default_rng(0)
    size, width = gguf.GGML_QUANT_SIZES[GGMLQuantizationType[kind]]
    blocks = rng.integers(0, 256, (200, width), dtype=np.uint8)
    places = {"Q2_K": (80, 82), "Q3_K": (108,), "Q6_K": (208,)}.get(kind, (0, 2))
    if kind in ("Q4_0", "Q5_0", "Q8_0", "IQ4_NL", "IQ4_XS"):
        places = (0,)
    for place in places:  # random bytes would be NaN now and then
        blocks[:, place : place + 2] = rng.normal(size=(200, 1)).astype(np.float16).view(np.uint8)
    expected = quants.dequantize(blocks, GGMLQuantizationType[kind])
    made = dequantise.dequantised(torch.from_numpy(blocks.reshape(-1)), kind).numpy()
    assert made.size == 200 * size
    assert np.array_equal(made, expected.reshape(-1))


@pytest.mark.parametrize("prefix", ["model.diffusion_model.", "diffusion_model."])
def test_prefixes_and_shards(prefix: str, tmp_path: Path):
    state = tiny_wan.original_expert(tiny_wan.expert(1).state_dict())
    path = tiny_wan.write_safetensors({prefix + name: t for name, t in state.items()}, tmp_path / "x.safetensors")
    expected = diffusers_own(tiny_wan.expert(1).state_dict())
    assert torch.equal(predicted(path), expected)
    folder = tmp_path / "transformer"
    tiny_wan.expert(1).save_pretrained(folder, max_shard_size="1MB")
    assert len(list(folder.glob("*.safetensors"))) > 3
    for placement in (RAM, Placement(resident=False, source="disk")):
        assert torch.equal(predicted(folder, placement=placement), expected)


def test_ti2v_5b_takes_a_time_for_each_token(tmp_path: Path):
    path = tiny_wan.write_expert(tmp_path, "five", "fp32", 5, (48, 48))
    latents, _, text = inputs(48)
    times = torch.linspace(0, 900, 48)[None]
    expected = diffusers_own(tiny_wan.expert(5, (48, 48)).state_dict(), latents, times, text, channels=(48, 48))
    assert torch.equal(predicted(path, latents, times, text), expected)


def test_bf16_is_computed_as_from_pretrained_computes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The time embedder, norms and tables stay in fp32, which from_single_file does not care for."""
    monkeypatch.setattr(experts, "_dtype", lambda *_: torch.bfloat16)
    tiny_wan.expert(1).save_pretrained(tmp_path / "bf16")
    reference = WanTransformer3DModel.from_pretrained(tmp_path / "bf16", torch_dtype=torch.bfloat16)
    latents, times, text = inputs()
    with torch.no_grad():
        expected = reference(latents.bfloat16(), times, text.bfloat16(), return_dict=False)[0]
    expert = Expert(read_checkpoint(tmp_path / "bf16"), CPU, RESIDENT)
    assert torch.equal(expert(latents, times, text), expected)
    kept = {f"blocks.0.{name}": target.weight.dtype for name, target in expert._hold(0).targets.items()}
    kept |= {name: tensor.dtype for name, tensor in expert._model.named_parameters() if "blocks" not in name}
    assert kept == {n: p.dtype for n, p in reference.named_parameters() if not n.startswith("blocks.1.")}
    sizes = expert_bytes(read_checkpoint(tmp_path / "bf16"), 1, None)
    slots = [p.numel() * p.element_size() for slot in expert.slots._slots for p in slot.block.parameters()]
    assert sizes.block * 2 == sum(slots)
    assert sizes.rest == sum(p.numel() * p.element_size() for p in expert._model.parameters())
    assert sizes.raw == sum(part.layout.nbytes for part in expert._parts.blocks)
    expert.close()


# Arriving


def arrival(tensor: torch.Tensor, scale: float | arrive.Arrival | None = None, lead: int = 0) -> arrive.Arrival:
    kinds = {dtype: name for name, dtype in widen.PLAIN.items()}
    raw = torch.cat([torch.zeros(lead, dtype=torch.uint8), tensor.contiguous().view(-1).view(torch.uint8)])[lead:]
    info = TensorInfo("w", kinds[tensor.dtype], tuple(tensor.shape), Path("w"), 0, raw.numel())
    return arrive.Arrival(raw, info, scale)


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
@pytest.mark.parametrize("kept", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("rows", [False, True])
def test_fp8_is_dequantised_in_fp32_and_then_cast(dtype: torch.dtype, kept: torch.dtype, rows: bool):
    """ComfyUI's order; by the shorter way for one scale too, for every number that the format has."""
    numbers = torch.arange(256, dtype=torch.uint8).view(dtype).repeat(4, 1)
    numbers = numbers[:, numbers[0].float().isfinite()].contiguous()
    scale = torch.tensor([0.00731, 0.0123, 1.7e-4, 0.9])
    target = arrive.Target(torch.empty(numbers.shape, dtype=kept))
    arrive.arrive(target, arrival(numbers, arrival(scale) if rows else float(scale[0])))
    factor = scale[:, None] if rows else scale[0]
    assert torch.equal(target.weight, (numbers.float() * factor).to(kept))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_tensors_at_odd_places_of_a_file(dtype: torch.dtype):
    tensor = torch.randn(6, 8, generator=torch.Generator().manual_seed(0)).to(dtype)
    for kept in (torch.float32, torch.bfloat16):
        target = arrive.Target(torch.empty(6, 8, dtype=kept))
        arrive.arrive(target, arrival(tensor, lead=3))
        assert torch.equal(target.weight, tensor.to(kept))
        added = arrive.Difference(torch.ones(6, 8), 0.5)
        arrive.arrive(target, arrival(tensor, lead=3), [added])
        assert torch.equal(target.weight, (tensor.float() + 0.5).to(kept))


def test_a_lora_is_added_in_fp32_before_the_one_cast(monkeypatch: pytest.MonkeyPatch):
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(64, 32, generator=generator).bfloat16()
    down, up = torch.randn(4, 32, generator=generator) * 1e-3, torch.randn(64, 4, generator=generator)
    source = weight.clone()
    expected = (weight.float() + 0.7 * (up @ down)).bfloat16()
    assert not torch.equal(expected, weight + (0.7 * (up @ down)).bfloat16()), (
        "casting the delta first is another thing"
    )
    for elements in (10**9, 32 * 7):  # all at once, and in chunks of seven rows
        monkeypatch.setattr(widen, "ROWS_AT_ONCE", elements)
        target = arrive.Target(torch.empty(64, 32, dtype=torch.bfloat16))
        arrive.arrive(target, arrival(weight), [arrive.Product(down, up, 0.7)])
        assert torch.equal(target.weight, expected)
        assert torch.equal(weight, source), "what lies in RAM is left as it is"


# Silent traps


def fp8_state(layout: str) -> State:
    return tiny_wan.fp8_scaled(tiny_wan.original_expert(tiny_wan.expert(1).state_dict()), layout)


@pytest.mark.parametrize("layout", ["scale_weight", "weight_scale", "rowwise"])
def test_scaled_fp8_without_its_scale_is_refused(layout: str, tmp_path: Path):
    """Trap 6: it would load and render noise."""
    ending = "scale_weight" if layout == "scale_weight" else "weight_scale"
    state = fp8_state(layout)
    del state[f"blocks.1.ffn.2.{ending}"]
    path = tiny_wan.write_safetensors(state, tmp_path / "expert.safetensors")
    with pytest.raises(CheckpointError, match=r"blocks\.1\.ffn\.2\.weight is scaled fp8 and its scale is missing"):
        Expert(read_checkpoint(path), CPU, RAM)


def test_scaled_fp8_without_any_scale_is_refused(tmp_path: Path):
    state = {name: tensor for name, tensor in fp8_state("scale_weight").items() if not name.endswith("scale_weight")}
    path = tiny_wan.write_safetensors(state, tmp_path / "expert.safetensors")
    with pytest.raises(CheckpointError, match="scale"):
        Expert(read_checkpoint(path), CPU, RAM)


def test_what_does_not_load_is_an_error_that_names_it(tmp_path: Path):
    state = tiny_wan.original_expert(tiny_wan.expert(1).state_dict())

    def refused(changed: State, match: str) -> None:
        path = tiny_wan.write_safetensors(changed, tmp_path / "expert.safetensors")
        with pytest.raises(CheckpointError, match=match) as error:
            Expert(read_checkpoint(path), CPU, RAM)
        assert "expert.safetensors" in str(error.value)

    name = "blocks.1.cross_attn.k.bias"
    refused({key: tensor for key, tensor in state.items() if key != name}, name)
    refused({**state, "blocks.1.extra.weight": torch.zeros(3)}, r"blocks\.1\.extra\.weight")
    refused({**state, name: torch.zeros(255)}, name)
    refused({**state, name: torch.zeros(256, dtype=torch.int8)}, "I8")


# Precision


def test_precisions_that_a_cpu_has_not(tmp_path: Path):
    path = tiny_wan.write_expert(tmp_path, "expert", "bf16", 1)
    for precision in ("fp8", "fp16-accumulate"):
        with pytest.raises(MachineLacks, match=precision):
            Expert(read_checkpoint(path), CPU, RAM, precision)


def test_fp8_needs_compute_capability_8_9(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (8, 6))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "GeForce RTX 3090")
    with pytest.raises(MachineLacks, match=r"RTX 3090 has 8\.6: take precision"):
        fp8.check_fp8(torch.device("cuda", 0))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (8, 9))
    fp8.check_fp8(torch.device("cuda", 0))


def scaled_mm(a: torch.Tensor, b: torch.Tensor, **given: Any) -> torch.Tensor:
    """What torch._scaled_mm computes, without the hardware."""
    assert a.dtype == b.dtype == torch.float8_e4m3fn
    assert given["scale_a"].shape == (a.shape[0], 1)
    assert given["scale_b"].shape == (1, b.shape[1])
    assert b.stride(0) == 1, "the second factor lies column by column"
    return ((a.float() * given["scale_a"]) @ (b.float() * given["scale_b"])).to(given["out_dtype"])


@pytest.fixture
def with_fp8(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "_scaled_mm", scaled_mm)
    monkeypatch.setattr(experts, "check_fp8", lambda _: None)


@pytest.mark.parametrize("form", ["bf16", "fp8_scaled", "fp8_rowwise", "fp8_scaled_e5m2", "fp8_unscaled", "Q8_0"])
def test_fp8_linears_are_near(form: str, tmp_path: Path, with_fp8: None):
    path = tiny_wan.write_expert(tmp_path, "expert", form, 1)
    outs = []
    for placement in (RAM, RESIDENT):
        expert = Expert(read_checkpoint(path), CPU, placement, "fp8")
        outs.append(expert(*inputs()))
        kinds = {name: target.weight.dtype for name, target in expert._hold(0).targets.items()}
        assert {name for name, kind in kinds.items() if kind == torch.float8_e4m3fn} == {
            n for n in kinds if is_linear(n)
        }
        expert.close()
    assert torch.equal(*outs)
    assert apart(outs[0], predicted(path)) < 0.05


def test_fp8_files_are_used_as_they_are(tmp_path: Path, with_fp8: None):
    for form in ("fp8_scaled", "fp8_rowwise", "fp8_unscaled"):
        path = tiny_wan.write_expert(tmp_path, "expert", form, 1)
        stored = load_file(path)
        expert = Expert(read_checkpoint(path), CPU, RAM, "fp8")
        target = expert._hold(0).targets["ffn.net.0.proj.weight"]
        weight = stored["blocks.0.ffn.0.weight"]
        assert torch.equal(target.weight.view(torch.uint8), weight.view(torch.uint8))
        ending = {"fp8_scaled": "scale_weight", "fp8_rowwise": "weight_scale"}.get(form)
        scale = stored[f"blocks.0.ffn.0.{ending}"] if ending else torch.ones(1)
        assert target.scale is not None
        assert torch.equal(target.scale, scale.expand(512)[None])
        expert.close()


def test_fp8_weights_are_quantised_row_by_row_with_their_lora(tmp_path: Path, with_fp8: None):
    path = tiny_wan.write_expert(tmp_path, "expert", "fp32", 1)
    state = tiny_wan.lora()
    lora = load_lora(tiny_wan.write_safetensors(state, tmp_path / "lora.safetensors"), A14B)
    expert = Expert(read_checkpoint(path), CPU, RAM, "fp8")
    expert.set_loras([(lora, 1.0)])
    target = expert._hold(0).targets["attn1.to_q.weight"]
    key = "diffusion_model.blocks.0.self_attn.q"
    weight = tiny_wan.expert(1).state_dict()["blocks.0.attn1.to_q.weight"]
    weight = weight + 2.0 * state[f"{key}.lora_up.weight"] @ state[f"{key}.lora_down.weight"]
    assert target.scale is not None
    assert torch.allclose(target.scale[0], weight.abs().amax(1) / 448, rtol=1e-5)
    assert apart(target.weight.float() * target.scale[0][:, None], weight) < 0.03
    assert math.isclose(float(target.weight.float().abs().amax()), 448)
    expert.close()


def test_fp16_accumulation_is_on_while_an_expert_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(experts, "_dtype", lambda *_: torch.float16)
    path = tiny_wan.write_expert(tmp_path, "expert", "fp16", 1)
    expert = Expert(read_checkpoint(path), CPU, RAM, "fp16-accumulate")
    run, seen = expert.slots._run, []

    def looking(*given: Any) -> torch.Tensor:
        seen.append(torch.backends.cuda.matmul.allow_fp16_accumulation)
        return run(*given)

    monkeypatch.setattr(expert.slots, "_run", looking)
    out = expert(*inputs())
    assert out.dtype == torch.float16
    monkeypatch.undo()
    assert apart(out, predicted(path)) < 0.01
    assert seen == [True] * 2
    assert not torch.backends.cuda.matmul.allow_fp16_accumulation
    expert.close()


# Attention


def test_the_attention_asked_for_is_set_and_kept(tmp_path: Path):
    path = tiny_wan.write_expert(tmp_path, "expert", "bf16", 1)
    expert = Expert(read_checkpoint(path), CPU, RAM, attention="_native_math")
    for nag in (None, Nag(), None):
        expert.set_nag(nag)
        for slot in expert.slots._slots:
            for attention in (slot.block.attn1, slot.block.attn2):
                assert attention.processor._attention_backend == "_native_math"
            assert isinstance(slot.block.attn2.processor, NagProcessor) == (nag is not None)
    assert apart(expert(*inputs()), predicted(path)) < 1e-5
    expert.close()


def test_guidance_within_attention_is_set_for_every_slot_and_taken_back(tmp_path: Path):
    path = tiny_wan.write_expert(tmp_path, "expert", "fp32", 1)
    both = inputs(tokens=1024)
    model = tiny_wan.expert(1)
    for block in model.blocks:
        block.attn2.set_processor(NagProcessor(Nag()))
    with torch.no_grad():
        guided = model(*both, return_dict=False)[0]
    for placement in (RAM, RESIDENT):
        expert = Expert(read_checkpoint(path), CPU, placement)
        plain = expert(*both)
        expert.set_nag(Nag())
        assert torch.equal(expert(*both), guided)
        expert.set_nag(None)
        assert torch.equal(expert(*both), plain)
        assert not torch.equal(plain, guided)
        expert.close()


# Compiled graphs


class Graphs:
    """A compiler that keeps what it is given to compile, and runs it as it is."""

    def __init__(self) -> None:
        self.traced: list[torch.fx.GraphModule] = []

    def __call__(self, graph: torch.fx.GraphModule, _: Any) -> Callable[..., Any]:
        self.traced.append(graph)
        return graph.forward

    def dtypes(self) -> set[torch.dtype]:
        found: set[torch.dtype] = set()
        for graph in self.traced:
            for node in graph.graph.nodes:
                value = node.meta.get("example_value")
                values = value if isinstance(value, (list, tuple)) else [value]
                found |= {each.dtype for each in values if isinstance(each, torch.Tensor)}
        return found


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> Graphs:
    torch._dynamo.reset()
    kept, compiled = Graphs(), torch.compile
    monkeypatch.setattr(torch, "compile", lambda function, **given: compiled(function, backend=kept, **given))
    return kept


FP8_TYPES = {torch.float8_e4m3fn, torch.float8_e5m2}


def test_one_graph_serves_all_blocks_formats_placements_and_strengths(graphs: Graphs, tmp_path: Path):
    forms = ("fp8_scaled", "fp8_rowwise", "fp8_unscaled", "fp8_scaled_e5m2", "Q4_K", "bf16")
    lora = load_lora(tiny_wan.write_safetensors(tiny_wan.lora(), tmp_path / "lora.safetensors"), A14B)
    for index, form in enumerate(forms):
        path = tiny_wan.write_expert(tmp_path, form, form, 1)
        expert = Expert(read_checkpoint(path), CPU, RESIDENT if index % 2 else RAM, compile=True)
        plain = expert(*inputs())
        assert apart(plain, predicted(path)) < 1e-5
        expert.set_loras([(lora, 0.5)])
        with torch.inference_mode():
            assert not torch.equal(expert(*inputs()), plain)
        expert.close()
    assert len(graphs.traced) == 1, "for both slots, both experts and all of these"
    assert torch.float32 in graphs.dtypes()
    assert not FP8_TYPES & graphs.dtypes(), "Triton cannot compile fp8 below compute capability 8.9"


def test_fp8_is_in_the_graph_where_it_was_asked_for(graphs: Graphs, tmp_path: Path, with_fp8: None):
    path = tiny_wan.write_expert(tmp_path, "expert", "fp8_scaled", 1)
    expert = Expert(read_checkpoint(path), CPU, RAM, "fp8", compile=True)
    expert(*inputs())
    expert.close()
    assert len(graphs.traced) == 1
    assert torch.float8_e4m3fn in graphs.dtypes()


def test_a_story_may_need_more_graphs_than_torch_compiles_by_itself(graphs: Graphs, tmp_path: Path):
    """Sizes, guided or not: at its own limit torch raises, if a graph has to be whole."""
    path = tiny_wan.write_expert(tmp_path, "expert", "bf16", 1)
    expert = Expert(read_checkpoint(path), CPU, RAM, compile=True)
    with torch._dynamo.config.patch(recompile_limit=1):
        expert(*inputs())
        expert(*inputs(tokens=40))
        expert.set_nag(Nag())
        expert(*inputs(tokens=1024))
    expert.close()
    assert len(graphs.traced) == 3


def test_a_file_is_left_as_it_is(tmp_path: Path):
    path = tiny_wan.write_expert(tmp_path, "expert", "fp32", 1)
    before = path.read_bytes()
    expert = Expert(read_checkpoint(path), CPU, RAM)
    lora = load_lora(tiny_wan.write_safetensors(tiny_wan.lora(), tmp_path / "lora.safetensors"), A14B)
    plain = expert(*inputs())
    expert.set_loras([(lora, 1.0)])
    expert(*inputs())
    expert.set_loras([])
    assert torch.equal(expert(*inputs()), plain)
    expert.close()
    assert path.read_bytes() == before
