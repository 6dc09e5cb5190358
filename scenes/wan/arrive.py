"""A stored tensor and what LoRAs add to it become a parameter on the device: widened, merged in fp32, cast.

All of it is asynchronous on a CUDA device, in the stream that is current; what is allocated for a moment is bounded by
one tensor as stored and a chunk of it in fp32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch

from scenes.wan.checkpoint import TensorInfo
from scenes.wan.widen import PLAIN, as_stored, rows_at_once, widened_rows

FP8_MOST = 448.0
"""The largest number of e4m3."""


@dataclass(frozen=True, slots=True)
class Target:
    """A parameter to be filled: of the stored shape, or fp8 with a scale for each row (1, rows)."""

    weight: torch.Tensor
    scale: torch.Tensor | None = None


@dataclass(frozen=True, slots=True)
class Arrival:
    """A tensor's bytes on the host; if it is scaled fp8, its scale or the bytes of its rows' scales."""

    raw: torch.Tensor
    info: TensorInfo
    scale: float | Arrival | None = None


@dataclass(frozen=True, slots=True)
class Product:
    """A LoRA's factors on the device: adds scale * up @ down."""

    down: torch.Tensor
    up: torch.Tensor
    scale: float


@dataclass(frozen=True, slots=True)
class Difference:
    """A LoRA's full difference on the device, in the parameter's shape."""

    diff: torch.Tensor
    scale: float


Addition = Product | Difference


@torch.no_grad()
def arrive(target: Target, arrival: Arrival, additions: Sequence[Addition] = ()) -> None:
    """Fill a parameter."""
    device = target.weight.device
    if not additions and _can_copy(target, arrival):
        target.weight.view(-1).view(torch.uint8).copy_(arrival.raw, non_blocking=True)
        if target.scale is not None:
            _fill_scale(target.scale, _scale_on(device, arrival))
        return
    raw, scale = arrival.raw.to(device, non_blocking=True), _scale_on(device, arrival)
    at_once = _product_at_once(target, additions)
    if (at_once or not additions) and _can_cast(target, arrival):
        _cast(target.weight, as_stored(raw, arrival.info), cast("float | None", scale))
        if at_once is not None:
            _multiply(target.weight, at_once)
        return
    _chunked(target, raw, arrival.info, scale, additions if device.type == "cuda" else [_in_fp32(a) for a in additions])


def _product_at_once(target: Target, additions: Sequence[Addition]) -> Product | None:
    """The one LoRA that a GPU's tensor cores can add in place: exact products, summed with the weight in fp32.

    A weight in another format is rounded as it is widened, as it is without a LoRA, and then once more. A tenth of the
    memory traffic of going through fp32: streaming with a LoRA took 3 % more time than without that, 0.5 % with it.
    """
    weight = target.weight
    if len(additions) != 1 or not isinstance(additions[0], Product) or weight.device.type != "cuda":
        return None
    product = additions[0]
    alike = product.up.dtype == product.down.dtype == weight.dtype
    return product if alike and _sums_in_fp32(weight.dtype) and target.scale is None else None


def _sums_in_fp32(dtype: torch.dtype) -> bool:
    """Whether tensor cores sum products of this type in fp32, as they do unless fp16 was asked for."""
    if dtype == torch.float16:
        return not torch.backends.cuda.matmul.allow_fp16_accumulation
    return dtype == torch.bfloat16


def _multiply(weight: torch.Tensor, product: Product) -> None:
    rows = weight.view(weight.shape[0], -1)
    rows.addmm_(product.up.flatten(1), product.down.flatten(1), alpha=product.scale)


def _can_cast(target: Target, arrival: Arrival) -> bool:
    return target.scale is None and arrival.info.dtype in PLAIN and not isinstance(arrival.scale, Arrival)


def _can_copy(target: Target, arrival: Arrival) -> bool:
    """Whether the bytes are the parameter's as they are."""
    as_they_are = target.scale is not None or arrival.scale is None
    return as_they_are and PLAIN.get(arrival.info.dtype) == target.weight.dtype


def _scale_on(device: torch.device, arrival: Arrival) -> float | torch.Tensor | None:
    if not isinstance(arrival.scale, Arrival):
        return arrival.scale
    raw = arrival.scale.raw.to(device, non_blocking=True)
    return as_stored(raw, arrival.scale.info).to(torch.float32).view(-1)


def _fill_scale(target: torch.Tensor, scale: float | torch.Tensor | None) -> None:
    if isinstance(scale, torch.Tensor):
        target.view(-1).copy_(scale)
    else:
        target.fill_(1.0 if scale is None else scale)


def _cast(weight: torch.Tensor, stored: torch.Tensor, scale: float | None) -> None:
    """Cast all of the tensor at once.

    The same as by fp32: fp8 numbers are exact in fp16 and bf16, and a product with a number is rounded once.
    """
    weight.copy_(stored.view(weight.shape))
    if scale is not None:
        weight.mul_(scale)


def _chunked(
    target: Target,
    raw: torch.Tensor,
    info: TensorInfo,
    scale: float | torch.Tensor | None,
    additions: Sequence[Addition],
) -> None:
    """Row by row through fp32: widened, scaled, added to, then cast or quantised."""
    rows = info.shape[0] if info.shape else 1
    weight, step = target.weight.view(rows, -1), rows_at_once(info)
    for start in range(0, rows, step):
        which = slice(start, min(rows, start + step))
        part = widened_rows(raw, info, which.start, which.stop)
        if scale is not None:
            part.mul_(scale[which, None] if isinstance(scale, torch.Tensor) else scale)
        for addition in additions:
            _add(part, addition, rows, which)
        if target.scale is not None:
            part = _quantised(part, target.scale[0, which])
        weight[which].copy_(part)


def _add(part: torch.Tensor, addition: Addition, rows: int, which: slice) -> None:
    if isinstance(addition, Product):
        up, down = addition.up.flatten(1)[which], addition.down.flatten(1)
        if up.dtype == down.dtype and up.is_cuda and _sums_in_fp32(up.dtype):
            # Exact products on the tensor cores, summed in fp32: ten times quicker than fp32 arithmetic.
            part.add_(torch.mm(up, down, out_dtype=torch.float32), alpha=addition.scale)
        else:
            part.addmm_(up.float(), down.float(), alpha=addition.scale)
    else:
        part.add_(addition.diff.view(rows, -1)[which], alpha=addition.scale)


def _quantised(part: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Rows in e4m3, each by its own largest number; the scales that undo it are written to `scale`."""
    torch.amax(part.abs(), 1, out=scale)
    scale.div_(FP8_MOST).clamp_(min=1e-12)
    return part.div_(scale[:, None]).clamp_(-FP8_MOST, FP8_MOST).to(torch.float8_e4m3fn)


def _in_fp32(addition: Addition) -> Addition:
    if isinstance(addition, Product):
        return Product(addition.down.flatten(1).float(), addition.up.flatten(1).float(), addition.scale)
    return addition
