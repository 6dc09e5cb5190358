"""Where clips are finished: one place for a run, its nets opened once; it reads, draws and encodes at the same time."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from typing import TYPE_CHECKING, Any, TypeVar, cast

from post.ahead import Heed, ahead
from post.budget import FinishPlan, plan_finishing
from post.devices import gpu_of, has_gpu, installed
from post.finish import Finish, Tell
from post.interpolate import Between, Flow, Interpolate, Rife, RifeNcnn
from post.kit import Kit, NumpyKit, by_flow
from post.picture import Picture, picture_bytes
from post.steps import drawn, sources
from post.upscale import TILE_PIXELS, Lanczos, Upscale, check_torch
from scenes.footage import Frame, Size

if TYPE_CHECKING:
    from post.conform import Conform
    from post.rife_ncnn import RifeProcess
    from post.torch_kit import Lane, TorchKit

T = TypeVar("T")
Turn = Callable[[], AbstractContextManager[Any]]

WAITING, WAITING_BY_DEVICE = 4, 12
"""How many finished pictures may wait for the encoder at least, counted as RGB; a device makes several at once."""


def unheard(text: str) -> None:
    """Says nothing to nobody."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where and how clips are finished. None of it is part of a key.

    device: as torch names it; None for a CUDA device if there is one.
    vram: bytes that finishing may take there; None for what is free.
    compile: whether upscalers are compiled, on CUDA only.
    frees: memory that torch keeps for the next segment is given back before a turn is left; the nets stay.
    buffer: bytes of finished pictures that may wait for the encoder, so that a turn need not wait for it.
    """

    device: str | None = None
    vram: int | None = None
    compile: bool = False
    frees: bool = False
    buffer: int = 0
    say: Callable[[str], None] = unheard


class Suite:
    """Finishes clips, several at once where they are taken by several threads. Nothing is opened before the first;
    close it after the last."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._opening = threading.Lock()
        self._opened: dict[Any, Any] = {}
        self._held = ExitStack()

    def pictures(self, finish: Finish, tell: Tell, pixels: str, turn: Turn = nullcontext) -> Generator[Picture]:
        """The finished pictures, `finish.frames` of them, as an encoder of that pixel format takes them.

        Threads work ahead of whoever takes them, and have ended when the last is taken or this is closed. Each picture
        is told of when the next is asked for.

        turn: entered in a thread of the suite's own before it first touches the device, and left as soon as the last
            picture lies in the host's memory. What it raises arrives here.

        Raises:
            DamagedFile: of the clip, the lead, what is dissolved from, or a net's weights.
            Lacking: weights, a device, a package or memory.
        """
        width, height = finish.size
        waiting = WAITING_BY_DEVICE if finish.takes_device else WAITING
        room = max(self._place.buffer, waiting * width * height * 3)
        with closing(ahead(partial(self._finished, finish, pixels, turn), room, picture_bytes)) as pictures:
            for count, picture in enumerate(pictures, start=1):
                yield picture
                tell(count / finish.frames)

    def frames(self, finish: Finish, tell: Tell, turn: Turn = nullcontext) -> Generator[Frame]:
        """The same as uint8 RGB."""
        return cast("Generator[Frame]", self.pictures(finish, tell, "rgb24", turn))

    def prepare(self, upscale: Upscale | None, rule: Interpolate | Conform | None, size: Size) -> None:
        """Opens what clips of a size are finished with, and has it compiled.

        While one thing is compiled, all else that is waits for it (scenes.compiled): best while models are loading.
        """
        import numpy as np

        lane = self._once("lane", self._lane)
        with lane.entered():
            kit = self._torch_kit(upscale, rule, size, lane, lambda: None)
            width, height = size
            for _ in kit.sized(iter([np.zeros((height, width, 3), np.uint8)]), repeat(None)):
                pass

    def made(self, finish: Finish) -> dict[str, Any]:
        """How a clip is finished here, for the record beside what is made."""
        by = finish.interpolate.by if finish.interpolate is not None else None
        made: dict[str, Any] = {"rife": self._ncnn(by).made()} if isinstance(by, RifeNcnn) else {}
        if not finish.takes_device:
            return made
        gpu = gpu_of(self._place.device) if has_gpu(self._place.device) else None
        compiled = {"compiled": True} if gpu is not None and self._place.compile and finish.enlarged_by_net else {}
        device = gpu.name if gpu is not None else self._place.device or "cpu"
        return {**made, "torch": installed("torch"), "device": device, **compiled}

    def close(self) -> None:
        """Frees nets and the memory kept for them."""
        lane = cast("Lane | None", self._opened.get("lane"))
        self._opened.clear()
        self._held.close()
        if lane is not None:
            lane.free()

    def _finished(self, finish: Finish, pixels: str, turn: Turn, heed: Heed) -> Generator[Picture]:
        """The stage between the reader and the encoder."""
        with ExitStack() as readers:
            source, tail = (readers.enter_context(closing(each)) for each in sources(finish))
            with self._kit(finish, turn, heed) as kit:
                yield from drawn(finish, kit, source, tail, pixels)
            for reader in (source, tail):
                for _ in reader:  # what is not shown is read too: only at its end a clip is known to be whole
                    pass

    @contextmanager
    def _kit(self, finish: Finish, turn: Turn, heed: Heed) -> Generator[Kit[Any]]:
        by = finish.interpolate.by if finish.interpolate is not None else None
        if not finish.takes_device:
            yield NumpyKit(self._by_host(by))
            return
        check_torch()
        with turn():
            heed()  # a turn may be long in coming
            lane = self._once("lane", self._lane)
            try:
                with lane.entered():
                    rule, size = finish.interpolate, finish.span.clip.size
                    kit = self._torch_kit(finish.upscale, rule, size, lane, heed)
                    # Drawn in the host's memory, by flow or ncnn, frames take their time, and the turn is kept
                    # meanwhile: leaving it between two batches would take the memory anew for each.
                    host = by is not None and not isinstance(by, Rife)
                    yield NumpyKit(self._by_host(by), kit.enlarged) if host else kit
            finally:
                if self._place.frees:
                    lane.free()

    def _by_host(self, by: Flow | Rife | RifeNcnn | None) -> Between[Frame]:
        """What draws between frames in the host's memory."""
        return self._ncnn(by) if isinstance(by, RifeNcnn) else by_flow()

    def _ncnn(self, by: RifeNcnn) -> RifeProcess:
        from post.rife_ncnn import open_rife_ncnn

        place = self._place
        return self._once(by, lambda: self._held.enter_context(open_rife_ncnn(by, place.device, place.say)))

    def _lane(self) -> Lane:
        from post.torch_kit import Lane
        from post.upscale import open_device

        return Lane(open_device(self._place.device))

    def _torch_kit(
        self, upscale: Upscale | None, rule: Interpolate | Conform | None, size: Size, lane: Lane, heed: Heed
    ) -> TorchKit:
        from post.torch_kit import TorchKit

        plan = self._plan(upscale, rule, size, lane)
        enlarge, between = None, None
        if upscale is not None and not isinstance(upscale.by, Lanczos):
            from post.upscale import open_enlarger

            compiles = self._place.compile and lane.place.type == "cuda"
            if compiles:
                keep_compiled()
            portion = plan.frames_at_once, plan.tile_pixels
            opened = partial(open_enlarger, upscale, lane.place, *portion, compiles)
            enlarge = self._once(("enlarge", upscale, portion), lambda: lane.opened(opened))
        heed()  # so may be loading
        if rule is not None and isinstance(by := rule.by, Rife):
            from post.rife import open_rife

            net = partial(open_rife, by, lane.place)
            between = self._once(("between", by), lambda: lane.opened(net))
        return TorchKit(lane, enlarge, between, plan.frames_at_once, plan.pairs_at_once)

    def _plan(self, upscale: Upscale | None, rule: Interpolate | Conform | None, size: Size, lane: Lane) -> FinishPlan:
        """One for all clips of a size: what is free changes while others work on the device."""
        if lane.place.type != "cuda":
            return FinishPlan(1, TILE_PIXELS, 1, 0)

        def planned() -> FinishPlan:
            return plan_finishing(upscale, rule, size, self._place.vram or lane.free_bytes())

        return self._once(("plan", upscale, rule and rule.by, size), planned)

    def _once(self, key: Any, opens: Callable[[], T]) -> T:
        with self._opening:
            if key not in self._opened:
                self._opened[key] = opens()
            return self._opened[key]


def keep_compiled() -> None:
    """Has compiled nets kept beside the user's other caches: torch's own default is a folder that a restart empties."""
    from platformdirs import user_cache_path

    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(user_cache_path("storyboard") / "compiled"))
