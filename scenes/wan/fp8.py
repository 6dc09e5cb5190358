"""Linear layers in fp8: weights with a scale for each row, activations scaled by each token's largest number.

`torch._scaled_mm` multiplies them on the tensor cores of compute capability 8.9 and above, at twice the rate of bf16.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import nn

from scenes.shot import MachineLacks
from scenes.wan.arrive import FP8_MOST


class RowwiseLinear(nn.Module):
    """A linear layer whose weight is e4m3 (outputs, inputs) with `scale` fp32 (1, outputs)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, dtype=torch.float8_e4m3fn), requires_grad=False)
        self.scale = nn.Parameter(torch.empty(1, outputs, dtype=torch.float32), requires_grad=False)
        self.bias = nn.Parameter(torch.empty(outputs), requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = x.reshape(-1, x.shape[-1])
        scale = rows.abs().amax(1, keepdim=True).float().div(FP8_MOST).clamp(min=1e-12)
        # The cast makes NaN of what lies beyond e4m3's range, and division may round up.
        quantised = (rows.float() / scale).clamp(-FP8_MOST, FP8_MOST).to(torch.float8_e4m3fn)
        multiply = cast(Any, torch)._scaled_mm
        out: torch.Tensor = multiply(
            quantised, self.weight.t(), scale_a=scale, scale_b=self.scale, out_dtype=x.dtype, use_fast_accum=True
        )
        return (out + self.bias).view(*x.shape[:-1], -1)


def with_rowwise_linears(block: nn.Module) -> nn.Module:
    """The block with each of its linear layers in fp8."""
    for module in list(block.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Linear):
                with torch.device("meta"):
                    setattr(module, name, RowwiseLinear(child.in_features, child.out_features))
    return block


def check_fp8(device: torch.device) -> None:
    """Raises MachineLacks where a device cannot multiply fp8."""
    told = 'take precision = "fp8" out of the story: fp8 files render without it, widened to bf16'
    if device.type != "cuda":
        raise MachineLacks(f'precision "fp8" needs a CUDA GPU, and this renders on {device}: {told}')
    capability = torch.cuda.get_device_capability(device)
    if capability < (8, 9):
        raise MachineLacks(
            f'precision "fp8" needs a GPU of compute capability 8.9 or above (GeForce RTX 40, L4, H100 and newer), and '
            f"{torch.cuda.get_device_name(device)} has {capability[0]}.{capability[1]}: {told}"
        )
