"""Prompts become UMT5's tokens. Free of torch.

sentencepiece itself splits them, as the model was trained and as ComfyUI does it. The T5 tokenizer of transformers 5,
built from the same file, knows no byte fallback, so that each emoji or rare character would be an unknown token to it;
and without protobuf it reads no spiece.model at all. A tokenizer.json is read by the tokenizers library.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from scenes.shot import MachineLacks
from scenes.wan.checkpoint import Checkpoint, CheckpointError, read_checkpoint
from scenes.wan.spiece import spiece_of_gguf
from scenes.wan.umt5 import SPIECE

LENGTH = 512
"""Tokens that the model reads of a prompt, its end among them."""
PAD, END = 0, 1
FILES = ("spiece.model", "tokenizer.json")


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """`pieces` gives a cleaned text's tokens without the end; `path` is where it was found."""

    path: Path
    pieces: Callable[[str], list[int]]

    def tokens(self, prompt: str) -> list[int]:
        """All of a prompt's tokens and the end; the model reads the first LENGTH - 1 and the end."""
        return [*self.pieces(clean(prompt)), END]


def clean(prompt: str) -> str:
    """A prompt as diffusers cleans it: mended encodings, no HTML entities, single spaces."""
    mended = cast(str, _package("ftfy").fix_text(prompt))
    text = html.unescape(html.unescape(mended)).strip()
    return re.sub(r"\s+", " ", text).strip()


def token_counts(prompts: Sequence[str], encoder: Checkpoint, tokenizer: Path | None) -> dict[str, int]:
    """How many tokens each prompt has, its end counted: what lies beyond LENGTH has no effect on the film.

    Raises:
        CheckpointError: there is no tokenizer, or it is another model's.
        MachineLacks: a package is not installed.
    """
    found = open_tokenizer(encoder, tokenizer)
    return {prompt: len(found.tokens(prompt)) for prompt in dict.fromkeys(prompts)}


def open_tokenizer(encoder: Checkpoint, named: Path | None) -> Tokenizer:
    """The tokenizer that is named, or else the one in the text encoder's own file or beside its folder.

    named: spiece.model, tokenizer.json, a folder that holds one of them, or a text encoder's file that does.

    Raises:
        CheckpointError: there is none, or it is another model's.
        MachineLacks: a package is not installed.
    """
    if named is not None:
        found = _tokenizer_at(named)
        if found is None:
            raise CheckpointError(f"{named} holds no tokenizer: {_REMEDY}")
        return found
    if encoder.path.is_dir():
        found = _in_folder(encoder.path) or _in_folder(encoder.path.parent)
    else:
        found = _in_weights(encoder)
    if found is None:
        raise CheckpointError(f"{encoder.path} comes without a tokenizer: {_REMEDY}")
    return found


_REMEDY = (
    "put ComfyUI's umt5_xxl_fp8_e4m3fn_scaled.safetensors, which holds it, into text_encoders, or name a spiece.model "
    "or a tokenizer's folder (the one called tokenizer in Wan-AI's diffusers repositories)"
)


def _tokenizer_at(path: Path) -> Tokenizer | None:
    if path.is_dir():
        return _in_folder(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: there is no such tokenizer")
    if path.suffix == ".model":
        return _sentencepiece(path, path.read_bytes())
    if path.suffix == ".json":
        return _tokenizer_json(path)
    return _in_weights(read_checkpoint(path))


def _in_folder(folder: Path) -> Tokenizer | None:
    for place in (folder, folder / "tokenizer"):
        for name in FILES:
            if (place / name).is_file():
                return _tokenizer_at(place / name)
    return None


def _in_weights(weights: Checkpoint) -> Tokenizer | None:
    if weights.gguf:
        model = spiece_of_gguf(weights.path)
        return None if model is None else _sentencepiece(weights.path, model)
    info = weights.tensors.get(SPIECE)
    if info is None:
        return None
    with info.path.open("rb") as file:
        file.seek(info.offset)
        return _sentencepiece(info.path, file.read(info.nbytes))


def _sentencepiece(path: Path, model: bytes) -> Tokenizer:
    package = _package("sentencepiece")
    try:
        if not model:
            raise ValueError("it is empty")
        processor = package.SentencePieceProcessor(model_proto=model)
    except (RuntimeError, ValueError) as error:
        raise CheckpointError(f"{path}: its tokenizer cannot be read ({error}): get the file again") from error
    if (processor.pad_id(), processor.eos_id()) != (PAD, END):
        raise CheckpointError(f"{path} holds another model's tokenizer, not UMT5's: {_REMEDY}")
    return Tokenizer(path, cast("Callable[[str], list[int]]", processor.encode))


def _tokenizer_json(path: Path) -> Tokenizer:
    package = _package("tokenizers")
    try:
        read = package.Tokenizer.from_file(str(path))
    except Exception as error:  # its only class of error is Exception itself
        raise CheckpointError(f"{path} cannot be read ({error}): get the file again") from error
    if (read.token_to_id("<pad>"), read.token_to_id("</s>")) != (PAD, END):
        raise CheckpointError(f"{path} is another model's tokenizer, not UMT5's: {_REMEDY}")
    read.no_truncation()
    read.no_padding()
    return Tokenizer(path, lambda text: cast("list[int]", read.encode(text, add_special_tokens=False).ids))


def _package(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise MachineLacks(f'prompts need {name}, which is not installed: pip install "storyboard[wan]"') from error
