"""The GPUs of this machine, asked of the driver itself: no torch is loaded to plan."""

from __future__ import annotations

import ctypes
import sys
from importlib.metadata import PackageNotFoundError, version

from post.upscale import RealESRGAN, Upscale


def gpu_names() -> list[str]:
    """Names of the CUDA devices the driver shows. Source: CUDA driver API (cuInit, cuDeviceGetName)."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return []
    count = ctypes.c_int()
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return []
    names: list[str] = []
    for index in range(count.value):
        device, name = ctypes.c_int(), ctypes.create_string_buffer(128)
        if driver.cuDeviceGet(ctypes.byref(device), index) == 0 and driver.cuDeviceGetName(name, 128, device) == 0:
            names.append(name.value.decode(errors="replace"))
    return names


def has_gpu(device: str | None) -> bool:
    """Whether work asked for on `device` (None: anywhere) would run on a GPU."""
    return device != "cpu" and bool(gpu_names())


def upscaled_with(upscale: Upscale | None, device: str | None) -> dict[str, str]:
    """How a net is run, for the record beside what it made."""
    if upscale is None or not isinstance(upscale.by, RealESRGAN):
        return {}
    try:
        torch = version("torch")
    except PackageNotFoundError:
        return {}
    return {"torch": torch, "device": device or (gpu_names() or ["cpu"])[0]}
