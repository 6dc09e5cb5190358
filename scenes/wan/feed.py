"""An expert's blocks and its LoRAs' factors on their way to the device, wherever they come from."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from scenes.wan.arrive import Addition, Arrival, Difference, Product
from scenes.wan.blocks import READERS, HostBuffer, RamSource, Ring
from scenes.wan.loras import Lora, LowRank
from scenes.wan.parts import Part
from scenes.wan.stored import Files, Layout, Stored, lay_out
from scenes.wan.widen import as_stored


@dataclass(slots=True)
class Reading:
    """What reads for experts that take turns: threads that fill RAM, in the order asked, and a ring for what stays on
    disk. The last one to leave closes it."""

    ring: Ring
    blocks: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(READERS, "loading"))
    loras: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(2, "loading-loras"))
    """Apart: the first block needs its share of them, and must not wait for the last block."""
    users: int = 0

    def leave(self) -> None:
        """Of an expert whose files are closed next."""
        self.ring.forget()
        self.users -= 1
        if self.users == 0:
            self.blocks.shutdown(cancel_futures=True)
            self.loras.shutdown(cancel_futures=True)
            self.ring.close()


class Feed:
    """One expert's blocks as they are on disk.

    held: how many of them are kept in RAM, spread evenly among the rest.
    """

    def __init__(self, stored: Sequence[Stored], held: int, reading: Reading, device: torch.device) -> None:
        count = len(stored)
        self.stored = tuple(stored)
        self.reading = reading
        in_ram = [index for index in range(count) if (index + 1) * held // count > index * held // count]
        self._place = {index: place for place, index in enumerate(in_ram)}
        self._ram = RamSource([stored[index] for index in in_ram], device, reading.blocks)
        if len(in_ram) < count:
            reading.ring.fit(max(block.layout.nbytes for block in stored))

    def on_disk(self, start: int = 0) -> list[Stored]:
        """The blocks from one on that are not held in RAM."""
        return [block for index, block in enumerate(self.stored) if index >= start and index not in self._place]

    @contextmanager
    def block(self, index: int, after: Sequence[Stored]) -> Generator[torch.Tensor]:
        """A block's bytes on the host, to be copied in the stream that is current.

        after: what is taken from disk next.

        Raises:
            CheckpointError: it could not be read.
        """
        if index in self._place:
            yield self._ram.take(self._place[index]).bytes
            return
        buffer = self.reading.ring.take(self.stored[index], after)
        try:
            yield buffer.bytes
        finally:
            _mark_copied(buffer)
            self.reading.ring.give_back(buffer, after)

    def close(self) -> None:
        self._ram.close()


def _mark_copied(buffer: HostBuffer) -> None:
    if buffer.device.type != "cuda":
        return
    if buffer.copied is None:
        buffer.copied = torch.cuda.Event(blocking=True)
    buffer.copied.record(torch.cuda.current_stream(buffer.device))


def arrivals(part: Part, raw: torch.Tensor) -> dict[str, Arrival]:
    """A part's tensors within its bytes, by their parameters' names."""
    pieces = part.layout.pieces

    def arrival(name: str, scale: float | Arrival | None) -> Arrival:
        piece = pieces[name]
        return Arrival(raw[piece.start : piece.start + piece.info.nbytes], piece.info, scale)

    rows = {name: arrival(name, None) for name in pieces if name.endswith("_scale")}
    return {
        name: arrival(name, rows.get(f"{name}_scale", part.scales.get(name))) for name in pieces if name not in rows
    }


class Factors:
    """One LoRA's tensors in RAM, for each block of an expert and for the rest of it."""

    def __init__(self, lora: Lora, blocks: int, reading: Reading, device: torch.device) -> None:
        self.lora = lora
        self._device = device
        self._files = Files([lora.path])
        self._prefixes = [f"blocks.{index}." for index in range(blocks)]
        self._layouts = [lay_out(lora.tensors(prefix)) for prefix in self._prefixes]
        stored = [Stored(self._files, layout) for layout in self._layouts]
        self._ram = RamSource(stored, device, reading.loras)

    def touches(self, index: int) -> bool:
        return bool(self._layouts[index].pieces)

    def touches_rest(self) -> bool:
        return any(not name.startswith("blocks.") for name in self.lora.deltas)

    def of_block(self, index: int, strength: float) -> dict[str, list[Addition]]:
        """What the LoRA adds to a block's parameters, on the device; copied in the stream that is current."""
        raw = self._ram.take(index).bytes.to(self._device, non_blocking=True)
        return self._additions(raw, self._layouts[index], self._prefixes[index], strength)

    def of_rest(self, strength: float) -> dict[str, list[Addition]]:
        tensors = {
            key: info
            for name in self.lora.deltas
            if not name.startswith("blocks.")
            for key, info in self.lora.tensors(name).items()
        }
        layout = lay_out(tensors)
        buffer = bytearray(layout.nbytes)
        Stored(self._files, layout).read(memoryview(buffer))
        raw = torch.frombuffer(buffer, dtype=torch.uint8).to(self._device)
        return self._additions(raw, layout, "", strength)

    def _additions(self, raw: torch.Tensor, layout: Layout, prefix: str, strength: float) -> dict[str, list[Addition]]:
        tensors = {
            key: as_stored(raw[piece.start : piece.start + piece.info.nbytes], piece.info)
            for key, piece in layout.pieces.items()
        }
        made: dict[str, list[Addition]] = {}
        for name, deltas in self.lora.deltas.items():
            if not name.startswith(prefix) or (not prefix and name.startswith("blocks.")):
                continue
            made[name.removeprefix(prefix)] = [
                Product(tensors[delta.down.name], tensors[delta.up.name], strength * delta.scale)
                if isinstance(delta, LowRank)
                else Difference(tensors[delta.diff.name], strength * delta.scale)
                for delta in deltas
            ]
        return made

    def close(self) -> None:
        self._ram.close()
        self._files.close()


def joined(additions: Sequence[Mapping[str, list[Addition]]]) -> dict[str, list[Addition]]:
    """Several LoRAs' additions, in their order."""
    together: dict[str, list[Addition]] = {}
    for each in additions:
        for name, added in each.items():
            together.setdefault(name, []).extend(added)
    return together
