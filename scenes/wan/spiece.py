"""A sentencepiece model out of what llama.cpp keeps of it in a GGUF file's head. Free of torch.

llama.cpp writes down the pieces, their scores and kinds and the normaliser's table, and nothing else that changes how a
text is split. Source: convert_hf_to_gguf.py of ggml-org/llama.cpp (T5Model.set_vocab), the GGUF specification, and
sentencepiece_model.proto of google/sentencepiece.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np

from scenes.wan.checkpoint import CheckpointError
from scenes.wan.gguf_head import LIST, STRING, VALUES

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
            known = dict(_values(file))
    except (OSError, struct.error, ValueError, KeyError, OverflowError, MemoryError) as error:
        raise CheckpointError(f"{path}: its head cannot be read ({error}): get the file again") from error
    if known.get("model") != b"t5":
        return None
    try:
        return b"".join(_model(known))
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: its tokenizer is not whole ({error}): get the file again") from error


def _model(known: dict[str, Any]) -> Iterator[bytes]:
    kinds = [int(kind) for kind in known["token_type"]]
    for piece, score, kind in zip(known["tokens"], known["scores"], kinds, strict=True):
        yield _bytes(_PIECES, _bytes(_PIECE, piece) + _float(_SCORE, float(score)) + _int(_TYPE, kind))
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
    charsmap = bytes(known.get("precompiled_charsmap", b""))
    prefix = _int(_DUMMY_PREFIX, int(known.get("add_space_prefix", True)))
    spaces = _int(_EXTRA_SPACES, int(known.get("remove_extra_whitespaces", True)))
    yield _bytes(_NORMALIZER, _bytes(_CHARSMAP, charsmap) + prefix + spaces)


def _values(file: BufferedReader) -> Iterator[tuple[str, Any]]:
    """The tokenizer's values in a GGUF head."""
    magic, _, _, count = struct.unpack("<4sIQQ", file.read(24))
    if magic != b"GGUF":
        raise ValueError("no GGUF file")
    for _ in range(count):
        name = _string(file).decode()
        value = _value(file, _number(file, "<I"))
        if name.startswith("tokenizer.ggml."):
            yield name.removeprefix("tokenizer.ggml."), value


def _value(file: BufferedReader, kind: int) -> Any:
    if kind == STRING:
        return _string(file)
    if kind != LIST:
        return _numbers(file, kind, 1)[0]
    of, count = _number(file, "<I"), _number(file, "<Q")
    if of in (STRING, LIST):
        return [_value(file, of) for _ in range(count)]
    return _numbers(file, of, count)


def _numbers(file: BufferedReader, kind: int, count: int) -> Any:
    dtype = np.dtype(f"<{VALUES[kind]}")
    return np.frombuffer(_exactly(file, count * dtype.itemsize), dtype)


def _string(file: BufferedReader) -> bytes:
    return _exactly(file, _number(file, "<Q"))


def _number(file: BufferedReader, form: str) -> int:
    return struct.unpack(form, file.read(struct.calcsize(form)))[0]


def _exactly(file: BufferedReader, count: int) -> bytes:
    data = file.read(count)
    if len(data) < count:
        raise ValueError("it is cut short")
    return data


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
