"""One clip becomes one segment: upscaled, interpolated, encoded, in that order, frame by frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

from post.encode import FORMATS, Encode, SegmentFile
from post.flow import FlowInterpolator
from post.interpolate import Interpolate, interpolated
from post.upscale import Upscale, open_upscaler
from scenes.files import file_digest, read_facts, read_span, read_still, write_facts
from scenes.footage import DamagedFile, Frame, Frames, Size, Span, Still

FACTS_FILE = "segment.json"

Tell = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Finish:
    """A span of a clip, finished. `lead`: the still handed over by what is played just before, if it is chained.

    A still and not the clip it ends: a clip made again with the same last frame re-makes nothing after it.
    """

    kind: ClassVar[str] = "finish/1"
    span: Span
    lead: Still | None
    upscale: Upscale | None
    interpolate: Interpolate | None
    encode: Encode

    @property
    def factor(self) -> int:
        return self.interpolate.factor if self.interpolate else 1

    @property
    def frames(self) -> int:
        return self.span.frames * self.factor

    @property
    def fps(self) -> Fraction:
        return self.span.clip.fps * self.factor

    @property
    def size(self) -> Size:
        return self.upscale.size if self.upscale else self.span.clip.size


@dataclass(frozen=True, slots=True)
class Segment:
    """Encoded footage that joins without encoding again. `digest` is of the file, `fingerprint` of its encoder."""

    kind: ClassVar[str] = "segment/1"
    digest: str
    frames: int
    fps: Fraction
    size: Size
    fingerprint: str
    path: Path = field(compare=False)


def finished_frames(finish: Finish, device: str | None, tell: Tell) -> Frames:
    """The finished frames, `finish.frames` of them, one in memory at a time. Raises DamagedFile."""
    enlarge: Callable[[Frame], Frame] = open_upscaler(finish.upscale, device) if finish.upscale else _as_it_is
    source = map(enlarge, _told(finish, tell))
    if finish.interpolate is None:
        yield from source
        return
    lead = enlarge(read_still(finish.lead)) if finish.lead else None
    yield from interpolated(source, lead, finish.factor, FlowInterpolator())


def _as_it_is(frame: Frame) -> Frame:
    return frame


def _told(finish: Finish, tell: Tell) -> Frames:
    for index, frame in enumerate(read_span(finish.span)):
        yield frame
        tell((index + 1) / finish.span.frames)


def write_segment(finish: Finish, frames: Frames, into: Path, made: dict[str, Any]) -> None:
    """A segment's folder: the encoded file and `segment.json`, which `load_segment` reads.

    Raises:
        ValueError: another number of frames came than was promised.
    """
    path = into / f"segment{FORMATS[finish.encode.format].suffix}"
    with SegmentFile(path, finish.encode, finish.size, finish.fps) as file:
        for frame in frames:
            file.encoder.write(frame)
    if file.encoder.frames != finish.frames:
        raise ValueError(f"{finish.frames} frames were promised and {file.encoder.frames} made")
    facts = {
        "frames": finish.frames,
        "fps": str(finish.fps),
        "size": list(finish.size),
        "fingerprint": file.fingerprint,
        "file": path.name,
        "sha256": file_digest(path),
        "bytes": path.stat().st_size,
        "made": made,
    }
    write_facts(into / FACTS_FILE, facts)


def load_segment(folder: Path) -> Segment:
    """The segment kept in a folder, from its `segment.json` alone. Raises DamagedFile."""
    facts = read_facts(folder / FACTS_FILE)
    try:
        size: Size = (facts["size"][0], facts["size"][1])
        path = folder / facts["file"]
        return Segment(facts["sha256"], facts["frames"], Fraction(facts["fps"]), size, facts["fingerprint"], path)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise DamagedFile(folder / FACTS_FILE, f"is not a segment's ({error!r})") from error
