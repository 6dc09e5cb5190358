#!/usr/bin/env python3
"""Writes a ComfyUI models folder with full-size WAN 2.2 I2V-A14B files of random weights, for benchmarks.

    scripts/random_wan.py /path/to/folder --experts bf16 --text-layers 1

Quality cannot be judged on such weights; speed and memory are those of the real ones. bf16 experts are one file under
two names, 28.6 GB; fp8 ones two files of 14.5 GB.
"""

import argparse
import io
import json
import os
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path

import torch

from scenes.wan.anatomy import is_linear, original_module, parameters
from scenes.wan.identify import ExpertShape

A14B = ExpertShape(dim=5120, ffn=13824, layers=40, in_channels=36, out_channels=16, text_dim=4096, freq_dim=256)
DTYPES = {torch.bfloat16: "BF16", torch.float32: "F32", torch.float8_e4m3fn: "F8_E4M3", torch.uint8: "U8"}
Described = tuple[str, torch.dtype, tuple[int, ...]]


def original(name: str) -> str:
    if name.endswith("scale_shift_table"):
        return name.replace("scale_shift_table", "modulation") if "." in name else "head.modulation"
    module, _, parameter = name.rpartition(".")
    return f"{original_module(module)}.{parameter}"


def described(experts: str) -> Iterator[Described]:
    for name, shape in parameters(A14B).items():
        linear = name.startswith("blocks.") and is_linear(name)
        fp8 = experts == "fp8" and linear
        yield original(name), torch.float8_e4m3fn if fp8 else torch.bfloat16, shape
        if fp8:
            yield original(name).removesuffix(".weight") + ".scale_weight", torch.float32, (1,)


def random(name: str, dtype: torch.dtype, shape: tuple[int, ...], device: str) -> torch.Tensor:
    """Weights that keep activations of a usual size."""
    if name.endswith("scale_weight"):
        return torch.full(shape, 1 / 448)
    fan = shape[1] if len(shape) > 1 else 400
    values = torch.randn(shape, device=device) * fan**-0.5
    if "norm" in name and name.endswith("weight"):
        values += 1
    return (values * 448 * 4 if dtype == torch.float8_e4m3fn else values).to(dtype)


def write(path: Path, tensors: list[Described], device: str, given: dict[str, torch.Tensor] | None = None) -> None:
    """A safetensors file, one tensor after another, so that no more than one is in memory."""
    head: dict[str, object] = {}
    end = 0
    for name, dtype, shape in tensors:
        size = dtype.itemsize * torch.Size(shape).numel()
        head[name] = {"dtype": DTYPES[dtype], "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    packed = json.dumps(head).encode()
    packed += b" " * (-len(packed) % 8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(packed)) + packed)
        for name, dtype, shape in tensors:
            values = (given or {}).get(name)
            values = random(name, dtype, shape, device) if values is None else values
            file.write(values.cpu().contiguous().view(torch.uint8).numpy().data)


def write_experts(folder: Path, experts: str, device: str) -> None:
    named = "fp8_scaled" if experts == "fp8" else "bf16"
    high = folder / "diffusion_models" / f"wan2.2_i2v_high_noise_14B_{named}.safetensors"
    write(high, list(described(experts)), device)
    low = high.with_name(high.name.replace("high", "low"))
    low.unlink(missing_ok=True)
    if experts == "fp8":
        shutil.copy(high, low)
    else:
        os.link(high, low)  # a story may not name one file as both; a benchmark of parts may


def write_loras(folder: Path, rank: int, device: str) -> None:
    """Lightning's pair: every linear of every block."""
    tensors: list[Described] = []
    for name, shape in parameters(A14B).items():
        if name.startswith("blocks.") and is_linear(name):
            module = f"diffusion_model.{original(name).removesuffix('.weight')}"
            tensors.append((f"{module}.lora_down.weight", torch.bfloat16, (rank, shape[1])))
            tensors.append((f"{module}.lora_up.weight", torch.bfloat16, (shape[0], rank)))
    for noise in ("high", "low"):
        path = folder / "loras" / f"wan2.2_i2v_lightx2v_4steps_lora_v1_{noise}_noise.safetensors"
        write(path, tensors, device)


def write_vae(folder: Path) -> None:
    from diffusers import AutoencoderKLWan

    torch.manual_seed(0)
    state = {name: tensor.to(torch.bfloat16) for name, tensor in AutoencoderKLWan().state_dict().items()}
    described = [(name, torch.bfloat16, tuple(tensor.shape)) for name, tensor in state.items()]
    write(folder / "vae" / "wan_2.1_vae.safetensors", described, "cpu", state)


def tokenizer() -> bytes:
    import sentencepiece

    written = io.BytesIO()
    text = "The quick brown fox jumps over the lazy dog. a wooden dock at dawn; boats leave"
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([text] * 20), model_writer=written, vocab_size=320, model_type="unigram",
        byte_fallback=True, pad_id=0, eos_id=1, unk_id=2, bos_id=-1, hard_vocab_limit=False, minloglevel=2,
    )  # fmt: skip
    return written.getvalue()


def write_text_encoder(folder: Path, layers: int, device: str) -> None:
    d, ff = 4096, 10240
    tensors: list[Described] = [("shared.weight", torch.bfloat16, (256384, d))]
    for block in range(layers):
        name = f"encoder.block.{block}.layer"
        tensors += [(f"{name}.0.SelfAttention.{part}.weight", torch.bfloat16, (d, d)) for part in "qkvo"]
        tensors.append((f"{name}.0.SelfAttention.relative_attention_bias.weight", torch.bfloat16, (32, 64)))
        tensors += [(f"{name}.1.DenseReluDense.{part}.weight", torch.bfloat16, (ff, d)) for part in ("wi_0", "wi_1")]
        tensors.append((f"{name}.1.DenseReluDense.wo.weight", torch.bfloat16, (d, ff)))
        tensors += [(f"{name}.{part}.layer_norm.weight", torch.bfloat16, (d,)) for part in (0, 1)]
    tensors.append(("encoder.final_layer_norm.weight", torch.bfloat16, (d,)))
    spiece = torch.frombuffer(bytearray(tokenizer()), dtype=torch.uint8)
    tensors.append(("spiece_model", torch.uint8, tuple(spiece.shape)))
    path = folder / "text_encoders" / "umt5_xxl_bf16.safetensors"
    write(path, tensors, device, {"spiece_model": spiece})


def write_folder(folder: Path, experts: str, text_layers: int = 1, rank: int = 64) -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    write_experts(folder, experts, device)
    if not (folder / "vae").exists():
        write_loras(folder, rank, device)
        write_vae(folder)
        write_text_encoder(folder, text_layers, device)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--experts", choices=["bf16", "fp8"], default="bf16")
    parser.add_argument("--text-layers", type=int, default=24, help="UMT5-XXL has 24; fewer save disk")
    parser.add_argument("--rank", type=int, default=64, help="of the LoRA pair")
    asked = parser.parse_args()
    write_folder(asked.folder, asked.experts, asked.text_layers, asked.rank)
