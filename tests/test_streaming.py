"""Weights on their way: streamed equals resident, in the right order, with nothing read or copied twice."""

from __future__ import annotations

import errno
import os
import random
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from scenes.shot import MachineLacks
from scenes.wan import blocks, experts, stored
from scenes.wan.blocks import HostBuffer, Ring
from scenes.wan.budget import Placement
from scenes.wan.checkpoint import CheckpointError, TensorInfo, read_checkpoint
from scenes.wan.experts import Expert
from scenes.wan.loras import load_lora
from scenes.wan.stored import Files, Stored, lay_out
from tests import tiny_wan

torch.set_num_threads(1)

CPU = torch.device("cpu")
RAM, DISK = Placement(resident=False, source="ram"), Placement(resident=False, source="disk")
RESIDENT = Placement(resident=True, source="ram")
LAYERS = 5


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Experts of five layers, high and low."""
    folder = tmp_path_factory.mktemp("weights")
    for seed, name in ((1, "high"), (2, "low")):
        state = tiny_wan.original_expert(tiny_wan.expert(seed, layers=LAYERS).state_dict())
        tiny_wan.write_safetensors(tiny_wan.fp8_scaled(state), folder / f"{name}.safetensors")
    return folder


def inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return (
        torch.randn(1, 36, 2, 8, 8, generator=generator),
        torch.tensor([500.0]),
        torch.randn(1, 16, 256, generator=generator),
    )


def expert(path: Path, placement: Placement, **given: Any) -> Expert:
    return Expert(read_checkpoint(path), CPU, placement, **given)


@pytest.fixture
def filled(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one with each block that is brought to the device."""
    counted: list[int] = []
    fill = experts._fill

    def counting(targets: Any, arriving: Any, additions: Any) -> None:
        if "ffn.net.2.weight" in targets:
            counted.append(1)
        fill(targets, arriving, additions)

    monkeypatch.setattr(experts, "_fill", counting)
    return counted


def in_time(work: Callable[[], Any], seconds: float = 20) -> Any:
    """What work gives or raises; a hang fails instead of hanging the tests."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append((work(), None))
        except BaseException as error:
            outcome.append((None, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    assert outcome, "it hangs"
    value, error = outcome[0]
    if error is not None:
        raise error
    return value


# Streamed is resident


@pytest.mark.parametrize("layers", [1, 2, 3, LAYERS])
def test_streamed_equals_resident_bit_for_bit(layers: int, tmp_path: Path):
    state = tiny_wan.original_expert(tiny_wan.expert(3, layers=layers).state_dict())
    path = tiny_wan.write_safetensors(tiny_wan.fp8_scaled(state), tmp_path / "x.safetensors")
    lora = None
    if layers == 2:
        file = tiny_wan.write_safetensors(tiny_wan.lora(), tmp_path / "lora.safetensors")
        lora = load_lora(file, expert_shape(path))
    outs = []
    for placement, held in ((RESIDENT, 0), (Placement(True, "disk"), 0), (RAM, 0), (DISK, 0), (DISK, layers // 2)):
        each = expert(path, placement, held=held)
        assert len(each.slots._slots) == (layers if placement.resident else min(2, layers))
        if lora is not None:
            each.set_loras([(lora, 0.6)])
        outs += [each(*inputs()) for _ in range(3)]
        each.close()
    assert all(torch.equal(out, outs[0]) for out in outs)


def expert_shape(path: Path) -> Any:
    each = expert(path, RAM)
    each.close()
    return each.shape


@pytest.mark.parametrize("placement", [RAM, DISK, RESIDENT])
@pytest.mark.parametrize("told", [True, False])
def test_experts_that_take_turns(placement: Placement, told: bool, files: Path, filled: list[int]):
    alone = {}
    for name in ("high", "low"):
        each = expert(files / f"{name}.safetensors", RESIDENT)
        alone[name] = each(*inputs())
        each.close()
    filled.clear()
    high = expert(files / "high.safetensors", placement)
    low = expert(files / "low.safetensors", placement, beside=high)
    assert (low.slots is high.slots) == (not placement.resident)
    order = [high, high, low, low, high, low, high]
    for each, following in zip(order, [*order[1:], high], strict=True):
        out = each(*inputs(), then=following if told else None)
        assert torch.equal(out, alone["high" if each is high else "low"])
    if placement.resident:
        assert len(filled) == 2 * LAYERS, "each block once"
    else:
        # One ahead in the end; untold, the first block of the wrong expert at each of the four changes too.
        assert len(filled) == LAYERS * len(order) + 1 + (0 if told else 4)
    high.close()
    assert torch.equal(low(*inputs()), alone["low"]), "what is shared stays while one is open"
    low.close()


def test_resident_weights_are_filled_once_for_each_strength(files: Path, tmp_path: Path, filled: list[int]):
    high = expert(files / "high.safetensors", RESIDENT)
    state = {key.replace("blocks.0", "blocks.3"): tensor for key, tensor in tiny_wan.lora().items()}
    lora = load_lora(tiny_wan.write_safetensors(state, tmp_path / "lora.safetensors"), high.shape)
    for _ in range(3):
        high.set_loras([])
        high(*inputs())
    assert len(filled) == LAYERS
    for _ in range(3):
        high.set_loras([(lora, 1.0)])
        high(*inputs())
    assert len(filled) == LAYERS + 2, "the two blocks that the LoRA is for, each in the place that it had"
    high.close()


def test_an_interrupted_call_leaves_nothing_wrong(files: Path, monkeypatch: pytest.MonkeyPatch):
    high = expert(files / "high.safetensors", DISK)
    whole = high(*inputs())
    run, seen = high.slots._run, []

    def interrupted(*given: Any) -> Any:
        seen.append(given)
        if len(seen) == 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return run(*given)

    monkeypatch.setattr(high.slots, "_run", interrupted)
    with pytest.raises(torch.OutOfMemoryError):
        high(*inputs())
    for _ in range(2):
        assert torch.equal(in_time(lambda: high(*inputs())), whole)
    high.close()


def test_within_inference_mode_and_outside_of_it(files: Path, tmp_path: Path):
    with torch.inference_mode():
        high = expert(files / "high.safetensors", RAM)
        lora = load_lora(tiny_wan.write_safetensors(tiny_wan.lora(), tmp_path / "lora.safetensors"), high.shape)
        inside = high(*inputs())
    assert torch.equal(high(*inputs()), inside)
    high.set_loras([(lora, 1.0)])
    outside = high(*inputs())
    with torch.inference_mode():
        high.set_loras([])
        assert torch.equal(high(*inputs()), inside)
        high.set_loras([(lora, 1.0)])
        assert torch.equal(high(*inputs()), outside)
    high.close()


# Files that fail


def cut(path: Path, folder: Path) -> Path:
    """A copy, to be cut short after it was opened."""
    other = folder / path.name
    other.write_bytes(path.read_bytes())
    return other


@pytest.mark.parametrize("placement", [RAM, DISK, Placement(True, "disk")])
def test_a_file_that_is_cut_short_is_an_error_not_a_hang(
    placement: Placement, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = cut(files / "high.safetensors", tmp_path)
    release = threading.Event()
    read = Stored.read

    def later(block: Stored, *given: Any) -> None:
        if threading.current_thread() is not threading.main_thread() and "loading" in threading.current_thread().name:
            release.wait()
        read(block, *given)

    monkeypatch.setattr(Stored, "read", later)
    high = expert(path, placement)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size * 2 // 3)
    release.set()
    for _ in range(2):
        with pytest.raises(CheckpointError, match=r"high\.safetensors has been cut short to \d+ bytes"):
            in_time(lambda: high(*inputs()))
    in_time(high.close)


def test_a_drive_that_fails_is_an_error(files: Path, monkeypatch: pytest.MonkeyPatch):
    high = expert(files / "high.safetensors", DISK)
    high(*inputs())

    def failing(*_: Any) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(Files, "_read_at", failing)
    with pytest.raises(CheckpointError, match=r"high\.safetensors cannot be read: Input/output error"):
        in_time(lambda: [high(*inputs()) for _ in range(2)])
    monkeypatch.undo()
    in_time(lambda: high(*inputs()))
    in_time(high.close)


def test_a_file_that_is_replaced_meanwhile_is_read_as_it_was(files: Path, tmp_path: Path):
    path = cut(files / "high.safetensors", tmp_path)
    high = expert(path, DISK)
    before = high(*inputs())
    cut(files / "low.safetensors", tmp_path).replace(path)
    assert torch.equal(high(*inputs()), before)
    high.close()


def test_without_reads_at_a_place(files: Path, monkeypatch: pytest.MonkeyPatch):
    high = expert(files / "high.safetensors", DISK)
    expected = high(*inputs())
    monkeypatch.delattr(os, "preadv")
    assert torch.equal(high(*inputs()), expected)
    high.close()


def test_ram_that_cannot_be_locked(monkeypatch: pytest.MonkeyPatch):
    class Cudart:
        def cudaHostRegister(self, pointer: int, nbytes: int, flags: int) -> int:  # noqa: N802
            assert (nbytes, flags) == (4096, 1)
            return 2

    monkeypatch.setattr(torch.cuda, "cudart", Cudart)
    monkeypatch.setattr(torch.cuda, "device", lambda _: nullcontext())
    monkeypatch.setattr(blocks, "_forget_error", lambda _: None)
    with pytest.raises(MachineLacks, match=r"cannot be page-locked.*--ram"):
        HostBuffer(4096, torch.device("cuda", 0)).lock()


@pytest.mark.parametrize("closed", [True, False])
def test_ram_is_unlocked_once_also_if_it_is_dropped_unclosed(closed: bool, monkeypatch: pytest.MonkeyPatch):
    calls: list[str] = []

    class Cudart:
        def cudaHostRegister(self, *_: int) -> int:  # noqa: N802
            calls.append("lock")
            return 0

        def cudaHostUnregister(self, _: int) -> None:  # noqa: N802
            calls.append("unlock")

    monkeypatch.setattr(torch.cuda, "cudart", Cudart)
    monkeypatch.setattr(torch.cuda, "device", lambda _: nullcontext())
    monkeypatch.setattr(torch.cuda, "synchronize", lambda _: calls.append("wait"))
    buffer = HostBuffer(4096, torch.device("cuda", 0)).lock().lock()
    if closed:
        buffer.close()
        buffer.close()
    del buffer
    assert calls == (["lock", "unlock"] if closed else ["lock", "wait", "unlock"])


def test_a_lora_does_not_wait_for_all_the_blocks_to_be_read(files: Path, tmp_path: Path):
    high = expert(files / "high.safetensors", RAM)
    lora = load_lora(tiny_wan.write_safetensors(tiny_wan.lora(), tmp_path / "lora.safetensors"), high.shape)
    drive = threading.Event()
    for _ in range(blocks.READERS):
        high.reading.blocks.submit(drive.wait)
    high.set_loras([(lora, 1.0)])
    try:
        in_time(lambda: high._merging[0][0].of_block(0, 1.0), 5)
    finally:
        drive.set()
    high.close()


def test_nothing_is_read_ahead_of_files_that_are_closed(files: Path, monkeypatch: pytest.MonkeyPatch):
    high = expert(files / "high.safetensors", DISK)
    low = expert(files / "low.safetensors", DISK, beside=high)
    expected = low(*inputs())
    failed: list[Exception] = []
    read = Files.read

    def watched(*given: Any) -> None:
        try:
            time.sleep(0.01)
            read(*given)
        except Exception as error:
            failed.append(error)
            raise

    monkeypatch.setattr(Files, "read", watched)
    high(*inputs())
    high.close()
    assert torch.equal(low(*inputs()), expected)
    low.close()
    assert failed == []


# Reading


def info(name: str, path: Path, offset: int, nbytes: int) -> TensorInfo:
    return TensorInfo(name, "U8", (nbytes,), path, offset, nbytes)


def test_neighbours_are_read_in_one_go(tmp_path: Path):
    one, two = tmp_path / "1", tmp_path / "2"
    far = 10_000 + stored.GAP
    tensors = {
        "c": info("c", one, far + 501, 100),
        "a": info("a", one, 100, 300),
        "b": info("b", one, 400, 100),
        "d": info("d", two, 0, 50),
        "e": info("e", one, 520, 10),
    }
    layout = lay_out(tensors)
    assert [(read.path, read.offset, read.nbytes) for read in layout.reads] == [
        (one, 100, 430),
        (one, far + 501, 100),
        (two, 0, 50),
    ]
    content = {one: random.Random(1).randbytes(far + 700), two: random.Random(2).randbytes(50)}
    for path, data in content.items():
        path.write_bytes(data)
    buffer = bytearray(layout.nbytes)
    Stored(Files([one, two]), layout).read(memoryview(buffer))
    for name, piece in layout.pieces.items():
        each = tensors[name]
        assert buffer[piece.start : piece.start + each.nbytes] == content[each.path][each.offset :][: each.nbytes]


def test_an_expert_is_read_in_few_reads(files: Path):
    high = expert(files / "high.safetensors", RAM)
    assert max(len(part.layout.reads) for part in high._parts.blocks) <= 4
    high.close()


BLOCK = 4 * 2**20


@pytest.fixture
def wide(tmp_path: Path) -> list[Stored]:
    """24 blocks of 4 MiB, block i full of bytes i."""
    path = tmp_path / "blocks"
    with path.open("wb") as file:
        for index in range(24):
            file.write(bytes([index]) * BLOCK)
    opened = Files([path])
    return [Stored(opened, lay_out({"x": info("x", path, BLOCK * index, BLOCK)})) for index in range(24)]


def test_what_stays_on_disk_takes_three_buffers_of_ram(wide: list[Stored]):
    ring = Ring(BLOCK, CPU, keep_cache=False)
    before = psutil.Process().memory_info().rss
    most = 0
    for step in range(2 * len(wide)):
        index = step % len(wide)
        after = [wide[(index + ahead) % len(wide)] for ahead in (1, 2, 3)]
        buffer = ring.take(wide[index], after)
        assert bool((buffer.bytes == index).all())
        ring.give_back(buffer, after)
        most = max(most, psutil.Process().memory_info().rss - before)
    assert most < 10 * BLOCK, "three, a comparison, and what else the process took; not all 24"
    ring.close()


def test_what_is_read_ahead_for_nothing_is_dropped(wide: list[Stored]):
    ring = Ring(BLOCK, CPU, keep_cache=True)
    chosen = random.Random(0)
    for _ in range(60):
        index = chosen.randrange(len(wide))
        after = chosen.sample(wide, 3)
        buffer = in_time(lambda index=index, after=after: ring.take(wide[index], after))
        assert bool((buffer.bytes == index).all())
        after = chosen.sample(wide, 2)
        in_time(lambda buffer=buffer, after=after: ring.give_back(buffer, after))
        assert len(ring._buffers) == 3
    in_time(ring.close)


@pytest.mark.parametrize(("placement", "calls"), [(DISK, True), (Placement(True, "disk"), False), (RAM, False)])
def test_the_page_cache_is_left_small_where_weights_are_streamed_from_disk(
    placement: Placement, calls: bool, files: Path, monkeypatch: pytest.MonkeyPatch
):
    advised: list[int] = []
    monkeypatch.setattr(os, "posix_fadvise", lambda *given: advised.append(given[-1]))
    high = expert(files / "high.safetensors", placement)
    high(*inputs())
    high.close()
    if calls:
        assert advised.count(os.POSIX_FADV_DONTNEED) >= LAYERS
        assert advised.count(os.POSIX_FADV_WILLNEED) >= LAYERS
    else:
        assert advised == []


def test_held_blocks_are_read_once(files: Path, monkeypatch: pytest.MonkeyPatch):
    reads: list[Stored] = []
    read = Stored.read
    monkeypatch.setattr(Stored, "read", lambda block, *given: (reads.append(block), read(block, *given)))
    high = expert(files / "high.safetensors", DISK, held=3)
    on_disk = high.feed.on_disk()
    assert len(on_disk) == 2
    for _ in range(4):
        high(*inputs())
    high.close()
    counts = [reads.count(block) for block in high.feed.stored]
    assert [count > 1 for count in counts] == [block in on_disk for block in high.feed.stored]
    assert all(count == 1 for count in counts if count < 4)


# The order of a GPU's waits, on a GPU that is made up: two streams, run at random wherever they may be run


class Gpu:
    """Runs what is queued in streams, later and in another thread. Which stream goes on is left to chance."""

    def __init__(self, seed: int) -> None:
        self.changed = threading.Condition()
        self.happened: set[object] = set()
        self.streams = [Stream(self), Stream(self)]
        self.computing, self.copying = self.streams
        self.current = self.computing
        self.wrong: list[str] = []
        self._chosen = random.Random(seed)
        self._copies_first = (0.95, 0.05, 0.5)[seed % 3]
        self._ended = False
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while True:
            with self.changed:
                ready = [
                    s for s in self.streams if s.queue and (s.queue[0][0] is None or s.queue[0][0] in self.happened)
                ]
                if not ready:
                    if self._ended:
                        return
                    self.changed.wait(0.05)
                    continue
                ready.sort(key=lambda stream: stream is self.copying)
                _, work = ready[-1 if self._chosen.random() < self._copies_first else 0].queue.pop(0)
                work()
                self.changed.notify_all()
            time.sleep(2e-4)  # the host is ahead

    def end(self) -> None:
        self._ended = True
        self._thread.join(20)
        assert not any(stream.queue for stream in self.streams), "deadlock"

    @contextmanager
    def stream(self, stream: Stream) -> Generator[None]:
        before, self.current = self.current, stream
        yield
        self.current = before


class Stream:
    def __init__(self, gpu: Gpu) -> None:
        self.gpu = gpu
        self.queue: list[tuple[object | None, Callable[[], None]]] = []

    def add(self, work: Callable[[], None], wait: object | None = None) -> None:
        with self.gpu.changed:
            self.queue.append((wait, work))
            self.gpu.changed.notify_all()

    def may_go_on(self) -> bool:
        return bool(self.queue) and (self.queue[0][0] is None or self.queue[0][0] in self.gpu.happened)

    def wait_event(self, event: Event) -> None:
        if event.recorded is not None:
            self.add(lambda: None, event.recorded)

    def synchronize(self) -> None:
        with self.gpu.changed:
            assert self.gpu.changed.wait_for(lambda: not self.queue, 20)


class Event:
    def __init__(self, gpu: Gpu) -> None:
        self.gpu = gpu
        self.recorded: object | None = None

    def record(self, stream: Stream) -> None:
        self.recorded = mark = object()
        stream.add(lambda: self.gpu.happened.add(mark))

    def synchronize(self) -> None:
        with self.gpu.changed:
            assert self.gpu.changed.wait_for(lambda: self.recorded in self.gpu.happened, 20)


class Device(HostBuffer):
    """Memory as for a CUDA device, not locked."""

    def lock(self) -> HostBuffer:
        return self


def on_made_up_gpu(gpu: Gpu, monkeypatch: pytest.MonkeyPatch, *shared: Expert) -> None:
    """Let these experts, which share slots, use the GPU: blocks are marks that copies carry and computing checks."""
    monkeypatch.setattr(torch.cuda, "Event", lambda **_: Event(gpu))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: gpu.current)
    monkeypatch.setattr(torch.cuda, "stream", gpu.stream)
    monkeypatch.setattr(blocks, "HostBuffer", Device)
    slots, cuda = shared[0].slots, torch.device("cuda")
    slots._copying = gpu.copying
    shared[0].reading.ring._device = cuda
    content: dict[int, bytes] = {}
    for slot in slots._slots:
        slot.filled, slot.done = Event(gpu), Event(gpu)

    def fill(targets: Any, arriving: Any, additions: Any) -> None:
        # In two halves, so that a buffer or slot that changes between them is found out.
        halves = [arriving["ffn.net.0.proj.weight"].raw, arriving["ffn.net.2.weight"].raw]
        for half, raw in enumerate(halves):
            gpu.current.add(lambda half=half, raw=raw: content.update({(id(targets), half): bytes(raw.numpy())}))

    def run(block: Any, expected: Any) -> torch.Tensor:
        targets = next(slot.targets for slot in slots._slots if slot.block is block)
        for half in (0, 1):

            def check(half: int = half) -> None:
                if content.get((id(targets), half)) != expected[half]:
                    gpu.wrong.append("computed with another block")

            gpu.current.add(check)
        return torch.zeros(1)

    monkeypatch.setattr(experts, "_fill", fill)
    monkeypatch.setattr(slots, "_run", run)


def marks(each: Expert, index: int) -> list[bytes]:
    part = each._parts.blocks[index].layout
    data = part.reads[0].path.read_bytes()
    infos = [part.pieces[name].info for name in ("ffn.net.0.proj.weight", "ffn.net.2.weight")]
    return [data[info.offset : info.offset + info.nbytes] for info in infos]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("placement", "held"), [(RAM, 0), (DISK, 0), (DISK, 2)])
def test_waits_are_right_however_far_the_host_runs_ahead(
    placement: Placement, held: int, seed: int, files: Path, monkeypatch: pytest.MonkeyPatch
):
    gpu = Gpu(seed)
    high = expert(files / "high.safetensors", placement, held=held)
    low = expert(files / "low.safetensors", placement, held=held, beside=high)
    on_made_up_gpu(gpu, monkeypatch, high, low)
    expected = {each: [marks(each, index) for index in range(LAYERS)] for each in (high, low)}
    order = random.Random(seed).choices([high, low], k=12)
    for each, following in zip(order, [*order[1:], high], strict=True):
        each._following = following if seed % 2 else each
        for index in range(LAYERS):
            in_time(lambda each=each, index=index: each._run(index, expected[each][index]))
    gpu.end()
    assert gpu.wrong == []
    monkeypatch.undo()
    high.slots._copying = None
    high.close()
    low.close()
