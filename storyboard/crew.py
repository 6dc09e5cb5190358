"""Who does the work: one worker shoots, one finishes, at the same time; another executor would stand here instead."""

from __future__ import annotations

import errno
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Protocol, TypeVar

from post.encode import FORMATS, EncoderMissing
from post.finish import Finish, Segment, load_segment, write_segment
from post.rife_ncnn import NcnnFailed
from post.suite import Place, Suite
from post.weights import Lacking
from scenes.files import load_clip, write_clip
from scenes.footage import Clip, DamagedFile, Still
from scenes.picture import fit_picture
from scenes.shot import Machine, MachineLacks, Shot, Stopped, Studio
from scenes.wan.checkpoint import CheckpointError
from storyboard.events import Events
from storyboard.identity import digest
from storyboard.placing import Workplace, compiles
from storyboard.store import CLIPS, SEGMENTS, Store
from storyboard.story import Colour
from storyboard.turns import Ticket, Turns

T = TypeVar("T")

TOLD = (MachineLacks, Lacking, EncoderMissing, CheckpointError, DamagedFile, NcnnFailed, OSError)
"""What says all that there is to say in its message."""

WAITING_WITH_TURNS = 2 * 2**30
"""Bytes of finished pictures that may wait for the encoder, so that the device is free before they are encoded."""


class Crew(Protocol):
    """Takes works and gives futures."""

    @property
    def at_once(self) -> int:
        """How many scenes it can shoot at the same time."""
        ...

    def shoot(self, scene: str, shot: Shot, *, anew: bool) -> Future[Clip]: ...
    def finish(self, scene: str, finish: Finish) -> Future[Segment]: ...
    def skip(self, scene: str) -> None: ...
    def still(self, picture: Path, size: tuple[int, int], fit: str, background: Colour) -> Still: ...
    def stop(self) -> None: ...
    def close(self) -> None: ...


def fitting(size: tuple[int, int], fit: str, background: Colour) -> str:
    """How a picture was fitted, as the store remembers it."""
    return f"{size[0]}x{size[1]} {fit} {background}"


def fitted(store: Store, picture: Path, size: tuple[int, int], fit: str, background: Colour) -> Still:
    """A picture at the story's size, fitted once for as long as its file stays the same."""
    how = fitting(size, fit, background)
    known = store.memory.recall(picture, how)
    if known is not None and store.whole(store.still(known)):
        return store.still(known)
    still = store.keep_still(fit_picture(picture, size, fit, background))
    store.memory.note(picture, still.digest, how)
    return still


class LocalCrew:
    """This machine's workers."""

    at_once = 1

    def __init__(
        self, store: Store, events: Events, machine: Machine, expected: Mapping[str, Shot], place: Workplace
    ) -> None:
        """expected: what is to be shot, by scene: the studio loads for all of it at once, and is freed after it.
        place: where clips are finished."""
        self._store, self._events, self._machine = store, events, machine
        self._turns = Turns() if place.turns else None
        self._suite = self._opened_suite(place)
        self._expected = tuple(expected.values())
        self._ahead = set(expected)
        self._studio: Studio | None = None
        self._stopping = threading.Event()
        self._camera = ThreadPoolExecutor(1, "camera")
        self._finishing = ThreadPoolExecutor(1, "finishing")
        self._finishing_now: Ticket | None = None
        self.takes: list[tuple[str, Path]] = []
        self.made: set[str] = set()

    def still(self, picture: Path, size: tuple[int, int], fit: str, background: Colour) -> Still:
        return fitted(self._store, picture, size, fit, background)

    def shoot(self, scene: str, shot: Shot, *, anew: bool) -> Future[Clip]:
        key = digest(shot)
        home = None if anew else self._found(CLIPS, key, scene)
        if home is not None:
            self._events.tell("scene.kept", scene=scene, key=key)
            self.skip(scene)
            return settled(load_clip(home))

        ticket = self._ticket()

        def work() -> Clip:
            try:
                with self._turn(ticket):
                    return self._shoot(scene, shot, key, anew)
            finally:
                self._was_shot(scene)

        return self._submitted(
            self._camera, ticket, lambda: self._tried("scene.failed", scene, lambda: explained(work, SHOOTING))
        )

    def skip(self, scene: str) -> None:
        """Not to be shot after all. In turn: the scene before it may be under way still."""
        self._camera.submit(self._was_shot, scene)

    def finish(self, scene: str, finish: Finish) -> Future[Segment]:
        key = digest(finish)
        if home := self._found(SEGMENTS, key, scene):
            self._events.tell("segment.kept", scene=scene, key=key)
            return settled(load_segment(home))
        ticket = self._ticket()  # before the scenes that wait for this clip ask for theirs
        work = partial(self._finish, scene, finish, key, ticket)
        return self._submitted(
            self._finishing, ticket, lambda: self._tried("segment.failed", scene, lambda: explained(work, FINISHING))
        )

    def _submitted(self, worker: ThreadPoolExecutor, ticket: Ticket | None, work: Callable[[], T]) -> Future[T]:
        """The work, in its turn; what it asked for is given back however it ends, also where it is never begun."""
        future = worker.submit(work)
        if self._turns is not None and ticket is not None:
            turns = self._turns
            future.add_done_callback(lambda _: turns.give_back(ticket))
        return future

    def _tried(self, event: str, scene: str, work: Callable[[], T]) -> T:
        """The work; that it failed is told at once, as a run that keeps going ends much later."""
        try:
            return work()
        except Stopped:
            raise
        except Exception as error:
            told = isinstance(error, TOLD)
            trace = None if told else "".join(traceback.format_exception(error))
            self._events.tell(event, scene=scene, why=str(error), trace=trace)
            raise

    def _was_shot(self, scene: str) -> None:
        """One less to shoot, well or not; after the last the finishing may need the studio's memory."""
        self._ahead.discard(scene)
        if not self._ahead:
            self._free()

    def _free(self) -> None:
        studio, self._studio = self._studio, None
        if studio is not None:
            studio.close()

    def _found(self, shelf: str, key: str, scene: str) -> Path | None:
        def damaged(error: DamagedFile) -> None:
            self._events.tell("damaged", scene=scene, path=str(error.path), what=error.what)

        return self._store.find(shelf, key, damaged)

    def _shoot(self, scene: str, shot: Shot, key: str, anew: bool) -> Clip:
        self._heed()
        self._events.tell("scene.started", scene=scene, key=key, frames=shot.frames)
        begun: list[float] = []

        def make(into: Path) -> None:
            studio = self._opened(shot)
            begun.append(time.monotonic())
            frames = studio.render(shot, self._teller("scene.progress", scene))
            made = {**studio.made, "storyboard": version("storyboard")}
            write_clip(frames, into, shot.renderer.fps, shot.frames, made)

        def kept() -> Path:
            if not anew:
                return self._store.keep(CLIPS, shot, make)
            home, take = self._store.remake(CLIPS, shot, make)
            self.takes += [(scene, take)] if take else []
            return home

        with self._store.damage_set_aside():
            clip = load_clip(kept())
        self._store.copy_still(clip.last)
        if begun:
            self.made.add(scene)
            self._events.tell("scene.done", scene=scene, key=key, seconds=round(time.monotonic() - begun[0], 3))
        else:  # another run made it while this one waited
            self._events.tell("scene.kept", scene=scene, key=key)
        return clip

    def _opened(self, shot: Shot) -> Studio:
        """The studio, opened now if this is the first to be drawn."""
        if self._studio is None:
            started = time.monotonic()
            self._studio = shot.renderer.open(self._expected or (shot,), self._machine)
            self._events.tell("studio.opened", seconds=round(time.monotonic() - started, 3))
        return self._studio

    def _opened_suite(self, place: Workplace) -> Suite:
        """Where clips are finished; nothing is loaded before the first."""
        return Suite(
            Place(
                device=place.device,
                vram=place.vram,
                compile=compiles(self._machine.compile),
                turn=lambda: self._turn(self._finishing_now),
                frees=place.turns,
                buffer=WAITING_WITH_TURNS if place.turns else 0,
                say=self._machine.say,
            )
        )

    def _ticket(self) -> Ticket | None:
        return self._turns.ticket() if self._turns is not None else None

    def _turn(self, ticket: Ticket | None) -> AbstractContextManager[None]:
        """The device is this ticket's within `with`; nothing where all may work on it at once."""
        return nullcontext() if self._turns is None or ticket is None else self._turns.taken(ticket, self._heed)

    def _finish(self, scene: str, finish: Finish, key: str, ticket: Ticket | None) -> Segment:
        self._heed()
        self._finishing_now = ticket
        started = time.monotonic()
        self._events.tell("segment.started", scene=scene, key=key, frames=finish.frames)

        drawn: list[str] = []

        def make(into: Path) -> None:
            drawn.append(scene)
            pixels = FORMATS[finish.encode.format].pixels
            pictures = self._suite.pictures(finish, self._teller("segment.progress", scene), pixels)
            write_segment(finish, pictures, into, {"storyboard": version("storyboard"), **self._suite.made(finish)})

        with self._store.damage_set_aside():
            home = self._store.keep(SEGMENTS, finish, make)
        if drawn:
            self._events.tell("segment.done", scene=scene, key=key, seconds=round(time.monotonic() - started, 3))
        else:
            self._events.tell("segment.kept", scene=scene, key=key)
        return load_segment(home)

    def _teller(self, event: str, scene: str) -> Callable[[float], None]:
        def tell(done: float) -> None:
            self._heed()
            self._events.progress(event, scene, done)

        return tell

    def _heed(self) -> None:
        if self._stopping.is_set():
            raise Stopped

    def stop(self) -> None:
        """Stop what is under way between two frames or steps, drop what waits, and free the studio."""
        self._stopping.set()
        self.close()

    def close(self) -> None:
        """Let what is under way end, drop what waits, and free the studio."""
        self._camera.shutdown(wait=True, cancel_futures=True)
        self._free()
        self._finishing.shutdown(wait=True, cancel_futures=True)
        self._suite.close()


def settled(value: T) -> Future[T]:
    future: Future[T] = Future()
    future.set_result(value)
    return future


SHOOTING = "close what else uses it, or name a smaller --vram"
FINISHING = "close what else uses it, name a smaller --vram, or finish with --finish-on cpu"


def explained(work: Callable[[], T], gpu_remedy: str = FINISHING) -> T:
    """The work, with a full disk or memory told in a person's words."""
    try:
        return work()
    except MemoryError as error:
        raise MachineLacks(f"memory ran out ({error}): close something, or make the film smaller") from error
    except Exception as error:  # FFmpeg's errors carry an errno and are not all OSErrors
        if type(error).__name__ == "OutOfMemoryError":  # torch's, named so that torch need not be loaded
            raise MachineLacks(f"the GPU's memory ran out: {gpu_remedy}") from error
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            raise MachineLacks(
                "the disk is full; what was finished is kept. Free some space (`storyboard gc` drops "
                "unused work, --store puts it elsewhere) and run the same command again"
            ) from error
        raise
