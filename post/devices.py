"""The processors of this machine; its GPUs are asked of the driver itself: no torch is loaded to plan."""

from __future__ import annotations

import ctypes
import os
import re
import sys
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec

from post.weights import INSTALL


@dataclass(frozen=True, slots=True)
class Gpu:
    """`bytes`: its whole memory. `sm`: its compute capability, 89 for 8.9; 0 where the driver does not say."""

    name: str
    bytes: int
    sm: int = 0


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gpus() -> list[Gpu]:
    """The CUDA devices the driver shows.

    Source: CUDA driver API (cuInit, cuDeviceGetName, cuDeviceTotalMem, cuDeviceGetAttribute).
    """
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
            sm = 10 * _attribute(driver, SM_MAJOR, device) + _attribute(driver, SM_MINOR, device)
            found.append(Gpu(name.value.decode(errors="replace"), memory.value, sm))
    return found


SM_MAJOR, SM_MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR


def _attribute(driver: ctypes.CDLL, which: int, device: ctypes.c_int) -> int:
    value = ctypes.c_int()
    return value.value if driver.cuDeviceGetAttribute(ctypes.byref(value), which, device) == 0 else 0


def gpu_of(device: str | None) -> Gpu | None:
    """The GPU that a device's name means, None: the first; None where it is no CUDA device of this machine."""
    if device is not None and not device.startswith("cuda"):
        return None
    number = int((device or "cuda:0").partition(":")[2] or 0)
    found = gpus()
    return found[number] if number < len(found) else None


def has_gpu(device: str | None) -> bool:
    """Whether work asked for on `device` (None: anywhere) would run on a GPU."""
    return device != "cpu" and not _torch().endswith("+cpu") and bool(gpus())


def net_problem() -> str | None:
    """Why no net could run here at all, with the remedy; None where one can."""
    if not _torch():
        return f"torch is not installed: {INSTALL}"
    return None


def device_problem(device: str, flag: str = "--device") -> str | None:
    """What is wrong with a device's name on this machine; None where nothing is. flag: it was named by."""
    named = re.fullmatch(r"cpu|mps|cuda(?::(\d+))?", device)
    if named is None:
        return f'{flag} {device} is no device: write "cuda:0" or "cpu"'
    if device == "mps" and sys.platform != "darwin":
        return f"{flag} mps is not on this machine: it is a Mac's GPU"
    if device.startswith("cuda"):
        found = gpus()
        if int(named[1] or 0) >= len(found):
            there = ", ".join(f"cuda:{i} {gpu.name}" for i, gpu in enumerate(found)) or "none"
            return f"{flag} {device} is not on this machine (CUDA devices here: {there})"
        if _torch().endswith("+cpu"):
            return f"{flag} {device}: the torch installed here ({_torch()}) is a CPU build; install one with CUDA"
    return None


def _torch() -> str:
    return installed("torch")


def installed(package: str, module: str | None = None) -> str:
    """The version of a package that is installed, without loading it; empty where there is none.

    module: what it is imported as, where that is another name.
    """
    try:
        return version(package) if find_spec(module or package) is not None else ""
    except (ImportError, ValueError):  # PackageNotFoundError is one of these; ValueError: a module without a spec
        return ""
