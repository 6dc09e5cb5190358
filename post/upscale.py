"""Upscaling: a frame becomes a frame of the finished size, by a resample or by Real-ESRGAN (arXiv:2107.10833).

torch is loaded when a net is opened, and not before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import ceil, floor
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from PIL import Image

from post.weights import INSTALL, DeviceMissing, Lacking, WeightsMissing
from scenes.files import file_digest
from scenes.footage import DamagedFile, Frame, Size

if TYPE_CHECKING:
    import torch

    from post.nets import Upscaler

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels, which may fall between two."""

# RRDBNet takes 2 KB a pixel in fp32, SRVGGNetCompact 0.8: about 2 GB at most, and 1280×720 in one piece.
TILE_PIXELS = 1024 * 1024

SUPPORTED = "Supported: Real-ESRGAN's .pth files (RRDBNet of scale 4 or 2, SRVGGNetCompact), and the same as ncnn files"


@dataclass(frozen=True, slots=True)
class Lanczos:
    """A Lanczos resample with three lobes: adds no detail."""

    kind: ClassVar[str] = "lanczos/1"


@dataclass(frozen=True, slots=True)
class RealESRGAN:
    """A net of Real-ESRGAN's. `weights` is the SHA-256 of the `.pth`, or of an ncnn model's `.bin`."""

    kind: ClassVar[str] = "realesrgan/1"
    weights: str
    path: Path = field(compare=False)


@dataclass(frozen=True, slots=True)
class Upscale:
    """`size` is the finished (width, height); where its aspect differs the frame is cropped about its centre."""

    kind: ClassVar[str] = "upscale/1"
    by: Lanczos | RealESRGAN
    size: Size


def open_upscaler(upscale: Upscale, device: str | None, tile_pixels: int = TILE_PIXELS) -> Callable[[Frame], Frame]:
    """What makes frames of the finished size; a net is loaded once, here.

    device: as torch names them; None means a CUDA device if there is one. A resample runs on the CPU.
    tile_pixels: frames of more source pixels go through the net in tiles; it bounds the memory, not the pixels made.

    Raises:
        Lacking: weights, torch or the device is not here, or the weights are not of a net that is known.
        DamagedFile: the weights are not those that were named.
    """
    size = upscale.size
    if isinstance(upscale.by, Lanczos):
        return lambda frame: resample(frame, size, centred_box(frame, size))
    check_torch()
    place = open_device(device)
    net = load_net(upscale.by, place)
    return lambda frame: _upscale(net, place, frame, size, tile_pixels)


def centred_box(frame: Frame, size: Size) -> Box:
    """The largest part about a frame's centre that has the aspect of `size`."""
    height, width = frame.shape[:2]
    left = max(0.0, (width - height * size[0] / size[1]) / 2)
    top = max(0.0, (height - width * size[1] / size[0]) / 2)
    return left, top, width - left, height - top


def resample(frame: Frame, size: Size, box: Box) -> Frame:
    """A part of a frame at another size by Lanczos with three lobes; the frame itself where nothing changes."""
    height, width = frame.shape[:2]
    if (width, height) == size and box == (0, 0, width, height):
        return frame
    return np.array(Image.fromarray(frame).resize(size, Image.Resampling.LANCZOS, box))


def _upscale(net: Upscaler, place: torch.device, frame: Frame, size: Size, tile_pixels: int) -> Frame:
    left, top, right, bottom = centred_box(frame, size)
    x, y = floor(left), floor(top)  # whole pixels for the net; the resample cuts between them
    part = frame[y : ceil(bottom), x : ceil(right)]
    scale = net.scale
    box = ((left - x) * scale, (top - y) * scale, (right - x) * scale, (bottom - y) * scale)
    return resample(enlarge(net, place, part, tile_pixels), size, box)


def enlarge(net: Upscaler, place: torch.device, frame: Frame, tile_pixels: int) -> Frame:
    """A frame at the net's own scale, in tiles where it has more pixels than `tile_pixels`.

    Beyond its edges the nets see the zeros they were trained with. Mirroring ten pixels there, as the ncnn port does,
    costs more and is further from what a net draws where it sees the picture go on: by 30% within two source pixels.
    """
    import torch

    height, width = frame.shape[:2]
    below, beside = -height % net.multiple, -width % net.multiple
    padded = np.pad(frame, ((0, below), (0, beside), (0, 0)), mode="reflect") if below or beside else frame
    scale = net.scale
    large = np.empty((padded.shape[0] * scale, padded.shape[1] * scale, 3), np.uint8)
    down, across = tile_sides(padded.shape[0], padded.shape[1], net, tile_pixels)
    with torch.inference_mode():
        for rows in cuts(padded.shape[0], down, net.overlap):
            for columns in cuts(padded.shape[1], across, net.overlap):
                seen = padded[rows.seen, columns.seen].copy()  # torch wants it in one piece and writable
                made = run_net(net, torch.from_numpy(seen).to(place))[rows.kept(scale), columns.kept(scale)]
                large[rows.placed(scale), columns.placed(scale)] = made.cpu().numpy()
    return large[: height * scale, : width * scale]


def run_net(net: Upscaler, image: torch.Tensor) -> torch.Tensor:
    """uint8 RGB (height, width, 3) on the net's device, in and out."""
    import torch

    # (1, 3, height, width) in channels_last, the frame's own order: 1.6 times as fast on a CPU. The batch must be put
    # before the permute: after it, the batch's stride hides the order from the convolutions.
    y = net(image[None].permute(0, 3, 1, 2).float().div_(255))
    return y.mul_(255).round_().clamp_(0, 255).to(torch.uint8)[0].permute(1, 2, 0)


@dataclass(frozen=True, slots=True)
class Cut:
    """A stretch of one side of a picture, `start` to `stop`, and the longer stretch that the net sees for it."""

    start: int
    stop: int
    seen: slice

    def placed(self, scale: int) -> slice:
        """Where it lies in the large picture."""
        return slice(self.start * scale, self.stop * scale)

    def kept(self, scale: int) -> slice:
        """Where it lies in what the net made of all that it saw."""
        return slice((self.start - self.seen.start) * scale, (self.stop - self.seen.start) * scale)


def cuts(side: int, step: int, overlap: int) -> Iterator[Cut]:
    """One side of a picture in stretches of `step`, each seen with `overlap` on both ends where there is so much."""
    for start in range(0, side, step):
        stop = min(start + step, side)
        yield Cut(start, stop, slice(max(0, start - overlap), min(side, stop + overlap)))


def tile_sides(height: int, width: int, net: Upscaler, pixels: int) -> tuple[int, int]:
    """Height and width of tiles that the net can see, overlap and all, within so many pixels.

    The longer side is halved until they fit, but never below the overlap: smaller tiles would see little else.
    """
    down, across = height, width
    while max(down, across) > net.overlap:
        if _most_seen(height, down, net.overlap) * _most_seen(width, across, net.overlap) <= pixels:
            break
        if down >= across:
            down = _half(down, net.multiple)
        else:
            across = _half(across, net.multiple)
    return down, across


def _most_seen(side: int, step: int, overlap: int) -> int:
    return max(cut.seen.stop - cut.seen.start for cut in cuts(side, step, overlap))


def _half(side: int, multiple: int) -> int:
    """Half of a side, up to the next multiple."""
    return -(-side // (2 * multiple)) * multiple


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


def load_net(by: RealESRGAN, place: torch.device) -> Upscaler:
    """The net that a file's weights are of, in fp32 on a device, ready to run.

    Raises:
        Lacking: there is no such file, or it holds no net that is known.
        DamagedFile: it is not the file that was named.
    """
    import torch

    if not by.path.is_file():
        raise WeightsMissing(f"there is no file {by.path} any more: put it back")
    if file_digest(by.path) != by.weights:
        raise DamagedFile(by.path, f"its SHA-256 is not {by.weights}: it has been replaced or damaged")
    try:
        net = read_net(by.path)
    except (ValueError, OSError) as error:
        raise Lacking(f"{by.path} is not an upscaler that can be used: {error}. {SUPPORTED}") from error
    return net.eval().requires_grad_(False).to(place, torch.float32)


def read_net(path: Path) -> Upscaler:
    """Raises ValueError where a file holds no net that is known."""
    if path.suffix == ".bin":
        from post.ncnn import net_of, read_ncnn

        return net_of(read_ncnn(path.with_suffix(".param"), path))
    from post.nets import net_of_state, read_pth

    return net_of_state(read_pth(path))
