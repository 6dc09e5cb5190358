"""An expert's tensors by the names that its file has, made diffusers' and checked. Free of torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod

from scenes.wan.anatomy import HEAD, PATCH, ExpertShape, Shape, original_module, parameters
from scenes.wan.checkpoint import Checkpoint, CheckpointError, TensorInfo
from scenes.wan.refusals import I2V_FILES
from scenes.wan.tensors import NO_WEIGHTS, SCALES, check_weight, is_scaled, several

PREFIXES = ("", "model.diffusion_model.", "diffusion_model.", "model.", "transformer.", "module.")
"""What stands before every key of an expert, by the program that wrote the file."""


def expert_names(checkpoint: Checkpoint) -> dict[str, TensorInfo]:
    """An expert's tensors by the names of diffusers' WanTransformer3DModel; scales are `<module>.weight_scale`.

    Shapes are the model's, also where a GGUF file has dropped sides of 1.

    Raises:
        CheckpointError: a tensor is unknown, missing, or of another shape or type than the model's.
    """
    shape, prefix = expert_shape(checkpoint), prefix_of(checkpoint)
    sizes = parameters(shape)
    ours = {name: name for name in sizes} | {original_name(name): name for name in sizes}
    names: dict[str, TensorInfo] = {}
    unknown: list[str] = []
    for key, info in checkpoint.tensors.items():
        bare = key.removeprefix(prefix)
        module, scale = _scaled_module(bare)
        name = ours.get(f"{module}.weight" if scale else bare)
        if name is not None and key.startswith(prefix):
            names[f"{name}_scale" if scale else name] = info
        elif not bare.endswith(NO_WEIGHTS):
            unknown.append(key)
    if unknown:
        raise CheckpointError(f"{checkpoint.path}: {several(unknown)} would not load: it is no expert of WAN 2.2")
    missing = [name for name in sizes if name not in names]
    if missing:
        first = [_called(missing[0], checkpoint, prefix), *missing[1:]]
        raise CheckpointError(
            f"{checkpoint.path} lacks {several(first)} of the expert: it is not whole, download it again"
        )
    return _checked(checkpoint, names, sizes)


def expert_shape(checkpoint: Checkpoint) -> ExpertShape:
    """Raises CheckpointError where it is no transformer of WAN."""
    prefix = prefix_of(checkpoint)
    shapes = {key.removeprefix(prefix): info.shape for key, info in checkpoint.tensors.items()}

    def size(name: str, side: int) -> int:
        found = shapes.get(name) or shapes.get(original_name(name))
        if found is None or side >= len(found):
            raise CheckpointError(
                f"{checkpoint.path} lacks {_called(name, checkpoint, prefix)}: it is not whole, or no expert of WAN"
            )
        return found[side]

    embedder = "condition_embedder"
    dim = size("patch_embedding.bias", 0)
    blocks = {int(name.split(".")[1]) for name in shapes if name.startswith("blocks.") and name.split(".")[1].isdigit()}
    if dim < HEAD or dim % HEAD or not blocks:
        raise CheckpointError(
            f"{checkpoint.path} is no expert of WAN: its layers are {dim} wide, not {HEAD} times a whole number"
        )
    return ExpertShape(
        dim=dim,
        ffn=size("blocks.0.ffn.net.0.proj.bias", 0),
        layers=max(blocks) + 1,
        # By its weights' number: GGUF files of other programs have fewer sides.
        in_channels=prod(shapes["patch_embedding.weight"]) // (dim * prod(PATCH)),
        out_channels=size("proj_out.bias", 0) // prod(PATCH),
        text_dim=size(f"{embedder}.text_embedder.linear_1.weight", 1),
        freq_dim=size(f"{embedder}.time_embedder.linear_1.weight", 1),
    )


def original_name(name: str) -> str:
    """WAN's own name of a parameter."""
    module, _, leaf = name.rpartition(".")
    if leaf == "scale_shift_table":
        return f"{module}.modulation" if module else "head.modulation"
    return f"{original_module(module)}.{leaf}"


def _called(name: str, checkpoint: Checkpoint, prefix: str) -> str:
    """A parameter's name in words of the file that it should be in."""
    ours = any(key.startswith(f"{prefix}condition_embedder.") for key in checkpoint.tensors)
    return prefix + (name if ours else original_name(name))


def prefix_of(checkpoint: Checkpoint) -> str:
    for prefix in PREFIXES:
        if prefix + "patch_embedding.weight" in checkpoint.tensors:
            return prefix
    raise CheckpointError(f"{checkpoint.path} is no expert of WAN (it has no patch_embedding.weight): use {I2V_FILES}")


def _scaled_module(key: str) -> tuple[str, bool]:
    for ending in SCALES:
        if key.endswith(ending):
            return key.removesuffix(ending), True
    return key, False


def _checked(checkpoint: Checkpoint, names: dict[str, TensorInfo], sizes: Mapping[str, Shape]) -> dict[str, TensorInfo]:
    scaled = is_scaled(checkpoint.tensors)
    for name, size in sizes.items():
        info = names[name]
        if info.shape != size:
            if not checkpoint.gguf or not _same_but_ones(info.shape, size):
                raise CheckpointError(
                    f"{info.path}: {info.name} is {list(info.shape)}, and {list(size)} in the model that its other "
                    "weights are of: it is damaged or another model's"
                )
            info = names[name] = replace(info, shape=size)
        check_weight(info, names.get(f"{name}_scale"), scaled)
    return names


def _same_but_ones(shape: Shape, size: Shape) -> bool:
    """Whether they differ in sides of 1 alone, or in how a patch's first sides are counted."""
    squeezed = [side for side in size if side != 1]
    return [side for side in shape if side != 1] in (squeezed, [prod(squeezed[:2]), *squeezed[2:]])
