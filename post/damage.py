"""What is wrong with a file of weights, as far as a look at its ends tells. Loads neither torch nor numpy."""

from __future__ import annotations

import zipfile
from pathlib import Path

from post.rife_ncnn_model import MAGIC, wrong_size
from post.weight_names import tensor_names
from scenes.access import REMEDY

# What comes where a download gave another thing than the file.
LOOKALIKES = {
    b"<": "is a web page",
    b"version https://git-lfs": "is a pointer of Git LFS, not the file it points to",
}


def damage(path: Path) -> str | None:
    """In a sentence with the remedy; None where nothing is wrong or only opening it can tell."""
    try:
        what = _of_ncnn(path) if path.suffix == ".bin" else _of_tensors(path)
    except PermissionError as error:
        return f"{path} cannot be read ({error.strerror}): {REMEDY}"
    except OSError as error:
        return f"{path} cannot be read ({error.strerror})"
    return what


def _of_tensors(path: Path) -> str | None:
    with path.open("rb") as file:
        head = file.read(64)
    what = lookalike(head) if head else "is empty"
    if what is None:
        try:
            if path.suffix.lower() == ".safetensors":
                tensor_names(path)
            elif head.startswith(b"PK"):
                zipfile.ZipFile(path).close()  # its directory lies at the end
        except (ValueError, KeyError, EOFError, zipfile.BadZipFile):
            what = "is damaged or was cut short"
    return f"{path} {what}: download it again" if what is not None else None


def _of_ncnn(path: Path) -> str | None:
    """Its `.param` tells how many bytes there should be."""
    param = path.with_suffix(".param")
    first, *lines = param.read_text(encoding="utf-8", errors="replace").splitlines() or [""]
    if first.strip() != MAGIC:
        return f"{param} is no ncnn model in text form: download both files anew"
    layers = [line.split() for line in lines[1:] if line.strip()]
    if any(layer[0] == "MemoryData" for layer in layers):
        return None  # of any shape and kind
    return wrong_size(param, path, layers)


def lookalike(head: bytes) -> str | None:
    """What a file is instead of weights, told from its first bytes."""
    return next((what for start, what in LOOKALIKES.items() if head.lstrip().startswith(start)), None)
