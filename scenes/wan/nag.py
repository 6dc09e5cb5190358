"""Normalized Attention Guidance: a negative prompt that acts inside cross-attention, without a second pass.

Source: arXiv 2505.21179, equations 7 to 10, with the L1 norm over all of a token's features as in the authors' code
(ChenDarYen/Normalized-Attention-Guidance) and KJNodes' WanVideoNAG.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from diffusers.models.attention_dispatch import dispatch_attention_fn
from diffusers.models.transformers.transformer_wan import WanAttnProcessor
from torch import Tensor

from scenes.wan.recipes import Nag

TOKENS = 512
"""Of one text: what WAN's text encoder gives."""

norm = cast("Callable[..., Tensor]", torch.linalg.vector_norm)


class NagProcessor(WanAttnProcessor):
    """Cross-attention, in diffusers' WanAttention, to a text and, after it, its negative, of `tokens` each.

    A context of any other length is attended to as ever: steps at which cfg acts need no other guidance.
    """

    def __init__(self, nag: Nag, tokens: int = TOKENS) -> None:
        super().__init__()
        self.nag = nag
        self.tokens = tokens

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        rotary_emb: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        context = encoder_hidden_states
        if context is None or context.shape[1] != 2 * self.tokens:
            plain = cast(Any, super().__call__)
            return plain(attn, hidden_states, context, attention_mask, rotary_emb)
        query: Tensor = attn.norm_q(attn.to_q(hidden_states)).unflatten(2, (attn.heads, -1))
        key: Tensor = attn.norm_k(attn.to_k(context)).unflatten(2, (attn.heads, -1))
        value: Tensor = attn.to_v(context).unflatten(2, (attn.heads, -1))
        positive = self._attended(query, key[:, : self.tokens], value[:, : self.tokens])
        negative = self._attended(query, key[:, self.tokens :], value[:, self.tokens :])
        return attn.to_out[1](attn.to_out[0](guided(positive, negative, self.nag)))

    def _attended(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        attend = cast(Any, dispatch_attention_fn)
        return attend(query, key, value, backend=self._attention_backend).flatten(2, 3).type_as(query)


def guided(positive: Tensor, negative: Tensor, nag: Nag) -> Tensor:
    """Attention's features of the text, (batch, tokens, features), pushed away from those of the negative one."""
    towards = positive.float()
    pushed = towards * nag.scale - negative.float() * (nag.scale - 1)
    limit = nag.tau * norm(towards, ord=1, dim=-1, keepdim=True)
    size = norm(pushed, ord=1, dim=-1, keepdim=True)
    held = pushed * torch.where(size > limit, limit / (size + 1e-7), 1.0)
    return (held * nag.alpha + towards * (1 - nag.alpha)).type_as(positive)
