"""Finished pictures on their way into an encoder: RGB, or the encoder's own planes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation
from numpy.typing import NDArray

from scenes.footage import Frame, Size

Plane = NDArray[np.uint8] | NDArray[np.uint16]


@dataclass(frozen=True, slots=True, eq=False)
class Planes:
    """A picture in an encoder's own layout: Y'CbCr of BT.709, limited range, (height, width) each."""

    y: Plane
    u: Plane
    v: Plane


Picture = Frame | Planes


@dataclass(frozen=True, slots=True)
class Layout:
    """`bits` of a sample; `across` and `down`: how many pixels share one sample of chroma."""

    bits: int
    across: int
    down: int

    @property
    def type(self) -> type[np.uint8] | type[np.uint16]:
        return np.uint8 if self.bits == 8 else np.uint16


LAYOUTS = {
    "yuv420p": Layout(8, 2, 2),
    "yuv420p10le": Layout(10, 2, 2),
    "yuv422p10le": Layout(10, 2, 1),
    "yuv444p10le": Layout(10, 1, 1),
    "p010le": Layout(10, 2, 2),  # in memory its chroma is one plane and its samples lie six bits higher
}
"""By FFmpeg's names. A format that is not here is RGB."""


def picture_bytes(picture: Picture) -> int:
    return (
        picture.nbytes if isinstance(picture, np.ndarray) else sum(p.nbytes for p in (picture.y, picture.u, picture.v))
    )


def picture_of(picture: Picture, pixels: str, size: Size, name: str) -> VideoFrame:
    """A picture as FFmpeg holds it, in an encoder's pixel format. Raises ValueError where size or layout differ."""
    width, height = size
    if isinstance(picture, Planes):
        return _filled(picture, pixels, size, name)
    if picture.shape != (height, width, 3):  # PyAV would scale it without a word
        raise ValueError(f"{name} is {picture.shape}, not {(height, width, 3)}")
    return converted(picture, pixels)


def converted(frame: Frame, pixels: str) -> VideoFrame:
    """An RGB frame in an encoder's pixel format, BT.709 limited range, tagged as such."""
    picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
    if pixels == "bgr0":
        return picture.reformat(format=pixels)
    # Each of these is needed: swscale converts as BT.601 without them, and rounds down without ACCURATE_RND.
    accurate = Interpolation.BICUBIC | Interpolation.ACCURATE_RND
    chroma = Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP
    yuv = picture.reformat(
        format=pixels,
        src_color_range=ColorRange.JPEG,
        dst_colorspace=Colorspace.ITU709,
        dst_color_range=ColorRange.MPEG,
        interpolation=accurate | chroma,
    )
    yuv.color_primaries = 1  # ProRes takes these from each frame, not from the stream
    yuv.color_trc = 1
    return yuv


def _filled(planes: Planes, pixels: str, size: Size, name: str) -> VideoFrame:
    """The planes, copied into a frame of FFmpeg's, tagged as `converted` tags."""
    layout = LAYOUTS.get(pixels)
    if layout is None:
        raise ValueError(f"{name} is planes of Y'CbCr where {pixels} is RGB")
    width, height = size
    chroma = -(-height // layout.down), -(-width // layout.across)
    for plane, shape in ((planes.y, (height, width)), (planes.u, chroma), (planes.v, chroma)):
        if plane.shape != shape or plane.dtype != layout.type:
            raise ValueError(f"{name} has a plane {plane.shape} {plane.dtype}, not {shape} {np.dtype(layout.type)}")
    picture = av.VideoFrame(width, height, pixels)
    if pixels == "p010le":
        _rows(picture, 0, width)[:] = planes.y << 6
        both = _rows(picture, 1, 2 * chroma[1])
        both[:, 0::2], both[:, 1::2] = planes.u << 6, planes.v << 6
    else:
        for index, plane in enumerate((planes.y, planes.u, planes.v)):
            _rows(picture, index, plane.shape[1])[:] = plane
    picture.colorspace, picture.color_range = Colorspace.ITU709, ColorRange.MPEG
    picture.color_primaries = picture.color_trc = 1
    return picture


def _rows(picture: VideoFrame, index: int, width: int) -> NDArray[Any]:
    """The samples of a frame's plane, to write to: rows are longer in memory than they look."""
    plane = picture.planes[index]
    type = LAYOUTS[picture.format.name].type
    return np.frombuffer(cast(Any, plane), type).reshape(plane.height, -1)[:, :width]
