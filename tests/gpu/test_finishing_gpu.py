"""Finishing on a GPU: the same frames as on the CPU, whoever else is at work there, and films made with its help."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from skimage import data

torch = pytest.importorskip("torch")

from post.budget import FinishPlan  # noqa: E402
from post.devices import gpus, has_gpu  # noqa: E402
from post.encode import FORMATS, Encode, encoder_problem, works  # noqa: E402
from post.finish import Finish  # noqa: E402
from post.grade import Grade, Graded, Numbers, graded, numbers_of  # noqa: E402
from post.interpolate import Interpolate, Rife  # noqa: E402
from post.nets import RRDBNet, SRVGGNetCompact  # noqa: E402
from post.suite import Place, Suite  # noqa: E402
from post.transition import Dissolve  # noqa: E402
from post.upscale import RealESRGAN, Upscale, open_device, open_enlarger  # noqa: E402
from post.weights import DeviceMissing  # noqa: E402
from scenes.files import file_digest, load_clip, read_span, write_clip  # noqa: E402
from scenes.footage import Clip, Frame, Size, Span  # noqa: E402
from tests import plain_ifnet  # noqa: E402
from tests.stories import render, scene, write_picture, write_story  # noqa: E402

pytestmark = pytest.mark.gpu
GPU = torch.device("cuda", 0)
ENCODE = Encode("h264", 16.0, "ultrafast")
NETS = {"small": lambda: SRVGGNetCompact(16, 4, 4), "large": lambda: lively(RRDBNet(16, 2, 8))}


def lively(net: RRDBNet) -> RRDBNet:
    """As torch makes it, it draws all but nothing."""
    net.conv_last.weight.data *= 40
    net.conv_last.bias.data += 0.5
    return net


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("finishing")


@pytest.fixture(scope="module")
def clip(folder: Path) -> Clip:
    return kept(folder / "clip", 9)


def kept(into: Path, count: int, size: Size = (160, 96)) -> Clip:
    """A photograph that moves."""
    into.mkdir()
    picture = data.astronaut()
    frames = (np.ascontiguousarray(picture[i : i + size[1], 2 * i : 2 * i + size[0]]) for i in range(count))
    write_clip(frames, into, Fraction(16), count, {})
    return load_clip(into)


@pytest.fixture(scope="module")
def weights(folder: Path) -> dict[str, Path]:
    """Nets of few channels; outputs are pictures, near what went in."""
    torch.manual_seed(5)
    paths: dict[str, Path] = {}
    for name, make in NETS.items():
        paths[name] = folder / f"{name}.pth"
        torch.save({"params": make().state_dict()}, paths[name])
    for version in ("4.6", "4.7", "4.26"):
        paths[version] = folder / f"rife{version}.pkl"
        torch.save(plain_ifnet.random(plain_ifnet.KINDS[version]), paths[version])
    return paths


def upscale_by(path: Path, size: Size) -> Upscale:
    return Upscale(RealESRGAN(file_digest(path), path, 4, path.stem == "large"), size)


def rife_by(path: Path, factor: int = 2) -> Interpolate:
    return Interpolate(Rife(file_digest(path), path), factor)


def finish_of(clip: Clip, weights: dict[str, Path], net: str = "small", version: str = "4.6", **more: Any) -> Finish:
    upscale, rule = upscale_by(weights[net], (320, 192)), rife_by(weights[version], more.pop("factor", 2))
    return Finish(Span(clip, 0, clip.frames), None, upscale, rule, ENCODE, **more)


def unheard(done: float) -> None:
    """Says nothing to nobody."""


def finished(finish: Finish, place: Place) -> list[Frame]:
    with closing(Suite(place)) as suite:
        return [frame.copy() for frame in suite.frames(finish, unheard)]


def far(one: list[Frame], other: list[Frame]) -> np.ndarray:
    return np.abs(np.stack(one).astype(int) - np.stack(other))


def test_the_driver_tells_what_torch_sees():
    found = gpus()
    assert [gpu.name for gpu in found] == [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    assert abs(found[0].bytes - torch.cuda.get_device_properties(0).total_memory) < 2**30
    assert has_gpu(None)
    assert not has_gpu("cpu")


def test_a_device_that_is_not_there_is_named():
    with pytest.raises(DeviceMissing, match="cuda:99"):
        open_device("cuda:99")


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("scale", [4, 2])
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's compiler uses what torch deprecates
def test_upscaled_as_on_the_cpu(net: str, scale: int, compiled: bool, weights: dict[str, Path]):
    frames = torch.from_numpy(np.ascontiguousarray(data.chelsea()[40:136, 100:228]))[None]
    upscale = upscale_by(weights[net], (128 * scale, 96 * scale))
    here = open_enlarger(upscale, torch.device("cpu"))(frames)
    there = open_enlarger(upscale, GPU, 2, compile=compiled)(frames.to(GPU))
    apart = (there.float().cpu() - here).abs() * 255
    assert here.std() > 0.1
    assert apart.max() <= 3  # fp16 has 11 bits of mantissa: a level or two, in few places
    assert apart.mean() < 0.2


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("version", ["4.6", "4.7", "4.26"])
def test_finished_as_on_the_cpu(net: str, version: str, clip: Clip, weights: dict[str, Path]):
    finish = finish_of(clip, weights, net, version)
    apart = far(finished(finish, Place("cuda:0")), finished(finish, Place("cpu")))
    assert apart.mean() < 0.5
    assert np.percentile(apart, 99) <= 4


@pytest.mark.parametrize("format", FORMATS)
def test_planes_are_the_cpus(format: str, clip: Clip, weights: dict[str, Path]):
    finish = finish_of(clip, weights, factor=1)
    found: list[list[np.ndarray]] = []
    for device in ("cuda:0", "cpu"):
        with closing(Suite(Place(device))) as suite:
            pictures = list(suite.pictures(finish, unheard, FORMATS[format].pixels))
        found.append(
            [p if isinstance(p, np.ndarray) else np.concatenate([x.ravel() for x in (p.y, p.u, p.v)]) for p in pictures]
        )
    apart = far(*found)
    assert apart.mean() < (0.5 if FORMATS[format].bits == 8 else 2)


def coloured(gains: tuple[float, float, float], level: int) -> Numbers:
    return numbers_of(np.hstack([np.diag(gains), np.full((3, 1), level)]))


RED, DARK, BLUE = (coloured((1.04, 1.0, 0.97), -3), coloured((0.95, 0.95, 0.96), 2), coloured((0.98, 1.01, 1.05), 1))


def test_a_grade_is_drawn_as_floats_and_rounded_once(clip: Clip, weights: dict[str, Path]):
    easing = Grade(RED, DARK, clip.frames - 1)
    finish = Finish(Span(clip, 0, clip.frames), None, None, rife_by(weights["4.6"]), ENCODE, colour=Graded(clip=easing))
    assert finish.graded_on_device
    shown = finished(finish, Place("cuda:0"))[1::2]  # every other frame is between two
    plain = list(read_span(finish.span))
    # RGB24 is rounded to the nearest here; on the CPU by a pattern.
    exact = [np.clip(frame @ easing.at(i)[:, :3].T + easing.at(i)[:, 3], 0, 255) for i, frame in enumerate(plain)]
    assert np.abs(np.stack(exact) - np.stack(shown)).max() <= 0.6
    assert far(shown, [graded(frame, easing.at(i)) for i, frame in enumerate(plain)]).max() <= 1
    assert far(shown, plain).mean() > 2


def test_graded_and_dissolved_as_on_the_cpu(folder: Path, clip: Clip, weights: dict[str, Path]):
    # What is handed over and what is dissolved from are other clips', each with a grade of its own.
    before = kept(folder / "before", 6)
    colour = Graded(Grade(RED), Grade(BLUE), Grade(DARK))
    finish = replace(finish_of(clip, weights), lead=before.last, colour=colour)
    dissolved = replace(finish, lead=None, opens=Dissolve(4, Span(before, 3, 6)), colour=replace(colour, lead=None))
    for each in (finish, dissolved):
        apart = far(finished(each, Place("cuda:0")), finished(each, Place("cpu")))
        assert apart.mean() < 0.5
        assert np.percentile(apart, 99) <= 4
        assert far(finished(each, Place("cuda:0")), finished(replace(each, colour=None), Place("cuda:0"))).mean() > 2


def test_frames_are_the_same_for_a_slow_and_for_a_fast_taker_and_beside_other_work(
    clip: Clip, weights: dict[str, Path]
):
    finish = finish_of(clip, weights, factor=3)
    expected = finished(finish, Place("cuda:0"))
    assert len(expected) == 27

    def slowly(suite: Suite) -> Iterator[Frame]:
        for frame in suite.frames(finish, unheard):
            time.sleep(0.01)
            yield frame

    ended = threading.Event()
    worker = threading.Thread(target=busy, args=(ended,))
    worker.start()
    try:
        with closing(Suite(Place("cuda:0"))) as suite:
            for taken in (list(slowly(suite)), list(suite.frames(finish, unheard))):
                assert all(np.array_equal(one, other) for one, other in zip(taken, expected, strict=True))
    finally:
        ended.set()
        worker.join()


def busy(ended: threading.Event) -> None:
    """Others on the device, whose memory comes and goes."""
    with torch.cuda.stream(torch.cuda.Stream(GPU)):
        while not ended.is_set():
            ones = torch.ones(1024, 1024, device=GPU)
            for _ in range(20):
                ones = (ones @ ones).clamp_(0, 1)
            torch.cuda.current_stream().synchronize()


def test_it_works_in_portions_of_any_size(clip: Clip, weights: dict[str, Path], monkeypatch: pytest.MonkeyPatch):
    finish = finish_of(clip, weights, "large")
    expected = finished(finish, Place("cuda:0"))
    monkeypatch.setattr(Suite, "_plan", lambda *given: FinishPlan(1, 8192, 1, 0))
    apart = far(finished(finish, Place("cuda:0")), expected)
    assert apart.mean() < 0.5  # tiles: other shapes, other kernels
    assert np.percentile(apart, 99) <= 4


def test_closed_it_gives_all_memory_back(clip: Clip, weights: dict[str, Path]):
    finish, left = finish_of(clip, weights), []
    for _ in range(3):
        finished(finish, Place("cuda:0"))
        gc.collect()
        torch.cuda.synchronize()
        left.append(torch.cuda.memory_allocated(GPU))
    assert left[2] <= left[1]


def test_what_is_left_early_ends_and_gives_its_memory_back(clip: Clip, weights: dict[str, Path]):
    finish = finish_of(clip, weights)
    finished(finish, Place("cuda:0"))
    gc.collect()
    before, threads = torch.cuda.memory_allocated(GPU), threading.active_count()
    suite = Suite(Place("cuda:0"))
    frames = suite.frames(finish, unheard)
    next(frames)
    frames.close()
    suite.close()
    del frames
    gc.collect()
    torch.cuda.synchronize()
    assert threading.active_count() == threads
    assert torch.cuda.memory_allocated(GPU) <= before


def test_the_second_gpu_draws_the_same(clip: Clip, weights: dict[str, Path]):
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two GPUs")
    finish = finish_of(clip, weights)
    expected = finished(finish, Place("cuda:0"))
    gc.collect()
    before = torch.cuda.memory_allocated(GPU)
    drawn = finished(finish, Place("cuda:1"))
    assert torch.cuda.memory_allocated(GPU) == before, "nothing of it is on the first GPU"
    assert far(drawn, expected).max() <= 1


def test_nvenc_works_or_says_why_not():
    for format in ("h264_nvenc", "hevc_nvenc"):
        assert works(format) == (encoder_problem(format) is None)


def test_a_draft_finished_on_the_gpu(tmp_path: Path, weights: dict[str, Path]):
    write_picture(tmp_path, "a.png", 1)
    finish = f'[finish]\nupscale = {{ model = "{weights["small"]}", scale = 2 }}\n'
    path = write_story(tmp_path, scene("a", image="a.png"), scene("b"), finish=finish)
    run = render(path, device="cuda:0", compile=False)
    assert run.outcome.film is not None
    assert render(path, device="cpu").finished == [], "where it ran is not part of a key"
