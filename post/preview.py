"""Footage for looking at, not for keeping: small, lossy, in memory."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Iterable
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.packet import Packet
from av.video.stream import VideoStream
from PIL import Image

from post.picture import picture_of
from scenes.footage import Frame

WIDTH = 480
STILL_WIDTH = 320
BITS_A_SECOND = 1_000_000
"""At most: a second is 125 kB, fifty of them a page that is sent by mail."""


def small(frame: Frame) -> Frame:
    """At most 480 pixels wide; both sides even, as H.264 takes them."""
    return _at_most(frame, WIDTH)


def jpeg(frame: Frame) -> bytes:
    """At most 320 pixels wide."""
    file = io.BytesIO()
    Image.fromarray(_at_most(frame, STILL_WIDTH)).save(file, "JPEG", quality=85)
    return file.getvalue()


def h264(frames: Iterable[Frame], fps: Fraction) -> bytes:
    """An MP4 that browsers play, for frames as `small` gives them."""
    file = io.BytesIO()
    options = {
        "crf": "23",
        "preset": "superfast",
        "maxrate": str(BITS_A_SECOND),
        "bufsize": str(BITS_A_SECOND // 2),
        # Stepping back and forth over a seam must not wait for a second of it to be decoded.
        "x264-params": "keyint=8:threads=1",
    }
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=fps, options=options)
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.time_base = 1 / fps
        context.color_primaries = context.color_trc = context.colorspace = context.color_range = 1
        for index, frame in enumerate(frames):
            if index == 0:
                stream.width, stream.height = frame.shape[1], frame.shape[0]
            picture = picture_of(frame, "yuv420p", (stream.width, stream.height), f"frame {index}")
            picture.pts, picture.time_base = index, 1 / fps
            container.mux(cast("list[Packet[VideoStream]]", stream.encode(picture)))
        container.mux(cast("list[Packet[VideoStream]]", stream.encode(None)))
    return file.getvalue()


def first_second(path: Path) -> list[Frame]:
    """Of a finished file, as `small` gives frames."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        count = round(stream.average_rate or stream.guessed_rate or 1)
        return [_seen(picture) for picture in islice(container.decode(stream), count)]


def last_second(path: Path) -> list[Frame]:
    """The same, of its end: read from a key frame before it."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        count = round(stream.average_rate or stream.guessed_rate or 1)
        if stream.duration is not None and stream.time_base is not None:
            # Two seconds back, because streams begin late where frames are put in order: what is too much falls out.
            container.seek(max(0, stream.duration - round(2 / stream.time_base)), stream=stream)
        return [_seen(picture) for picture in deque(container.decode(stream), count)]


def _seen(picture: av.VideoFrame) -> Frame:
    return small(cast(Frame, picture.reformat(format="rgb24", src_colorspace="ITU709").to_ndarray()))


def _at_most(frame: Frame, width: int) -> Frame:
    import cv2

    height, across = frame.shape[:2]
    scale = min(1.0, width / across)
    size = tuple(max(2, round(side * scale / 2) * 2) for side in (across, height))
    if size == (across, height):
        return frame
    # Down to a half two pixels a side are enough, in a fifth of the time.
    how = cv2.INTER_LINEAR if scale > 0.5 else cv2.INTER_AREA
    return np.asarray(cv2.resize(frame, size, interpolation=how), dtype=np.uint8)
