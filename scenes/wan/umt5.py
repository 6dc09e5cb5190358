"""What a text encoder's file holds: UMT5's weights by transformers' names, whatever the file calls them. Free of torch.

Three ways of naming are in use: transformers' (ComfyUI's single files, Wan-AI's diffusers folders), llama.cpp's (GGUF)
and WAN's own (umt5-xxl-enc-bf16.safetensors). Source: UMT5EncoderModel of transformers, gguf-py's constants.py, and
Wan-Video/Wan2.2, wan/modules/t5.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scenes.wan.checkpoint import Checkpoint, CheckpointError, TensorInfo
from scenes.wan.parts import Part, part_of
from scenes.wan.tensors import NO_WEIGHTS, check_weight, is_scaled, several

Shape = tuple[int, ...]
Tensors = Mapping[str, TensorInfo]

_EMBEDDING = "shared.weight"
_NORM = "encoder.final_layer_norm.weight"
SPIECE = "spiece_model"
"""The tensor that holds the tokenizer in ComfyUI's files."""

_BLOCK = re.compile(r"(?:encoder\.block|enc\.blk|blocks)\.(\d+)\.(.+)")
# A block's modules: transformers' name, llama.cpp's, WAN's own.
_WITHIN = (
    ("layer.0.SelfAttention.q", "attn_q", "attn.q"),
    ("layer.0.SelfAttention.k", "attn_k", "attn.k"),
    ("layer.0.SelfAttention.v", "attn_v", "attn.v"),
    ("layer.0.SelfAttention.o", "attn_o", "attn.o"),
    ("layer.0.SelfAttention.relative_attention_bias", "attn_rel_b", "pos_embedding.embedding"),
    ("layer.0.layer_norm", "attn_norm", "norm1"),
    ("layer.1.DenseReluDense.wi_0", "ffn_gate", "ffn.gate.0"),
    ("layer.1.DenseReluDense.wi_1", "ffn_up", "ffn.fc1"),
    ("layer.1.DenseReluDense.wo", "ffn_down", "ffn.fc2"),
    ("layer.1.layer_norm", "ffn_norm", "norm2"),
)
_REST = (
    ("shared", "token_embd", "token_embedding"),
    ("shared", "encoder.embed_tokens", "encoder.embed_tokens"),  # one table, in some files under its second name
    ("encoder.final_layer_norm", "enc.output_norm", "norm"),
)
_WITHIN_BY_NAME = {name: names[0] for names in _WITHIN for name in names}
_REST_BY_NAME = {name: names[0] for names in _REST for name in names}
_LEAVES = {"weight": "weight", "weight_scale": "weight_scale", "scale_weight": "weight_scale"}


@dataclass(frozen=True, slots=True)
class EncoderShape:
    """A UMT5 encoder's sizes. `head`: channels of an attention head; `buckets`: of the relative position bias."""

    vocab: int
    dim: int
    ffn: int
    layers: int
    heads: int
    head: int
    buckets: int

    @property
    def config(self) -> dict[str, Any]:
        """What transformers' UMT5Config says of one of its layers."""
        return {
            "d_model": self.dim,
            "d_kv": self.head,
            "d_ff": self.ffn,
            "num_layers": 1,
            "num_heads": self.heads,
            "relative_attention_num_buckets": self.buckets,
            "feed_forward_proj": "gated-gelu",
            "is_encoder_decoder": False,
            "use_cache": False,
        }


@dataclass(frozen=True, slots=True)
class EncoderParts:
    """Where an encoder's weights lie.

    Those of a block are named within it; `embedding`, a row for each token, and `norm` are `weight` alone.
    """

    shape: EncoderShape
    embedding: Part
    blocks: tuple[Part, ...]
    norm: Part


def encoder_parts(checkpoint: Checkpoint) -> EncoderParts:
    """A text encoder taken apart, each of its tensors checked.

    Raises:
        CheckpointError: it is no UMT5 encoder, or not a whole one.
    """
    names = _names(checkpoint)
    shape = _shape(checkpoint, names)
    parameters = _parameters(shape)
    _check(checkpoint, names, parameters)
    within = [f"{module}.weight" for module, _, _ in _WITHIN]
    return EncoderParts(
        shape,
        part_of(names, "shared.", ["weight"]),
        tuple(part_of(names, f"encoder.block.{index}.", within) for index in range(shape.layers)),
        part_of(names, "encoder.final_layer_norm.", ["weight"]),
    )


def _names(checkpoint: Checkpoint) -> dict[str, TensorInfo]:
    """The tensors by transformers' names; the scales of fp8 weights are `<module>.weight_scale`."""
    names: dict[str, TensorInfo] = {}
    foreign: list[str] = []
    for theirs, info in checkpoint.tensors.items():
        ours = _our_name(theirs)
        if ours is not None:
            names[ours] = info
        elif theirs != SPIECE and not theirs.endswith(NO_WEIGHTS):
            foreign.append(theirs)
    if foreign:
        raise _not_umt5(checkpoint, f"it holds {several(foreign)}")
    return names


def _shape(checkpoint: Checkpoint, names: Tensors) -> EncoderShape:
    block = "encoder.block.0.layer"
    buckets, heads = _size(checkpoint, names, f"{block}.0.SelfAttention.relative_attention_bias.weight")
    vocab, dim = _size(checkpoint, names, _EMBEDDING)
    inner, _ = _size(checkpoint, names, f"{block}.0.SelfAttention.q.weight")
    ffn, _ = _size(checkpoint, names, f"{block}.1.DenseReluDense.wi_0.weight")
    layers = 1 + max(int(found[1]) for name in names if (found := _BLOCK.match(name)))
    return EncoderShape(vocab, dim, ffn, layers, heads, inner // max(heads, 1), buckets)


def _check(checkpoint: Checkpoint, names: Tensors, parameters: Mapping[str, Shape]) -> None:
    scaled = is_scaled(checkpoint.tensors)
    for name, expected in parameters.items():
        if name not in names:
            raise _missing(checkpoint, name)
        info = names[name]
        if info.shape != expected:
            raise _not_umt5(checkpoint, f"its {info.name} is {_by(info.shape)}, not {_by(expected)}")
        check_weight(info, names.get(f"{name}_scale"), scaled)


def _our_name(theirs: str) -> str | None:
    module, _, leaf = theirs.rpartition(".")
    if leaf not in _LEAVES:
        return None
    block = _BLOCK.fullmatch(module)
    if block is None:
        found = _REST_BY_NAME.get(module)
    else:
        found = _WITHIN_BY_NAME.get(block[2])
        found = None if found is None else f"encoder.block.{block[1]}.{found}"
    return None if found is None else f"{found}.{_LEAVES[leaf]}"


def _parameters(shape: EncoderShape) -> dict[str, Shape]:
    dim, inner = shape.dim, shape.heads * shape.head
    sizes: dict[str, Shape] = {
        "SelfAttention.o": (dim, inner),
        "SelfAttention.relative_attention_bias": (shape.buckets, shape.heads),
        "layer_norm": (dim,),
        "DenseReluDense.wo": (dim, shape.ffn),
        **{f"SelfAttention.{name}": (inner, dim) for name in "qkv"},
        **{f"DenseReluDense.{name}": (shape.ffn, dim) for name in ("wi_0", "wi_1")},
    }
    blocks = {
        f"encoder.block.{index}.{module}.weight": sizes[module.split(".", 2)[2]]
        for index in range(shape.layers)
        for module, _, _ in _WITHIN
    }
    return {_EMBEDDING: (shape.vocab, dim), _NORM: (dim,)} | blocks


def _size(checkpoint: Checkpoint, names: Tensors, name: str) -> tuple[int, int]:
    """Rows and columns."""
    if name not in names:
        raise _missing(checkpoint, name)
    if len(names[name].shape) != 2:
        raise _not_umt5(checkpoint, f"its {name} is {_by(names[name].shape)}")
    return names[name].shape[0], names[name].shape[1]


def _missing(checkpoint: Checkpoint, name: str) -> CheckpointError:
    if "relative_attention_bias" in name:  # T5 has it in its first layer only
        return _not_umt5(checkpoint, f"it has no {name}, as the T5 of other models has none")
    return _not_umt5(checkpoint, f"it has no {name}: it is another model's, or a part of it is missing")


def _not_umt5(checkpoint: Checkpoint, why: str) -> CheckpointError:
    return CheckpointError(
        f"{checkpoint.path} is not a UMT5 text encoder: {why}. "
        "WAN 2.2 takes UMT5-XXL, such as umt5_xxl_fp8_e4m3fn_scaled.safetensors"
    )


def _by(shape: Shape) -> str:
    return "x".join(map(str, shape)) or "one number"
