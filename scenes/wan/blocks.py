"""Where blocks come from: RAM, or a few buffers that are filled from disk ahead of their use.

Blocks stay as they are on disk, so fp8 and GGUF files stay small; they are widened on the device. For a CUDA device the
buffers are page-locked: only then does a copy run beside the computing.
"""

from __future__ import annotations

import mmap
import os
import weakref
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, cast

import torch

from scenes.shot import MachineLacks
from scenes.wan.stored import Stored

READERS = min(8, 2 * (os.cpu_count() or 1))
AHEAD = 3
"""Buffers that disk blocks go through: one is copied from while two are read into."""
_PORTABLE = 1  # cudaHostRegisterPortable: locked for every context, whichever thread registers it


class HostBuffer:
    """Bytes in RAM, exactly as many as asked for: torch's own page-locked memory comes in powers of two.

    Raises:
        MachineLacks: the system does not let so much memory be locked.
    """

    def __init__(self, nbytes: int, device: torch.device) -> None:
        self.memory = _anonymous(nbytes)
        self.bytes = torch.frombuffer(self.memory, dtype=torch.uint8, count=nbytes)
        self.copied: torch.cuda.Event | None = None
        """Recorded after the last copy from here: only then may it be filled again."""
        self.device = device
        self._unlock: weakref.finalize[..., HostBuffer] | None = None

    def lock(self) -> HostBuffer:
        """Lock the pages in RAM, if the device is CUDA's; faster once the buffer is filled, as the pages are there."""
        if self.device.type != "cuda" or self._unlock is not None:
            return self
        cudart = cast(Any, torch.cuda).cudart()
        with torch.cuda.device(self.device):
            error = int(cudart.cudaHostRegister(self.bytes.data_ptr(), self.bytes.numel(), _PORTABLE))
            if error:
                _forget_error(self.device)
                raise MachineLacks(
                    f"{self.bytes.numel() / 2**30:.2f} GiB more of RAM cannot be page-locked (CUDA error {error}): "
                    "raise the limit (ulimit -l unlimited), or give a smaller --ram, so that weights come from disk"
                )
        # What is dropped unclosed, as by an error, must not stay locked: nobody could ever unlock it.
        self._unlock = weakref.finalize(self, _unlock_in_peace, self.bytes, self.device)
        self._unlock.atexit = False
        return self

    def close(self) -> None:
        """Unlock the pages. No copy from here may be under way."""
        if self._unlock is not None and self._unlock.detach() is not None:
            _unlock(self.bytes, self.device)


def _unlock_in_peace(memory: torch.Tensor, device: torch.device) -> None:
    torch.cuda.synchronize(device)  # a copy from here may be under way
    _unlock(memory, device)


def _unlock(memory: torch.Tensor, device: torch.device) -> None:
    with torch.cuda.device(device):
        cast(Any, torch.cuda).cudart().cudaHostUnregister(memory.data_ptr())


def _anonymous(nbytes: int) -> mmap.mmap:
    """Private memory in whole pages, given back to the system the moment it is dropped."""
    size = max(nbytes, 1)
    if not hasattr(mmap, "MAP_PRIVATE"):
        return mmap.mmap(-1, size)
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        try:
            memory.madvise(mmap.MADV_HUGEPAGE)  # 512 times fewer pages to fault in and to lock
        except OSError:  # a kernel built without them
            return memory
    return memory


def _forget_error(device: torch.device) -> None:
    """CUDA hands a failed call's error to the next kernel launch too: let that be one that does not matter."""
    try:
        torch.zeros(1, device=device)
    except RuntimeError:
        return


class RamSource:
    """Blocks that are held in RAM, read by several threads beginning now; one that is not there yet is waited for."""

    def __init__(self, blocks: Sequence[Stored], device: torch.device, readers: ThreadPoolExecutor) -> None:
        self._device = device
        self._loading = [readers.submit(self._load, block) for block in blocks]

    def take(self, index: int) -> HostBuffer:
        """Raises CheckpointError where it could not be read."""
        return self._loading[index].result()

    def close(self) -> None:
        for loading in self._loading:
            if not loading.cancel() and loading.exception() is None:
                loading.result().close()
        self._loading = []

    def _load(self, block: Stored) -> HostBuffer:
        buffer = HostBuffer(block.layout.nbytes, self._device)
        block.read(memoryview(buffer.memory))
        return buffer.lock()


class Ring:
    """A few buffers that blocks on disk are read into ahead of their use. Experts that take turns share one.

    keep_cache: leave what was read in the system's page cache; it is of no use where far more is read than fits.
    """

    def __init__(self, nbytes: int, device: torch.device, keep_cache: bool, count: int = AHEAD) -> None:
        self.nbytes = nbytes
        self._device = device
        self._keep_cache = keep_cache
        self._count = count
        self._buffers: list[HostBuffer] = []
        self._free: list[HostBuffer] = []
        self._ahead: deque[tuple[Stored, HostBuffer, Future[None]]] = deque()
        self._in_order = ThreadPoolExecutor(1, "blocks")
        self._side_by_side = ThreadPoolExecutor(READERS, "chunks")

    def fit(self, nbytes: int) -> None:
        """Let blocks of so many bytes fit."""
        if nbytes > self.nbytes:
            self._empty()
            self.nbytes = nbytes

    def take(self, block: Stored, after: Sequence[Stored]) -> HostBuffer:
        """A block's bytes, waited for if need be; `after`: what will be taken next, which is read meanwhile.

        The buffer is the caller's until it is given back.

        Raises:
            CheckpointError: it could not be read.
        """
        if not self._buffers:
            self._allocate()
        self._read_ahead([block, *after])
        _, buffer, reading = self._ahead.popleft()
        try:
            reading.result()
        except BaseException:
            self._free.append(buffer)
            self._drop_all()  # what failed once may be tried anew
            raise
        return buffer

    def give_back(self, buffer: HostBuffer, after: Sequence[Stored]) -> None:
        """The buffer may be filled again once its `copied` has happened."""
        self._free.append(buffer)
        self._read_ahead(after)

    def forget(self) -> None:
        """Read nothing of what was to come: its files may be closed now."""
        self._drop_all()

    def close(self) -> None:
        self._empty()
        self._in_order.shutdown()
        self._side_by_side.shutdown()

    def _empty(self) -> None:
        self._drop_all()
        for buffer in self._buffers:
            _wait(buffer)
            buffer.close()
        self._buffers, self._free = [], []

    def _allocate(self) -> None:
        # In the same thread as all that follows; locked before they are filled, as they are few.
        self._buffers = [HostBuffer(self.nbytes, self._device).lock() for _ in range(self._count)]
        self._free = list(self._buffers)

    def _read_ahead(self, order: Sequence[Stored]) -> None:
        """Have the first of these under way, in this order, as many as there are buffers."""
        same = 0
        while same < min(len(order), len(self._ahead)) and self._ahead[same][0] is order[same]:
            same += 1
        while len(self._ahead) > same:
            self._drop()
        for block in order[same : same + len(self._free)]:
            buffer = self._free.pop()
            self._ahead.append((block, buffer, self._in_order.submit(self._fill, buffer, block)))
            if not self._keep_cache:
                block.advise(soon=True)

    def _drop_all(self) -> None:
        while self._ahead:
            self._drop()

    def _drop(self) -> None:
        """Forget the last of what is read ahead, which will not be next after all."""
        _, buffer, reading = self._ahead.pop()
        if not reading.cancel():
            reading.exception()  # waits: it writes into the buffer
        self._free.append(buffer)

    def _fill(self, buffer: HostBuffer, block: Stored) -> None:
        _wait(buffer)
        block.read(memoryview(buffer.memory), self._side_by_side)
        if not self._keep_cache:
            block.advise(soon=False)


def _wait(buffer: HostBuffer) -> None:
    if buffer.copied is not None:
        buffer.copied.synchronize()
