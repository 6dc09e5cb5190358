"""Checkpoints as files: what tensors they hold and where, read from their heads alone. Free of torch.

A file is told by its content, never by its ending; one that is damaged, or that is something else, is an error here and
not where its weights are needed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

PICKLES = (".pth", ".pt", ".ckpt", ".bin")
AGAIN = "download it again"


class CheckpointError(Exception):
    """A file of weights is not what it should be; the message names the file, what is wrong and the remedy."""


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor of a file. `offset` is absolute in `path`, `shape` in torch's order.

    dtype: in safetensors' words (BF16, F8_E4M3, ...) or gguf's (Q8_0, Q4_K, ...); shapes count weights, never bytes.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    path: Path
    offset: int
    nbytes: int


@dataclass(frozen=True, eq=False, slots=True)
class Checkpoint:
    """A file, or a folder of shards, and its tensors. `metadata`: a GGUF's values too, as text, but for long lists."""

    path: Path
    files: tuple[Path, ...]
    tensors: Mapping[str, TensorInfo]
    metadata: Mapping[str, str]
    gguf: bool


def read_checkpoint(path: Path) -> Checkpoint:
    """The tensors of a `.safetensors` or `.gguf` file, or of a folder as diffusers writes it (sharded or not).

    Raises:
        CheckpointError: it is not there, not whole, or no checkpoint.
    """
    if path.is_dir():
        return _read_folder(path)
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            if file.peek(4)[:4] == b"GGUF":
                return _read_gguf(path, file, size)
            tensors, metadata = _read_safetensors(path, file, size)
    except FileNotFoundError:
        raise CheckpointError(f"{path} is not there") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror or error})") from error
    return Checkpoint(path, (path,), tensors, metadata, gguf=False)


def _read_gguf(path: Path, file: BinaryIO, size: int) -> Checkpoint:
    from scenes.wan.gguf_head import Damaged, read_head  # it is small, and most files are not GGUF

    try:
        head = read_head(file)
    except Damaged as error:
        raise CheckpointError(f"{path} {error}") from None
    tensors = {
        name: TensorInfo(name, each.dtype, each.shape, path, head.start + each.offset, each.nbytes)
        for name, each in head.tensors.items()
    }
    end = max((info.offset + info.nbytes for info in tensors.values()), default=0)
    if end > size:
        raise CheckpointError(f"{path} is cut short: {size} of {end} bytes are here: {AGAIN}")
    return Checkpoint(path, (path,), tensors, head.metadata, gguf=True)


# Source of the format: github.com/huggingface/safetensors. Bits of one value; anything else is from a newer version.
BITS = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 16),
    **dict.fromkeys(("U32", "I32", "F32"), 32),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 64),
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
}
LONGEST_HEAD = 100_000_000
"""Bytes; as the format's own reader has it. A WAN expert's head has some 150 kB."""


def _read_safetensors(path: Path, file: BinaryIO, size: int) -> tuple[dict[str, TensorInfo], dict[str, str]]:
    begin = file.read(512)
    length = int.from_bytes(begin[:8], "little")
    if len(begin) < 10 or begin[8:9] != b"{" or length > LONGEST_HEAD:
        raise CheckpointError(f"{path} {_other_kind(begin)}")
    if 8 + length > size:
        raise CheckpointError(f"{path} is cut short within its head, {size} bytes are here: {AGAIN}")
    file.seek(8)
    try:
        head = cast("dict[str, Any]", json.loads(file.read(length)))
        told = cast("dict[str, Any]", head.pop("__metadata__", None) or {})
        metadata = {key: str(value) for key, value in told.items()}
        tensors = {name: _tensor(path, 8 + length, name, entry) for name, entry in head.items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged: its head is no head of a safetensors file: {AGAIN}") from error
    _check_extent(path, 8 + length, size, tensors)
    return tensors, metadata


def _tensor(path: Path, data: int, name: str, entry: dict[str, Any]) -> TensorInfo:
    dtype, shape = str(entry["dtype"]), tuple(int(side) for side in entry["shape"])
    start, stop = (int(at) for at in entry["data_offsets"])
    if dtype not in BITS:
        raise CheckpointError(
            f"{path}: {name} is of an unknown type {dtype}: this version of storyboard is too old for it"
        )
    nbytes = BITS[dtype]
    for side in shape:
        nbytes *= side
    if min(shape, default=0) < 0 or start < 0 or stop - start != nbytes // 8:
        raise CheckpointError(
            f"{path} is damaged: {name} is {list(shape)} {dtype}, and {stop - start} bytes are there for it: {AGAIN}"
        )
    return TensorInfo(name, dtype, shape, path, data + start, stop - start)


def _check_extent(path: Path, start: int, size: int, tensors: Mapping[str, TensorInfo]) -> None:
    """Tensors lie one after another and fill the file: the format's own reader refuses anything else too."""
    end = start
    for info in sorted(tensors.values(), key=lambda info: (info.offset, info.nbytes)):
        if info.offset != end:
            raise CheckpointError(
                f"{path} is damaged: {info.name} does not begin where the tensor before it ends: {AGAIN}"
            )
        end += info.nbytes
    if end > size:
        raise CheckpointError(f"{path} is cut short: {size} of {end} bytes are here: {AGAIN}")
    if end < size:
        raise CheckpointError(f"{path} is damaged: it has {size - end} bytes more than its head tells of: {AGAIN}")


def _other_kind(begin: bytes) -> str:
    """What a file is that is no checkpoint, and what to do about it."""
    text = begin.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not begin:
        return f"is empty: {AGAIN}"
    if not begin.strip(b"\0"):
        return f"holds only zeros, its download did not end: {AGAIN}"
    if text.startswith(b"version https://git-lfs"):
        return 'is a git-lfs pointer, not the file itself: run "git lfs pull" where it was cloned, or download the file'
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return "is a web page: the download asked for a log-in or a wrong address; download the file itself"
    if text.startswith((b'{"error', b"{'error", b"access to model", b"entry not found", b"invalid username")):
        return f"is a server's answer, not the file: {text[:80].decode(errors='replace')}; {AGAIN}"
    if begin.startswith(b"PK\x03\x04") or re.match(rb"\x80[\x02-\x05]", begin):
        return (
            "is a pickle (.pth, .bin, .ckpt), which can run programs when it is opened and is not: "
            "take the .safetensors of the same weights, or convert it"
        )
    if begin.startswith((b"\x1f\x8b", b"Rar!", b"7z\xbc\xaf")):
        return "is an archive: unpack it, and name the file within"
    return f"is no checkpoint (.safetensors or .gguf), or its head is damaged: {AGAIN}"


def _read_folder(path: Path) -> Checkpoint:
    """A component's folder. Of several variants the one without a variant's name comes first."""
    if (path / "model_index.json").is_file():
        raise CheckpointError(
            f"{path} is a whole model: name the folder of one part in it, such as {path / 'transformer'}"
        )
    names = sorted(entry.name for entry in path.iterdir())
    indexes = [name for name in names if re.fullmatch(r".*\.safetensors\.index(\.\w+)?\.json", name)]
    singles = [name for name in names if re.fullmatch(r"(?!.*-\d+-of-\d+).*\.safetensors", name)]
    shards = [name for name in names if re.search(r"-\d+-of-\d+(\.\w+)?\.safetensors$", name)]
    if not indexes and not singles:
        raise CheckpointError(f"{path} {_no_weights(names, shards)}")
    # Fewest dots: the name without a variant. A whole file before shards: it needs no index that might not fit.
    chosen = min(
        [*singles, *indexes], key=lambda name: (name.count(".") - 2 * (name in indexes), name in indexes, name)
    )
    if chosen in indexes:
        return _read_shards(path, path / chosen)
    whole = read_checkpoint(path / chosen)
    return Checkpoint(path, whole.files, whole.tensors, whole.metadata, gguf=False)


def _no_weights(names: list[str], shards: list[str]) -> str:
    if shards:
        return (
            f"holds shards ({shards[0]}, ...) without their index (.safetensors.index.json): download the folder again"
        )
    if any(name.endswith(PICKLES) for name in names):
        return "holds pickles only (.bin, .pth), which are not opened: take the .safetensors of the same weights"
    return "holds no .safetensors file: download it again, or name another folder"


def _read_shards(folder: Path, index: Path) -> Checkpoint:
    try:
        told = cast("dict[str, Any]", json.loads(index.read_text(encoding="utf-8")))
        where = {str(name): str(file) for name, file in told["weight_map"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        raise CheckpointError(f"{index} is no index of shards: {AGAIN}") from None
    outside = next((name for name in where.values() if Path(name).name != name), None)
    if outside is not None:
        raise CheckpointError(f"{index} names {outside}, outside of its own folder: {AGAIN}")
    files = tuple(folder / name for name in sorted(set(where.values())))
    missing = [file.name for file in files if not file.exists()]
    if missing:
        raise CheckpointError(
            f"{folder} lacks {len(missing)} of its {len(files)} shards ({', '.join(missing[:3])}): {AGAIN}"
        )
    parts = [read_checkpoint(file) for file in files]
    tensors = {name: info for part in parts for name, info in part.tensors.items()}
    for name, file in where.items():
        if name not in tensors or tensors[name].path.name != file:
            raise CheckpointError(f"{index} names {name} in {file}, which does not hold it: download the folder again")
    unnamed = next((name for name in tensors if name not in where), None)
    if unnamed is not None:
        raise CheckpointError(f"{tensors[unnamed].path} holds {unnamed}, which {index.name} does not name: {AGAIN}")
    return Checkpoint(folder, files, tensors, parts[0].metadata, gguf=False)
