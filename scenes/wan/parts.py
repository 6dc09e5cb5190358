"""A checkpoint taken apart: each block's tensors and the rest's. Free of torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod

from scenes.wan.anatomy import ExpertShape, block_parameters, rest_parameters
from scenes.wan.checkpoint import Checkpoint, TensorInfo
from scenes.wan.expert_names import expert_names, expert_shape
from scenes.wan.numbers import read_numbers
from scenes.wan.stored import Layout, lay_out


@dataclass(frozen=True, slots=True)
class Part:
    """A block's parameters, or the rest's, by their names within it.

    scales: of fp8 weights that have one number; those with one for each row lie in the layout as `NAME_scale`.
    """

    layout: Layout
    scales: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Parts:
    shape: ExpertShape
    rest: Part
    blocks: tuple[Part, ...]


def take_apart(checkpoint: Checkpoint) -> Parts:
    """Where each parameter of an expert lies.

    Raises:
        CheckpointError: it is not a whole expert, as `expert_names` says.
    """
    shape, names = expert_shape(checkpoint), expert_names(checkpoint)
    within = tuple(block_parameters(shape))
    blocks = tuple(part_of(names, f"blocks.{index}.", within) for index in range(shape.layers))
    return Parts(shape, part_of(names, "", rest_parameters(shape)), blocks)


def part_of(names: Mapping[str, TensorInfo], prefix: str, within: Iterable[str]) -> Part:
    """The parameters that stand in `names` under a prefix, with their scales, which end in `_scale`."""
    tensors: dict[str, TensorInfo] = {}
    numbers: dict[str, float] = {}
    for name in within:
        tensors[name] = names[prefix + name]
        scale = names.get(f"{prefix}{name}_scale")
        if scale is not None and prod(scale.shape) == 1:
            numbers[name] = float(read_numbers(scale)[0])
        elif scale is not None:
            tensors[f"{name}_scale"] = scale
    return Part(lay_out(tensors), numbers)
