"""Frames enlarged by a net and brought to the finished size, in batches, on the net's device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil, floor

import torch
import torch.nn.functional as F  # noqa: N812 (the field's habit)
from torch import Tensor, nn

from post.bicubic import Along
from post.nets import Net
from post.nets.prepared import prepared
from post.upscale import TILE_PIXELS, Box, centred
from scenes.compiled import compiled
from scenes.footage import Size

Picture = Callable[[Tensor], Tensor]
LAST = torch.channels_last


class Enlarger:
    """Takes levels of frames (n, height, width, 3), uint8 or not whole; gives (n, 3, height, width) of the finished
    size, values 0 to 1.

    Channels last, fp16 on a CUDA device, fp32 elsewhere. n may be anything up to `frames_at_once`, and every clip may
    have its own size. Where a net is compiled, it is so for one number of frames: fewer are filled up.
    """

    def __init__(
        self,
        net: Net,
        size: Size,
        place: torch.device,
        frames_at_once: int = 1,
        tile_pixels: int = TILE_PIXELS,
        compile: bool = False,
    ) -> None:
        self._net, self._size, self._place = net, size, place
        self._tile_pixels = tile_pixels
        self._dtype = torch.float16 if place.type == "cuda" else torch.float32
        self._draw = prepared(net, place, frames_at_once, compile)
        self._compiled = compile and place.type == "cuda"
        self._fits: dict[Size, Picture] = {}

    @torch.inference_mode()
    def __call__(self, frames: Tensor) -> Tensor:
        height, width = frames.shape[1:3]
        left, top, right, bottom = centred((width, height), self._size)
        x, y = floor(left), floor(top)  # whole pixels for the net; the resample cuts between them
        part = frames[:, y : ceil(bottom), x : ceil(right)]
        large = self._enlarged(part.permute(0, 3, 1, 2).to(self._dtype, memory_format=LAST).div_(255))
        if (width, height) not in self._fits:
            scale = self._net.scale
            box = ((left - x) * scale, (top - y) * scale, (right - x) * scale, (bottom - y) * scale)
            self._fits[width, height] = self._fit((large.shape[-1], large.shape[-2]), box)
        return self._fits[width, height](large)

    def _enlarged(self, image: Tensor) -> Tensor:
        """Pictures at the net's own scale, in tiles where they have more pixels than it may see at once."""
        net, (height, width) = self._net, image.shape[-2:]
        image = _filled(image, -height % net.multiple, -width % net.multiple)
        tall, wide = image.shape[-2:]
        down, across = tile_sides(tall, wide, net, self._tile_pixels)
        if (down, across) == (tall, wide):
            large = self._draw(image)
        else:
            shape = (image.shape[0], 3, tall * net.scale, wide * net.scale)
            large = image.new_empty(shape).to(memory_format=LAST)
            for rows in cuts(tall, down, net.overlap):
                for columns in cuts(wide, across, net.overlap):
                    made = self._draw(image[:, :, rows.seen, columns.seen].contiguous(memory_format=LAST))
                    large[:, :, rows.placed(net.scale), columns.placed(net.scale)] = made[
                        :, :, rows.kept(net.scale), columns.kept(net.scale)
                    ]
        return large[:, :, : height * net.scale, : width * net.scale]

    def _fit(self, source: Size, box: Box) -> Picture:
        """What makes the net's pictures into finished ones."""
        if source == self._size and box == (0, 0, *source):
            return _clamped
        one: Picture = Fit(source, box, self._size, self._place)
        if self._compiled:
            one = compiled(one, dynamic=False)

        def fitted(large: Tensor) -> Tensor:
            """One at a time: whatever their number, one shape is compiled."""
            count, (width, height) = large.shape[0], self._size
            made = large.new_empty((count, height, width, 3)).permute(0, 3, 1, 2)
            for index in range(count):
                made[index : index + 1] = one(large[index : index + 1])
            return made

        return fitted


class Fit(nn.Module):
    """A part of pictures of `source`, `box`, brought to `size`; their values are clamped before and after."""

    def __init__(self, source: Size, box: Box, size: Size, place: torch.device) -> None:
        super().__init__()
        left, top, right, bottom = box
        self.down = Along(source[1], top, bottom, size[1], 2, place)
        self.across = Along(source[0], left, right, size[0], 3, place)

    def forward(self, large: Tensor) -> Tensor:
        lower = self.down(large.clamp(0, 1)).to(large.dtype)
        return self.across(lower).clamp(0, 1).to(large.dtype)


def _clamped(large: Tensor) -> Tensor:
    return large.clamp_(0, 1).contiguous(memory_format=LAST)


def _filled(image: Tensor, below: int, beside: int) -> Tensor:
    """The picture with rows and columns that mirror its own, or repeat its last where it has no more to mirror."""
    if not below and not beside:
        return image
    mirrors = below < image.shape[-2] and beside < image.shape[-1]
    return F.pad(image, (0, beside, 0, below), "reflect" if mirrors else "replicate")


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
    """One side of a picture in stretches of `step`, each seen with `overlap` on both ends where there is so much.

    All are seen with as many pixels, at the ends with more on the other side: a net is compiled for one shape.
    """
    seen = most_seen(side, step, overlap)
    for start in range(0, side, step):
        first = min(max(0, start - overlap), side - seen)
        yield Cut(start, min(start + step, side), slice(first, first + seen))


def most_seen(side: int, step: int, overlap: int) -> int:
    """The longest of a side's stretches, with what is seen beyond it."""
    starts = range(0, side, step)
    return max(min(side, start + step + overlap) - max(0, start - overlap) for start in starts)


def tile_sides(height: int, width: int, net: Net, pixels: int) -> tuple[int, int]:
    """Height and width of tiles that the net can see, overlap and all, within so many pixels.

    The longer side is halved until they fit, but never below the overlap: smaller tiles would see little else.
    """
    down, across = height, width
    while max(down, across) > net.overlap:
        if most_seen(height, down, net.overlap) * most_seen(width, across, net.overlap) <= pixels:
            break
        if down >= across:
            down = _half(down, net.multiple)
        else:
            across = _half(across, net.multiple)
    return down, across


def _half(side: int, multiple: int) -> int:
    """Half of a side, up to the next multiple."""
    return -(-side // (2 * multiple)) * multiple
