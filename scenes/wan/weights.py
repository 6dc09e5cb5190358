"""Finds the files that a model is made of, as a story names them or where people keep them. Free of torch."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from scenes.wan.candidates import Candidate, Shelf
from scenes.wan.checkpoint import CheckpointError, read_checkpoint
from scenes.wan.finding import Finder, Located, search_tiers
from scenes.wan.fitting import WHATS
from scenes.wan.identify import identify
from scenes.wan.lookup import WeightsMissing, named_file
from scenes.wan.models import WanModel
from scenes.wan.weights_folders import KINDS, Kind, walk, weights_folders

SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class WeightFile:
    """A file, or a component's folder; the digest is of what is read of it."""

    kind: ClassVar[str] = "weights/1"
    digest: str
    path: Path = field(compare=False)


@dataclass(frozen=True, slots=True)
class Weights:
    """What a model is made of. `low`: None for TI2V-5B. `tokenizer`: None where the text encoder's file holds it."""

    kind: ClassVar[str] = "wan-weights/1"
    high: WeightFile
    low: WeightFile | None
    vae: WeightFile
    text_encoder: WeightFile
    tokenizer: WeightFile | None


def find_weights(named: str | Mapping[str, str], model: WanModel, beside: Path, folders: Sequence[Path]) -> Located:
    """The files of a model, from their heads; whatever is not named is looked for in the folders, then the hub's cache.

    named: a model's name, a folder or file, a repository in the hub's cache, or files by part.

    Raises:
        WeightsMissing: with what was looked for, where, and what to do.
        CheckpointError: a file that is named is damaged, or another part's or model's.
    """
    return Finder(model, beside, folders).find(named)


def candidates(folders: Sequence[Path]) -> list[Candidate]:
    """All that could be WAN's in the folders and in the hub's cache: what each file is, or why it is refused.

    Not LoRAs, of which there may be hundreds.
    """
    found: dict[Path, Candidate] = {}
    for places in search_tiers(folders):
        for kind in KINDS:
            if kind != "loras":
                found |= {each.path: each for each in Shelf(kind, places).all()}
    return list(found.values())


def troubles(folders: Sequence[Path]) -> tuple[str, ...]:
    """What is wrong with the weights folders themselves, in whole sentences."""
    return weights_folders(folders).troubles


def find_lora(name: str, beside: Path, folders: Sequence[Path]) -> Path:
    """A LoRA's file: beside the story, else in a loras folder, by its name with or without its folder and ending.

    Raises:
        WeightsMissing: it is not there.
        CheckpointError: it is no LoRA, or there are several of the name.
    """
    path = named_file(name, beside, "loras", weights_folders(folders), f'LoRA "{name}"')
    part = identify(read_checkpoint(path)).part
    if part != "lora":
        raise CheckpointError(f"{path} is {WHATS[part]}, not a LoRA: it goes into [look] model")
    return path


def lora_files(folders: Sequence[Path], troubles: list[str]) -> dict[str, Path]:
    """The files in the loras folders, by their names within, with sub-folders.

    troubles: takes what is wrong with the folders, in whole sentences.
    """
    found: dict[str, Path] = {}
    places = weights_folders(folders)
    told = list(places.troubles)
    for folder in places.folders["loras"]:
        for path in walk(folder, told):
            found.setdefault(path.relative_to(folder).as_posix(), path)
    troubles += [trouble for trouble in dict.fromkeys(told) if trouble not in troubles]
    return found


def hashed(located: Located, digest: Callable[[Path], str]) -> Weights:
    """The weights, known by what their files hold. `digest` gives a file's SHA-256, as hex."""

    def file(path: Path) -> WeightFile:
        return WeightFile(_digest(path, digest), path)

    return Weights(
        high=file(located.high),
        low=file(located.low) if located.low is not None else None,
        vae=file(located.vae),
        text_encoder=file(located.text_encoder),
        tokenizer=file(located.tokenizer) if located.tokenizer is not None else None,
    )


def _digest(path: Path, digest: Callable[[Path], str]) -> str:
    if not path.is_dir():
        target = path.resolve()
        # The hub's cache names what it keeps by its SHA-256: gigabytes need not be read.
        blob = target.parent.name == "blobs" and SHA256.fullmatch(target.name)
        return target.name if blob else digest(path)
    each = hashlib.sha256()
    for file in read_checkpoint(path).files:
        each.update(f"{file.name} {_digest(file, digest)}\n".encode())
    return each.hexdigest()


__all__ = [
    "Candidate",
    "Kind",
    "Located",
    "WeightFile",
    "Weights",
    "WeightsMissing",
    "candidates",
    "find_lora",
    "find_weights",
    "hashed",
    "lora_files",
    "troubles",
]
