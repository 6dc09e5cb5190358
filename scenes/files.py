"""Lossless clips and stills on disk, streamed both ways: FFV1 in Matroska (bgr0) and PNG."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from PIL import Image

from scenes.footage import Clip, DamagedFile, Frame, Frames, PixelDigest, Size, Span, Still, frame_digest

CLIP_FILE = "clip.mkv"
LAST_FILE = "last.png"
FACTS_FILE = "clip.json"

KEY_EVERY = 8
"""Key frames of clips: from one on, frames can be read without those before it. 0.02 % larger than FFmpeg's own 12."""


def write_still(frame: Frame, path: Path) -> Still:
    Image.fromarray(frame).save(path, format="PNG", compress_level=1)
    return Still(frame_digest(frame), path)


def read_still(still: Still) -> Frame:
    """Raises DamagedFile when the pixels are not those of its digest."""
    try:
        with Image.open(still.path) as picture:
            frame = np.asarray(picture.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:  # Pillow raises SyntaxError for a broken PNG chunk
        raise DamagedFile(still.path, f"cannot be read ({error})") from error
    if frame_digest(frame) != still.digest:
        raise DamagedFile(still.path, "its pixels have changed since it was written")
    return frame


def write_ffv1(frames: Iterable[Frame], path: Path, fps: Fraction) -> tuple[PixelDigest, Frame]:
    """Frames as FFV1 in Matroska, bit-exact; gives their digest and the last of them.

    bgr0 and not gbrp: FFmpeg's FFV1 encoder refuses 8-bit gbrp. Source: RFC 9043.

    Raises:
        ValueError: there is no frame, or they differ in size.
    """
    digest = PixelDigest()
    last: Frame | None = None
    with av.open(path, "w", format="matroska") as container:
        stream = container.add_stream("ffv1", rate=fps, options={"level": "3", "slicecrc": "1", "slices": "4"})
        stream.pix_fmt = "bgr0"
        stream.gop_size = KEY_EVERY
        stream.thread_type = "SLICE"  # frame threads hold whole frames back and win nothing on FFV1
        for index, frame in enumerate(frames):
            if last is None:
                stream.height, stream.width = frame.shape[:2]
            elif frame.shape != last.shape:
                raise ValueError(f"frame {index} is {frame.shape}, those before it {last.shape}")
            digest.add(frame)
            last = frame
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format="bgr0")
            picture.pts = index
            picture.time_base = 1 / fps
            container.mux(stream.encode(picture))
        if last is None:
            raise ValueError("no frames were made")
        container.mux(stream.encode(None))
    return digest, last


def write_clip(frames: Iterable[Frame], into: Path, fps: Fraction, expect: int, made: dict[str, Any]) -> None:
    """A clip's folder: its frames, its last frame and `clip.json`, which `load_clip` reads.

    made: how the machine made it (device, versions): recorded, never part of a key.

    Raises:
        ValueError: another number of frames came than `expect`.
    """
    digest, last = write_ffv1(frames, into / CLIP_FILE, fps)
    if digest.frames != expect:
        raise ValueError(f"{expect} frames were promised and {digest.frames} made")
    still = write_still(last, into / LAST_FILE)
    height, width = last.shape[:2]
    facts = {
        "digest": digest.hex(),
        "frames": digest.frames,
        "fps": str(fps),
        "size": [width, height],
        "last": still.digest,
        "sha256": file_digest(into / CLIP_FILE),
        "bytes": (into / CLIP_FILE).stat().st_size,
        "made": made,
    }
    write_facts(into / FACTS_FILE, facts)


def load_clip(folder: Path) -> Clip:
    """The clip kept in a folder, from its `clip.json` alone. Raises DamagedFile."""
    facts = read_facts(folder / FACTS_FILE)
    try:
        size: Size = (facts["size"][0], facts["size"][1])
        last = Still(facts["last"], folder / LAST_FILE)
        return Clip(facts["digest"], facts["frames"], Fraction(facts["fps"]), size, last, folder)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise DamagedFile(folder / FACTS_FILE, f"is not a clip's ({error!r})") from error


def read_span(span: Span) -> Frames:
    """The frames of part of a clip, as they were written.

    Raises:
        DamagedFile: they cannot all be had; or, after the last of them, the clip's are not those that were drawn (a
            decoder conceals a flipped byte).
    """
    path = span.clip.path / CLIP_FILE
    pixels = PixelDigest()
    for index, frame in enumerate(read_video(path, 0, span.clip.frames)):
        pixels.add(frame)
        if span.start <= index < span.stop:
            yield frame
    if pixels.hex() != span.clip.digest:
        raise DamagedFile(path, "its frames are not those that were drawn")


def read_video(path: Path, start: int, stop: int) -> Frames:
    """Frames `start` to `stop` of a lossless file, as RGB. Raises DamagedFile when fewer decode."""
    index = 0
    try:
        with av.open(path, metadata_errors="replace") as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            for picture in container.decode(stream):
                if index >= stop:
                    return
                if index >= start:
                    yield picture.to_ndarray(format="rgb24").astype(np.uint8, copy=False)
                index += 1
    except (FFmpegError, IndexError, AttributeError) as error:  # a stream whose head is torn has no codec
        raise DamagedFile(path, f"frame {index} does not decode ({error})") from error
    if index < stop:
        raise DamagedFile(path, f"{index} frames decode where {stop} were written")


def read_frames(clip: Clip, numbers: Iterable[int]) -> Iterator[tuple[int, Frame]]:
    """Some frames of a clip, each with its number: `numbers` rise. What lies between is passed over, key by key.

    Whether these are the frames that were drawn cannot be told from a part of them: ask the store to check the file's
    bytes first, as finding or rehearsing kept work does. Raises DamagedFile when one does not decode.
    """
    path, at = clip.path / CLIP_FILE, -1
    try:
        with av.open(path, metadata_errors="replace") as container:
            stream = container.streams.video[0]
            stream.thread_type = "NONE"  # who reads many clips reads several at once
            pictures = container.decode(stream)
            for number in numbers:
                if number > at + 1:
                    _seek(container, stream, number, clip.fps)
                    pictures = container.decode(stream)
                picture = next((p for p in pictures if _number(p, clip.fps) >= number), None)
                at = number if picture is None else _number(picture, clip.fps)
                if picture is None or at != number:
                    raise DamagedFile(path, f"frame {number} does not decode")
                yield number, picture.to_ndarray(format="rgb24").astype(np.uint8, copy=False)
    except (FFmpegError, IndexError, AttributeError, TypeError) as error:
        raise DamagedFile(path, f"the frame after {at} does not decode ({error})") from error


def _seek(container: InputContainer, stream: VideoStream, number: int, fps: Fraction) -> None:
    """To the last key frame that is not after a frame. Matroska rounds times to milliseconds: half a frame is added."""
    container.seek(floor((number + Fraction(1, 2)) / fps / cast(Fraction, stream.time_base)), stream=stream)


def _number(picture: VideoFrame, fps: Fraction) -> int:
    return round(cast(int, picture.pts) * cast(Fraction, picture.time_base) * fps)


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_facts(path: Path, facts: dict[str, Any]) -> None:
    path.write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_facts(path: Path) -> dict[str, Any]:
    """The JSON object beside kept footage. Raises DamagedFile when it is none."""
    try:
        facts: object = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DamagedFile(path, f"cannot be read ({error})") from error
    if not isinstance(facts, dict):
        raise DamagedFile(path, "is not a JSON object")
    return cast("dict[str, Any]", facts)


def settle(folder: Path) -> None:
    """Force a folder and the files in it to the disk, so that a rename after it publishes whole files."""
    for path in folder.iterdir():
        settle_file(path)
    settle_folder(folder)


def settle_file(path: Path) -> None:
    """Force a file to the disk."""
    _sync(path, os.O_RDWR)


def settle_folder(folder: Path) -> None:
    """Force a folder's own entries to the disk: a rename in it is then there after a power cut."""
    if os.name != "nt":  # Windows opens no folders, and journals renames itself
        _sync(folder, os.O_RDONLY)


def _sync(path: Path, flags: int) -> None:
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
