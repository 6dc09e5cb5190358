"""The Vulkan devices of this machine, asked of the loader. Source: Vulkan 1.0 specification, chapters 4 and 5."""

from __future__ import annotations

import ctypes
import ctypes.util
import sys
from dataclasses import dataclass

CREATE_INFO, CPU = 1, 4  # VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO, VK_PHYSICAL_DEVICE_TYPE_CPU
NAME_AT, NAME_BYTES, PROPERTIES_BYTES = 20, 256, 1024  # VkPhysicalDeviceProperties takes 824


@dataclass(frozen=True, slots=True)
class VulkanDevice:
    """`is_cpu`: a software driver such as llvmpipe, far slower than the hardware it poses as."""

    name: str
    is_cpu: bool


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
    """None where there is no Vulkan loader."""
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
        devices.append(VulkanDevice(name, kind == CPU))
    return devices
