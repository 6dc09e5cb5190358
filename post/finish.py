"""One clip becomes one segment: a finish says how, frame by frame; a segment is what came of it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from post.encode import FORMATS, Encode, SegmentFile
from post.grade import Graded
from post.interpolate import Interpolate, Rife
from post.picture import Picture
from post.transition import Dissolve, FadeIn, FadeOut, Shortened
from post.upscale import Lanczos, Upscale
from scenes.files import file_digest, read_facts, write_facts
from scenes.footage import DamagedFile, Size, Span, Still

if TYPE_CHECKING:
    from post.conform import Conform

FACTS_FILE = "segment.json"

Tell = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Finish:
    """A span of a clip, finished: graded, upscaled, interpolated, with its transitions, encoded, in that order.

    lead: the still handed over by what is played just before, if it is chained. A still and not the clip it ends: a
        clip made again with the same last frame re-makes nothing after it.
    closes: Shortened where the scene after dissolves from this one.
    """

    kind: ClassVar[str] = "finish/1"
    span: Span
    lead: Still | None
    upscale: Upscale | None
    interpolate: Interpolate | Conform | None
    encode: Encode
    opens: Dissolve | FadeIn | None = None
    closes: FadeOut | Shortened | None = None
    colour: Graded | None = None

    @property
    def frames(self) -> int:
        source = self.span.frames
        drawn = self.interpolate.frames(source) if self.interpolate else source
        return drawn - (self.closes.frames if isinstance(self.closes, Shortened) else 0)

    @property
    def fps(self) -> Fraction:
        fps = self.span.clip.fps
        return self.interpolate.rate(fps) if self.interpolate else fps

    @property
    def takes_device(self) -> bool:
        """Whether a net draws any of it, with torch."""
        return self.enlarged_by_net or (self.interpolate is not None and isinstance(self.interpolate.by, Rife))

    @property
    def enlarged_by_net(self) -> bool:
        return self.upscale is not None and not isinstance(self.upscale.by, Lanczos)

    @property
    def graded_on_device(self) -> bool:
        """Whether source frames get onto a device as they are: a resample is made in the host's memory before."""
        return self.takes_device and (self.upscale is None or self.enlarged_by_net)

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


def write_segment(finish: Finish, pictures: Iterator[Picture], into: Path, made: dict[str, Any]) -> None:
    """A segment's folder: the encoded file and `segment.json`, which `load_segment` reads. Closes `pictures`.

    Raises:
        ValueError: another number of pictures came than was promised.
    """
    path = into / f"segment{FORMATS[finish.encode.format].suffix}"
    with ended(pictures), SegmentFile(path, finish.encode, finish.size, finish.fps) as file:
        for picture in pictures:
            file.encoder.write(picture)
    if file.encoder.frames != finish.frames:
        raise ValueError(f"{finish.frames} frames were promised and {file.encoder.frames} made")
    facts: dict[str, Any] = {
        "frames": finish.frames,
        "fps": str(finish.fps),
        "size": list(finish.size),
        "fingerprint": file.fingerprint,
        "file": path.name,
        "sha256": file_digest(path),
        "bytes": path.stat().st_size,
        "made": made,
    }
    if finish.colour is not None:
        facts["follows"] = list(finish.colour.follows)
    write_facts(into / FACTS_FILE, facts)


@contextmanager
def ended(pictures: Iterator[Picture]) -> Generator[None]:
    """Closes a generator when `with` ends: an error's traceback would keep its threads at work."""
    try:
        yield
    finally:
        if isinstance(pictures, Generator):
            pictures.close()


def load_segment(folder: Path) -> Segment:
    """The segment kept in a folder, from its `segment.json` alone. Raises DamagedFile."""
    facts = read_facts(folder / FACTS_FILE)
    try:
        size: Size = (facts["size"][0], facts["size"][1])
        path = folder / facts["file"]
        return Segment(facts["sha256"], facts["frames"], Fraction(facts["fps"]), size, facts["fingerprint"], path)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise DamagedFile(folder / FACTS_FILE, f"is not a segment's ({error!r})") from error
