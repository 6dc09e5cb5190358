"""Frames become a file that plays: colour-exact conversion, encoders, formats."""

from __future__ import annotations

import hashlib
import io
import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Literal, Self, cast

import av
import numpy as np
from av.container import OutputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from post.nvenc import NEEDS, nvenc_options
from post.picture import Picture, picture_of
from scenes.footage import Size

Preset = Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"]

# x264 gives other bytes for another number of threads, so the number is part of the work, not the machine's.
THREADS = 4

CPU_AVX_512F = 13  # OpenCV's number for it, which its Python package does not name

# An encoder has given right decode times by the time it has given so many packets.
PRIMED = 16


class EncoderMissing(Exception):  # noqa: N818
    """No such encoder works here; the message says which, and what to do."""


@dataclass(frozen=True, slots=True)
class Encode:
    """`format` is a key of FORMATS. crf and preset are None where the format has none."""

    kind: ClassVar[str] = "encode/1"
    format: str
    crf: float | None = None
    preset: str | None = None
    threads: int = THREADS


@dataclass(frozen=True, slots=True)
class Format:
    """How a format is written. `bits` are of a channel; `crf_most` is the largest CRF, None where it has none."""

    encoder: str
    container: str
    suffix: str
    pixels: str
    bits: int
    options: tuple[tuple[str, str], ...] = ()
    tag: str | None = None
    crf_most: int | None = None
    says: str = ""


FORMATS: dict[str, Format] = {
    "h264": Format("libx264", "mp4", ".mp4", "yuv420p", 8, crf_most=51, says="H.264, 8-bit 4:2:0"),
    "hevc": Format("libx265", "mp4", ".mp4", "yuv420p10le", 10, tag="hvc1", crf_most=51, says="HEVC, 10-bit 4:2:0"),
    "av1": Format("libsvtav1", "mp4", ".mp4", "yuv420p10le", 10, (("preset", "8"),), crf_most=63, says="AV1, 10-bit"),
    "prores": Format(
        "prores_ks", "mov", ".mov", "yuv422p10le", 10, (("profile", "3"), ("vendor", "apl0")), says="ProRes 422 HQ"
    ),
    "prores-4444": Format(
        "prores_ks", "mov", ".mov", "yuv444p10le", 10, (("profile", "4"), ("vendor", "apl0")), says="ProRes 4444"
    ),
    "h264_nvenc": Format("h264_nvenc", "mp4", ".mp4", "yuv420p", 8, crf_most=51, says="H.264 by the GPU, 8-bit 4:2:0"),
    "hevc_nvenc": Format(
        "hevc_nvenc", "mp4", ".mp4", "p010le", 10, tag="hvc1", crf_most=51, says="HEVC by the GPU, 10-bit 4:2:0"
    ),
    "ffv1": Format(
        "ffv1", "matroska", ".mkv", "bgr0", 8, (("level", "3"), ("slicecrc", "1"), ("slices", "4")), says="lossless RGB"
    ),
}
MASTER = Encode("ffv1")


def options(encode: Encode, fps: Fraction) -> dict[str, str]:
    """The encoder's own options: closed groups of two seconds, so that segments join and players seek."""
    form = FORMATS[encode.format]
    chosen = dict(form.options)
    keyint = max(1, round(fps * 2))
    if form.encoder in NEEDS:
        return chosen | nvenc_options(encode.crf, encode.preset, keyint)
    if encode.crf is not None:
        chosen["crf"] = f"{encode.crf:g}"
    if form.encoder in ("libx264", "libx265"):
        chosen["preset"] = encode.preset or "medium"
    if form.encoder == "libx264":
        chosen |= {"x264-params": f"keyint={keyint}:open-gop=0:threads={encode.threads}{_steady_code()}"}
    elif form.encoder == "libx265":
        # Frame threads and pools change x265's output as threads change x264's; it prints unless told not to. A frame
        # that it looks ahead takes 60 MB at 3840×2160: ten and not twenty keep the whole of finishing under 2.5 GB.
        pools = f"frame-threads=1:pools={encode.threads}:rc-lookahead=10"
        chosen |= {"x265-params": f"keyint={keyint}:open-gop=0:repeat-headers=0:{pools}:log-level=none"}
    elif form.encoder == "libsvtav1":
        # A level, not a number of threads: 2 serves four cores in 2.1 GB at 3840×2160, where 4 takes 3.2.
        chosen |= {"g": str(keyint), "svtav1-params": "lp=2"}
    return chosen


def _steady_code() -> str:
    """Keeps x264 from its AVX-512 code, whose mbtree reads memory that was never written.

    At 832×480 two runs in five differed; its AVX2 code gives the same bytes always, and on every machine.
    """
    import cv2

    return ":asm=avx2" if cv2.checkHardwareSupport(CPU_AVX_512F) else ""


class Encoder:
    """Writes frames of one size to a video stream of an open container."""

    def __init__(self, container: OutputContainer, encode: Encode, size: Size, fps: Fraction) -> None:
        self._form = FORMATS[encode.format]
        self._size, self._fps = size, fps
        if self._form.encoder == "libsvtav1":
            os.environ.setdefault("SVT_LOG", "1")  # errors only: it writes a page to stderr, past FFmpeg's own log
        try:
            stream = container.add_stream(self._form.encoder, rate=fps, options=options(encode, fps))
        except (FFmpegError, ValueError) as error:
            raise EncoderMissing(f"{missing(self._form.encoder)} ({error})") from error
        self._stream = cast(VideoStream, stream)
        self._container = container
        self._stream.width, self._stream.height = size
        self._stream.pix_fmt = self._form.pixels
        context = self._stream.codec_context
        context.time_base = 1 / fps
        context.thread_count = encode.threads
        if self._form.tag:
            context.codec_tag = self._form.tag
        rgb = self._form.pixels == "bgr0"
        context.color_primaries = 1
        context.color_trc = 1
        context.colorspace = 0 if rgb else 1
        context.color_range = 2 if rgb else 1
        self.frames = 0
        self._held: list[Packet[VideoStream]] | None = []

    def write(self, picture: Picture) -> None:
        """Raises ValueError for a picture of another size or layout; EncoderMissing where NVENC does not start."""
        frame = picture_of(picture, self._form.pixels, self._size, f"frame {self.frames}")
        frame.pts = self.frames
        frame.time_base = 1 / self._fps
        self._mux(self._encoded(frame))
        self.frames += 1

    def _encoded(self, frame: VideoFrame | None) -> list[Packet[VideoStream]]:
        try:
            return cast("list[Packet[VideoStream]]", self._stream.encode(frame))
        except FFmpegError as error:  # NVENC is listed everywhere, and fails where it has no hardware
            if self.frames == 0 and self._form.encoder in NEEDS:
                raise EncoderMissing(missing(self._form.encoder)) from error
            raise

    def finish(self) -> str:
        """Flush, and give the fingerprint: streams with equal ones join without encoding again."""
        self._mux(self._encoded(None))
        if self._held is not None:
            self._container.mux(_in_decode_order(self._held))
        context = self._stream.codec_context
        facts = f"{self._form.encoder} {context.width}x{context.height} {context.pix_fmt} {self._fps};"
        return hashlib.sha256(facts.encode() + (context.extradata or b"")).hexdigest()

    def _mux(self, packets: list[Packet[VideoStream]]) -> None:
        """Packets to the file, once there are enough to trust their decode times."""
        if self._held is None:
            self._container.mux(packets)
            return
        self._held += packets
        if len(self._held) >= PRIMED:
            self._container.mux(self._held)
            self._held = None


def _in_decode_order(packets: list[Packet[VideoStream]]) -> list[Packet[VideoStream]]:
    """A whole stream with decode times counted afresh.

    x265 counts them from frames that lie behind its look-ahead: of a stream of one to five frames it gives none, or
    now and then what happened to be in its memory.
    """
    ahead = max((index - cast(int, packet.pts) for index, packet in enumerate(packets)), default=0)
    for index, packet in enumerate(packets):
        packet.dts = index - ahead
    return packets


class SegmentFile:
    """A file of one video stream, written frame by frame; whole when `with` ends without an error."""

    def __init__(self, path: Path, encode: Encode, size: Size, fps: Fraction) -> None:
        container = FORMATS[encode.format].container
        flags = {"movflags": "+faststart"} if container in ("mp4", "mov") else {}  # people play scenes' files too
        self._container = av.open(path, "w", format=container, options=flags)
        self.encoder = Encoder(self._container, encode, size, fps)
        self.fingerprint = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self.fingerprint = self.encoder.finish()
        finally:
            self._container.close()


def works(format: str) -> bool:
    """Whether a tiny encode goes through: an encoder may be listed and fail when opened."""
    encode = Encode(format, 30.0 if FORMATS[format].crf_most else None, "ultrafast")
    try:
        fingerprint(encode, (256, 144), Fraction(8))  # NVENC takes nothing below about 145×49
    except (FFmpegError, EncoderMissing, ValueError):
        return False
    return True


def encoder_problem(format: str) -> str | None:
    """Why a format cannot be encoded on this machine, with the remedy; None where it can."""
    return None if works(format) else missing(FORMATS[format].encoder)


def missing(encoder: str) -> str:
    """What to say of an encoder that does not work here."""
    return NEEDS.get(encoder, f"this build of FFmpeg has no {encoder}")


def fingerprint(encode: Encode, size: Size, fps: Fraction) -> str:
    """The fingerprint of what the encoder on this machine makes: told by encoding two frames into memory."""
    with av.open(io.BytesIO(), "w", format="matroska") as container:
        encoder = Encoder(container, encode, size, fps)
        for level in (64, 192):
            encoder.write(np.full((size[1], size[0], 3), level, np.uint8))
        return encoder.finish()
