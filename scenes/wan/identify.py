"""What a checkpoint is, told by its keys and shapes; its file's name tells only what these cannot. Free of torch."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import prod
from typing import Literal

from scenes.wan.anatomy import ExpertShape
from scenes.wan.checkpoint import Checkpoint, CheckpointError, TensorInfo
from scenes.wan.expert_names import PREFIXES, expert_names, expert_shape, prefix_of
from scenes.wan.models import I2V_A14B, TI2V_5B, WanModel
from scenes.wan.refusals import not_an_expert, not_the_text_encoder, not_the_vae, unknown_kind
from scenes.wan.tensors import FP8, is_scaled

Part = Literal["expert", "vae", "text-encoder", "lora"]

LORA_KEYS = (
    *(f".lora_{side}.weight" for side in ("A", "B", "down", "up")),
    *(".lora.down.weight", ".lora_A.default.weight", ".diff", ".diff_b", ".lokr_w1", ".hada_w1_a"),
)


class Refused(CheckpointError):  # noqa: N818 (it names what is wrong)
    """A sound checkpoint of something that storyboard does not draw with; the message says what to use instead."""


@dataclass(frozen=True, slots=True)
class Identity:
    """`model`: whose part it is, None where both models use it. `format`: "bf16", "fp8 scaled", "GGUF Q4_K", ..."""

    part: Part
    model: WanModel | None
    format: str


def identify(checkpoint: Checkpoint) -> Identity:
    """What a checkpoint is, by its head alone. An expert's keys are looked through one by one by `expert_names`.

    Raises:
        Refused: it is sound and of no use here, as WAN 2.1's models are.
        CheckpointError: it is damaged.
    """
    keys = checkpoint.tensors
    if any(key.endswith(LORA_KEYS) for key in keys):
        return Identity("lora", None, _format(checkpoint))
    if any(prefix + "patch_embedding.weight" in keys for prefix in PREFIXES):
        return Identity("expert", _expert_model(checkpoint), _format(checkpoint))
    for start in ("", "model."):
        if any(f"{start}decoder.{name}.weight" in keys for name in ("conv1", "conv_in")):
            return Identity("vae", _vae_model(checkpoint), _format(checkpoint))
    if _token_embedding(checkpoint) is not None:
        reason = not_the_text_encoder(checkpoint)
        if reason is not None:
            raise Refused(f"{checkpoint.path} {reason}")
        return Identity("text-encoder", None, _format(checkpoint))
    raise Refused(f"{checkpoint.path} {unknown_kind(checkpoint)}")


def width(checkpoint: Checkpoint) -> int | None:
    """Of a text encoder's embeddings: an expert's text_dim."""
    info = _token_embedding(checkpoint)
    return info.shape[-1] if info is not None and len(info.shape) == 2 else None


def _expert_model(checkpoint: Checkpoint) -> WanModel:
    prefix, shape = prefix_of(checkpoint), expert_shape(checkpoint)
    reason = not_an_expert(checkpoint, prefix, shape.in_channels, shape.out_channels, shape.dim)
    if reason is not None:
        raise Refused(f"{checkpoint.path} {reason}")
    return TI2V_5B if shape.in_channels == 48 else I2V_A14B


def _vae_model(checkpoint: Checkpoint) -> WanModel:
    from scenes.wan.vae_shape import vae_shape

    reason = not_the_vae(checkpoint)
    if reason is not None:
        raise Refused(f"{checkpoint.path} {reason}")
    return TI2V_5B if vae_shape(checkpoint).z == 48 else I2V_A14B


def _token_embedding(checkpoint: Checkpoint) -> TensorInfo | None:
    """Under transformers' names, llama.cpp's or WAN's own; or another model's, to be refused by name."""
    keys = ("shared.weight", "encoder.embed_tokens.weight", "token_embedding.weight", "token_embd.weight")
    return next((checkpoint.tensors[key] for key in keys if key in checkpoint.tensors), None)


def _format(checkpoint: Checkpoint) -> str:
    """The type that most of the weights are in."""
    sizes: Counter[str] = Counter()
    for info in checkpoint.tensors.values():
        sizes[info.dtype] += prod(info.shape)
    dtype = max(sizes, key=lambda each: (sizes[each], each), default="")
    if checkpoint.gguf:
        return f"GGUF {dtype}"
    if dtype in FP8:
        return "fp8" + (" scaled" if is_scaled(checkpoint.tensors) else "") + (" (e5m2)" if dtype == "F8_E5M2" else "")
    return {"F32": "fp32", "F16": "fp16", "BF16": "bf16"}.get(dtype, dtype)


__all__ = ["ExpertShape", "Identity", "Refused", "expert_names", "expert_shape", "identify", "width"]
