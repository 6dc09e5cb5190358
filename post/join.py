"""Segments become the film: their packets laid end to end, never encoded again, with chapters, sound and metadata."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import av
from av.container import OutputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.stream import VideoStream

from post.finish import Segment
from post.sound import Soundtrack, SoundWriter
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
    """An open film: video from whoever writes it, sound alongside, chapters and tags at its end."""

    def __init__(self, path: Path, container: str, about: About, fps: Fraction, sound: Soundtrack | None) -> None:
        # Without use_metadata_tags the MP4 muxer drops every tag that iTunes does not know.
        flags = {"movflags": "+faststart+use_metadata_tags"} if container in ("mp4", "mov") else {}
        self.container: OutputContainer = av.open(path, "w", format=container, options=flags)
        self.container.metadata.update({"title": about.title, **dict(about.tags)})
        self._about, self._fps, self._sound_of = about, fps, sound
        self._sound: SoundWriter | None = None

    def begin(self) -> None:
        """Call once the video stream is there: sound and chapters follow it."""
        frames = sum(length for _, length in self._about.chapters)
        if self._sound_of is not None:
            self._sound = SoundWriter(self.container, self._sound_of, frames / self._fps)
        self.container.set_chapters(list(_chapters(self._about, self._fps)))

    def sound_until(self, frame: int) -> None:
        """Sound up to a frame, so that the two lie side by side in the file."""
        if self._sound is not None:
            self._sound.write_until(frame / self._fps)

    def close(self) -> None:
        if self._sound is not None:
            self._sound.finish()
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
        DamagedFile: a segment does not hold the frames it should.
    """
    _check_alike(join.segments)
    film = FilmFile(path, "mp4", join.about, join.fps, join.soundtrack)
    try:
        _lay(join, film)
    finally:
        film.close()


def _check_alike(segments: Sequence[Segment]) -> None:
    first = segments[0]
    for segment in segments[1:]:
        if (segment.fingerprint, segment.size, segment.fps) != (first.fingerprint, first.size, first.fps):
            raise UnlikeSegments(f"{segment.path} and {first.path} come from unlike encoders and cannot be joined")


def _lay(join: Join, film: FilmFile) -> None:
    # Decode times count on through the whole film: offsetting each segment's own fails after very short ones.
    reorder = max(_reorder(segment) for segment in join.segments)
    stream: VideoStream | None = None
    start = 0
    for segment in join.segments:
        with av.open(segment.path) as source:
            video = source.streams.video[0]
            if stream is None:
                stream = film.container.add_stream_from_template(video)
                stream.time_base = 1 / join.fps
                film.begin()
            for index, packet in enumerate(_packets(source.demux(video))):
                packet.pts = start + _frame(packet, segment.fps)
                packet.dts = start + index - reorder
                packet.duration = 1
                packet.time_base = 1 / join.fps
                packet.stream = stream
                film.sound_until(start + index)
                film.container.mux(packet)
        start += segment.frames


def _reorder(segment: Segment) -> int:
    """How far decode order runs ahead of play order, in frames; also counts the frames."""
    ahead = count = 0
    try:
        with av.open(segment.path) as source:
            for packet in _packets(source.demux(source.streams.video[0])):
                ahead = max(ahead, count - _frame(packet, segment.fps))
                count += 1
    except (FFmpegError, IndexError) as error:
        raise DamagedFile(segment.path, f"cannot be read ({error})") from error
    if count != segment.frames:
        raise DamagedFile(segment.path, f"holds {count} frames where {segment.frames} were written")
    return ahead


def _packets(packets: Iterator[Packet[VideoStream]]) -> Iterator[Packet[VideoStream]]:
    return (packet for packet in packets if packet.size)  # the demuxer ends with an empty one


def _frame(packet: Packet[VideoStream], fps: Fraction) -> int:
    """The number of the frame a packet shows."""
    if packet.pts is None:
        raise ValueError("a packet has no time")
    return round(packet.pts * packet.time_base * fps)
