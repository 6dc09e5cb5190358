"""Whether a stored tensor is a weight that can be widened: its type, and its scale if it is fp8. Free of torch.

Both kinds of model that are streamed, experts and text encoders, come in the same formats.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

from scenes.wan.checkpoint import CheckpointError, TensorInfo

FP8 = ("F8_E4M3", "F8_E5M2")
# Of safetensors; then those of GGUF.
WIDENED = frozenset(("F32", "F16", "BF16", *FP8)) | frozenset(
    ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS")
)
SCALES = (".weight_scale", ".scale_weight")
SCALED_MARK = "scaled_fp8"
# The scales of activations are for arithmetic in fp8; the marks say what the dtypes say too.
NO_WEIGHTS = (".input_scale", ".scale_input", ".comfy_quant", SCALED_MARK)


def is_scaled(keys: Iterable[str]) -> bool:
    """Whether these are the keys of a scaled fp8 file, in which fp8 without a scale would be noise."""
    return any(key.endswith((*SCALES, SCALED_MARK)) for key in keys)


def check_weight(info: TensorInfo, scale: TensorInfo | None, scaled: bool) -> None:
    """Raises CheckpointError where a weight, with its scale, is of a type that cannot be widened."""
    if info.dtype not in WIDENED:
        raise CheckpointError(
            f"{info.path}: {info.name} is {info.dtype}, which is not supported: take a file in bf16, fp16, "
            "fp8 (scaled) or GGUF Q4 to Q8"
        )
    if scale is None and scaled and info.dtype in FP8:
        raise CheckpointError(f"{info.path}: {info.name} is scaled fp8 and its scale is missing: download it again")
    if scale is not None and (info.dtype not in FP8 or prod(scale.shape) not in (1, info.shape[0])):
        raise CheckpointError(
            f"{scale.path}: {scale.name} is {list(scale.shape)}, and {info.name} {list(info.shape)} {info.dtype}: "
            "such scales are not supported, take fp8 with one scale for each weight, bf16 or GGUF"
        )


def several(names: list[str]) -> str:
    """The first of them, and how many more there are."""
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
