"""Who does the work: one worker shoots, one finishes, at the same time; another executor would stand here instead."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import Future
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

from post.finish import Finish, Segment
from post.interpolate import Interpolate
from post.match import Ends, Match
from post.upscale import Upscale
from scenes.files import load_clip, write_clip
from scenes.footage import Clip, Size, Still
from scenes.picture import fit_picture
from scenes.shot import Machine, Shot, Studio
from storyboard.colour import recalled_ends, recalled_match
from storyboard.cutting_room import CuttingRoom
from storyboard.events import Events
from storyboard.hand_on import HandOn
from storyboard.handed import Handed, handed
from storyboard.identity import digest
from storyboard.mending import Mending
from storyboard.placing import Workplace
from storyboard.shortage import SHOOTING
from storyboard.store import CLIPS, Store
from storyboard.story import Colour
from storyboard.turns import Turns
from storyboard.worker import Shift, Worker, settled


class Crew(Protocol):
    """Takes works and gives futures."""

    @property
    def at_once(self) -> int:
        """How many scenes it can shoot at the same time."""
        ...

    def shoot(self, scene: str, shot: Shot, *, anew: bool, held: bool) -> Future[Clip]:
        """held: the clip ends on the shot's last still, pixel for pixel, whatever was drawn."""
        ...

    def hand_on(self, clip: Clip, how: HandOn) -> Handed: ...
    def finish(self, scene: str, finish: Finish) -> Future[Segment]: ...
    def skip(self, scene: str) -> None: ...
    def still(self, picture: Path, size: tuple[int, int], fit: str, background: Colour) -> Still: ...
    def match(self, clip: Clip, shown: Still) -> Match: ...
    def ends(self, handed: Handed) -> Ends: ...
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
        self,
        store: Store,
        events: Events,
        machine: Machine,
        expected: Mapping[str, Shot],
        place: Workplace,
        judged: frozenset[str] = frozenset(),
    ) -> None:
        """expected: what is to be shot, by scene: the studio loads for all of it at once, and is freed after it.
        place: where clips are finished. judged: scenes that fail where they end too far from the frame they hold."""
        self._store, self._events, self._machine = store, events, machine
        self._shift = Shift(store, events, Turns() if place.turns else None)
        self._expected = tuple(expected.values())
        self._ahead = set(expected)
        self._mending = Mending(store, events, judged)
        self._studio: Studio | None = None
        self._camera = Worker("camera", self._shift, "scene.failed", SHOOTING)
        self._cutting_room = CuttingRoom(self._shift, machine, place)
        self.takes: list[tuple[str, Path]] = []
        self.made: set[str] = set()

    def still(self, picture: Path, size: tuple[int, int], fit: str, background: Colour) -> Still:
        return fitted(self._store, picture, size, fit, background)

    def match(self, clip: Clip, shown: Still) -> Match:
        with self._store.damage_set_aside():
            return recalled_match(self._store, clip, shown)

    def ends(self, handed: Handed) -> Ends:
        with self._store.damage_set_aside():
            return recalled_ends(self._store, handed)

    def shoot(self, scene: str, shot: Shot, *, anew: bool, held: bool) -> Future[Clip]:
        key = digest(shot)
        home = None if anew else self._shift.found(CLIPS, key, scene)
        if home is not None and held:
            home = self._mending.found(load_clip(home), shot)
        if home is not None:
            self._events.tell("scene.kept", scene=scene, key=key)
            self.skip(scene)
            return settled(load_clip(home))

        ticket = self._shift.ticket()

        def work() -> Clip:
            try:
                with self._shift.turn(ticket):
                    clip = self._shoot(scene, shot, key, anew)
                return self._mending.mended(scene, clip, shot) if held else clip
            finally:
                self._was_shot(scene)

        return self._camera.submit(scene, ticket, work)

    def skip(self, scene: str) -> None:
        """Not to be shot after all. In turn: the scene before it may be under way still."""
        self._camera.note(partial(self._was_shot, scene))

    def prepare(self, upscale: Upscale | None, rule: Interpolate | None, size: Size) -> None:
        """For clips of a size, finished like this."""
        self._cutting_room.prepare(upscale, rule, size)

    def hand_on(self, clip: Clip, how: HandOn) -> Handed:
        with self._store.damage_set_aside():
            return handed(self._store, clip, how, keep=True)

    def finish(self, scene: str, finish: Finish) -> Future[Segment]:
        return self._cutting_room.finish(scene, finish)

    def _was_shot(self, scene: str) -> None:
        """One less to shoot, well or not. After the last the studio is freed: in turns the finishing may need its
        memory; else the last clip does not wait for that, which takes a second or two for a model of full size."""
        self._ahead.discard(scene)
        if self._ahead:
            return
        if self._shift.turns is not None:
            self._free()
        else:
            self._camera.note(self._free)

    def _free(self) -> None:
        studio, self._studio = self._studio, None
        if studio is not None:
            studio.close()

    def _shoot(self, scene: str, shot: Shot, key: str, anew: bool) -> Clip:
        self._shift.heed()
        self._events.tell("scene.started", scene=scene, key=key, frames=shot.frames)
        begun: list[float] = []

        def make(into: Path) -> None:
            studio = self._opened(shot)
            begun.append(time.monotonic())
            frames = studio.render(shot, self._shift.teller("scene.progress", scene))
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

    def stop(self) -> None:
        """Stop what is under way between two frames or steps, drop what waits, and free the studio."""
        self._shift.stopping.set()
        self.close()

    def close(self) -> None:
        """Let what is under way end, drop what waits, and free the studio."""
        self._camera.close()
        self._free()
        self._cutting_room.close()
