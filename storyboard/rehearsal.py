"""A story walked through by a crew that makes nothing and lists what is missing: `plan` is the same walk with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path

from post.finish import Finish, Segment, load_segment
from post.match import Ends, Match
from post.mend import Mend, mend_of
from post.transition import Dissolve
from scenes.files import load_clip
from scenes.footage import Clip, DamagedFile, Still, frame_digest
from scenes.picture import fit_picture
from scenes.shot import MachineLacks, Shot, unheard
from storyboard.colour import Shade, recalled_ends, recalled_match
from storyboard.crew import fitting
from storyboard.film import Reel, Wanted, film
from storyboard.gear import Gear, gear_for
from storyboard.hand_on import HandOn
from storyboard.handed import Handed, handed
from storyboard.identity import UNMADE, digest
from storyboard.manifest import REAL, Manifest
from storyboard.options import Options
from storyboard.order import closure
from storyboard.store import CLIPS, SEGMENTS, Store
from storyboard.story import Colour, Story
from storyboard.transitions import dissolves_from
from storyboard.worker import settled


class Rehearsal:
    """What was asked of it, by scene, and which of that is not kept. `to_mend`: of the missing clips, those that are
    kept as they were drawn, and lack their mending alone."""

    at_once = 1

    def __init__(self, store: Store) -> None:
        self.store = store
        self.shots: dict[str, Shot] = {}
        self.finishes: dict[str, Finish] = {}
        self.mends: dict[str, Mend] = {}
        self.missing_clips: set[str] = set()
        self.to_mend: set[str] = set()
        self.missing_segments: set[str] = set()

    @property
    def undrawn(self) -> set[str]:
        """Scenes that must be drawn."""
        return self.missing_clips - self.to_mend

    def still(self, picture: Path, size: tuple[int, int], fit: str, background: Colour) -> Still:
        how = fitting(size, fit, background)
        known = self.store.memory.recall(picture, how)
        if known is None:
            known = frame_digest(fit_picture(picture, size, fit, background))
            self.store.memory.note(picture, known, how)
        return self.store.still(known)

    def shoot(self, scene: str, shot: Shot, *, anew: bool, held: bool) -> Future[Clip]:
        self.shots[scene] = shot
        key = digest(shot)
        home = None if anew or waits(shot) else self._found(CLIPS, key)
        mend = mend_of(load_clip(home), shot.last) if held and shot.last is not None and home is not None else None
        if mend is not None:
            self.mends[scene] = mend
            home = self._found(CLIPS, digest(mend))
            self.to_mend |= {scene} if home is None else set()
        if home is not None:
            return settled(load_clip(home))
        self.missing_clips.add(scene)
        unmade = UNMADE + key
        folder = self.store.home(CLIPS, key)
        # What a scene holds is known before it is made, so nothing after it waits.
        last = shot.last if held and shot.last is not None else Still(unmade, folder / "last.png")
        return settled(Clip(unmade, shot.frames, shot.renderer.fps, shot.size, last, folder))

    def hand_on(self, clip: Clip, how: HandOn) -> Handed:
        return handed(self.store, clip, how, keep=False)

    def finish(self, scene: str, finish: Finish) -> Future[Segment]:
        self.finishes[scene] = finish
        key = digest(finish)
        home = None if any(of.startswith(UNMADE) for of in made_from(finish)) else self._found(SEGMENTS, key)
        if home is not None:
            return settled(load_segment(home))
        self.missing_segments.add(scene)
        folder = self.store.home(SEGMENTS, key)
        return settled(Segment(UNMADE + key, finish.frames, finish.fps, finish.size, "", folder))

    def match(self, clip: Clip, shown: Still) -> Match:
        return recalled_match(self.store, clip, shown)

    def ends(self, handed: Handed) -> Ends:
        return recalled_ends(self.store, handed)

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


def made_from(finish: Finish) -> tuple[str, ...]:
    """Digests of the clips that a segment is made from, and of those that its colour follows."""
    tail = (finish.opens.tail.clip.digest,) if isinstance(finish.opens, Dissolve) else ()
    return (finish.span.clip.digest, *tail, *(finish.colour.follows if finish.colour is not None else ()))


def waits(shot: Shot) -> bool:
    """Whether a shot opens or ends on a frame that is not made yet."""
    stills = [*shot.opening, *([shot.last] if shot.last else [])]
    return any(still.digest.startswith(UNMADE) for still in stills)


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """A story walked through without making anything."""

    story: Story
    gear: Gear
    crew: Rehearsal
    reel: Reel
    options: Options
    beside: Mapping[str, Handed] = field(default_factory=dict[str, Handed])
    shades: Mapping[str, Shade] = field(default_factory=dict[str, Shade])

    @property
    def lacks(self) -> tuple[str, ...]:
        """What must be put right before this can be made, each with its remedy."""
        return (*self.gear.lacks, *(self.gear.lacks_to_draw if self.crew.undrawn else ()))

    def check_known(self) -> None:
        """Raises MachineLacks where files are missing whose digests would tell which clips are the story's."""
        drawings, manifest = self.gear.drawings, Manifest(self.crew.store, self.story.path)
        made_once = any(manifest.scene(REAL, name) for name in self.crew.missing_clips)
        if drawings is not None and drawings.lacks and made_once:
            told = "which clips are this story's is told by its weights and LoRAs, and some are not here"
            raise MachineLacks("\n".join((told, *drawings.lacks)))


def rehearse(story: Story, store: Store, options: Options, say: Callable[[str], None] = unheard) -> Rehearsed:
    """Walk through the story without making anything; scenes whose pictures do not decode are in the reel's failed.

    say: hears that big files are read for the first time.
    """
    scenes = closure(story, options.scenes) if options.scenes is not None else None
    device, finish_on = options.device, options.finish_on
    gear = gear_for(story, options.draft, options.weights, device, store.memory, scenes, say, finish_on)
    crew = Rehearsal(store)
    beside, shades = _beside(story, store, options, scenes, say) if scenes is not None else ({}, {})
    reel = film(story, gear, crew, Wanted(options.scenes, options.anew, keep_going=True, beside=beside, shades=shades))
    return Rehearsed(story, gear, crew, reel, options, beside, shades)


def _beside(
    story: Story, store: Store, options: Options, scenes: frozenset[str], say: Callable[[str], None]
) -> tuple[dict[str, Handed], dict[str, Shade]]:
    """What scenes of a run dissolve from, of kept clips of scenes that are not in it, and how they are shown."""
    before = {dissolves_from(story.scenes, index) for index, scene in enumerate(story.scenes) if scene.name in scenes}
    wanted = {name for name in before if name is not None and name not in scenes}
    if not wanted:
        return {}, {}
    whole = rehearse(story, store, replace(options, scenes=None), say)
    kept = {name for name, shade in whole.reel.shades.items() if shade.known} & (wanted - whole.crew.missing_clips)
    return {name: whole.reel.handed[name] for name in kept}, {name: whole.reel.shades[name] for name in kept}
