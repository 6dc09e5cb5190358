"""The model without its blocks: what comes before and after them, and calls them in turn."""

from __future__ import annotations

import torch
from torch import nn

from scenes.wan.anatomy import HEAD, PATCH, ExpertShape
from scenes.wan.arrive import Target
from scenes.wan.slots import kept_dtype

ROPE_LENGTH = 1024
EPSILON = 1e-6


def model_shell(shape: ExpertShape, device: torch.device, dtype: torch.dtype) -> tuple[nn.Module, dict[str, Target]]:
    """The model without its blocks, and where its own parameters are to be filled."""
    from diffusers.models.transformers.transformer_wan import WanRotaryPosEmbed, WanTransformer3DModel

    with torch.device("meta"):
        model: nn.Module = WanTransformer3DModel(
            patch_size=PATCH,
            num_attention_heads=shape.dim // HEAD,
            attention_head_dim=HEAD,
            in_channels=shape.in_channels,
            out_channels=shape.out_channels,
            text_dim=shape.text_dim,
            freq_dim=shape.freq_dim,
            ffn_dim=shape.ffn,
            num_layers=0,
            cross_attn_norm=True,
            qk_norm="rms_norm_across_heads",
            eps=EPSILON,
            image_dim=None,
            rope_max_seq_len=ROPE_LENGTH,
        )
    targets: dict[str, Target] = {}
    for name, parameter in list(model.named_parameters()):
        own = kept_dtype(name, parameter.dtype, dtype)
        made = nn.Parameter(torch.empty(parameter.shape, dtype=own, device=device), requires_grad=False)
        module, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(module), leaf, made)
        targets[name] = Target(made.data)
    model.rope = WanRotaryPosEmbed(HEAD, PATCH, ROPE_LENGTH).to(device)  # its tables are computed, not loaded
    return model.eval(), targets
