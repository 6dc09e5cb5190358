"""The GPUs of this machine, asked of the driver itself: no torch is loaded to plan."""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from post.upscale import RealESRGAN, Upscale


@dataclass(frozen=True, slots=True)
class Gpu:
    """`bytes`: its whole memory."""

    name: str
    bytes: int


def gpus() -> list[Gpu]:
    """The CUDA devices the driver shows. Source: CUDA driver API (cuInit, cuDeviceGetName, cuDeviceTotalMem)."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return []
    count = ctypes.c_int()
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return []
    found: list[Gpu] = []
    for index in range(count.value):
        device, name, memory = ctypes.c_int(), ctypes.create_string_buffer(128), ctypes.c_size_t()
        asked = (
            driver.cuDeviceGet(ctypes.byref(device), index),
            driver.cuDeviceGetName(name, 128, device),
            driver.cuDeviceTotalMem_v2(ctypes.byref(memory), device),
        )
        if asked == (0, 0, 0):
            found.append(Gpu(name.value.decode(errors="replace"), memory.value))
    return found


def has_gpu(device: str | None) -> bool:
    """Whether work asked for on `device` (None: anywhere) would run on a GPU."""
    return device != "cpu" and bool(gpus())


def upscaled_with(upscale: Upscale | None, device: str | None) -> dict[str, str]:
    """How a net is run, for the record beside what it made."""
    if upscale is None or not isinstance(upscale.by, RealESRGAN):
        return {}
    try:
        torch = version("torch")
    except PackageNotFoundError:
        return {}
    return {"torch": torch, "device": device or next((gpu.name for gpu in gpus()), "cpu")}
