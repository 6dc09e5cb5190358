"""A film's finished frames for an export: read from a master where that holds all of them, else made from clips."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from post.encode import FORMATS, MASTER
from post.finish import Finish, load_segment
from post.interpolate import Rife
from post.picture import Picture
from post.suite import Place, Suite
from scenes.files import read_video
from scenes.footage import Frame
from scenes.shot import unheard
from storyboard.identity import digest
from storyboard.options import Options
from storyboard.placing import compiles
from storyboard.store import SEGMENTS, Store

Tell = Callable[[str, float], None]
"""Hears how much of a scene is done, 0 to 1."""


class Finished:
    """The finished frames of scenes, all from one suite: its nets are loaded once. `tell` hears how far each scene is.

    Each raises DamagedFile where kept work was damaged, once that has been set aside.
    """

    def __init__(self, suite: Suite, store: Store, tell: Tell) -> None:
        self._suite, self._store, self._tell = suite, store, tell

    def frames(self, scene: str, finish: Finish) -> Generator[Frame]:
        """uint8 RGB: what a master and every lossless export hold."""
        with self._store.damage_set_aside():
            yield from self._kept(scene, finish) or self._suite.frames(finish, self._teller(scene))

    def pictures(self, scene: str, finish: Finish, format: str) -> Generator[Picture]:
        """As an encoder takes them. A master holds 8 bits: for a format of more, what is finer is finished again."""
        form = FORMATS[format]
        with self._store.damage_set_aside():
            kept = None if form.bits > 8 and finer(finish) else self._kept(scene, finish)
            yield from kept or self._suite.pictures(finish, self._teller(scene), form.pixels)

    def anew(self, scene: str, finish: Finish) -> Generator[Frame]:
        """For a master itself."""
        with self._store.damage_set_aside():
            yield from self._suite.frames(finish, self._teller(scene))

    def _kept(self, scene: str, finish: Finish) -> Generator[Frame] | None:
        home = self._store.find(SEGMENTS, digest(replace(finish, encode=MASTER)))
        return self._read(scene, home) if home is not None else None

    def _read(self, scene: str, home: Path) -> Generator[Frame]:
        segment = load_segment(home)
        for count, frame in enumerate(read_video(segment.path, 0, segment.frames), start=1):
            yield frame
            self._tell(scene, count / segment.frames)

    def _teller(self, scene: str) -> Callable[[float], None]:
        return lambda done: self._tell(scene, done)


def finer(finish: Finish) -> bool:
    """Whether its frames have more than 8 bits until they are encoded: nets alone draw them."""
    by = finish.interpolate.by if finish.interpolate else None
    return finish.takes_device and (by is None or isinstance(by, Rife))


@contextmanager
def finishing(options: Options, store: Store, tell: Tell, say: Callable[[str], None] = unheard) -> Generator[Finished]:
    """Where an export's clips are finished. `say` hears how."""
    place = Place(options.finish_on or options.device, options.vram, compiles(options.compile), say=say)
    suite = Suite(place)
    with closing(suite):
        yield Finished(suite, store, tell)
