"""A run of `render`: rehearse, see that there is room, make what is missing, join the film."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

from post.encode import fingerprint
from post.finish import Finish, Segment
from scenes.footage import Clip
from scenes.shot import Machine, MachineLacks, Shot, unheard
from storyboard.crew import LocalCrew, explained
from storyboard.delivery import deliver, film_path, join_film, out_path
from storyboard.events import Events
from storyboard.film import Reel, SceneFailed, Wanted, film
from storyboard.gear import Gear, gear_for
from storyboard.identity import digest
from storyboard.manifest import REAL, Manifest, mode_of
from storyboard.notes import render_notes
from storyboard.order import closure
from storyboard.placing import drawn_by_wan, workplace
from storyboard.rehearsal import Rehearsal
from storyboard.room import existing, free_bytes, gigabytes
from storyboard.store import Store
from storyboard.story import Story
from storyboard.transitions import dissolves_from

# Lossless video of real pictures comes to about 0.6 of its raw size (FFV1 at 832x480: 0.7 MB of 1.2); noise to all.
CLIP_BYTES_PER_PIXEL = 2.0
SEGMENT_BYTES_PER_PIXEL = 0.12


@dataclass(frozen=True, slots=True)
class Options:
    """What a run was asked for. `scenes`: None for all; `anew`: these are made even where they are kept; `deliver`:
    each scene goes to out/ too. From `device` on, facts of the machine: `weights` are folders, `vram` and `ram` bytes.
    """

    draft: bool
    scenes: frozenset[str] | None = None
    anew: frozenset[str] = frozenset()
    keep_going: bool = False
    film: Path | None = None
    deliver: bool = True
    device: str | None = None
    weights: tuple[Path, ...] = ()
    vram: int | None = None
    ram: int | None = None
    attention: str | None = None
    compile: bool = True
    finish_on: str | None = None

    def machine(self, say: Callable[[str], None], aside: int) -> Machine:
        return Machine(self.device, self.vram, self.ram, self.attention, self.compile, say, aside)


@dataclass
class Outcome:
    """What a run came to. `film` is None where some scene is still missing; `there` counts clips, kept or made."""

    film: Path | None = None
    joined: bool = False
    made: set[str] = field(default_factory=set[str])
    there: int = 0
    failed: dict[str, str] = field(default_factory=dict[str, str])
    skipped: set[str] = field(default_factory=set[str])
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """A story walked through without making anything."""

    story: Story
    gear: Gear
    crew: Rehearsal
    reel: Reel
    options: Options
    beside: Mapping[str, Clip] = field(default_factory=dict[str, Clip])

    @property
    def lacks(self) -> tuple[str, ...]:
        """What must be put right before this can be made, each with its remedy."""
        return (*self.gear.lacks, *(self.gear.lacks_to_draw if self.crew.missing_clips else ()))

    def check_known(self) -> None:
        """Raises MachineLacks where files are missing whose digests would tell which clips are the story's."""
        drawings, manifest = self.gear.drawings, Manifest(self.crew.store, self.story.path)
        made_once = any(manifest.scene(REAL, name) for name in self.crew.missing_clips)
        if drawings is not None and drawings.lacks and made_once:
            told = "which clips are this story's is told by its weights and LoRAs, and some are not here"
            raise MachineLacks("\n".join((told, *drawings.lacks)))

    @property
    def bytes_needed(self) -> int:
        """Disk for what would be made, at the most."""
        shots = [shot for name, shot in self.crew.shots.items() if name in self.crew.missing_clips]
        clips = sum(_pixels(shot.size) * shot.frames for shot in shots)
        finishes = [finish for name, finish in self.crew.finishes.items() if name in self.crew.missing_segments]
        segments = sum(_pixels(finish.size) * finish.frames for finish in finishes)
        # A segment lies in the store, in out/ and in the film.
        return int(clips * CLIP_BYTES_PER_PIXEL + 3 * segments * SEGMENT_BYTES_PER_PIXEL)


def _pixels(size: tuple[int, int]) -> int:
    return size[0] * size[1]


def rehearse(story: Story, store: Store, options: Options, say: Callable[[str], None] = unheard) -> Rehearsed:
    """Walk through the story without making anything; scenes whose pictures do not decode are in the reel's failed.

    say: hears that big files are read for the first time.
    """
    scenes = closure(story, options.scenes) if options.scenes is not None else None
    device, finish_on = options.device, options.finish_on
    gear = gear_for(story, options.draft, options.weights, device, store.memory, scenes, say, finish_on)
    crew = Rehearsal(store)
    beside = _beside(story, store, options, scenes, say) if scenes is not None else {}
    reel = film(story, gear, crew, Wanted(options.scenes, options.anew, keep_going=True, beside=beside))
    return Rehearsed(story, gear, crew, reel, options, beside)


def _beside(
    story: Story, store: Store, options: Options, scenes: frozenset[str], say: Callable[[str], None]
) -> dict[str, Clip]:
    """The kept clips that scenes of a run dissolve from, of scenes that are not in it."""
    before = {dissolves_from(story.scenes, index) for index, scene in enumerate(story.scenes) if scene.name in scenes}
    wanted = {name for name in before if name is not None and name not in scenes}
    if not wanted:
        return {}
    whole = rehearse(story, store, replace(options, scenes=None), say)
    return {name: clip for name, clip in whole.reel.clips.items() if name in wanted - whole.crew.missing_clips}


def produce(
    story: Story, store: Store, options: Options, events: Events, on_kept: Callable[[str], None] | None = None
) -> Outcome:
    """Make what is missing, then the film if every clip is there.

    on_kept: hears of each scene once its clip is there.

    Raises:
        MachineLacks: something needed is not on this machine; nothing was begun.
        SceneFailed: a scene could not be made; what was finished is kept.
    """
    rehearsed = rehearse(story, store, options, lambda text: events.tell("note", text=text))
    _check(rehearsed, store)
    run = Run(rehearsed, store, events, on_kept)
    run.tell_start()
    reel = run.walk_alike()
    outcome = Outcome(made=run.made, there=len(reel.clips), skipped=reel.skipped)
    segments, outcome.missing = _whole(rehearsed, store, reel, events)
    outcome.failed = {name: str(error) for name, error in reel.failed.items()}
    if segments is not None:
        outcome.film = options.film or film_path(story, options.draft)
        outcome.joined = run.join(segments, outcome.film)
    failed, made = outcome.failed or None, sorted(outcome.made)
    events.tell("run.done", made=made, failed=failed, film=str(outcome.film) if outcome.film else None)
    return outcome


class Run:
    """A rehearsed story being made."""

    def __init__(
        self, rehearsed: Rehearsed, store: Store, events: Events, on_kept: Callable[[str], None] | None
    ) -> None:
        self._rehearsed, self._store, self._events, self._on_kept = rehearsed, store, events, on_kept
        self._story, self._options = rehearsed.story, rehearsed.options
        self._mode = mode_of(self._options.draft)
        self._manifest = Manifest(store, self._story.path)
        self._finishes: dict[str, Finish] = {}
        self.made: set[str] = set()

    def tell_start(self) -> None:
        self._manifest.note(self._mode, only={scene.name for scene in self._story.scenes})
        crew = self._rehearsed.crew
        work = {"render": sorted(crew.missing_clips), "finish": sorted(crew.missing_segments)}
        stand_ins = [str(stand_in) for stand_in in self._rehearsed.gear.stand_ins]
        self._events.tell(
            "run.started", story=str(self._story.path), mode=self._mode, **work, stand_ins=stand_ins or None
        )
        for text in render_notes(self._story, self._rehearsed.gear, crew.shots, crew.missing_clips):
            self._events.tell("note", text=text)

    def walk(self) -> Reel:
        rehearsal, options = self._rehearsed.crew, self._options
        expected = {name: shot for name, shot in rehearsal.shots.items() if name in rehearsal.missing_clips}
        gear, drawn = self._rehearsed.gear, drawn_by_wan(rehearsal.shots, rehearsal.missing_clips)
        place = workplace(self._story, gear, options, drawn)
        if place.says and rehearsal.missing_segments:
            self._events.tell("note", text=place.says)
        machine = options.machine(lambda text: self._events.tell("note", text=text), place.aside)
        crew = LocalCrew(self._store, self._events, machine, expected, place)

        def on_clip(scene: str, shot: Shot, clip: Clip) -> None:
            for of, take in crew.takes:
                self._manifest.note(self._mode, scene=of, take=take.name)
            crew.takes.clear()
            self._manifest.note(self._mode, scene=scene, keys={"shot": digest(shot)})
            if self._on_kept is not None:
                self._on_kept(scene)

        anew = options.anew - self.made
        beside = self._rehearsed.beside
        wanted = Wanted(options.scenes, anew, options.keep_going, beside, on_clip, self._on_segment)
        try:
            reel = film(self._story, self._rehearsed.gear, crew, wanted)
        finally:
            self.made |= crew.made
        for scene, before in reel.unfinished.items():
            text = f"{scene}: its clip is kept; it is finished once {before} is there, which it dissolves from"
            self._events.tell("note", text=text)
        return reel

    def walk_alike(self) -> Reel:
        """A walk whose segments join."""
        reel = self.walk()
        return self.walk() if self.set_unlike_aside(reel) else reel

    def _on_segment(self, scene: str, finish: Finish, segment: Segment) -> None:
        self._finishes[scene] = finish
        self._manifest.note(self._mode, scene=scene, keys={"segment": digest(finish)})
        if self._options.deliver:
            explained(lambda: deliver(segment.path, out_path(self._story, scene, self._options.draft)))

    def set_unlike_aside(self, reel: Reel) -> bool:
        """Segments that another version of the encoder made do not join with new ones: whether there were any."""
        if len({segment.fingerprint for segment in reel.segments.values()}) < 2:
            return False
        for name, segment in reel.segments.items():
            finish = self._finishes[name]
            if segment.fingerprint != fingerprint(finish.encode, finish.size, finish.fps):
                self._store.set_aside(segment.path.parent, "damaged")
                what = "comes from another version of the encoder"
                self._events.tell("damaged", scene=name, path=str(segment.path), what=what)
        return True

    def join(self, segments: tuple[Segment, ...], target: Path) -> bool:
        gear = self._rehearsed.gear
        return explained(
            lambda: join_film(self._story, gear, segments, target, self._store, self._manifest, self._events)
        )


def _whole(
    rehearsed: Rehearsed, store: Store, reel: Reel, events: Events
) -> tuple[tuple[Segment, ...] | None, tuple[str, ...]]:
    """All segments in play order, or None and the scenes still missing; a run of some may find the others kept.

    Of these it finishes anew those that are drawn over a cut with one of the run. What fails is added to `reel`.
    """
    story, options = rehearsed.story, rehearsed.options
    segments = reel.complete(story)
    if segments is not None:
        return segments, ()
    rest = rehearse(story, store, replace(options, scenes=None, anew=frozenset()))
    names = [scene.name for scene in story.scenes]
    near = {name for pair in pairwise(names) if reel.clips.keys() & pair for name in pair}
    failed = reel.failed or rest.reel.failed
    if not failed and not rest.crew.missing_clips and set() < rest.crew.missing_segments <= near:
        # Only a seam with what was made now has changed, and that needs no drawing.
        left = Run(rest, store, events, None).walk_alike()
        reel.failed.update(left.failed)
        return left.complete(story), tuple(left.failed)
    kept = rest.reel.segments.keys() - rest.crew.missing_clips - rest.crew.missing_segments
    missing = tuple(name for name in names if name not in kept)
    return (None, missing) if missing else (rest.reel.complete(story), ())


def _check(rehearsed: Rehearsed, store: Store) -> None:
    """Find before the start what would fail at its end. Raises MachineLacks and SceneFailed."""
    story, options = rehearsed.story, rehearsed.options
    if rehearsed.lacks:
        raise MachineLacks("\n".join(rehearsed.lacks))
    for name, error in rehearsed.reel.failed.items():
        if not options.keep_going:
            raise SceneFailed(name, error)
    scenes = [out_path(story, "scene", options.draft)] if options.deliver else []
    for target in (*scenes, options.film or story.film, store.root / "clips"):
        folder = existing(target.parent)
        if not os.access(folder, os.W_OK):
            raise MachineLacks(f"{folder} cannot be written to, and {target.parent.name}/ belongs in it")
    needed = rehearsed.bytes_needed
    free = free_bytes(store.root)
    if needed > free:
        raise MachineLacks(
            f"about {gigabytes(needed)} of disk are needed and {gigabytes(free)} are free in {store.root}: "
            "free some space (`storyboard gc` drops unused work), or use --store on another disk"
        )
