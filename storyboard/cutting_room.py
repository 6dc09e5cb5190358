"""Where a run's clips are finished as segments, beside the one who shoots: hands that share the nets."""

from __future__ import annotations

import time
from concurrent.futures import Future
from functools import partial
from importlib.metadata import version
from pathlib import Path

from post.budget import CLIPS_AT_ONCE
from post.devices import cores, has_gpu
from post.encode import FORMATS, THREADS
from post.finish import Finish, Segment, load_segment, write_segment
from post.interpolate import Interpolate
from post.suite import Place, Suite
from post.upscale import Lanczos, Upscale
from scenes.footage import Size
from scenes.shot import Machine
from storyboard.identity import digest
from storyboard.placing import Workplace, compiles
from storyboard.shortage import FINISHING
from storyboard.store import SEGMENTS
from storyboard.turns import Ticket
from storyboard.worker import Shift, Worker, settled

WAITING_WITH_TURNS = 2 * 2**30
"""Bytes of finished pictures that may wait for the encoder, so that the device is free before they are encoded."""


def hands() -> int:
    """How many clips are finished at once: each keeps an encoder's threads busy."""
    return max(1, min(CLIPS_AT_ONCE, cores() // THREADS))


class CuttingRoom:
    """Finishes clips in the order in which they come; nothing is loaded before the first."""

    def __init__(self, shift: Shift, machine: Machine, place: Workplace) -> None:
        self._shift = shift
        self._device, self._compiles = place.device, compiles(machine.compile)
        self._suite = self._opened(machine, place)
        self._worker = Worker("finishing", shift, "segment.failed", FINISHING, hands())

    def prepare(self, upscale: Upscale | None, rule: Interpolate | None, size: Size) -> None:
        """Has an upscaler compiled while the model that draws is still loading, and holds nobody up by it.

        What goes wrong is told with the first clip, which meets it again.
        """
        by_net = upscale is not None and not isinstance(upscale.by, Lanczos)
        if by_net and self._compiles and not self._shift.turns and has_gpu(self._device):
            self._worker.note(lambda: self._suite.prepare(upscale, rule, size))

    def finish(self, scene: str, finish: Finish) -> Future[Segment]:
        key = digest(finish)
        if home := self._shift.found(SEGMENTS, key, scene):
            self._shift.events.tell("segment.kept", scene=scene, key=key)
            return settled(load_segment(home))
        ticket = self._shift.ticket()  # before the scenes that wait for this clip ask for theirs
        return self._worker.submit(scene, ticket, partial(self._finish, scene, finish, key, ticket))

    def close(self) -> None:
        """Let what is under way end, drop what waits, and free the nets."""
        self._worker.close()
        self._suite.close()

    def _opened(self, machine: Machine, place: Workplace) -> Suite:
        return Suite(
            Place(
                device=place.device,
                vram=place.vram,
                compile=self._compiles,
                frees=place.turns,
                buffer=WAITING_WITH_TURNS if place.turns else 0,
                say=machine.say,
            )
        )

    def _finish(self, scene: str, finish: Finish, key: str, ticket: Ticket | None) -> Segment:
        shift = self._shift
        shift.heed()
        started = time.monotonic()
        shift.events.tell("segment.started", scene=scene, key=key, frames=finish.frames)

        drawn: list[str] = []

        def make(into: Path) -> None:
            drawn.append(scene)
            pixels = FORMATS[finish.encode.format].pixels
            tell, turn = shift.teller("segment.progress", scene), partial(shift.turn, ticket)
            pictures = self._suite.pictures(finish, tell, pixels, turn)
            write_segment(finish, pictures, into, {"storyboard": version("storyboard"), **self._suite.made(finish)})

        with shift.store.damage_set_aside():
            home = shift.store.keep(SEGMENTS, finish, make)
        if drawn:
            shift.events.tell("segment.done", scene=scene, key=key, seconds=round(time.monotonic() - started, 3))
        else:  # another run made it while this one waited
            shift.events.tell("segment.kept", scene=scene, key=key)
        return load_segment(home)
