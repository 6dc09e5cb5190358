"""An expert's tensors by the names that its file has, made diffusers' and checked. Free of torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod

from scenes.wan.anatomy import HEAD, PATCH, Shape, original_module, parameters
from scenes.wan.checkpoint import Checkpoint, CheckpointError, TensorInfo
from scenes.wan.refusals import I2V_FILES

FP8 = ("F8_E4M3", "F8_E5M2")
PREFIXES = ("", "model.diffusion_model.", "diffusion_model.", "model.", "transformer.", "module.")
"""What stands before every key of an expert, by the program that wrote the file."""
# Of safetensors; then those of GGUF that diffusers can dequantise in torch.
WIDENED = frozenset(("F32", "F16", "BF16", *FP8)) | frozenset(
    ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS")
)
SCALES = (".weight_scale", ".scale_weight")
# The scales of activations are for arithmetic in fp8; the marks say what the dtypes say too.
NO_WEIGHTS = (".input_scale", ".scale_input", ".comfy_quant", "scaled_fp8")


@dataclass(frozen=True, slots=True)
class ExpertShape:
    """What tells one WAN transformer from another; it has dim // 128 heads."""

    dim: int
    ffn: int
    layers: int
    in_channels: int
    out_channels: int
    text_dim: int
    freq_dim: int


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
        raise CheckpointError(f"{checkpoint.path}: {_several(unknown)} would not load: it is no expert of WAN 2.2")
    missing = [name for name in sizes if name not in names]
    if missing:
        first = [_called(missing[0], checkpoint, prefix), *missing[1:]]
        raise CheckpointError(
            f"{checkpoint.path} lacks {_several(first)} of the expert: it is not whole, download it again"
        )
    return _checked(checkpoint, names, sizes)


def left_out(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Keys that are known and of no use: scales of activations, and marks."""
    return tuple(key for key in checkpoint.tensors if key.endswith(NO_WEIGHTS))


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
    scaled = any(name not in sizes for name in names) or any(key.endswith("scaled_fp8") for key in checkpoint.tensors)
    for name, size in sizes.items():
        info, scale = names[name], names.get(f"{name}_scale")
        if info.dtype not in WIDENED:
            raise CheckpointError(
                f"{info.path}: {info.name} is {info.dtype}, which is not supported: take a file in bf16, fp16, "
                "fp8 (scaled) or GGUF Q4 to Q8"
            )
        if info.shape != size:
            if not checkpoint.gguf or not _same_but_ones(info.shape, size):
                raise CheckpointError(
                    f"{info.path}: {info.name} is {list(info.shape)}, and {list(size)} in the model that its other "
                    "weights are of: it is damaged or another model's"
                )
            names[name] = replace(info, shape=size)
        if scale is None and scaled and info.dtype in FP8:  # it would be noise
            raise CheckpointError(f"{info.path}: {info.name} is scaled fp8 and its scale is missing: download it again")
        if scale is not None and (info.dtype not in FP8 or prod(scale.shape) not in (1, size[0])):
            raise CheckpointError(
                f"{scale.path}: {scale.name} is {list(scale.shape)}, and {info.name} {list(size)} {info.dtype}: "
                "such scales are not supported, take fp8 with one scale for each weight, bf16 or GGUF"
            )
    return names


def _same_but_ones(shape: Shape, size: Shape) -> bool:
    """Whether they differ in sides of 1 alone, or in how a patch's first sides are counted."""
    squeezed = [side for side in size if side != 1]
    return [side for side in shape if side != 1] in (squeezed, [prod(squeezed[:2]), *squeezed[2:]])


def _several(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
