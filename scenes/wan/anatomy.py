"""What an expert is made of: its parameters by diffusers' names, their shapes, and WAN's own names. Free of torch.

Source: WanTransformer3DModel of diffusers, and WanModel of Wan-Video/Wan2.2 (wan/modules/model.py).
"""

from __future__ import annotations

from dataclasses import dataclass

HEAD = 128
"""Channels of an attention head, in every WAN model."""
PATCH = (1, 2, 2)
"""What one token covers: frames, rows and columns of the latent."""

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ExpertShape:
    """What tells one WAN transformer from another; it has dim // 128 heads."""

    dim: int
    ffn: int
    layers: int
    in_channels: int
    out_channels: int
    text_dim: int
    freq_dim: int


# WAN's own names of the modules; those that are missing here are called the same.
_THEIRS = {
    "attn1.to_q": "self_attn.q",
    "attn1.to_k": "self_attn.k",
    "attn1.to_v": "self_attn.v",
    "attn1.to_out.0": "self_attn.o",
    "attn1.norm_q": "self_attn.norm_q",
    "attn1.norm_k": "self_attn.norm_k",
    "attn2.to_q": "cross_attn.q",
    "attn2.to_k": "cross_attn.k",
    "attn2.to_v": "cross_attn.v",
    "attn2.to_out.0": "cross_attn.o",
    "attn2.norm_q": "cross_attn.norm_q",
    "attn2.norm_k": "cross_attn.norm_k",
    # WAN counts the norms in another order: the one with weights is its third.
    "norm2": "norm3",
    "ffn.net.0.proj": "ffn.0",
    "ffn.net.2": "ffn.2",
    "condition_embedder.time_embedder.linear_1": "time_embedding.0",
    "condition_embedder.time_embedder.linear_2": "time_embedding.2",
    "condition_embedder.time_proj": "time_projection.1",
    "condition_embedder.text_embedder.linear_1": "text_embedding.0",
    "condition_embedder.text_embedder.linear_2": "text_embedding.2",
    "proj_out": "head.head",
}
# As from_pretrained keeps them: WanTransformer3DModel._keep_in_fp32_modules.
_FP32 = frozenset({"time_embedder", "scale_shift_table", "norm1", "norm2", "norm3"})


def block_parameters(shape: ExpertShape) -> dict[str, Shape]:
    """One block's parameters, by their names within the block."""
    dim = shape.dim
    parameters: dict[str, Shape] = {"scale_shift_table": (1, 6, dim)}
    for attention in ("attn1", "attn2"):
        for linear in ("to_q", "to_k", "to_v", "to_out.0"):
            parameters |= _linear(f"{attention}.{linear}", dim, dim)
        parameters |= {f"{attention}.norm_q.weight": (dim,), f"{attention}.norm_k.weight": (dim,)}
    parameters |= {"norm2.weight": (dim,), "norm2.bias": (dim,)}
    return parameters | _linear("ffn.net.0.proj", shape.ffn, dim) | _linear("ffn.net.2", dim, shape.ffn)


def rest_parameters(shape: ExpertShape) -> dict[str, Shape]:
    """The parameters outside of the blocks."""
    dim = shape.dim
    embedder = "condition_embedder"
    return {
        "scale_shift_table": (1, 2, dim),
        "patch_embedding.weight": (dim, shape.in_channels, *PATCH),
        "patch_embedding.bias": (dim,),
        **_linear(f"{embedder}.time_embedder.linear_1", dim, shape.freq_dim),
        **_linear(f"{embedder}.time_embedder.linear_2", dim, dim),
        **_linear(f"{embedder}.time_proj", 6 * dim, dim),
        **_linear(f"{embedder}.text_embedder.linear_1", dim, shape.text_dim),
        **_linear(f"{embedder}.text_embedder.linear_2", dim, dim),
        **_linear("proj_out", shape.out_channels * PATCH[0] * PATCH[1] * PATCH[2], dim),
    }


def parameters(shape: ExpertShape) -> dict[str, Shape]:
    """All of an expert's parameters."""
    within = block_parameters(shape)
    blocks = {f"blocks.{index}.{name}": size for index in range(shape.layers) for name, size in within.items()}
    return rest_parameters(shape) | blocks


def stays_fp32(name: str) -> bool:
    """Whether a parameter stays in fp32 whatever the rest is computed in, as the reference keeps it."""
    return not _FP32.isdisjoint(name.split("."))


def is_linear(name: str) -> bool:
    """Whether a parameter within a block is a linear layer's weight: nearly all of the block's bytes."""
    return name.endswith(".weight") and "norm" not in name


def original_module(name: str) -> str:
    """WAN's own name of a module."""
    parts = name.split(".", 2)
    if parts[0] == "blocks":
        return f"blocks.{parts[1]}.{_THEIRS.get(parts[2], parts[2])}"
    return _THEIRS.get(name, name)


def _linear(name: str, rows: int, columns: int) -> dict[str, Shape]:
    return {f"{name}.weight": (rows, columns), f"{name}.bias": (rows,)}
