"""A soundtrack: cut to the film's length, faded where it is cut."""

from __future__ import annotations

import wave
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import ClassVar, cast

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.error import FFmpegError
from numpy.typing import NDArray

from scenes.footage import DamagedFile

RATE = 48_000
FADE = RATE  # samples: a second
# Sound files and films, and no playlists: those name other files, which a story given as data may not reach.
SOUND_FILES = {"format_whitelist": "wav,w64,mp3,flac,ogg,aac,aiff,caf,mov,mp4,m4a,3gp,3g2,mj2,matroska,webm"}
# What each container's players take: AAC in MP4, PCM where editors cut, FLAC in Matroska.
CODECS = {"mp4": "aac", "mov": "pcm_s16le", "matroska": "flac"}
SAMPLE_FORMATS = {"aac": "fltp", "pcm_s16le": "s16", "flac": "s16"}


@dataclass(frozen=True, slots=True)
class Soundtrack:
    """`digest` is of the file."""

    kind: ClassVar[str] = "soundtrack/1"
    digest: str
    path: Path = field(compare=False)


def soundtrack_seconds(path: Path) -> float | None:
    """Its length, 0 where the file does not say; None where it holds no sound that can be read."""
    try:
        with av.open(path, metadata_errors="replace", options=SOUND_FILES) as source:
            stream = source.streams.audio[0]
            if next(source.decode(stream), None) is None:
                return None
            if stream.duration is not None and stream.time_base is not None:
                return float(stream.duration * stream.time_base)
            return source.duration / 1e6 if source.duration is not None else 0.0
    except (FFmpegError, IndexError, AttributeError):  # a stream of an unknown codec has no decoder
        return None


def samples(path: Path, length: int) -> Iterator[NDArray[np.float32]]:
    """Stereo floats of shape (2, n) at 48 kHz, at most `length` in all, faded where that cuts them.

    Raises:
        DamagedFile: the sound cannot be decoded.
    """
    late = max(0, length - FADE)  # what comes from here on waits until it is known whether more follows
    tail: list[NDArray[np.float32]] = []
    start = 0
    for block in _decoded(path):
        early = max(0, late - start)
        if early:
            yield block[:, :early]
        tail.append(block[:, early:])
        start += block.shape[1]
        if start >= length + FADE:
            break
    if start == 0:
        raise DamagedFile(path, "holds no sound")
    if start > late:
        yield _faded(np.concatenate(tail, axis=1), length - late)


def _faded(tail: NDArray[np.float32], room: int) -> NDArray[np.float32]:
    """The first `room` samples, fading out over as many as are cut off, a second's at most.

    So a few samples of an MP3's padding cost no fade.
    """
    over = min(tail.shape[1] - room, room, FADE)
    if over > 0:
        tail[:, room - over : room] *= np.arange(over, 0, -1, dtype=np.float32) / (over + 1)
    return tail[:, :room]


def _decoded(path: Path) -> Iterator[NDArray[np.float32]]:
    resampler = av.AudioResampler(format="fltp", layout="stereo", rate=RATE)
    try:
        with av.open(path, metadata_errors="replace", options=SOUND_FILES) as source:
            for frame in source.decode(source.streams.audio[0]):
                frame.pts = None  # gaps and odd starts in a file's own clock are not part of the music
                for turned in resampler.resample(frame):
                    yield turned.to_ndarray().astype(np.float32, copy=False)
            for turned in resampler.resample(None):
                yield turned.to_ndarray().astype(np.float32, copy=False)
    except (FFmpegError, IndexError, AttributeError) as error:
        raise DamagedFile(path, f"its sound cannot be decoded ({error}): save it anew as WAV or FLAC") from error


def write_wav(soundtrack: Path, length: int, path: Path) -> None:
    """A soundtrack as 24-bit WAV, exactly `length` samples of it: cut as `samples` cuts, or followed by silence."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(3)
        file.setframerate(RATE)
        written = 0
        for block in samples(soundtrack, length):
            whole = np.rint(np.clip(block, -1, 1) * 8388607).astype("<i4")
            # The three low bytes of each, least first.
            file.writeframesraw(np.ascontiguousarray(whole.T).view(np.uint8).reshape(-1, 4)[:, :3].tobytes())
            written += block.shape[1]
        file.writeframes(bytes((length - written) * 6))


class SoundWriter:
    """Adds a soundtrack to an open container as the film goes on."""

    def __init__(self, container: OutputContainer, sound: Soundtrack, seconds: Fraction) -> None:
        codec = CODECS[container.format.name.split(",")[0]]
        self._container = container
        # FFmpeg's other AAC coder, its default, clicks where a sound begins; this one is better from 64 kb/s on.
        options = {"aac_coder": "fast"} if codec == "aac" else {}
        self._stream = cast(AudioStream, container.add_stream(codec, rate=RATE, options=options, layout="stereo"))
        if codec == "aac":
            self._stream.bit_rate = 256_000
        self._format = SAMPLE_FORMATS[codec]
        self._blocks = samples(sound.path, int(seconds * RATE))
        self._written = 0

    def write_until(self, seconds: Fraction) -> None:
        while self._written < seconds * RATE and (block := next(self._blocks, None)) is not None:
            self._container.mux(self._stream.encode(self._frame(block)))
            self._written += block.shape[1]

    def finish(self) -> None:
        for block in self._blocks:
            self._container.mux(self._stream.encode(self._frame(block)))
            self._written += block.shape[1]
        self._container.mux(self._stream.encode(None))

    def _frame(self, block: NDArray[np.float32]) -> AudioFrame:
        if self._format == "s16":
            whole = np.clip(np.rint(block * 32767), -32768, 32767).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(whole.T.reshape(1, -1).copy(), format="s16", layout="stereo")
        else:
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block), format="fltp", layout="stereo")
        frame.sample_rate = RATE
        frame.pts = self._written
        frame.time_base = Fraction(1, RATE)
        return frame
