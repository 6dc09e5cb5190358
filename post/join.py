"""Segments become the film: their packets laid end to end, never encoded again, with chapters, sound and metadata."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import lcm
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, Self

import av
from av.container import OutputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.stream import VideoStream

from post.finish import Segment
from post.sound import RATE, Soundtrack, SoundWriter
from scenes.footage import DamagedFile

if TYPE_CHECKING:
    from av.container.core import Chapter  # the stubs' own; at run time a chapter is a dict


class UnlikeSegments(ValueError):  # noqa: N818
    """The segments come from unlike encoders, sizes or rates: joined, they would not decode."""


@dataclass(frozen=True, slots=True)
class About:
    """What the film says of itself: title, chapters (name and length in frames), tags."""

    kind: ClassVar[str] = "about/1"
    title: str
    chapters: tuple[tuple[str, int], ...]
    tags: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Join:
    """Segments in play order."""

    kind: ClassVar[str] = "join/1"
    segments: tuple[Segment, ...]
    about: About
    soundtrack: Soundtrack | None

    @property
    def frames(self) -> int:
        return sum(segment.frames for segment in self.segments)

    @property
    def fps(self) -> Fraction:
        return self.segments[0].fps


class FilmFile:
    """A film being written: video from whoever writes it, sound alongside, chapters and tags; whole when `with` ends
    without an error."""

    def __init__(self, path: Path, container: str, about: About, fps: Fraction, sound: Soundtrack | None) -> None:
        options: dict[str, str] = {}
        if container in ("mp4", "mov"):
            # Without use_metadata_tags the muxer drops every tag that iTunes does not know. Chapters and the film's
            # length are written in the movie's own ticks, which would be milliseconds: 1/32 of a second is none.
            ticks = lcm(fps.numerator, RATE)
            options = {"movflags": "+faststart+use_metadata_tags", "movie_timescale": str(ticks)}
        self.container: OutputContainer = av.open(path, "w", format=container, options=options)
        self.container.metadata.update({"title": about.title, **dict(about.tags)})
        self._about, self._fps, self._sound_of = about, fps, sound
        self._sound: SoundWriter | None = None

    def begin(self, frames: int) -> None:
        """Call once the video stream is there: sound and chapters follow it."""
        if self._sound_of is not None:
            self._sound = SoundWriter(self.container, self._sound_of, frames / self._fps)
        self.container.set_chapters(list(_chapters(self._about, self._fps)))

    def sound_until(self, frame: int) -> None:
        """Sound up to a frame, so that the two lie side by side in the file."""
        if self._sound is not None:
            self._sound.write_until(frame / self._fps)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None and self._sound is not None:
                self._sound.finish()
        finally:
            self.container.close()


def _chapters(about: About, fps: Fraction) -> Iterator[Chapter]:
    start = 0
    for number, (name, length) in enumerate(about.chapters):
        stop = start + length
        yield {
            "id": number,
            "start": start,
            "end": stop,
            "time_base": 1 / fps,
            "metadata": {"title": name},
        }
        start = stop


def write_film(join: Join, path: Path) -> None:
    """The film as one MP4, its frames exactly its segments' frames.

    Raises:
        UnlikeSegments: the segments cannot be joined as they are.
        DamagedFile: a segment does not hold the frames it should, or the soundtrack cannot be decoded.
    """
    _check_alike(join.segments)
    laid = [_shown(segment) for segment in join.segments]
    with FilmFile(path, "mp4", join.about, join.fps, join.soundtrack) as film:
        _lay(join, laid, film)


def _check_alike(segments: Sequence[Segment]) -> None:
    first = segments[0]
    for segment in segments[1:]:
        if (segment.fingerprint, segment.size, segment.fps) != (first.fingerprint, first.size, first.fps):
            raise UnlikeSegments(f"{segment.path} and {first.path} come from unlike encoders and cannot be joined")


def _lay(join: Join, laid: Sequence[Sequence[int]], film: FilmFile) -> None:
    """Every segment's packets, given new times; `laid` has the frame that each of them shows."""
    # Decode times count on through the whole film: offsetting each segment's own fails after very short ones.
    reorder = max(index - frame for shown in laid for index, frame in enumerate(shown))
    stream: VideoStream | None = None
    start = 0
    for segment, shown in zip(join.segments, laid, strict=True):
        with av.open(segment.path, metadata_errors="replace") as source:
            video = source.streams.video[0]
            if stream is None:
                stream = film.container.add_stream_from_template(video)
                stream.time_base = 1 / join.fps
                film.begin(join.frames)
            elif video.codec_context.extradata != stream.codec_context.extradata:
                raise DamagedFile(segment.path, "comes from another encoder than it says")
            for index, packet in enumerate(_packets(source.demux(video))):
                packet.pts = start + shown[index]
                packet.dts = start + index - reorder
                packet.duration = 1
                packet.time_base = 1 / join.fps
                packet.stream = stream
                film.sound_until(start + index)
                film.container.mux(packet)
        start += segment.frames


def _shown(segment: Segment) -> list[int]:
    """The frame that each packet shows, in the order they are decoded. Raises DamagedFile."""
    try:
        with av.open(segment.path, metadata_errors="replace") as source:
            video = source.streams.video[0]
            size = (video.width, video.height)
            shown = [_frame(packet, segment.fps) for packet in _packets(source.demux(video))]
    except (FFmpegError, IndexError, AttributeError) as error:  # a stream whose head is torn has no codec and no width
        raise DamagedFile(segment.path, f"cannot be read ({error})") from error
    if size != segment.size:
        raise DamagedFile(segment.path, f"is {size[0]}x{size[1]} where {segment.size[0]}x{segment.size[1]} was written")
    if len(shown) != segment.frames:
        raise DamagedFile(segment.path, f"holds {len(shown)} frames where {segment.frames} were written")
    if sorted(shown) != list(range(segment.frames)):
        raise DamagedFile(segment.path, "its frames are not at the times that were written")
    return [int(frame) for frame in shown]


def _packets(packets: Iterator[Packet[VideoStream]]) -> Iterator[Packet[VideoStream]]:
    return (packet for packet in packets if packet.size)  # the demuxer ends with an empty one


def _frame(packet: Packet[VideoStream], fps: Fraction) -> Fraction:
    """The number of the frame a packet shows; -1 for one without a time."""
    return packet.pts * packet.time_base * fps if packet.pts is not None else Fraction(-1)
