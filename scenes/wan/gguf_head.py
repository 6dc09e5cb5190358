"""The head of a GGUF file: its values and where its tensors lie. Source: ggml's docs/gguf.md, versions 2 and 3.

Own code and not the package gguf: planning runs without it, and it maps the whole file.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import BinaryIO

# Each type: its number, weights in a block and bytes of a block. Source: ggml.h, ggml-common.h.
TYPES: dict[int, tuple[str, int, int]] = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    9: ("Q8_1", 32, 40),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1),
    25: ("I16", 1, 2),
    26: ("I32", 1, 4),
    27: ("I64", 1, 8),
    28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56),
    30: ("BF16", 1, 2),
    34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17),
}
# A value's type: how struct spells it. 7 is a bool, 8 a string, 9 a list.
VALUES = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, LIST = 8, 9
MOST = 1_000_000
"""Tensors, or values: more than any file has, so that a damaged count does not read for minutes."""
LONGEST = 100_000_000
"""Bytes of one string, items of one list."""
SHORT = 16
"""Items of a list that is kept; longer ones (a tokenizer's words) are passed over."""
ORIGINAL_SHAPE = "comfy.gguf.orig_shape."
"""ComfyUI-GGUF notes a tensor's shape under this where llama.cpp's own four sides are too few."""

Value = str | int | float | bool | list["Value"] | None


class Damaged(Exception):  # noqa: N818 (what is wrong completes a sentence that names the file)
    """The message completes a sentence that names the file."""


@dataclass(frozen=True, slots=True)
class Entry:
    dtype: str
    shape: tuple[int, ...]
    offset: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class Head:
    """`start`: where in the file the offsets count from."""

    metadata: Mapping[str, str]
    tensors: Mapping[str, Entry]
    start: int


def read_head(file: BinaryIO) -> Head:
    """Raises Damaged."""
    with _damage_told():
        return _read_head(file)


def read_values(file: BinaryIO, prefix: str) -> dict[str, Value]:
    """The values whose names begin with a prefix, by the rest of their names, lists whole. Raises Damaged."""
    with _damage_told():
        _, values = _counts(file)
        return {
            key.removeprefix(prefix): value
            for key, value in _values(file, values, whole=prefix)
            if key.startswith(prefix)
        }


@contextmanager
def _damage_told() -> Generator[None]:
    try:
        yield
    except (struct.error, UnicodeDecodeError, RecursionError, MemoryError):
        raise Damaged("is damaged, or cut short within its head: download it again") from None


def _counts(file: BinaryIO) -> tuple[int, int]:
    """How many tensors and values there are."""
    file.seek(4)
    version, count, values = _unpack(file, "IQQ")
    if version not in (2, 3):
        turned = version & 0xFFFF == 0
        raise Damaged(
            "is a big-endian GGUF, which no PC reads" if turned else f"is a GGUF of version {version}, not 2 or 3"
        )
    if max(count, values) > MOST:
        raise Damaged("is damaged: its head tells of millions of tensors: download it again")
    return count, values


def _values(file: BinaryIO, count: int, whole: str | None = None) -> Iterator[tuple[str, Value]]:
    for _ in range(count):
        key = _string(file)
        yield key, _value(file, _unpack(file, "I")[0], LONGEST if whole and key.startswith(whole) else SHORT)


def _read_head(file: BinaryIO) -> Head:
    count, values = _counts(file)
    metadata = dict(_values(file, values))
    tensors: dict[str, Entry] = {}
    for _ in range(count):
        name = _string(file)
        tensors[name] = _entry(file, name, metadata.get(ORIGINAL_SHAPE + name))
    alignment = metadata.get("general.alignment", 32)
    if not isinstance(alignment, int) or alignment < 1:
        raise Damaged(f"is damaged: its alignment is {alignment}: download it again")
    start = -(-file.tell() // alignment) * alignment
    return Head({key: _text(value) for key, value in metadata.items() if value is not None}, tensors, start)


def _entry(file: BinaryIO, name: str, original: Value) -> Entry:
    (sides,) = _unpack(file, "I")
    if sides > SHORT:
        raise Damaged(f"is damaged: {name} has {sides} sides: download it again")
    shape = tuple(reversed(_unpack(file, f"{sides}Q")))  # GGUF's first side is the one whose neighbours lie together
    number, offset = _unpack(file, "IQ")
    if number not in TYPES:
        raise Damaged(f"holds {name} in a type (number {number}) that this version of storyboard does not know")
    dtype, block, width = TYPES[number]
    if shape and shape[-1] % block:
        raise Damaged(f"is damaged: {name} has rows of {shape[-1]}, which {dtype} cannot hold: download it again")
    if isinstance(original, list):
        told = tuple(side for side in original if isinstance(side, int))
        if prod(told) != prod(shape):
            raise Damaged(f"is damaged: {name} is {list(shape)}, and its original shape {original}: download it again")
        return Entry(dtype, told, offset, prod(shape) // block * width)
    return Entry(dtype, shape, offset, prod(shape) // block * width)


def _unpack(file: BinaryIO, form: str) -> tuple[int, ...]:
    form = f"<{form}"
    return struct.unpack(form, file.read(struct.calcsize(form)))


def _bytes(file: BinaryIO) -> bytes:
    (length,) = _unpack(file, "Q")
    found = file.read(length) if length <= LONGEST else b""
    if len(found) != length:
        raise Damaged("is damaged, or cut short within its head: download it again")
    return found


def _string(file: BinaryIO) -> str:
    return _bytes(file).decode()


def _value(file: BinaryIO, kind: int, longest: int) -> Value:
    """None for a list longer than is kept."""
    if kind == STRING:
        return _bytes(file).decode(errors="replace")
    if kind == LIST:
        return _list(file, longest)
    if kind not in VALUES:
        raise Damaged("is damaged: its head holds a value of no known type: download it again")
    return _unpack(file, VALUES[kind])[0]


def _list(file: BinaryIO, longest: int) -> Value:
    kind, length = _unpack(file, "IQ")
    if length > LONGEST:
        raise Damaged("is damaged: its head holds an endless list: download it again")
    if kind in VALUES and length > longest:
        file.seek(length * struct.calcsize(VALUES[kind]), 1)
        return None
    if kind in VALUES:
        return list(_unpack(file, f"{length}{VALUES[kind]}"))
    found: list[Value] = []
    for _ in range(length):
        value = _value(file, kind, longest)
        if length <= longest:
            found.append(value)
    return found if length <= longest else None


def _text(value: Value) -> str:
    return value if isinstance(value, str) else json.dumps(value)
