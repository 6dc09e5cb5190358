"""What frames are made of while they are finished: NumPy arrays here, a device's tensors in `post.torch_kit`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

from post.flow import FlowInterpolator
from post.grade import Matrix
from post.interpolate import Between
from post.picture import Picture
from post.upscale import Lanczos, Upscale, centred_box, resample
from scenes.footage import Frame

T = TypeVar("T")


class Kit(Protocol[T]):
    """Finishes frames as values of one type T."""

    @property
    def at_once(self) -> int:
        """So many pairs `between` takes together."""
        ...

    @property
    def between(self) -> Between[T]: ...

    def sized(self, frames: Iterator[Frame], grades: Iterator[Matrix | None]) -> Iterator[T]:
        """Frames of the finished size, graded: where no device is used they are so when they are read."""
        ...

    def pictures(self, frames: Iterator[T], pixels: str) -> Iterator[Picture]:
        """Finished frames as an encoder of that pixel format takes them."""
        ...


class NumpyKit:
    """uint8 RGB all the way, on the CPU; the encoder converts it.

    enlarged: by what else than a resample frames get their size, and are graded.
    """

    at_once = 1

    def __init__(
        self,
        between: Between[Frame],
        enlarged: Callable[[Iterator[Frame], Iterator[Matrix | None]], Iterator[Frame]] | None = None,
    ) -> None:
        self.between = between
        self._enlarged = enlarged

    def sized(self, frames: Iterator[Frame], grades: Iterator[Matrix | None]) -> Iterator[Frame]:
        return self._enlarged(frames, grades) if self._enlarged is not None else frames

    def pictures(self, frames: Iterator[Frame], pixels: str) -> Iterator[Picture]:
        return frames


def by_flow() -> Between[Frame]:
    """Draws frames between frames by optical flow."""
    draw = FlowInterpolator()
    return lambda pairs: [draw(before, after, time) for before, after, time in pairs]


def resampled(frame: Frame, upscale: Upscale | None) -> Frame:
    """A source frame on its way into a kit: at its finished size where a resample gives it that."""
    if upscale is None or not isinstance(upscale.by, Lanczos):
        return frame
    return resample(frame, upscale.size, centred_box(frame, upscale.size))
