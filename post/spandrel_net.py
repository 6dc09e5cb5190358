"""Upscalers of other architectures, as the package spandrel reads and runs them."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from post.weights import INSTALL_COMMUNITY, SpandrelMissing

# spandrel tells how far a model may be tiled, not how far it sees; windows of attention are 8 to 32 pixels wide.
OVERLAP = 64


class SpandrelNet:
    """A model behind spandrel's own call, which pads a picture as the model needs it and takes one at a time."""

    def __init__(self, described: Any, place: torch.device) -> None:
        self.scale = int(described.scale)
        self.multiple = int(described.size_requirements.multiple_of)
        self.overlap = -(-OVERLAP // self.multiple) * self.multiple
        self.dtype = _dtype(described, place)
        self._described = described.to(device=place, dtype=self.dtype).eval()

    def __call__(self, image: Tensor) -> Tensor:
        image = image.to(self.dtype)
        return torch.cat([self._described(image[index : index + 1]) for index in range(image.shape[0])])


def open_spandrel(path: Path, place: torch.device) -> SpandrelNet:
    """The upscaler in a file.

    Raises:
        SpandrelMissing: the package, or the torchvision it imports, is not here or does not go with torch.
        ValueError: spandrel does not know the file, or it is no upscaler of RGB pictures.
    """
    try:
        spandrel: Any = import_module("spandrel")
    except (ImportError, RuntimeError) as error:  # torchvision's for another torch ends in a RuntimeError
        raise SpandrelMissing(
            f"{path} is of an architecture that spandrel reads, which cannot be imported ({error}): {INSTALL_COMMUNITY}"
        ) from error
    try:
        described = spandrel.ModelLoader(device="cpu").load_from_file(path)
    except Exception as error:  # a file of another kind raises whatever its bytes lead to
        raise ValueError(f"spandrel does not know what it is ({_said(error)})") from error
    problem = _problem(described)
    if problem is not None:
        raise ValueError(problem)
    return SpandrelNet(described, place)


def _problem(described: Any) -> str | None:
    """Why a model is not one to upscale frames with."""
    name = described.architecture.name
    if described.purpose != "SR":
        return f"it is a model for {described.purpose} ({name}), not for super-resolution"
    if (described.input_channels, described.output_channels) != (3, 3):
        taken = f"takes {described.input_channels} channels and gives {described.output_channels}"
        return f"it {taken} ({name}): frames have three, red, green and blue"
    if described.size_requirements.square:
        return f"it takes square pictures only ({name})"
    return None


def _dtype(described: Any, place: torch.device) -> torch.dtype:
    if place.type != "cuda":
        return torch.float32
    if described.supports_half:
        return torch.float16
    return torch.bfloat16 if described.supports_bfloat16 else torch.float32


def _said(error: Exception) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
