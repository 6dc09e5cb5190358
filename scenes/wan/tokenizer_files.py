"""Where the tokenizer of a text encoder lies, if not in its file. Free of torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from scenes.wan.candidates import Candidate, Shelf
from scenes.wan.checkpoint import Checkpoint
from scenes.wan.lookup import WeightsMissing
from scenes.wan.tokenizer import FILES
from scenes.wan.umt5 import SPIECE
from scenes.wan.weights_folders import MODEL_INDEX, Places, walk


def find_tokenizer(encoder: Candidate, tiers: Sequence[Places]) -> Path | None:
    """A file that holds the tokenizer; None where the text encoder's own does. Raises WeightsMissing."""
    if encoder.checkpoint is not None and holds_tokenizer(encoder.checkpoint):
        return None
    for folder in _folders(encoder.path, tiers):
        for name in FILES:
            if (folder / name).is_file():
                return folder / name
    for tier in tiers:  # another text encoder's file may hold it: all of UMT5-XXL have the same
        for other in Shelf("text_encoder", tier).seen:
            if other.identity is not None and other.checkpoint is not None and holds_tokenizer(other.checkpoint):
                return other.path
    raise WeightsMissing(
        f"{encoder.path} comes without a tokenizer: put umt5_xxl_fp8_e4m3fn_scaled.safetensors, which holds it, or the "
        "spiece.model of google/umt5-xxl beside it"
    )


def holds_tokenizer(checkpoint: Checkpoint) -> bool:
    return SPIECE in checkpoint.tensors or checkpoint.metadata.get("tokenizer.ggml.model") == "t5"


def _folders(encoder: Path, tiers: Sequence[Places]) -> Iterator[Path]:
    """The text encoder's neighbours come first, then the folders of text encoders, then whole models."""
    near = (encoder, encoder.parent) if encoder.is_dir() else (encoder.parent,)
    folders = (*near, *(folder for tier in tiers for folder in tier.folders["text_encoder"]))
    for folder in folders:
        yield folder
        yield folder / "tokenizer"
    for tier in tiers:
        for place in tier.folders["experts"]:
            for path in walk(place, []):
                if (path / MODEL_INDEX).is_file():
                    yield path / "tokenizer"
