"""Tiny WAN 2.2 checkpoints with random weights, in the formats and under the key names of the files people have."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import sentencepiece
import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from gguf import GGMLQuantizationType, quants
from safetensors.torch import save_file
from transformers import UMT5Config, UMT5EncoderModel

State = dict[str, torch.Tensor]
DIM, HEADS, FFN, TEXT, LAYERS = 256, 2, 512, 256, 2

TEXTS = """a wooden dock at dawn, mist drifting over the water
a rowing boat leaves the dock. the sky darkens, waves rise
the camera pushes in slowly; a lighthouse turns its lamp
blurry, watermark, talking, low quality, 35mm film, soft light
色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，低质量
ABCDEFGHIJKLMNOPQRSTUVWXYZ abcdefghijklmnopqrstuvwxyz 0123456789 .,;:!?-()'"
"""


def random_state(model: torch.nn.Module, seed: int, spread: float = 0.05) -> State:
    """Weights that keep activations near 1: norms near one, the rest small; the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    state: State = {}
    for name, tensor in model.state_dict().items():
        noise = torch.randn(tensor.shape, generator=generator)
        norm = name.endswith(("gamma", "norm_q.weight", "norm_k.weight", "norm2.weight", "layer_norm.weight"))
        fan = tensor[0].numel() if tensor.ndim > 1 else 1
        scale = spread if tensor.ndim < 2 else fan**-0.5
        state[name] = (1 + spread * noise if norm else scale * noise).to(tensor.dtype)
    return state


def expert(seed: int = 0, channels: tuple[int, int] = (36, 16), layers: int = LAYERS, dim: int = DIM) -> Any:
    """A tiny WanTransformer3DModel: (36, 16) is I2V-A14B's, (48, 48) TI2V-5B's."""
    model = WanTransformer3DModel(
        num_attention_heads=dim // 128,
        in_channels=channels[0],
        out_channels=channels[1],
        text_dim=TEXT,
        freq_dim=256,
        ffn_dim=FFN,
        num_layers=layers,
    )
    model.load_state_dict(random_state(model, seed))
    return model.eval().requires_grad_(False)


def vae21(seed: int = 0) -> Any:
    """The topology of every A14B checkpoint's VAE (8x8x4)."""
    model = AutoencoderKLWan(base_dim=8, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1)
    model.load_state_dict(random_state(model, seed))
    return model.eval().requires_grad_(False)


def vae22(seed: int = 0) -> Any:
    """The topology of TI2V-5B's VAE (16x16x4, residual, patches of 2)."""
    model = AutoencoderKLWan(
        base_dim=8,
        decoder_base_dim=8,
        z_dim=48,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        is_residual=True,
        patch_size=2,
        in_channels=12,
        out_channels=12,
        latents_mean=[0.0] * 48,
        latents_std=[1.0] * 48,
        scale_factor_spatial=16,
    )
    model.load_state_dict(random_state(model, seed))
    return model.eval().requires_grad_(False)


@cache
def spiece() -> bytes:
    """A sentencepiece model with UMT5's special ids: <pad> 0, </s> 1, <unk> 2, then bytes."""
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS.splitlines() * 20),
        model_writer=written,
        vocab_size=420,
        model_type="unigram",
        byte_fallback=True,
        character_coverage=1.0,
        normalization_rule_name="nmt_nfkc",
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    return written.getvalue()


def text_encoder(seed: int = 0) -> Any:
    size = sentencepiece.SentencePieceProcessor(model_proto=spiece()).vocab_size()
    config = UMT5Config(
        vocab_size=size,
        d_model=TEXT,
        d_kv=64,
        d_ff=512,
        num_layers=LAYERS,
        num_heads=4,
        dropout_rate=0.0,
        feed_forward_proj="gated-gelu",
        is_encoder_decoder=False,
        use_cache=False,
        tie_word_embeddings=False,
    )
    model = UMT5EncoderModel(config)
    state = random_state(model, seed)
    if "encoder.embed_tokens.weight" in state:  # one tensor under two names
        state["encoder.embed_tokens.weight"] = state["shared.weight"]
    model.load_state_dict(state)
    return model.eval().requires_grad_(False)


RENAMES = (
    ("condition_embedder.time_embedder.linear_1", "time_embedding.0"),
    ("condition_embedder.time_embedder.linear_2", "time_embedding.2"),
    ("condition_embedder.text_embedder.linear_1", "text_embedding.0"),
    ("condition_embedder.text_embedder.linear_2", "text_embedding.2"),
    ("condition_embedder.time_proj", "time_projection.1"),
    (".attn1.", ".self_attn."),
    (".attn2.", ".cross_attn."),
    (".to_out.0.", ".o."),
    (".to_q.", ".q."),
    (".to_k.", ".k."),
    (".to_v.", ".v."),
    ("proj_out", "head.head"),
    (".ffn.net.0.proj", ".ffn.0"),
    (".ffn.net.2", ".ffn.2"),
    (".norm2.", ".norm3."),  # WAN counts the norms in another order; the one with weights is its norm3
)


def original_expert(state: Mapping[str, torch.Tensor]) -> State:
    """An expert's weights under WAN's own key names."""
    named: State = {}
    for name, tensor in state.items():
        if name == "scale_shift_table":
            named["head.modulation"] = tensor
            continue
        other = name.replace("scale_shift_table", "modulation")
        for ours, theirs in RENAMES:
            other = other.replace(ours, theirs)
        named[other] = tensor
    return named


def original_vae(vae: Any) -> State:
    """A VAE's weights under WAN's own key names."""
    return {_original_vae_name(name, vae): tensor for name, tensor in vae.state_dict().items()}


VAE_RENAMES = (
    (r"^quant_conv\.", "conv1."),
    (r"^post_quant_conv\.", "conv2."),
    (r"\.conv_in\.", ".conv1."),
    (r"\.norm_out\.", ".head.0."),
    (r"\.conv_out\.", ".head.2."),
    (r"\.mid_block\.resnets\.0\.", ".middle.0."),
    (r"\.mid_block\.attentions\.0\.", ".middle.1."),
    (r"\.mid_block\.resnets\.1\.", ".middle.2."),
)
RESNET = ((".norm1.", ".residual.0."), (".norm2.", ".residual.3."), (".conv_shortcut.", ".shortcut."))


def _original_vae_name(name: str, vae: Any) -> str:
    inner = re.search(
        r"(resnets\.\d+|down_blocks\.\d+(?:\.resnets\.\d+)?)\.(conv1|conv2|norm1|norm2|conv_shortcut)\.", name
    )
    if inner:
        for ours, theirs in (*RESNET, (".conv1.", ".residual.2."), (".conv2.", ".residual.6.")):
            name = name.replace(ours, theirs)
    blocks, deep = vae.config.num_res_blocks, vae.config.is_residual
    for pattern, theirs in VAE_RENAMES:
        name = re.sub(pattern, theirs, name)
    if deep:
        name = re.sub(r"^encoder\.down_blocks\.(\d+)\.resnets\.(\d+)", r"encoder.downsamples.\1.downsamples.\2", name)
        name = re.sub(
            r"^encoder\.down_blocks\.(\d+)\.downsampler", rf"encoder.downsamples.\1.downsamples.{blocks}", name
        )
        name = re.sub(r"^decoder\.up_blocks\.(\d+)\.resnets\.(\d+)", r"decoder.upsamples.\1.upsamples.\2", name)
        return re.sub(r"^decoder\.up_blocks\.(\d+)\.upsampler", rf"decoder.upsamples.\1.upsamples.{blocks + 1}", name)
    name = name.replace("encoder.down_blocks.", "encoder.downsamples.")
    # Each stage is blocks + 1 residual blocks and, but for the last, a resampler, all in one list.
    stage = blocks + 2
    name = re.sub(
        r"^decoder\.up_blocks\.(\d+)\.resnets\.(\d+)",
        lambda found: f"decoder.upsamples.{int(found[1]) * stage + int(found[2])}",
        name,
    )
    return re.sub(
        r"^decoder\.up_blocks\.(\d+)\.upsamplers\.0",
        lambda found: f"decoder.upsamples.{int(found[1]) * stage + blocks + 1}",
        name,
    )


def _is_linear(name: str, tensor: torch.Tensor) -> bool:
    return tensor.ndim == 2 and name.endswith(".weight") and ("blocks." in name or "block." in name)


def as_dtype(state: State, dtype: torch.dtype) -> State:
    return {name: tensor.to(dtype) for name, tensor in state.items()}


def fp8_scaled(state: State, layout: str = "scale_weight", dtype: torch.dtype = torch.float8_e4m3fn) -> State:
    """As ComfyUI writes scaled fp8. layout: "scale_weight", "weight_scale" (with comfy_quant marks), "rowwise", or
    "unscaled" (plain fp8 without scales)."""
    limit = torch.finfo(dtype).max
    out: State = {}
    for name, tensor in state.items():
        if not _is_linear(name, tensor):
            out[name] = tensor.to(torch.bfloat16)
            continue
        rows = layout == "rowwise"
        scale = tensor.abs().amax(1) / limit if rows else tensor.abs().max() / limit
        if layout == "unscaled":
            scale = torch.tensor(1.0)
        out[name] = (tensor / (scale[:, None] if rows else scale)).clamp(-limit, limit).to(dtype)
        module = name.removesuffix(".weight")
        if layout == "scale_weight":
            out[f"{module}.scale_weight"] = scale.reshape(1).float()
        elif layout != "unscaled":
            out[f"{module}.weight_scale"] = scale.float()
        if layout == "weight_scale":
            form = "float8_e4m3fn" if dtype == torch.float8_e4m3fn else "float8_e5m2"
            mark = bytes(f'{{"format": "{form}"}}', "ascii")
            out[f"{module}.comfy_quant"] = torch.tensor(list(mark), dtype=torch.uint8)
    if layout == "scale_weight":
        out["scaled_fp8"] = torch.empty(2, dtype=dtype)
    return out


def write_safetensors(state: State, path: Path, metadata: dict[str, str] | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, path, metadata)
    return path


def write_gguf(state: State, path: Path, kind: str = "Q8_0", architecture: str = "wan") -> Path:
    """A GGUF file; kinds that gguf-py cannot quantise to (Q4_K, ...) get random blocks of small scales."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(path, architecture)
    quant = GGMLQuantizationType[kind]
    for name, tensor in state.items():
        values = tensor.float().numpy()
        if not _is_linear(name, tensor):
            writer.add_tensor(name, values)
            continue
        writer.add_tensor(name, quantised(values, quant, name), raw_dtype=quant)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def quantised(values: np.ndarray, quant: GGMLQuantizationType, name: str) -> np.ndarray:
    try:
        return quants.quantize(values, quant)
    except NotImplementedError:
        return _random_blocks(values, quant, name)


def _random_blocks(values: np.ndarray, quant: GGMLQuantizationType, name: str) -> np.ndarray:
    """K-quants of random bytes whose half-precision scales are small, so that the weights are of a usual size."""
    size, width = gguf.GGML_QUANT_SIZES[quant]
    rng = np.random.default_rng(sum(name.encode()))
    blocks = rng.integers(0, 256, (values.size // size, width), dtype=np.uint8)
    at = {"Q2_K": 80, "Q3_K": 108, "Q4_K": 0, "Q5_K": 0, "Q6_K": 208}[quant.name]
    two = quant.name in ("Q2_K", "Q4_K", "Q5_K")
    small = np.array([2e-4, 1e-3] if two else [2e-5], np.float16).view(np.uint8)
    blocks[:, at : at + small.size] = small
    return blocks.reshape(values.shape[0], -1)


LLAMA_T5 = (
    ("shared.weight", "token_embd.weight"),
    ("encoder.block.", "enc.blk."),
    ("encoder.final_layer_norm", "enc.output_norm"),
    (".layer.0.SelfAttention.relative_attention_bias", ".attn_rel_b"),
    (".layer.0.SelfAttention.", ".attn_"),
    (".layer.0.layer_norm", ".attn_norm"),
    (".layer.1.DenseReluDense.wi_0", ".ffn_gate"),
    (".layer.1.DenseReluDense.wi_1", ".ffn_up"),
    (".layer.1.DenseReluDense.wo", ".ffn_down"),
    (".layer.1.layer_norm", ".ffn_norm"),
)


def comfy_text_encoder(model: Any) -> State:
    """Under the names of ComfyUI's single file, without the tokenizer."""
    return {name: tensor for name, tensor in model.state_dict().items() if name != "encoder.embed_tokens.weight"}


def llama_text_encoder(model: Any) -> State:
    """Under llama.cpp's names, as in GGUF files."""
    named: State = {}
    for name, tensor in comfy_text_encoder(model).items():
        for ours, theirs in LLAMA_T5:
            name = name.replace(ours, theirs)
        named[re.sub(r"\.attn_([qkvo])\.", r".attn_\1.", name)] = tensor
    return named


def with_tokenizer(state: State) -> State:
    return {**state, "spiece_model": torch.tensor(list(spiece()), dtype=torch.uint8)}


def lora(seed: int = 7, rank: int = 4, form: str = "lightning", modules: tuple[str, ...] = ()) -> State:
    """A LoRA of all of the blocks' linears (or of these modules, in WAN's own names).

    form: "lightning" (`diffusion_model.*.lora_down/up.weight` and alpha), "lora_A/B", "musubi", "peft".
    """
    generator = torch.Generator().manual_seed(seed)
    sizes = {name.removesuffix(".weight"): t.shape for name, t in original_expert(expert().state_dict()).items()}
    chosen = modules or tuple(
        name for name in sizes if re.fullmatch(r"blocks\.\d+\.(\w+_attn\.[qkvo]|ffn\.[02])", name)
    )
    out: State = {}
    for name in chosen:
        rows, columns = sizes[name][0], sizes[name][1]
        down = torch.randn(rank, columns, generator=generator) * 0.1
        up = torch.randn(rows, rank, generator=generator) * 0.1
        match form:
            case "lightning":
                out[f"diffusion_model.{name}.lora_down.weight"] = down
                out[f"diffusion_model.{name}.lora_up.weight"] = up
                out[f"diffusion_model.{name}.alpha"] = torch.tensor(float(rank) * 2)
            case "lora_A/B":
                out[f"diffusion_model.{name}.lora_A.weight"], out[f"diffusion_model.{name}.lora_B.weight"] = down, up
            case "musubi":
                flat = name.replace(".", "_")
                out[f"lora_unet_{flat}.lora_down.weight"] = down
                out[f"lora_unet_{flat}.lora_up.weight"] = up
                out[f"lora_unet_{flat}.alpha"] = torch.tensor(float(rank) / 2)
            case "peft":
                ours = _diffusers_name(name)
                out[f"transformer.{ours}.lora_A.weight"], out[f"transformer.{ours}.lora_B.weight"] = down, up
            case _:
                raise ValueError(form)
    return out


def _diffusers_name(name: str) -> str:
    for ours, theirs in reversed(RENAMES):
        name = f"{name}.".replace(theirs, ours).removesuffix(".")
    return name


Form = Callable[[State], State]
FORMS: dict[str, Form] = {
    "bf16": lambda state: as_dtype(state, torch.bfloat16),
    "fp16": lambda state: as_dtype(state, torch.float16),
    "fp32": lambda state: as_dtype(state, torch.float32),
    "fp8_scaled": fp8_scaled,
    "fp8_scaled_e5m2": lambda state: fp8_scaled(state, dtype=torch.float8_e5m2),
    "fp8_weight_scale": lambda state: fp8_scaled(state, "weight_scale"),
    "fp8_rowwise": lambda state: fp8_scaled(state, "rowwise"),
    "fp8_unscaled": lambda state: fp8_scaled(state, "unscaled"),
}


def write_expert(folder: Path, name: str, form: str, seed: int, channels: tuple[int, int] = (36, 16)) -> Path:
    """diffusion_models/NAME.safetensors, or .gguf where the form is a GGUF quantisation."""
    state = original_expert(expert(seed, channels).state_dict())
    if form in FORMS:
        return write_safetensors(FORMS[form](state), folder / "diffusion_models" / f"{name}.safetensors")
    return write_gguf(state, folder / "diffusion_models" / f"{name}.gguf", form)


LIGHTNING = "wan2.2_i2v_lightx2v_4steps_lora_v1"


def write_comfy_folder(folder: Path, experts: str = "fp8_scaled", text: str = "fp8_scaled", loras: bool = True) -> Path:
    """A folder laid out as ComfyUI/models with a tiny I2V-A14B; files carry their published names."""
    kind = experts if experts in FORMS else f"{experts}"
    for seed, noise in ((1, "high"), (2, "low")):
        write_expert(folder, f"wan2.2_i2v_{noise}_noise_14B_{kind}", experts, seed)
        if loras:
            path = folder / "loras" / f"{LIGHTNING}_{noise}_noise.safetensors"
            write_safetensors(as_dtype(lora(10 + seed), torch.bfloat16), path)
    state = with_tokenizer(FORMS[text](comfy_text_encoder(text_encoder(3))))
    name = "umt5_xxl_fp8_e4m3fn_scaled" if text == "fp8_scaled" else f"umt5_xxl_{text}"
    write_safetensors(state, folder / "text_encoders" / f"{name}.safetensors")
    write_safetensors(original_vae(vae21(4)), folder / "vae" / "wan_2.1_vae.safetensors")
    return folder


def write_comfy_5b(folder: Path, experts: str = "fp16", text: str = "fp8_scaled") -> Path:
    """A folder laid out as ComfyUI/models with a tiny TI2V-5B."""
    write_expert(folder, f"wan2.2_ti2v_5B_{experts}", experts, 5, (48, 48))
    state = with_tokenizer(FORMS[text](comfy_text_encoder(text_encoder(3))))
    write_safetensors(state, folder / "text_encoders" / "umt5_xxl_fp8_e4m3fn_scaled.safetensors")
    write_safetensors(original_vae(vae22(6)), folder / "vae" / "wan2.2_vae.safetensors")
    return folder


def write_diffusers_folder(folder: Path, five: bool = False, shard: str = "1MB") -> Path:
    """A tiny diffusers pipeline folder, as Wan-AI publishes it: shards, tokenizer/spiece.model."""
    import json

    channels = (48, 48) if five else (36, 16)
    expert(5 if five else 1, channels).save_pretrained(folder / "transformer", max_shard_size=shard)
    if not five:
        expert(2, channels).save_pretrained(folder / "transformer_2", max_shard_size=shard)
    (vae22(6) if five else vae21(4)).save_pretrained(folder / "vae")
    text_encoder(3).save_pretrained(folder / "text_encoder", max_shard_size=shard)
    (folder / "tokenizer").mkdir(exist_ok=True)
    (folder / "tokenizer" / "spiece.model").write_bytes(spiece())
    index: dict[str, Any] = {
        "_class_name": "WanPipeline" if five else "WanImageToVideoPipeline",
        "transformer": ["diffusers", "WanTransformer3DModel"],
        "transformer_2": [None, None] if five else ["diffusers", "WanTransformer3DModel"],
        "vae": ["diffusers", "AutoencoderKLWan"],
        "text_encoder": ["transformers", "UMT5EncoderModel"],
        "tokenizer": ["transformers", "T5TokenizerFast"],
        "image_encoder": [None, None],
        "expand_timesteps": five,
    }
    if not five:
        index["boundary_ratio"] = 0.9
    (folder / "model_index.json").write_text(json.dumps(index), encoding="utf-8")
    return folder
