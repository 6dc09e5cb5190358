"""LoRAs: what a file adds to an expert's parameters, told from its head. Free of torch.

Nothing is loaded here: a delta names the tensors in the file, which are read with the block that they belong to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Literal

from scenes.wan.anatomy import ExpertShape, parameters
from scenes.wan.checkpoint import Checkpoint, CheckpointError, TensorInfo, read_checkpoint
from scenes.wan.lora_formats import Pieces, sort_keys


@dataclass(frozen=True, slots=True)
class LowRank:
    """Adds scale * up @ down; `down` is (rank, inputs...), `up` is (outputs, rank), `scale` alpha / rank."""

    down: TensorInfo
    up: TensorInfo
    scale: float


@dataclass(frozen=True, slots=True)
class Full:
    """Adds scale * diff, which has the parameter's own shape."""

    diff: TensorInfo
    scale: float = 1.0


Delta = LowRank | Full


@dataclass(frozen=True, eq=False, slots=True)
class Lora:
    """What a file adds to each parameter, by diffusers' names (`blocks.3.attn1.to_q.weight`), at strength 1.

    left_out: keys of WAN 2.1's image branch, which 2.2 has not.
    """

    path: Path
    deltas: Mapping[str, tuple[Delta, ...]]
    left_out: tuple[str, ...]

    def tensors(self, prefix: str) -> dict[str, TensorInfo]:
        """The tensors that the parameters under a prefix (`blocks.3.`) need, by their keys in the file."""
        needed: dict[str, TensorInfo] = {}
        for name, deltas in self.deltas.items():
            if name.startswith(prefix):
                needed |= {info.name: info for delta in deltas for info in _tensors(delta)}
        return needed


def load_lora(path: Path, shape: ExpertShape, expert: Literal["high", "low"] = "high") -> Lora:
    """What a LoRA file of any format adds to an expert of this shape.

    expert: which half of a file is meant that holds both (`transformer.` and `transformer_2.`).

    Raises:
        CheckpointError: a key that would not load, a LoRA for another model, or a file that adds nothing.
    """
    checkpoint = read_checkpoint(path)
    sizes = parameters(shape)
    modules = {name.rpartition(".")[0] for name in sizes if name.endswith((".weight", ".bias"))}
    found, left_out = sort_keys(checkpoint, modules, expert)
    deltas: dict[str, tuple[Delta, ...]] = {}
    for module, pieces in found.items():
        for name, delta in _deltas(checkpoint, module, pieces):
            if name not in sizes:
                raise CheckpointError(f"{path}: {module} has no {name.rpartition('.')[2]} that the LoRA could change")
            _check_shape(path, name, delta, sizes[name])
            deltas[name] = (*deltas.get(name, ()), delta)
    if not deltas:
        raise CheckpointError(f"{path} adds nothing to this model: it is no LoRA for WAN 2.2")
    return Lora(path, deltas, left_out)


def _deltas(checkpoint: Checkpoint, module: str, pieces: Pieces) -> list[tuple[str, Delta]]:
    found: list[tuple[str, Delta]] = []
    if (pieces.down is None) != (pieces.up is None):
        there, missing = (pieces.down, "up (B)") if pieces.down else (pieces.up, "down (A)")
        key = there.name if there else module
        raise CheckpointError(f"{checkpoint.path}: {key} lacks its {missing} half: the file is not whole")
    scale = 1.0
    if pieces.down is not None and pieces.up is not None:
        rank = pieces.down.shape[0]
        scale = pieces.scale if pieces.alpha is None else pieces.alpha / rank
        found.append((f"{module}.weight", LowRank(pieces.down, pieces.up, scale)))
    if pieces.up_bias is not None:
        found.append((f"{module}.bias", Full(pieces.up_bias, scale)))
    if pieces.diff is not None:
        found.append((f"{module}.weight", Full(pieces.diff)))
    if pieces.diff_bias is not None:
        found.append((f"{module}.bias", Full(pieces.diff_bias)))
    if not found:
        raise CheckpointError(f"{checkpoint.path}: {module} has an alpha and no weights: the file is not whole")
    return found


def _check_shape(path: Path, name: str, delta: Delta, size: tuple[int, ...]) -> None:
    match delta:
        case LowRank(down, up, _):
            fits = (
                down.shape[0] > 0
                and up.shape[0] == size[0]
                and prod(down.shape[1:]) == prod(size[1:])
                and prod(up.shape[1:]) == down.shape[0]
            )
            key, shape = down.name, f"{list(up.shape)} @ {list(down.shape)}"
        case Full(diff, _):
            fits = _squeezed(diff.shape) == _squeezed(size)
            key, shape = diff.name, str(list(diff.shape))
    if not fits:
        raise CheckpointError(
            f"{path}: {key} is {shape}, and {name} of this model is {list(size)}: the LoRA was made for another model"
        )


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(side for side in shape if side != 1)


def _tensors(delta: Delta) -> tuple[TensorInfo, ...]:
    return (delta.down, delta.up) if isinstance(delta, LowRank) else (delta.diff,)
