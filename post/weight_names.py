"""The names of the tensors in a file of weights, found without torch and without running anything the file says."""

from __future__ import annotations

import json
import pickletools
import re
import zipfile
from io import BytesIO
from os import fstat
from pathlib import Path
from typing import IO, Any, cast

HEAD_MOST = 100_000_000  # bytes of a safetensors file's head, as its library takes it
PICKLES = 4  # a file from before torch 1.6 opens with a number, a version and a description of the machine

# What a .pth may keep its tensors under, beside their names.
SRVGG = re.compile(r"body\.\d+\.(weight|bias)")
RRDB = re.compile(r"(conv_(first|body|up1|up2|hr|last)|body\.\d+\.rdb[123]\.conv[1-5])\.(weight|bias)")


def is_ours(path: Path) -> bool:
    """Are these the weights of one of Real-ESRGAN's nets, told from their names? So it is if no names can be read."""
    try:
        names = tensor_names(path)
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
        return True  # opening it says what is wrong
    named = [name for name in names if name.endswith((".weight", ".bias"))]
    return not named or any(all(net.fullmatch(name) for name in named) for net in (RRDB, SRVGG))


def tensor_names(path: Path) -> set[str]:
    """Names in a `.safetensors`; in a torch file all its texts, the names of its tensors among them.

    Raises:
        OSError, ValueError, EOFError, KeyError or zipfile.BadZipFile: it is another kind of file.
    """
    with path.open("rb") as file:
        if path.suffix.lower() == ".safetensors":
            return _names_of_safetensors(file)
        if file.read(2) == b"PK":
            file.seek(0)
            with zipfile.ZipFile(file) as archive:
                inside = next((name for name in archive.namelist() if name.endswith("data.pkl")), "data.pkl")
                return _texts(BytesIO(archive.read(inside)), 1)
        file.seek(0)
        return _texts(file, PICKLES)


def _names_of_safetensors(file: IO[bytes]) -> set[str]:
    size = int.from_bytes(file.read(8), "little")
    if size > HEAD_MOST:
        raise ValueError("no safetensors file")
    head = json.loads(file.read(size))
    if not isinstance(head, dict):
        raise ValueError("no safetensors file")
    tensors = {name: facts for name, facts in cast("dict[str, Any]", head).items() if name != "__metadata__"}
    try:
        whole = 8 + size + max((facts["data_offsets"][1] for facts in tensors.values()), default=0)
        if fstat(file.fileno()).st_size < whole:
            raise ValueError("cut short")
    except (TypeError, IndexError) as error:
        raise ValueError("no safetensors file") from error
    return set(tensors)


def _texts(file: IO[bytes], pickles: int) -> set[str]:
    """Every text in pickles that follow one another, listed as data: nothing of them is built."""
    found: set[str] = set()
    for _ in range(pickles):
        found |= {argument for _, argument, _ in pickletools.genops(file) if isinstance(argument, str)}
    return found
