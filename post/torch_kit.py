"""Finishing on a device: frames go up in batches, stay there as tensors, and come down as an encoder's planes.

Everything a device is asked for is put in line on one stream, which the host does not wait for until it needs a
picture, and then one batch later: the device has work while the host copies.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from threading import Lock
from typing import Any, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from post.budget import PICTURES_AT_ONCE
from post.grade import IDENTITY, Matrix
from post.picture import LAYOUTS, Picture, Plane, Planes
from post.yuv import planes, rgb
from scenes.footage import Frame
from scenes.streams import lasting_stream

Item = TypeVar("Item")
Enlarge = Callable[[Tensor], Tensor]
"""Levels (n, height, width, 3), uint8 or graded ones, become (n, 3, height, width) of the finished size, 0 to 1."""
Between = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Frames before, frames after, both (n, 3, height, width), and times (n,) from 0 to 1 become the frames between."""

LEFT = 0.9  # of what is free: contexts, libraries and others who draw need some too


class Lane:
    """A device with a stream of its own: who draws on the same device meanwhile waits no more than this does.

    Several clips may go down it together. They share its memory too, so each of their batches is put in line under
    `batch`: what one takes while it is worked on is free again before the next one's is taken.
    """

    def __init__(self, place: torch.device) -> None:
        self.place = place
        self.dtype = torch.float16 if place.type == "cuda" else torch.float32
        self.batch = Lock()
        self._stream = lasting_stream(place, "finishing")

    @contextmanager
    def entered(self) -> Generator[None]:
        """What this thread asks of torch goes down the lane."""
        with ExitStack() as stack:
            stack.enter_context(torch.inference_mode())
            if self._stream is not None:
                # The device first: from another one's stream, torch would go back to that device and wake it.
                stack.enter_context(torch.cuda.device(self.place))
                stack.enter_context(torch.cuda.stream(self._stream))
            yield

    def opened(self, opens: Callable[[], Item]) -> Item:
        """What is opened for good: its tensors are ordinary ones, which compiling asks for."""
        with torch.inference_mode(False), torch.no_grad():
            return opens()

    def free_bytes(self) -> int:
        """What finishing may take of the device's memory where nobody says."""
        return int(torch.cuda.mem_get_info(self.place)[0] * LEFT)

    def up(self, frames: Sequence[Frame]) -> Tensor:
        """Frames of one size as uint8 (n, height, width, 3) on the device."""
        pinned = self._stream is not None
        batch = torch.empty((len(frames), *frames[0].shape), dtype=torch.uint8, pin_memory=pinned)
        np.stack(frames, out=batch.numpy())
        return batch.to(self.place, non_blocking=pinned)  # pinned memory is not reused before the copy is done

    def numbers(self, values: Sequence[float]) -> Tensor:
        """Numbers in fp32 on the device: from ordinary memory torch would wait for the copy and all that is before."""
        pinned = self._stream is not None
        return torch.tensor(values, dtype=torch.float32, pin_memory=pinned).to(self.place, non_blocking=pinned)

    def down(self, batches: Iterator[tuple[Tensor, ...]]) -> Iterator[tuple[NDArray[Any], ...]]:
        """One tuple of arrays for each item of the batches' tensors; a batch is asked for before the last is given."""
        on_its_way: _Landing | None = None
        for batch in batches:
            following = _Landing(batch)
            if on_its_way is not None:
                yield from on_its_way.items()
            on_its_way = following
        if on_its_way is not None:
            yield from on_its_way.items()

    def free(self) -> None:
        """Gives back what torch keeps of the device's memory for the next time."""
        if self._stream is not None:
            torch.cuda.empty_cache()


class _Landing:
    """A batch on its way into the host's memory."""

    def __init__(self, batch: tuple[Tensor, ...]) -> None:
        self._event: torch.cuda.Event | None = None
        if batch[0].device.type != "cuda":
            self._tensors = tuple(each.cpu() for each in batch)
            return
        self._tensors = tuple(torch.empty(each.shape, dtype=each.dtype, pin_memory=True) for each in batch)
        for here, there in zip(self._tensors, batch, strict=True):
            here.copy_(there, non_blocking=True)
        self._event = torch.cuda.Event(blocking=True)  # to wait for it takes neither a core nor the interpreter's lock
        self._event.record()

    def items(self) -> Iterator[tuple[NDArray[Any], ...]]:
        if self._event is not None:
            self._event.synchronize()
        arrays = [each.numpy() for each in self._tensors]
        for item in zip(*arrays, strict=True):
            # Out of the pinned memory, of which there should not be much.
            yield item if self._event is None else tuple(array.copy() for array in item)


class TorchKit:
    """Frames are tensors (3, height, width) of values 0 to 1, parts of batches whose channels lie last."""

    def __init__(
        self, lane: Lane, enlarge: Enlarge | None, between: Between | None, frames_at_once: int, pairs_at_once: int
    ) -> None:
        self._lane, self._enlarge, self._draw = lane, enlarge, between
        self._frames_at_once = frames_at_once
        self.at_once = pairs_at_once

    def sized(self, frames: Iterator[Frame], grades: Iterator[Matrix | None]) -> Iterator[Tensor]:
        for batch in batched(frames, self._frames_at_once):
            with self._lane.batch:
                images = self._graded(self._lane.up(batch), list(islice(grades, len(batch))))
                made = self._enlarge(images) if self._enlarge is not None else self._values(images)
            yield from made

    def enlarged(self, frames: Iterator[Frame], grades: Iterator[Matrix | None]) -> Iterator[Frame]:
        """Frames of the finished size, back in the host's memory: for what works on them there."""
        sized = self.sized(frames, grades)
        for (frame,) in self._landed(sized, self._frames_at_once, lambda batch: (rgb(batch),)):
            yield frame

    def between(self, pairs: list[tuple[Tensor, Tensor, float]]) -> list[Tensor]:
        assert self._draw is not None
        with self._lane.batch:
            before, after = _stacked([pair[0] for pair in pairs]), _stacked([pair[1] for pair in pairs])
            return list(self._draw(before, after, self._lane.numbers([pair[2] for pair in pairs])))

    def pictures(self, frames: Iterator[Tensor], pixels: str) -> Iterator[Picture]:
        if pixels not in LAYOUTS:
            for (frame,) in self._landed(frames, PICTURES_AT_ONCE, lambda batch: (rgb(batch),)):
                yield frame
            return
        kind = LAYOUTS[pixels].type
        for item in self._landed(frames, PICTURES_AT_ONCE, lambda batch: planes(batch, pixels)):
            y, u, v = (cast(Plane, each.view(kind)) for each in item)
            yield Planes(y, u, v)

    def _landed(
        self, frames: Iterator[Tensor], count: int, convert: Callable[[Tensor], tuple[Tensor, ...]]
    ) -> Iterator[tuple[NDArray[Any], ...]]:
        """What frames become, `count` at once, in the host's memory; one tuple of arrays for each."""

        def converted() -> Iterator[tuple[Tensor, ...]]:
            for batch in batched(frames, count):
                with self._lane.batch:
                    made = convert(_stacked(batch))
                yield made

        return self._lane.down(converted())

    def _graded(self, images: Tensor, by: Sequence[Matrix | None]) -> Tensor:
        """Levels transformed in fp32, in sums of products and no matrix product, which might take TF32."""
        if all(matrix is None for matrix in by):
            return images
        matrices = np.stack([IDENTITY if matrix is None else matrix for matrix in by])
        numbers = self._lane.numbers(matrices.ravel().tolist()).view(len(by), 1, 1, 3, 4)
        levels = sum((numbers[..., at] * images[..., at : at + 1].float() for at in range(3)), numbers[..., 3])
        return levels.clamp_(0, 255).to(self._lane.dtype)

    def _values(self, images: Tensor) -> Tensor:
        return images.permute(0, 3, 1, 2).to(self._lane.dtype).div_(255)


def batched(items: Iterator[Item], count: int) -> Iterator[list[Item]]:
    """Lists of `count`, the last one shorter."""
    while batch := list(islice(items, count)):
        yield batch


def _stacked(frames: Sequence[Tensor]) -> Tensor:
    """One batch, its channels last. Stacked as they lie: of a single (3, height, width) torch cannot tell its order."""
    return torch.stack([frame.permute(1, 2, 0) for frame in frames]).permute(0, 3, 1, 2)
