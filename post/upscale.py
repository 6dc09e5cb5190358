"""Upscaling: a frame becomes a frame of the finished size, by a resample or by a net.

A resample is drawn here, on the CPU. Nets are opened here too; torch is loaded then, and not before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from PIL import Image

from post.weights import INSTALL, DeviceMissing, Lacking, UpscalerWeights
from post.weights_file import check_weights
from scenes.footage import Frame, Size

if TYPE_CHECKING:
    import torch

    from post.enlarge import Enlarger
    from post.nets import Net, Upscaler

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels, which may fall between two."""

# What a net sees of a frame at once where nobody says: 1280×720 in one piece.
TILE_PIXELS = 1024 * 1024

SUPPORTED = (
    "Supported: Real-ESRGAN's files (RRDBNet of scale 4 or 2, SRVGGNetCompact) as .pth, .safetensors or ncnn files, "
    "and other architectures as .pth or .safetensors through spandrel"
)


@dataclass(frozen=True, slots=True)
class Lanczos:
    """A Lanczos resample with three lobes: adds no detail."""

    kind: ClassVar[str] = "lanczos/1"


@dataclass(frozen=True, slots=True)
class RealESRGAN:
    """A net of Real-ESRGAN's (arXiv:2107.10833). `weights` is the file's SHA-256; of an ncnn model the `.bin`'s.

    scale: None where the file has yet to tell. heavy: an RRDBNet.
    """

    kind: ClassVar[str] = "realesrgan/2"
    weights: str
    path: Path = field(compare=False)
    scale: int | None = field(default=None, compare=False)
    heavy: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class Spandrel:
    """A net of another architecture, which the package spandrel reads. `weights` is the file's SHA-256."""

    kind: ClassVar[str] = "spandrel/1"
    weights: str
    path: Path = field(compare=False)
    scale: int | None = field(default=None, compare=False)
    heavy: bool = field(default=True, compare=False)


@dataclass(frozen=True, slots=True)
class Upscale:
    """`size` is the finished (width, height); where its aspect differs the frame is cropped about its centre."""

    kind: ClassVar[str] = "upscale/1"
    by: Lanczos | RealESRGAN | Spandrel
    size: Size


def upscaler_of(weights: UpscalerWeights, digest: str) -> RealESRGAN | Spandrel:
    """The upscaler that these weights are of. digest: the SHA-256 of the file at `weights.path`."""
    kind = Spandrel if weights.community else RealESRGAN
    return kind(digest, weights.path, weights.scale, weights.heavy)


def centred_box(frame: Frame, size: Size) -> Box:
    """The largest part about a frame's centre that has the aspect of `size`."""
    return centred((frame.shape[1], frame.shape[0]), size)


def centred(source: Size, size: Size) -> Box:
    """The largest part about the centre of a picture of `source` that has the aspect of `size`."""
    width, height = source
    left = max(0.0, (width - height * size[0] / size[1]) / 2)
    top = max(0.0, (height - width * size[1] / size[0]) / 2)
    return left, top, width - left, height - top


def resample(frame: Frame, size: Size, box: Box) -> Frame:
    """A part of a frame at another size by Lanczos with three lobes; the frame itself where nothing changes."""
    height, width = frame.shape[:2]
    if (width, height) == size and box == (0, 0, width, height):
        return frame
    return np.array(Image.fromarray(frame).resize(size, Image.Resampling.LANCZOS, box))


def open_upscaler(upscale: Upscale) -> Callable[[Frame], Frame]:
    """What makes frames of the finished size by a resample. Nets work on tensors: `open_enlarger`."""
    assert isinstance(upscale.by, Lanczos)
    size = upscale.size
    return lambda frame: resample(frame, size, centred_box(frame, size))


def open_enlarger(
    upscale: Upscale,
    place: torch.device,
    frames_at_once: int = 1,
    tile_pixels: int = TILE_PIXELS,
    compile: bool = False,
) -> Enlarger:
    """What makes tensors of frames into tensors of the finished size; the net is loaded once, here.

    frames_at_once, tile_pixels: the most frames of a batch, and the most source pixels of each that the net sees at
    once; they bound the memory, not what can be done.
    compile: worth its seconds where more than some dozen frames follow.

    Raises:
        Lacking: weights or a package is not here, or the weights are not of a net that is known.
        DamagedFile: the weights are not those that were named.
    """
    check_torch()
    from post.enlarge import Enlarger

    assert not isinstance(upscale.by, Lanczos)
    return Enlarger(open_net(upscale.by, place), upscale.size, place, frames_at_once, tile_pixels, compile)


def open_net(by: RealESRGAN | Spandrel, place: torch.device) -> Net:
    """The net that a file's weights are of, on a device, ready to run.

    Raises:
        Lacking: there is no such file, or it holds no net that is known.
        DamagedFile: it is not the file that was named.
    """
    import torch

    check_weights(by.path, by.weights)
    try:
        if isinstance(by, Spandrel):
            from post.spandrel_net import open_spandrel

            return open_spandrel(by.path, place)
        return _read_net(by.path).eval().requires_grad_(False).to(place, torch.float32)
    except (ValueError, OSError) as error:
        raise Lacking(f"{by.path} is not an upscaler that can be used: {error}. {SUPPORTED}") from error


def _read_net(path: Path) -> Upscaler:
    """Raises ValueError where a file holds no net that is known."""
    if path.suffix == ".bin":
        from post.ncnn import net_of, read_ncnn

        return net_of(read_ncnn(path.with_suffix(".param"), path))
    from post.nets import net_of_state
    from post.tensor_file import read_tensors

    try:
        tensors = read_tensors(path)
    except ValueError as error:
        raise ValueError(f"it {error}") from error
    return net_of_state(tensors)


def check_torch() -> None:
    """Raises Lacking where torch is not installed."""
    try:
        import torch  # noqa: F401  # pyright: ignore[reportUnusedImport]
    except ModuleNotFoundError as error:
        raise Lacking(f"Real-ESRGAN needs torch, which is not installed: {INSTALL}") from error


def open_device(name: str | None) -> torch.device:
    """The device of that name; for None a CUDA device if there is one, else the CPU. Raises DeviceMissing."""
    import torch

    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)  # torch.device takes any number, and devices that it was built without
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        there = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
        raise DeviceMissing(f"there is no device {name} here; there is {', '.join(there)}") from error
    return device
