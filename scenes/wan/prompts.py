"""The words of a whole story, encoded together before the first step; then the text encoder leaves memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from scenes.shot import Shot
from scenes.wan.checkpoint import read_checkpoint
from scenes.wan.renderer import Wan, wan_of
from scenes.wan.text import encode_prompts


@dataclass(frozen=True, slots=True)
class Prompts:
    """Encoded texts, each (512, dim), by their words; on the CPU, as there may be hundreds."""

    encoded: Mapping[str, torch.Tensor]
    device: torch.device

    def text(self, words: str) -> torch.Tensor:
        """(1, 512, dim) on the device."""
        return self.encoded[words][None].to(self.device)

    def negative(self, shot: Shot) -> torch.Tensor | None:
        """The negative prompt's, that of no words where there is none; None where it would not act."""
        if not wan_of(shot).recipe.negative_acts:
            return None
        return self.text(shot.negative_prompt or "")


def encode_story(shots: Sequence[Shot], wan: Wan, device: torch.device) -> Prompts:
    """Every prompt of these shots and every negative one that acts. Raises CheckpointError."""
    words = [shot.prompt for shot in shots]
    words += [shot.negative_prompt or "" for shot in shots if wan_of(shot).recipe.negative_acts]
    encoder = read_checkpoint(wan.weights.text_encoder.path)
    tokenizer = wan.weights.tokenizer.path if wan.weights.tokenizer is not None else None
    encoded = encode_prompts(list(dict.fromkeys(words)), encoder, tokenizer, device)
    return Prompts(encoded, device)
