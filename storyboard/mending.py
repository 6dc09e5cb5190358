"""Clips of scenes that hold their end: brought to end on the frame held, or refused where they end too far from it."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from post.mend import Apart, Limits, Mend, apart, mend_of, mended
from scenes.files import load_clip, read_still, write_clip
from scenes.footage import Clip, Still
from scenes.shot import Shot
from storyboard.events import Events
from storyboard.identity import digest
from storyboard.store import CLIPS, Store

LIMITS = Limits()


class TooFar(Exception):  # noqa: N818 (it says how a clip came out)
    """A clip ends too far from the frame that its scene holds. It is kept, under `key`."""

    def __init__(self, found: Apart, key: str, remedy: str = "") -> None:
        over = found.over(LIMITS)
        told = ", ".join(f"{name} {getattr(found, name):.2g} (at most {getattr(LIMITS, name):g})" for name in over)
        super().__init__(f"its new end is too far from the frame it holds: {told}{remedy}")
        self.found, self.key = found, key


class Mending:
    """judged: scenes that fail where they end too far from what they hold; others are mended all the same, and it is
    told."""

    def __init__(self, store: Store, events: Events, judged: frozenset[str]) -> None:
        self._store, self._events, self._judged = store, events, judged

    def found(self, clip: Clip, shot: Shot) -> Path | None:
        """Where a drawn clip's mended one is kept; its own place where it ends on what is held as it is."""
        mend = mend_of(clip, _target(shot))
        return self._store.find(CLIPS, digest(mend)) if mend is not None else clip.path

    def mended(self, scene: str, clip: Clip, shot: Shot) -> Clip:
        """Raises TooFar and DamagedFile."""
        mend = mend_of(clip, _target(shot))
        if mend is None:
            return clip
        with self._store.damage_set_aside():
            found = apart(read_still(mend.target), read_still(clip.last))
            if found.over(LIMITS):
                self._far(scene, found, digest(shot))
            home = self._store.keep(CLIPS, mend, lambda into: _write(mend, into))
        self._events.tell("scene.mended", scene=scene, key=digest(mend), frames=mend.frames, apart=str(found))
        return load_clip(home)

    def _far(self, scene: str, found: Apart, key: str) -> None:
        far = TooFar(found, key)
        if scene in self._judged:
            raise far
        self._events.tell("scene.far", scene=scene, key=key, what=str(far))


def _target(shot: Shot) -> Still:
    assert shot.last is not None  # a scene that holds a frame is drawn towards it
    return shot.last


def _write(mend: Mend, into: Path) -> None:
    write_clip(mended(mend), into, mend.clip.fps, mend.clip.frames, {"storyboard": version("storyboard")})
