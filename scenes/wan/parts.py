"""An expert's checkpoint taken apart: each block's tensors and the rest's. Free of torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from scenes.wan.anatomy import block_parameters, rest_parameters
from scenes.wan.checkpoint import Checkpoint, TensorInfo
from scenes.wan.names import ExpertShape, expert_names, expert_shape
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
    blocks = tuple(_part(f"blocks.{index}.", within, names) for index in range(shape.layers))
    return Parts(shape, _part("", tuple(rest_parameters(shape)), names), blocks)


def _part(prefix: str, within: tuple[str, ...], names: Mapping[str, TensorInfo]) -> Part:
    tensors = {name: names[prefix + name] for name in within}
    numbers: dict[str, float] = {}
    for name in within:
        scale = names.get(f"{prefix}{name}_scale")
        if scale is not None and prod(scale.shape) == 1:
            numbers[name] = float(read_numbers(scale)[0])
        elif scale is not None:
            tensors[f"{name}_scale"] = scale
    return Part(lay_out(tensors), numbers)
