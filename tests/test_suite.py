"""A suite: frames in order and counted in every kit, threads that end in every failure, turns as short as can be."""

from __future__ import annotations

import signal
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import post.suite
from post.budget import PICTURES_AT_ONCE, FinishPlan
from post.conform import Conform
from post.encode import FORMATS, Encode
from post.finish import Finish, load_segment, write_segment
from post.interpolate import Flow, Interpolate, Rife, RifeNcnn
from post.nets import SRVGGNetCompact
from post.picture import Planes
from post.steps import drawn, needed
from post.suite import Place, Suite, Turn
from post.torch_kit import Lane, TorchKit
from post.transition import Dissolve, FadeIn, FadeOut, Shortened, tail_of
from post.upscale import Lanczos, RealESRGAN, Upscale
from scenes.files import file_digest, load_clip, write_clip
from scenes.footage import Clip, DamagedFile, Frame, Span
from scenes.streams import lasting_stream
from tests import plain_ifnet

torch.set_num_threads(1)
FPS = Fraction(16)
SIZE = (16, 12)
FAST = Encode("h264", 30.0, "ultrafast")
NET = RealESRGAN("net", Path("net.pth"))
RIFE = Rife("rife", Path("rife.pkl"))
TWICE = Upscale(NET, (32, 24))


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() == before


class Stopped(Exception):  # noqa: N818
    """As whoever hears of the progress may raise."""


# Nets that do simple things


class Net:
    """Something a suite holds, to see it freed."""


@dataclass
class Nets:
    """What was asked of the nets, and where."""

    events: list[str] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)
    pairs: list[int] = field(default_factory=list)
    threads: set[int] = field(default_factory=set)
    opened: list[weakref.ref[Net]] = field(default_factory=list)
    fails_at: int | None = None
    slow: float = 0.0
    error: Callable[[], Exception] = RuntimeError

    def open_enlarger(self, upscale: Upscale, place: torch.device, frames: int, tile: int, compile: bool):
        assert not torch.is_inference_mode_enabled()
        net = self._net("enlarger")

        def enlarge(images: Tensor) -> Tensor:
            assert net is not None
            assert torch.is_inference_mode_enabled()
            assert images.dtype == torch.uint8
            assert images.shape[0] <= frames
            self.threads.add(threading.get_ident())
            time.sleep(self.slow)
            if self.fails_at is not None and sum(self.batches) >= self.fails_at:
                raise self.error()
            self.batches.append(len(images))
            return doubled(images)

        return enlarge

    def open_rife(self, by: Rife, place: torch.device):
        net = self._net("rife")

        def between(before: Tensor, after: Tensor, times: Tensor) -> Tensor:
            assert net is not None
            assert before.is_contiguous(memory_format=torch.channels_last)
            self.pairs.append(len(before))
            return mean(before, after, times)

        return between

    def _net(self, name: str) -> Net:
        net = Net()
        self.events.append(name)
        self.opened.append(weakref.ref(net))
        return net


def doubled(images: Tensor) -> Tensor:
    return images.permute(0, 3, 1, 2).float().div(255).repeat_interleave(2, 2).repeat_interleave(2, 3)


def mean(before: Tensor, after: Tensor, times: Tensor) -> Tensor:
    return torch.lerp(before, after, times.view(-1, 1, 1, 1))


@pytest.fixture
def nets(monkeypatch: pytest.MonkeyPatch) -> Nets:
    made = Nets()
    monkeypatch.setattr("post.upscale.open_enlarger", made.open_enlarger, raising=False)
    monkeypatch.setattr("post.rife.open_rife", made.open_rife)
    return made


# Clips


def flat(level: int, size: tuple[int, int] = SIZE) -> Frame:
    return np.full((size[1], size[0], 3), level, np.uint8)


def kept(folder: Path, frames: Sequence[Frame]) -> Clip:
    folder.mkdir(parents=True)
    write_clip(frames, folder, FPS, len(frames), {})
    return load_clip(folder)


def plain(clip: Clip, start: int = 0, **fields: Any) -> Finish:
    whole: dict[str, Any] = {"lead": None, "upscale": None, "interpolate": None, **fields}
    return Finish(Span(clip, start, clip.frames), encode=FAST, **whole)


LEVELS = (10, 50, 30, 90, 70, 130, 110, 170, 150)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clips")


@pytest.fixture(scope="module")
def clip(shelf: Path) -> Clip:
    return kept(shelf / "clip", [flat(level) for level in LEVELS])


@pytest.fixture(scope="module")
def other(shelf: Path) -> Clip:
    """What is played before."""
    return kept(shelf / "other", [flat(level) for level in (200, 210, 220, 230, 240)])


def shown(frames: Iterator[Frame]) -> list[int]:
    """What each frame shows, once it is seen to be flat."""
    found: list[int] = []
    with closing(frames):  # type: ignore[type-var]
        for frame in frames:
            assert frame.min() == frame.max()
            found.append(int(frame[0, 0, 0]))
    return found


def finished(finish: Finish, place: Place | None = None, turn: Turn = nullcontext) -> list[int]:
    with closing(Suite(place or Place("cpu"))) as suite:
        return shown(suite.frames(finish, lambda done: None, turn))


def ramp(source: Sequence[int], factor: int, lead: int | None = None) -> list[float]:
    """Frames between neighbours, then each; the first is held where nothing leads to it."""
    before, found = source[0] if lead is None else lead, list[float]()
    for level in source:
        found += [before + (level - before) * step / factor for step in range(1, factor)] + [level]
        before = level
    return found if lead is not None else [source[0]] * (factor - 1) + found[factor - 1 :]


# Order and counts


KITS = {
    "numpy": (Upscale(Lanczos(), (32, 24)), Flow()),
    "net and flow": (TWICE, Flow()),
    "net and rife": (TWICE, RIFE),
    "resample and rife": (Upscale(Lanczos(), (32, 24)), RIFE),
    "rife": (None, RIFE),
}


@pytest.mark.parametrize("factor", [2, 3, 8])
@pytest.mark.parametrize("kit", KITS)
def test_every_kit_draws_every_frame_in_its_place(kit: str, factor: int, clip: Clip, nets: Nets):
    upscale, by = KITS[kit]
    finish = plain(clip, upscale=upscale, interpolate=Interpolate(by, factor))
    made = finished(finish)
    assert len(made) == finish.frames == factor * len(LEVELS)
    assert made == pytest.approx(ramp(LEVELS, factor), abs=1)
    assert made[factor - 1 :: factor] == list(LEVELS)


@pytest.mark.parametrize("kit", KITS)
def test_a_chained_scene_goes_on_from_its_lead(kit: str, clip: Clip, other: Clip, nets: Nets):
    upscale, by = KITS[kit]
    finish = plain(clip, 1, lead=other.last, upscale=upscale, interpolate=Interpolate(by, 4))
    assert finished(finish) == pytest.approx(ramp(LEVELS[1:], 4, lead=240), abs=1)


def test_a_net_alone_and_nothing_at_all(clip: Clip, nets: Nets):
    assert finished(plain(clip, upscale=TWICE)) == list(LEVELS)
    assert finished(plain(clip)) == list(LEVELS)
    assert nets.events == ["enlarger"]


@given(
    st.integers(1, 9),
    st.integers(1, 5),
    st.integers(1, 5),
    st.integers(1, 5),
    st.booleans(),
    st.sampled_from(("u", "")),
)
@settings(max_examples=80, deadline=None)
def test_batches_of_any_size_draw_the_same(count: int, frames: int, pairs: int, factor: int, chained: bool, net: str):
    lane = Lane(torch.device("cpu"))
    kit = TorchKit(lane, doubled if net else None, mean, frames, pairs)
    source = list(LEVELS[:count])
    unread: Any = None
    finish = Finish(Span(unread, 0, count), unread, None, Interpolate(RIFE, factor), FAST)
    finish = replace(finish, lead=object() if chained else None)  # type: ignore[arg-type]
    read = iter([flat(level) for level in ([240, *source] if chained else source)])
    with lane.entered():
        made = [int(picture[0, 0, 0]) for picture in drawn(finish, kit, read, iter(()), "rgb24")]  # type: ignore[index]
    assert made == pytest.approx(ramp(source, factor, 240 if chained else None), abs=1)


def test_at_another_rate(clip: Clip, nets: Nets):
    """9 frames of 16 a second, as 24: two thirds of a frame apart, the last on the last."""
    finish = plain(clip, interpolate=Conform(RIFE, Fraction(24), FPS, 0))
    at = [(k + 1) * Fraction(2, 3) - 1 for k in range(13)]
    wanted = [float(np.interp(float(max(p, 0)), range(9), LEVELS)) for p in at]
    assert finish.frames == 13
    assert finished(finish) == pytest.approx(wanted, abs=1)
    fewer = plain(clip, interpolate=Conform(RIFE, Fraction(8), FPS, 0))
    assert finished(fewer) == list(LEVELS[1::2])


def test_with_nets_from_files(clip: Clip, tmp_path: Path):
    """A SRVGGNetCompact of noughts repeats pixels; RIFE draws something between, dark where it looks past an edge."""
    small = SRVGGNetCompact(4, 1, 4)
    torch.save(
        {"params": {key: torch.zeros_like(value) for key, value in small.state_dict().items()}}, tmp_path / "a.pth"
    )
    torch.save(plain_ifnet.random(plain_ifnet.KINDS["4.6"]), tmp_path / "b.pkl")
    net, rife = (
        kind(file_digest(tmp_path / name), tmp_path / name) for kind, name in ((RealESRGAN, "a.pth"), (Rife, "b.pkl"))
    )
    finish = plain(clip, upscale=Upscale(net, (48, 36)), interpolate=Interpolate(rife, 2))
    before = told_of_torch()
    with closing(Suite(Place("cpu"))) as suite:
        made = [frame.copy() for frame in suite.frames(finish, lambda done: None)]
    assert told_of_torch() == before
    assert len(made) == 18
    for index, level in enumerate(LEVELS):
        assert (made[2 * index + 1] == level).all()
        assert made[2 * index].max() <= max(level, LEVELS[max(0, index - 1)]) + 1
    assert (made[0] == LEVELS[0]).all()


# Across cuts


@pytest.mark.parametrize("kit", KITS)
@pytest.mark.parametrize("frames", [1, 3, 4])
def test_a_dissolve_mixes_the_last_frames_of_the_scene_before(
    kit: str, frames: int, clip: Clip, other: Clip, nets: Nets
):
    upscale, by = KITS[kit]
    rule = Interpolate(by, 2)
    alone = finished(plain(clip, upscale=upscale, interpolate=rule))
    before = finished(plain(other, upscale=upscale, interpolate=rule))
    opens = Dissolve(frames, tail_of(other, frames, rule))
    made = finished(plain(clip, upscale=upscale, interpolate=rule, opens=opens))
    assert made[frames:] == alone[frames:]
    for index in range(frames):
        low, high = sorted((alone[index], before[len(before) - frames + index]))
        assert low < made[index] < high
    shortened = plain(other, upscale=upscale, interpolate=rule, closes=Shortened(frames))
    assert shortened.frames == len(before) - frames
    assert finished(shortened) == before[:-frames]


def test_a_dissolve_at_another_rate_is_drawn_at_the_scene_befores_own_moments(clip: Clip, other: Clip, nets: Nets):
    first = Conform(RIFE, Fraction(24), FPS, 0)
    second = Conform(RIFE, Fraction(24), FPS, other.frames)
    before = finished(plain(other, interpolate=first))
    tail = tail_of(other, 3, second)
    with monkeyed_mix() as mixes:
        finished(plain(clip, interpolate=second, opens=Dissolve(3, tail)))
    assert mixes == pytest.approx(before[-3:], abs=1)


@contextmanager
def monkeyed_mix() -> Iterator[list[int]]:
    """What lies under a dissolve, as it is mixed."""
    import post.transition

    found: list[int] = []
    true = post.transition.mixed

    def mixed(before: Any, after: Any, weight: float) -> Any:
        found.append(round(float(before[0, 0, 0]) * 255))
        return true(before, after, weight)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(post.transition, "mixed", mixed)
        yield found


def test_fades(clip: Clip, nets: Nets):
    made = finished(plain(clip, upscale=TWICE, opens=FadeIn(3, (0, 0, 0)), closes=FadeOut(2, (255, 255, 255))))
    assert made[0] == 0
    assert made[3:-2] == list(LEVELS[3:-2])
    assert made[-1] == 255


@pytest.mark.parametrize(("shortened", "factor", "frames"), [(0, 2, 9), (1, 2, 9), (2, 2, 8), (3, 2, 8), (5, 4, 8)])
def test_what_the_next_scene_draws_is_not_drawn_here(shortened: int, factor: int, frames: int, clip: Clip, nets: Nets):
    closes = Shortened(shortened) if shortened else None
    finish = plain(clip, upscale=TWICE, interpolate=Interpolate(RIFE, factor), closes=closes)
    assert needed(finish) == frames
    finished(finish)
    assert sum(nets.batches) == frames


# Pictures


@pytest.mark.parametrize("format", [name for name in FORMATS if "nvenc" not in name])
@pytest.mark.parametrize("kit", ["numpy", "net and rife"])
def test_a_suites_pictures_are_what_encoders_take(kit: str, format: str, clip: Clip, nets: Nets, tmp_path: Path):
    upscale, by = KITS[kit]
    pixels = FORMATS[format].pixels
    encode = Encode(format, 30.0 if FORMATS[format].crf_most else None, "ultrafast")
    finish = replace(plain(clip, upscale=upscale, interpolate=Interpolate(by, 2)), encode=encode)
    with closing(Suite(Place("cpu"))) as suite:
        first = next(suite.pictures(finish, lambda done: None, pixels))
        assert isinstance(first, Planes) == (kit != "numpy" and pixels != "bgr0")
        write_segment(finish, suite.pictures(finish, lambda done: None, pixels), tmp_path, suite.made(finish))
    segment = load_segment(tmp_path)
    assert (segment.frames, segment.size) == (18, (32, 24))


def test_progress_is_told_picture_by_picture_in_the_callers_thread(clip: Clip, nets: Nets):
    told: list[tuple[float, int]] = []
    with closing(Suite(Place("cpu"))) as suite:
        list(suite.frames(plain(clip, upscale=TWICE), lambda done: told.append((done, threading.get_ident()))))
    assert [done for done, _ in told] == [i / 9 for i in range(1, 10)]
    assert {thread for _, thread in told} == {threading.get_ident()}


# One suite for a run


def test_nets_are_opened_once_and_freed_at_the_end(clip: Clip, other: Clip, nets: Nets):
    suite = Suite(Place("cpu"))
    for each in (clip, other, clip):
        shown(suite.frames(plain(each, upscale=TWICE, interpolate=Interpolate(RIFE, 2)), lambda done: None))
    assert nets.events == ["enlarger", "rife"]
    assert all(ref() is not None for ref in nets.opened)
    suite.close()
    assert all(ref() is None for ref in nets.opened)


def test_nothing_is_opened_that_is_not_asked_for(clip: Clip, nets: Nets):
    suite = Suite(Place("cpu"))
    suite.pictures(plain(clip, upscale=TWICE), lambda done: None, "yuv420p").close()
    suite.close()
    assert nets.events == []


def test_two_clips_may_be_under_way(clip: Clip, other: Clip, nets: Nets):
    with closing(Suite(Place("cpu"))) as suite:
        one = suite.frames(plain(clip, upscale=TWICE), lambda done: None)
        two = suite.frames(plain(other, upscale=TWICE), lambda done: None)
        assert [int(a[0, 0, 0]) for a, b in zip(two, one, strict=False)] == [200, 210, 220, 230, 240]
        one.close()
        two.close()
    assert nets.events == ["enlarger"]


def test_batches_are_the_plans(clip: Clip, nets: Nets, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Suite, "_plan", lambda *given: FinishPlan(4, 1 << 20, 3, 0))
    finish = plain(clip, upscale=TWICE, interpolate=Interpolate(RIFE, 3))
    assert finished(finish) == pytest.approx(ramp(LEVELS, 3), abs=1)
    assert nets.batches == [4, 4, 1]
    assert nets.pairs == [3, 3, 3, 3, 3, 1]  # 16 pairs: the first frame is held


def test_what_it_is_made_with_is_said(clip: Clip, monkeypatch: pytest.MonkeyPatch):
    assert Suite(Place("cpu")).made(plain(clip, upscale=Upscale(Lanczos(), (32, 24)))) == {}
    made = Suite(Place("cpu", compile=True)).made(plain(clip, upscale=TWICE))
    assert made == {"torch": torch.__version__, "device": "cpu"}
    assert Suite(Place("mps")).made(plain(clip, upscale=TWICE))["device"] == "mps"
    monkeypatch.setattr(post.suite, "has_gpu", lambda device: True)
    monkeypatch.setattr(post.suite, "gpu_of", lambda device: type("G", (), {"name": "A GPU"}))
    made = Suite(Place(None, compile=True)).made(plain(clip, upscale=TWICE))
    assert made == {"torch": torch.__version__, "device": "A GPU", "compiled": True}
    made = Suite(Place(None, compile=True)).made(plain(clip, interpolate=Interpolate(RIFE, 2)))
    assert made == {"torch": torch.__version__, "device": "A GPU"}  # only upscalers are compiled


class Process:
    """Stands for rife-ncnn-vulkan's."""

    def __init__(self, by: RifeNcnn, device: str | None, say: Callable[[str], None]) -> None:
        self.events = [f"open {by.model} {device}"]
        say("RIFE by ncnn")

    def __call__(self, pairs: list[tuple[Frame, Frame, float]]) -> list[Frame]:
        assert len(pairs) == 1
        assert all(type(frame) is np.ndarray for frame in pairs[0][:2])
        return [cv2.addWeighted(before, 1 - time, after, time, 0) for before, after, time in pairs]

    def made(self) -> dict[str, str]:
        return {"device": "a Vulkan device"}

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *error: object) -> None:
        self.events.append("close")


@pytest.mark.parametrize("upscale", [None, TWICE])
def test_rife_by_ncnn_draws_between_frames_in_the_hosts_memory(
    upscale: Upscale | None, clip: Clip, nets: Nets, monkeypatch: pytest.MonkeyPatch
):
    opened: list[Process] = []
    monkeypatch.setattr("post.rife_ncnn.open_rife_ncnn", lambda *args: opened.append(Process(*args)) or opened[-1])
    said: list[str] = []
    finish = plain(clip, upscale=upscale, interpolate=Interpolate(RifeNcnn("rife-4.6", "w", Path()), 2))
    suite = Suite(Place("cpu", say=said.append))
    for _ in range(2):
        assert shown(suite.frames(finish, lambda done: None)) == pytest.approx(ramp(LEVELS, 2), abs=1)
        assert suite.made(finish)["rife"] == {"device": "a Vulkan device"}
    suite.close()
    assert [process.events for process in opened] == [["open rife-4.6 cpu", "close"]]
    assert said == ["RIFE by ncnn"]
    assert nets.events == (["enlarger"] if upscale else [])


def test_a_lane_is_entered_on_its_own_device_first(monkeypatch: pytest.MonkeyPatch):
    """A stream is left for the device that was current before it, which would wake another GPU for nothing."""
    events: list[str] = []

    @contextmanager
    def entered(what: object) -> Iterator[None]:
        events.append(f"enter {what}")
        yield
        events.append(f"leave {what}")

    monkeypatch.setattr(torch.cuda, "Stream", lambda place: f"a stream of {place}")
    monkeypatch.setattr(torch.cuda, "device", entered)
    monkeypatch.setattr(torch.cuda, "stream", entered)
    monkeypatch.setattr("post.torch_kit.lasting_stream", lasting_stream.__wrapped__)
    lane = Lane(torch.device("cuda:1"))
    assert (lane.dtype, events) == (torch.float16, [])
    with lane.entered():
        assert torch.is_inference_mode_enabled()
    device, stream = "cuda:1", "a stream of cuda:1"
    assert events == [f"enter {device}", f"enter {stream}", f"leave {stream}", f"leave {device}"]


def test_what_is_prepared_is_open_when_the_first_clip_comes(clip: Clip, nets: Nets):
    rule = Interpolate(RIFE, 2)
    with closing(Suite(Place("cpu"))) as suite:
        suite.prepare(TWICE, rule, clip.size)
        assert (nets.events, nets.batches) == (["enlarger", "rife"], [1])
        made = shown(suite.frames(plain(clip, upscale=TWICE, interpolate=rule), lambda done: None))
        assert nets.events == ["enlarger", "rife"]
    assert made == finished(plain(clip, upscale=TWICE, interpolate=rule))


def test_clips_finished_at_once_share_the_nets_and_take_them_in_turns_batch_by_batch(
    clip: Clip, nets: Nets, monkeypatch: pytest.MonkeyPatch
):
    """What a batch takes of the memory is there once, however many clips are under way."""
    inside, met, drew = threading.Semaphore(1), threading.Barrier(2), set[int]()
    true = nets.open_enlarger

    def open_enlarger(*given: Any) -> Any:
        enlarge = true(*given)

        def alone(images: Tensor) -> Tensor:
            assert inside.acquire(blocking=False), "two batches at once"
            drew.add(threading.get_ident())
            time.sleep(0.002)
            made = enlarge(images)
            inside.release()
            return made

        return alone

    monkeypatch.setattr("post.upscale.open_enlarger", open_enlarger)
    finish = plain(clip, upscale=TWICE, interpolate=Interpolate(RIFE, 2))
    with closing(Suite(Place("cpu"))) as suite, ThreadPoolExecutor(2) as hands:

        def work(_: int) -> list[int]:
            with closing(suite.frames(finish, lambda done: None)) as frames:
                first = next(frames)
                met.wait(10)  # both are under way
                return shown(each for each in [first, *frames])

        assert list(hands.map(work, range(2))) == [finished(finish)] * 2
    assert nets.events == ["enlarger", "rife"] * 2  # opened once for both, and again for the third
    assert len(drew) > 1


def told_of_torch() -> list[object]:
    """What holds for the whole process, or the whole thread."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    flags = [cudnn.benchmark, cudnn.allow_tf32, cudnn.deterministic, matmul.allow_tf32, torch.get_default_dtype()]
    modes = [torch.is_inference_mode_enabled(), torch.is_grad_enabled(), torch.is_autocast_enabled("cuda")]
    return [*flags, *modes, torch.get_num_threads(), torch.get_float32_matmul_precision()]


# Turns


@dataclass
class Turns:
    """A device that one has at a time."""

    events: list[str]
    lock: threading.Lock = field(default_factory=threading.Lock)
    error: Exception | None = None
    asked: threading.Event = field(default_factory=threading.Event)
    thread: int = 0

    @contextmanager
    def turn(self) -> Iterator[None]:
        self.asked.set()
        if self.error is not None:
            raise self.error
        with self.lock:
            self.thread = threading.get_ident()
            self.events.append("turn")
            try:
                yield
            finally:
                self.events.append("left")


def test_a_turn_lasts_from_the_nets_to_the_last_picture_and_no_longer(clip: Clip, nets: Nets):
    turns = Turns(nets.events)
    with closing(Suite(Place("cpu", buffer=1 << 30))) as suite:
        pictures = suite.pictures(plain(clip, upscale=TWICE), lambda done: None, "yuv420p", turns.turn)
        next(pictures)
        until(lambda: "left" in nets.events)  # while the rest of the pictures wait for the encoder
        assert nets.events == ["turn", "enlarger", "left"]
        assert sum(nets.batches) == len(LEVELS)
        assert nets.threads == {turns.thread} != {threading.get_ident()}
        assert len(list(pictures)) == len(LEVELS) - 1
        list(suite.frames(plain(clip, upscale=TWICE), lambda done: None, turns.turn))
    assert nets.events == ["turn", "enlarger", "left", "turn", "left"]


def stack_of(thread: int) -> list[str]:
    """The functions that a thread is in."""
    return [frame.f_code.co_name for frame, _ in traceback.walk_stack(sys._current_frames()[thread])]


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


@pytest.mark.parametrize("kit", ["net and flow", "resample and rife"])
def test_whatever_a_net_draws_takes_its_turn(kit: str, clip: Clip, nets: Nets):
    upscale, by = KITS[kit]
    finish = plain(clip, upscale=upscale, interpolate=Interpolate(by, 2))
    finished(finish, Place("cpu"), turn=Turns(nets.events).turn)
    assert (nets.events[0], nets.events[-1]) == ("turn", "left")


def test_what_needs_no_device_takes_no_turn(clip: Clip):
    turns = Turns([])
    upscale = Upscale(Lanczos(), (32, 24))
    finished(plain(clip, upscale=upscale, interpolate=Interpolate(Flow(), 2)), Place(), turn=turns.turn)
    assert turns.events == []


def test_a_small_buffer_keeps_the_turn_while_the_encoder_works(clip: Clip, nets: Nets, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(post.suite, "WAITING_BY_DEVICE", 1)
    turn, asked = Turns(nets.events).turn, plain(clip, upscale=TWICE)
    with closing(Suite(Place("cpu"))) as suite:
        with closing(suite.pictures(asked, lambda done: None, "yuv420p", turn)) as pictures:
            next(pictures)
            time.sleep(0.1)
            assert nets.events == ["turn", "enlarger"]
        assert nets.events == ["turn", "enlarger", "left"]


def test_waiting_for_a_turn_ends_as_the_turn_says(clip: Clip, nets: Nets):
    turns = Turns(nets.events, error=Stopped("enough"))
    with pytest.raises(Stopped, match="enough"):
        finished(plain(clip, upscale=TWICE), Place("cpu"), turn=turns.turn)
    assert nets.events == []


def test_a_turn_that_comes_late_is_left_at_once(clip: Clip, nets: Nets):
    """Interrupted while it waits, as by Ctrl-C: nothing is opened any more."""
    turns = Turns(nets.events)
    turns.lock.acquire()

    def interrupt() -> None:
        try:
            assert turns.asked.wait(60)
            signal.pthread_kill(main, signal.SIGINT)
            until(lambda: "join" in stack_of(main))  # it has left, and waits for its threads
        finally:
            turns.lock.release()

    main = threading.main_thread().ident or 0
    interrupting = threading.Thread(target=interrupt)
    interrupting.start()
    with closing(Suite(Place("cpu"))) as suite, pytest.raises(KeyboardInterrupt):
        next(suite.pictures(plain(clip, upscale=TWICE), lambda done: None, "yuv420p", turns.turn))
    interrupting.join()
    assert nets.events == ["turn", "left"]


# Failures


@pytest.mark.parametrize("at", [1, 4, 9])
@pytest.mark.parametrize("kit", KITS)
def test_whoever_hears_of_the_progress_may_stop_it(kit: str, at: int, clip: Clip, nets: Nets, tmp_path: Path):
    upscale, by = KITS[kit]
    turns = Turns(nets.events)

    def tell(done: float) -> None:
        if done * 18 >= at:
            raise Stopped

    finish = plain(clip, upscale=upscale, interpolate=Interpolate(by, 2))
    with closing(Suite(Place("cpu"))) as suite, pytest.raises(Stopped) as raised:
        write_segment(finish, suite.pictures(finish, tell, "yuv420p", turns.turn), tmp_path, {})
    assert all(each.name != "stage" for each in threading.enumerate())
    assert not turns.lock.locked()
    assert not (tmp_path / "segment.json").exists()
    del raised


@pytest.mark.parametrize("fails_at", [0, 1, 5, 8])
@pytest.mark.parametrize("by", [None, Flow(), RIFE])
def test_a_net_that_fails_fails_the_segment(fails_at: int, by: Any, clip: Clip, nets: Nets, tmp_path: Path):
    """Whatever torch raises arrives as it is: who called knows how to say that memory ran out."""
    nets.fails_at, nets.error = fails_at, torch.OutOfMemoryError
    turns = Turns(nets.events)
    finish = plain(clip, upscale=TWICE, interpolate=Interpolate(by, 2) if by else None)
    with closing(Suite(Place("cpu"))) as suite:
        with pytest.raises(torch.OutOfMemoryError) as raised:
            write_segment(finish, suite.pictures(finish, lambda done: None, "yuv420p", turns.turn), tmp_path, {})
        assert any(entry.name == "enlarge" for entry in raised.traceback)
        assert not turns.lock.locked()
        nets.fails_at = None  # nothing is left of it: the next clip is drawn
        assert shown(suite.frames(plain(clip, upscale=TWICE), lambda done: None)) == list(LEVELS)


def test_a_failure_holds_no_memory(clip: Clip, nets: Nets):
    """Its traceback may be kept for long, and must not keep what its frames held."""
    held: list[weakref.ref[Tensor]] = []
    nets.fails_at = 5
    true = post.torch_kit.Lane.up

    def up(self: Lane, frames: Sequence[Frame]) -> Tensor:
        made = true(self, frames)
        held.append(weakref.ref(made))
        return made

    with pytest.MonkeyPatch.context() as patch, closing(Suite(Place("cpu"))) as suite:
        patch.setattr(Lane, "up", up)
        with pytest.raises(RuntimeError) as raised:
            list(suite.frames(plain(clip, upscale=TWICE), lambda done: None))
        assert len(held) >= 5
        assert all(ref() is None for ref in held)
        del raised


def torn(clip: Clip, folder: Path, flipped: bool = False) -> Clip:
    """A copy with a byte that is wrong, or without its end."""
    folder.mkdir()
    for each in clip.path.iterdir():
        (folder / each.name).write_bytes(each.read_bytes())
    data = bytearray((folder / "clip.mkv").read_bytes())
    if flipped:
        data[len(data) * 3 // 4] ^= 16
    else:
        del data[len(data) * 2 // 3 :]
    (folder / "clip.mkv").write_bytes(data)
    return replace(clip, path=folder)


@pytest.fixture(scope="module")
def noisy(shelf: Path) -> Clip:
    return kept(shelf / "noisy", list(np.random.default_rng(0).integers(0, 256, (9, 48, 64, 3), dtype=np.uint8)))


@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize("kit", KITS)
def test_damage_is_named(kit: str, flipped: bool, noisy: Clip, nets: Nets, tmp_path: Path):
    upscale, by = KITS[kit]
    clip = torn(noisy, tmp_path / "torn", flipped)
    upscale = replace(upscale, size=(128, 96)) if upscale else None
    finish = plain(clip, upscale=upscale, interpolate=Interpolate(by, 2))
    with closing(Suite(Place("cpu"))) as suite, pytest.raises(DamagedFile, match=r"clip\.mkv"):
        write_segment(finish, suite.pictures(finish, lambda done: None, "yuv420p"), tmp_path, {})
    assert not (tmp_path / "segment.json").exists()


@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize("part", ["what is left to the scene after", "the scene before"])
def test_damage_is_named_where_it_is_not_even_shown(part: str, flipped: bool, noisy: Clip, nets: Nets, tmp_path: Path):
    clip = torn(noisy, tmp_path / "torn", flipped)
    finish = plain(clip, closes=Shortened(7))
    if part == "the scene before":
        finish = plain(noisy, opens=Dissolve(2, Span(clip, 7, 9)))
    with closing(Suite(Place("cpu"))) as suite, pytest.raises(DamagedFile, match=r"torn.clip\.mkv"):
        list(suite.frames(finish, lambda done: None))


def test_the_encoder_may_fail(clip: Clip, nets: Nets, tmp_path: Path):
    """Its error is kept, and the threads behind the pictures end none the less."""
    finish = plain(clip, upscale=replace(TWICE, size=(64, 24)), interpolate=Interpolate(RIFE, 2))
    with closing(Suite(Place("cpu"))) as suite, pytest.raises(ValueError, match="frame 0 has a plane") as raised:
        write_segment(finish, suite.pictures(finish, lambda done: None, "yuv420p"), tmp_path, {})
    assert all(each.name != "stage" for each in threading.enumerate())
    del raised


def test_nothing_piles_up_before_a_slow_taker(nets: Nets, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(post.suite, "WAITING_BY_DEVICE", 1)
    long = kept(tmp_path / "long", [flat(level) for level in range(60)])
    with closing(Suite(Place("cpu"))) as suite:
        frames = suite.frames(plain(long, upscale=TWICE), lambda done: None)
        next(frames)
        time.sleep(0.1)
        # One taken, one held, a batch that is on its way out and one that follows it.
        assert sum(nets.batches) <= 1 + 1 + 2 * PICTURES_AT_ONCE
        assert shown(frames) == list(range(1, 60))
