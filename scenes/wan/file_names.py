"""What the names of weights tell: which expert, which model of several, and whether it is the published one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from scenes.wan.weights_folders import MODEL_INDEX, SUFFIXES

Side = Literal["high", "low"]

# What the published names are made of. Any other word tells of a merge, a finetune or a distilled model.
PLAIN = frozenset(
    (
        *("wan", "i", "v", "t", "ti", "a", "b", "high", "low", "noise", "highnoise", "lownoise", "model", "diffusion"),
        *("fp", "bf", "f", "e", "m", "fn", "scaled", "q", "k", "s", "l", "xs", "nl", "iq", "gguf", "pytorch", "dit"),
        *("comfy", "kj", "umt", "xxl", "enc", "encoder", "vae", "transformer", "text", "diffusers"),
    )
)
QUANTISED = re.compile(r"q\d_k_[sml]", re.IGNORECASE)  # Q3_K_L is of no low-noise expert
WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


def is_plain(path: Path) -> bool:
    """Whether a name is one of the published model, and of no merge or finetune."""
    return all(word in PLAIN or word.isdigit() for word in words(_model_name(path)))


def side_of(path: Path) -> Side | None:
    """Which expert a name speaks of: high_noise, HighNoise, _HIGH_, -H-; else its folder's."""
    for name in (title(path), path.parent.name):
        said = set(words(QUANTISED.sub("", name)))
        for high, low in (({"high", "highnoise"}, {"low", "lownoise"}), ({"h", "hn"}, {"l", "ln"})):
            if bool(said & high) != bool(said & low):
                return "high" if said & high else "low"
        if said & {"high", "low"}:
            return None  # it speaks of both
    return None


def family(path: Path) -> tuple[str, ...]:
    """A name without what tells the sides apart: the same for the two experts of one model."""
    sides = ("high", "low", "highnoise", "lownoise", "h", "l", "hn", "ln")
    return tuple("side" if word in sides else word for word in words(title(path)))


def title(path: Path) -> str:
    """A name without the ending that tells the format: folders have dots in theirs."""
    return path.stem if path.name.lower().endswith(SUFFIXES) else path.name


def words(name: str) -> list[str]:
    """The words and numbers of a file's name, in small letters: HighNoise has two."""
    return [word.lower() for word in WORDS.findall(name)]


def _model_name(path: Path) -> str:
    """The name that tells whose model it is: of a component the folder's, in the hub's cache the repository's."""
    if not (path.parent / MODEL_INDEX).is_file():
        return title(path)
    in_cache = path.parent.parent.name == "snapshots"
    return path.parents[2].name.rpartition("--")[2] if in_cache else path.parent.name
