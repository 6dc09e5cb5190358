"""The Vulkan devices of this machine, asked of the loader. Source: Vulkan 1.0 specification, chapters 4 and 5."""

from __future__ import annotations

import ctypes
import ctypes.util
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from post.weights import DeviceMissing

CREATE_INFO = 1  # VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO
DISCRETE, CPU = 2, 4  # VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU, VK_PHYSICAL_DEVICE_TYPE_CPU
OR_CPU = 'or name the device "cpu", which takes seconds a frame'
NAME_AT, NAME_BYTES, PROPERTIES_BYTES = 20, 256, 1024  # VkPhysicalDeviceProperties takes 824


@dataclass(frozen=True, slots=True)
class VulkanDevice:
    """`is_cpu`: a software driver such as llvmpipe, far slower than the hardware it poses as."""

    name: str
    is_cpu: bool
    discrete: bool = False
    """A card with memory of its own."""


class _CreateInfo(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("next", ctypes.c_void_p),
        ("flags", ctypes.c_uint32),
        ("application", ctypes.c_void_p),
        ("layer_count", ctypes.c_uint32),
        ("layers", ctypes.c_void_p),
        ("extension_count", ctypes.c_uint32),
        ("extensions", ctypes.c_void_p),
    )


def vulkan_devices() -> list[VulkanDevice] | None:
    """In the loader's order, by which ncnn numbers them; None where there is no Vulkan loader."""
    found = ctypes.util.find_library("vulkan-1" if sys.platform == "win32" else "vulkan")
    if found is None:
        return None
    loader = ctypes.CDLL(found)
    instance = ctypes.c_void_p()
    if loader.vkCreateInstance(ctypes.byref(_CreateInfo(type=CREATE_INFO)), None, ctypes.byref(instance)) != 0:
        return []
    try:
        return _devices(loader, instance)
    finally:
        loader.vkDestroyInstance(instance, None)


def _devices(loader: ctypes.CDLL, instance: ctypes.c_void_p) -> list[VulkanDevice]:
    count = ctypes.c_uint32()
    loader.vkEnumeratePhysicalDevices(instance, ctypes.byref(count), None)
    handles = (ctypes.c_void_p * count.value)()
    loader.vkEnumeratePhysicalDevices(instance, ctypes.byref(count), handles)
    devices: list[VulkanDevice] = []
    for handle in handles[: count.value]:
        properties = ctypes.create_string_buffer(PROPERTIES_BYTES)
        loader.vkGetPhysicalDeviceProperties(ctypes.c_void_p(handle), properties)
        name = properties.raw[NAME_AT : NAME_AT + NAME_BYTES].split(b"\0")[0].decode(errors="replace")
        kind = int.from_bytes(properties.raw[16:20], sys.byteorder)
        devices.append(VulkanDevice(name, kind == CPU, kind == DISCRETE))
    return devices


def chosen_device(devices: Sequence[VulkanDevice] | None, asked: str | None) -> int:
    """The number of the device that a name means, among those of `vulkan_devices`.

    asked: None, "cuda" or "cuda:1" for the first or second piece of hardware, cards first; "vulkan:2" for the device of
        that number, be it a software driver.

    Raises:
        DeviceMissing: there is none, with the remedy. Software drivers are never chosen, only named.
    """
    if devices is None:
        raise DeviceMissing(f"there is no Vulkan loader: install libvulkan1 and the GPU's Vulkan driver, {OR_CPU}")
    named = re.fullmatch(r"(cuda|vulkan)(?::(\d+))?", asked or "cuda")
    if named is None:
        raise DeviceMissing(f'"{asked}" is no Vulkan device: write "vulkan:0", "cuda:0" or "cpu"')
    number = int(named[2] or 0)
    hardware = [i for i, device in enumerate(devices) if not device.is_cpu]
    among = range(len(devices)) if named[1] == "vulkan" else sorted(hardware, key=lambda i: not devices[i].discrete)
    if number < len(among):
        return among[number]
    here = ", ".join(f"vulkan:{i} {device.name}" for i, device in enumerate(devices)) or "none"
    if hardware or named[1] == "vulkan":
        raise DeviceMissing(f"{asked} is not among the Vulkan devices here: {here}")
    software = f" but a CPU posing as one ({here})" if devices else ""
    raise DeviceMissing(f"Vulkan shows no GPU here{software}: install the GPU's Vulkan driver, {OR_CPU}")
