"""Prompts become what the experts read: UMT5's last hidden states.

The layers are transformers' own, run by it: one of them is in memory, and each layer's weights pass through it in turn,
all prompts waiting for the next. So every weight is read once and used for all prompts, and the whole encoder on the
device would win nothing. Each prompt goes alone: its encoding is the same in whatever company it comes.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from scenes.wan.arrive import Arrival, Target, arrive
from scenes.wan.blocks import Ring
from scenes.wan.checkpoint import Checkpoint, CheckpointError
from scenes.wan.feed import Feed, Reading, arrivals
from scenes.wan.numbers import read_numbers
from scenes.wan.parts import Part
from scenes.wan.stored import Files, Read, Stored
from scenes.wan.tokenizer import END, LENGTH, PAD, Tokenizer, open_tokenizer
from scenes.wan.umt5 import EncoderParts, EncoderShape, encoder_parts

BUFFERS = 2
"""One is copied from while the next is read into."""


@torch.no_grad()
def encode_prompts(
    prompts: Sequence[str], encoder: Checkpoint, tokenizer: Path | None, device: torch.device
) -> dict[str, torch.Tensor]:
    """Each prompt's encoding (LENGTH, dim), on the CPU: zeros beyond its tokens, of which it has at most LENGTH.

    In bf16 on a CUDA device, in fp32 on a CPU; the same as encode_prompt(max_sequence_length=512) of diffusers.

    Raises:
        CheckpointError: the encoder or its tokenizer is missing, damaged or another model's.
        MachineLacks: a package is not installed.
    """
    parts = encoder_parts(encoder)
    tokens = _tokens(prompts, open_tokenizer(encoder, tokenizer), parts.shape)
    if not tokens:
        return {}
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    layer, norm = _one_layer(parts.shape, device, dtype)
    hidden = _embedded(tokens, parts, device, dtype)
    masks = {prompt: _mask(len(each), device) for prompt, each in tokens.items()}
    with _feed(parts, device) as feed:
        for index, part in enumerate(parts.blocks):
            _fill(layer.encoder.block[0], part, feed, index)
            for prompt, mask in masks.items():
                hidden[prompt] = layer(inputs_embeds=hidden[prompt], attention_mask=mask).last_hidden_state
        _fill(norm, parts.norm, feed, len(parts.blocks))
    return {prompt: _ended(norm(hidden[prompt])[0], len(each)) for prompt, each in tokens.items()}


def _tokens(prompts: Sequence[str], tokenizer: Tokenizer, shape: EncoderShape) -> dict[str, list[int]]:
    """Each different prompt's tokens, LENGTH at most, the last of them the end."""
    tokens: dict[str, list[int]] = {}
    for prompt in dict.fromkeys(prompts):
        tokens[prompt] = [*tokenizer.tokens(prompt)[:-1][: LENGTH - 1], END]
        if max(tokens[prompt]) >= shape.vocab:
            raise CheckpointError(
                f"{tokenizer.path} is another model's tokenizer: it gives token {max(tokens[prompt])}, and the text "
                f"encoder knows {shape.vocab}"
            )
    return tokens


def _one_layer(shape: EncoderShape, device: torch.device, dtype: torch.dtype) -> tuple[Any, nn.Module]:
    """An encoder of one layer that ends without its norm, and the norm; their weights are not filled yet."""
    from transformers import UMT5Config, UMT5EncoderModel

    with torch.device("meta"):  # a vocabulary of the padding and the end, as the embeddings are given to it
        layer = cast(Any, UMT5EncoderModel(UMT5Config(vocab_size=2, **shape.config)))
    layer = layer.to(dtype).to_empty(device=device).eval().requires_grad_(False)
    norm = cast(nn.Module, layer.encoder.final_layer_norm)
    layer.encoder.final_layer_norm = nn.Identity()
    return layer, norm


def _embedded(
    tokens: Mapping[str, list[int]], parts: EncoderParts, device: torch.device, dtype: torch.dtype
) -> dict[str, torch.Tensor]:
    """The prompts' embeddings (1, LENGTH, dim), of a table of which only the rows needed are read: it has 256,384."""
    used = sorted({PAD, *(token for each in tokens.values() for token in each)})
    info = parts.embedding.layout.pieces["weight"].info
    row = info.nbytes // info.shape[0]
    raw = bytearray(len(used) * row)
    with closing(Files([info.path])) as files:
        for place, token in enumerate(used):
            files.read(Read(info.path, info.offset + token * row, place * row, row), memoryview(raw))
    table = torch.empty(len(used), parts.shape.dim, device=device, dtype=dtype)
    chosen = replace(info, shape=tuple(table.shape), nbytes=len(raw))
    arrive(Target(table), Arrival(torch.frombuffer(raw, dtype=torch.uint8), chosen, _scale(parts.embedding, used)))
    places = {token: place for place, token in enumerate(used)}
    padded = {prompt: each + [PAD] * (LENGTH - len(each)) for prompt, each in tokens.items()}
    return {prompt: table[[places[token] for token in each]][None] for prompt, each in padded.items()}


def _scale(embedding: Part, rows: Sequence[int]) -> float | Arrival | None:
    """Of some rows of the table, if it is scaled fp8."""
    piece = embedding.layout.pieces.get("weight_scale")
    if piece is None:
        return embedding.scales.get("weight")
    numbers = torch.from_numpy(read_numbers(piece.info)).view(-1)[list(rows)].to(torch.float32)
    info = replace(piece.info, dtype="F32", shape=tuple(numbers.shape), nbytes=4 * len(numbers))
    return Arrival(numbers.view(torch.uint8), info)


@contextmanager
def _feed(parts: EncoderParts, device: torch.device) -> Generator[Feed]:
    """The blocks and, after them, the norm, each read from disk while those before it compute."""
    order = [*parts.blocks, parts.norm]
    files = Files({piece.info.path for part in order for piece in part.layout.pieces.values()})
    reading = Reading(Ring(0, device, keep_cache=True, count=BUFFERS), users=1)
    feed = Feed([Stored(files, part.layout) for part in order], 0, reading, device)
    try:
        yield feed
    finally:
        feed.close()
        reading.leave()
        files.close()


def _fill(module: nn.Module, part: Part, feed: Feed, index: int) -> None:
    parameters = dict(module.named_parameters())
    with feed.block(index, feed.on_disk(index + 1)) as raw:
        for name, arrival in arrivals(part, raw).items():
            arrive(Target(parameters[name].data), arrival)


def _mask(count: int, device: torch.device) -> torch.Tensor:
    return (torch.arange(LENGTH, device=device) < count).long()[None]


def _ended(encoding: torch.Tensor, count: int) -> torch.Tensor:
    encoding[count:] = 0
    return encoding.cpu()
