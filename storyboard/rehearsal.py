"""A crew that makes nothing and lists what is missing: `plan` is the same walk with it."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path

from post.finish import Finish, Segment, load_segment
from post.transition import Dissolve
from scenes.files import load_clip
from scenes.footage import Clip, DamagedFile, Still, frame_digest
from scenes.picture import fit_picture
from scenes.shot import Shot
from storyboard.crew import fitting, settled
from storyboard.identity import UNMADE, digest
from storyboard.store import CLIPS, SEGMENTS, Store
from storyboard.story import Colour


class Rehearsal:
    """What was asked of it, by scene, and which of that is not kept."""

    at_once = 1

    def __init__(self, store: Store) -> None:
        self.store = store
        self.shots: dict[str, Shot] = {}
        self.finishes: dict[str, Finish] = {}
        self.missing_clips: set[str] = set()
        self.missing_segments: set[str] = set()

    def still(self, picture: Path, size: tuple[int, int], fit: str, background: Colour) -> Still:
        how = fitting(size, fit, background)
        known = self.store.memory.recall(picture, how)
        if known is None:
            known = frame_digest(fit_picture(picture, size, fit, background))
            self.store.memory.note(picture, known, how)
        return self.store.still(known)

    def shoot(self, scene: str, shot: Shot, *, anew: bool) -> Future[Clip]:
        self.shots[scene] = shot
        key = digest(shot)
        home = None if anew or waits(shot) else self._found(CLIPS, key)
        if home is not None:
            return settled(load_clip(home))
        self.missing_clips.add(scene)
        unmade = UNMADE + key
        folder = self.store.home(CLIPS, key)
        last = Still(unmade, folder / "last.png")
        return settled(Clip(unmade, shot.frames, shot.renderer.fps, shot.size, last, folder))

    def finish(self, scene: str, finish: Finish) -> Future[Segment]:
        self.finishes[scene] = finish
        key = digest(finish)
        made = not any(clip.digest.startswith(UNMADE) for clip in clips_of(finish))
        home = self._found(SEGMENTS, key) if made else None
        if home is not None:
            return settled(load_segment(home))
        self.missing_segments.add(scene)
        folder = self.store.home(SEGMENTS, key)
        return settled(Segment(UNMADE + key, finish.frames, finish.fps, finish.size, "", folder))

    def _found(self, shelf: str, key: str) -> Path | None:
        """As the store finds it, but moving nothing: what is damaged counts as missing."""
        home = self.store.home(shelf, key)
        if not home.is_dir():
            return None
        try:
            self.store.check(home)
        except DamagedFile:
            return None
        return home

    def skip(self, scene: str) -> None:
        """Nothing is loaded for it."""

    def stop(self) -> None:
        """Nothing is under way."""

    def close(self) -> None:
        """Nothing is open."""


def clips_of(finish: Finish) -> tuple[Clip, ...]:
    """The clips a segment is made from."""
    return (finish.span.clip, *([finish.opens.tail.clip] if isinstance(finish.opens, Dissolve) else []))


def waits(shot: Shot) -> bool:
    """Whether a shot opens or ends on a frame that is not made yet."""
    stills = [*shot.opening, *([shot.last] if shot.last else [])]
    return any(still.digest.startswith(UNMADE) for still in stills)
