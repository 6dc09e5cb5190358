"""A sentencepiece model out of what llama.cpp keeps of it in a GGUF file's head. Free of torch.

llama.cpp writes down the pieces, their scores and kinds and the normaliser's table, and nothing else that changes how a
text is split. Source: convert_hf_to_gguf.py of ggml-org/llama.cpp (T5Model.set_vocab), the GGUF specification, and
sentencepiece_model.proto of google/sentencepiece.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from scenes.wan.checkpoint import CheckpointError
from scenes.wan.gguf_head import Damaged, read_values

# Of sentencepiece_model.proto: fields of ModelProto, SentencePiece, TrainerSpec and NormalizerSpec.
_PIECES, _TRAINER, _NORMALIZER = 1, 2, 3
_PIECE, _SCORE, _TYPE = 1, 2, 3
_MODEL_TYPE, _VOCAB_SIZE, _BYTE_FALLBACK, _UNK_ID, _BOS_ID, _EOS_ID, _PAD_ID = 3, 4, 35, 40, 41, 42, 43
_CHARSMAP, _DUMMY_PREFIX, _EXTRA_SPACES = 2, 3, 4
_UNIGRAM = 1
_BYTE = 6
"""The kind of the pieces that stand for single bytes."""


def spiece_of_gguf(path: Path) -> bytes | None:
    """The sentencepiece model whose parts a GGUF file holds; None where it holds no T5's.

    Raises:
        CheckpointError: the file's head cannot be read.
    """
    try:
        with path.open("rb") as file:
            known = read_values(file, "tokenizer.ggml.")
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror or error})") from error
    except Damaged as error:
        raise CheckpointError(f"{path} {error}") from None
    if known.get("model") != "t5":
        return None
    try:
        return b"".join(_model(known))
    except (KeyError, TypeError, ValueError, struct.error) as error:
        raise CheckpointError(f"{path}: its tokenizer is not whole ({error}): get the file again") from error


def _model(known: Mapping[str, Any]) -> Iterator[bytes]:
    kinds = [int(kind) for kind in known["token_type"]]
    for piece, score, kind in zip(known["tokens"], known["scores"], kinds, strict=True):
        yield _bytes(_PIECES, _bytes(_PIECE, piece.encode()) + _float(_SCORE, float(score)) + _int(_TYPE, kind))
    trainer = {
        _MODEL_TYPE: _UNIGRAM,
        _VOCAB_SIZE: len(kinds),
        _BYTE_FALLBACK: _BYTE in kinds,
        _UNK_ID: known.get("unknown_token_id", 2),
        _EOS_ID: known.get("eos_token_id", 1),
        _PAD_ID: known.get("padding_token_id", 0),
    }
    none = _int(_BOS_ID, 2**64 - 1)  # -1: there is none
    yield _bytes(_TRAINER, b"".join(_int(field, int(value)) for field, value in trainer.items()) + none)
    charsmap = bytes(byte & 255 for byte in known.get("precompiled_charsmap", ()))
    prefix = _int(_DUMMY_PREFIX, int(known.get("add_space_prefix", True)))
    spaces = _int(_EXTRA_SPACES, int(known.get("remove_extra_whitespaces", True)))
    yield _bytes(_NORMALIZER, _bytes(_CHARSMAP, charsmap) + prefix + spaces)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _int(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _float(field: int, value: float) -> bytes:
    return _varint(field << 3 | 5) + struct.pack("<f", value)


def _varint(value: int) -> bytes:
    """A number in groups of seven bits, the lowest first, as protocol buffers write it."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)
