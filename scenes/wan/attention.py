"""Which attention kernel a render uses: the fastest exact one that works here, or the one asked for by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec

import torch
import torch.nn.functional as F  # noqa: N812 (the field's habit)
from diffusers.models import attention_dispatch
from torch.nn.attention import SDPBackend, sdpa_kernel

from scenes.shot import MachineLacks

HEADS, HEAD = 4, 128
EXACT, QUANTISED = 0.02, 0.2
"""Relative errors against fp32 that a kernel may show on random data: rounding in bf16, and int8 or fp8 products."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """`backend`: diffusers' name for it. `exact`: it rounds like any bf16 attention; others quantise."""

    name: str
    backend: str
    exact: bool
    package: str | None = None


KERNELS = {
    kernel.name: kernel
    for kernel in (
        Kernel("native", "native", True),
        Kernel("cudnn", "_native_cudnn", True),
        Kernel("flash-2", "flash", True, "flash_attn"),
        Kernel("flash-3", "_flash_3", True, "flash_attn_interface"),
        # torch's own flash attention with FlashAttention-4's kernels in its place (torch.nn.attention, torch >= 2.11).
        Kernel("flash-4", "_native_flash", True, "flash_attn.cute"),
        Kernel("sage", "sage", False, "sageattention"),
    )
}
BEST_FIRST = ("flash-4", "flash-3", "cudnn", "native")


def choose_kernel(asked: str | None, device: torch.device) -> Kernel:
    """The kernel asked for, or the first exact one that works. Raises MachineLacks where the one asked for does not."""
    if asked is not None and asked not in KERNELS:
        raise MachineLacks(f"--attention {asked} is none of {', '.join(KERNELS)}")
    if device.type != "cuda":
        if asked not in (None, "native"):
            raise MachineLacks(f"--attention {asked} needs a CUDA device: leave it out")
        return KERNELS["native"]
    if asked is not None:
        problem = why_not(asked, device)
        if problem is not None:
            raise MachineLacks(f"--attention {asked}: {problem}")
        return KERNELS[asked]
    return next(KERNELS[name] for name in _order(device) if why_not(name, device) is None)


def _order(device: torch.device) -> tuple[str, ...]:
    """cuDNN's attention is the faster one from Hopper on; before that torch's own choice, flash attention 2, is."""
    hopper = torch.cuda.get_device_capability(device) >= (9, 0)
    return BEST_FIRST if hopper else ("native",)


@cache
def why_not(name: str, device: torch.device) -> str | None:
    """Why a kernel cannot be used on a device: tried once on a small problem; None where it can."""
    kernel = KERNELS[name]
    if kernel.package is not None and not _installed(kernel.package):
        return f"the package {kernel.package} is not installed"
    problem = _problem(kernel, device)
    if problem is not None and name == "flash-4":
        _flash_4("restore_flash_attention_impl")  # else torch's own flash attention would go on running its kernels
    return problem


def _problem(kernel: Kernel, device: torch.device) -> str | None:
    try:
        if kernel.name == "flash-4" and not _flash_4("activate_flash_attention_impl", "FA4"):
            return f"torch {torch.__version__} cannot take it; 2.11 can"
        error = _error(kernel, device)
    except Exception as failure:  # whatever a foreign kernel raises on a device it was not built for
        said = str(failure).partition("\n")[0]
        return f"it does not run here ({type(failure).__name__}: {said})"
    limit = EXACT if kernel.exact else QUANTISED
    return None if error <= limit else f"it is off by {error:.1%} on this device"


def _installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # of a package inside one that is not there
        return False


def _flash_4(change: str, *implementation: str) -> bool:
    """Change which kernels torch's flash attention runs, in this process; whether this torch can."""
    function: Callable[..., object] | None = getattr(torch.nn.attention, change, None)
    if function is not None:
        function(*implementation)
    return function is not None


def _error(kernel: Kernel, device: torch.device) -> float:
    """Relative error against fp32 arithmetic on seeded random data."""
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, 384, HEADS, HEAD, generator=generator).to(device, torch.bfloat16) for _ in range(3))
    with torch.no_grad():
        dispatch: Callable[..., torch.Tensor] = attention_dispatch.dispatch_attention_fn
        out = dispatch(q, k, v, backend=attention_dispatch.AttentionBackendName(kernel.backend))
        q, k, v = (each.float().transpose(1, 2) for each in (q, k, v))
        with sdpa_kernel(SDPBackend.MATH):
            exact: torch.Tensor = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
    return float((out.float() - exact).abs().mean() / exact.abs().mean())
