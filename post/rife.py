"""RIFE (arXiv:2011.06294) at work: frames between frames, on a GPU or the CPU."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.functional import pad

from post.interpolate import Rife
from post.nets.ifnet import IFNet
from post.rife_file import load_rife
from post.weights import Lacking
from post.weights_file import check_weights

SUPPORTED = (
    "Supported: RIFE 4.6, 4.7 to 4.9, 4.25 and 4.26, as .pth, .pkl, .safetensors or ncnn files: "
    "storyboard models pull rife-4.26"
)


class RifeNet:
    """A net that is ready to draw: in fp16 on CUDA, in fp32 elsewhere.

    As it is: compiled it would win a tenth of a second a clip, for half a minute at the start (docs/benchmarks.md).
    """

    def __init__(self, net: IFNet, device: torch.device) -> None:
        self._device = device
        self._kind = torch.float16 if device.type == "cuda" else torch.float32
        self._net = net.to(device, self._kind)
        cast(Any, net).to(memory_format=torch.channels_last)

    def __call__(self, before: Tensor, after: Tensor, times: Tensor) -> Tensor:
        """Frames (n, 3, height, width) of values 0 to 1, of any size, and for each pair the time between them from
        0 to 1; what is drawn comes in their type, to where they are."""
        height, width = before.shape[-2:]
        beside, below = -width % self._net.multiple, -height % self._net.multiple
        pair = [frames.to(self._device, self._kind, memory_format=torch.channels_last) for frames in (before, after)]
        if beside or below:  # with zeros to the right and below, as the nets were trained
            pair = [pad(frames, (0, beside, 0, below)) for frames in pair]
        with torch.no_grad():
            drawn = self._net(pair[0], pair[1], times.to(self._device, torch.float32))
        return drawn[..., :height, :width].to(before.device, before.dtype)


def open_rife(by: Rife, device: torch.device) -> RifeNet:
    """The net that was named, on a device.

    Raises:
        Lacking: there is no such file, or it holds no net that is known.
        DamagedFile: it is not the file that was named.
    """
    check_weights(by.path, by.weights)
    try:
        return RifeNet(load_rife(by.path), device)
    except (ValueError, OSError) as error:
        raise Lacking(f"RIFE cannot be opened: {error}. {SUPPORTED}") from error
