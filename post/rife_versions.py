"""Which version of RIFE a file holds, told from the names within it: without torch, and without loading the weights."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable
from pathlib import Path

from post.weight_names import tensor_names

# Saved from a net that was trained on several GPUs, or that was one of several in a file.
PREFIXES = ("module.", "flownet.")

# Parts that only training uses, which upstream leaves in what it publishes.
TRAINING = ("teacher.", "caltime.", "block_tea.")

# By the number of blocks and the layer that tells the kind of head: 4.5 has the net of 4.6; 4.8 and 4.9 that of 4.7;
# 4.25 that of 4.26. Source: github.com/HolyWu/vs-rife, which keeps a net for each version.
FAMILIES = {(4, ""): "4.6", (4, "encode.0"): "4.7", (5, "encode.cnn0"): "4.26"}

# By the number of convolutions and of deconvolutions in an ncnn model, where the head is there for each frame.
NCNN_FAMILIES = {(40, 4): "4.6", (42, 6): "4.7", (56, 7): "4.26"}

WEIGHTS = (".weight", ".bias", ".beta")


def plain_name(key: str) -> str:
    """A weight's name as our net has it."""
    for prefix in PREFIXES:
        key = key.removeprefix(prefix)
    return re.sub(r"^block(\d+)\.", r"blocks.\1.", key)


def family_of(keys: Iterable[str]) -> str:
    """4.6, 4.7 or 4.26, of weights by their names. Raises ValueError, which says whose they are instead."""
    names = {plain_name(key) for key in keys}
    some = ", ".join(sorted(names)[:3])
    if "blocks.0.convblock.0.conv.weight" not in names:
        if any(name.startswith("blocks.0.") for name in names):
            raise ValueError(f"it is RIFE's of a version before 4.5 ({some}, ...)")
        raise ValueError(f"its weights are another net's ({some}, ...)" if some else "it holds no weights")
    blocks = len({name.split(".")[1] for name in names if name.startswith("blocks.")})
    head = next((layer for layer in ("encode.cnn0", "encode.0") if f"{layer}.weight" in names), "")
    family = FAMILIES.get((blocks, head))
    if family is None or "encode.2.weight" in names:
        whose = "RIFE 4.10 to 4.24" if blocks == 4 else f"a net of {blocks} blocks, which no known version has"
        raise ValueError(f"its weights are those of {whose}")
    return family


def family_in(path: Path) -> str:
    """4.6, 4.7 or 4.26, of a file of weights or an ncnn model's `.bin`. Raises ValueError and OSError."""
    if path.suffix.lower() == ".bin":
        return _family_of_graph(path.with_suffix(".param"))
    try:
        names = tensor_names(path)
    except (ValueError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile) as error:
        raise ValueError("it is no file of weights, or damaged: download it again") from error
    return family_of(name for name in names if name.endswith(WEIGHTS))


def _family_of_graph(param: Path) -> str:
    if not param.is_file():
        raise ValueError(f"it lacks {param.name} beside it")
    lines = param.read_text(encoding="utf-8", errors="replace").splitlines()
    layers = [line.split()[0] for line in lines if line.strip()]
    count = layers.count("Convolution"), layers.count("Deconvolution")
    family = NCNN_FAMILIES.get(count)
    if family is None:
        raise ValueError(f"its graph of {count[0]} convolutions and {count[1]} deconvolutions is another net's")
    return family
