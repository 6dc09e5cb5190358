"""A run of `render`: rehearse, see that there is room, make what is missing, join the film."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from post.finish import Finish, Segment
from scenes.footage import Clip
from scenes.shot import Machine, MachineLacks, Shot
from storyboard.crew import LocalCrew, explained
from storyboard.delivery import deliver, film_path, join_film, out_path
from storyboard.events import Events
from storyboard.film import Reel, Wanted, film
from storyboard.gear import Gear, gear_for
from storyboard.identity import digest
from storyboard.manifest import Manifest, mode_of
from storyboard.rehearsal import Rehearsal
from storyboard.room import free_bytes, gigabytes
from storyboard.store import Store
from storyboard.story import Story

# Lossless video of real pictures comes to about 0.6 of its raw size (FFV1 at 832x480: 0.7 MB of 1.2); noise to all.
CLIP_BYTES_PER_PIXEL = 2.0
SEGMENT_BYTES_PER_PIXEL = 0.12


@dataclass(frozen=True, slots=True)
class Options:
    """What a run was asked for. `scenes`: None for all; `anew`: these are made even where they are kept."""

    draft: bool
    scenes: frozenset[str] | None = None
    anew: frozenset[str] = frozenset()
    keep_going: bool = False
    film: Path | None = None
    device: str | None = None
    weights: tuple[Path, ...] = ()


@dataclass
class Outcome:
    """What a run came to. `film` is None where some scene is still missing."""

    film: Path | None = None
    joined: bool = False
    made: set[str] = field(default_factory=set[str])
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

    @property
    def bytes_needed(self) -> int:
        """Disk for what would be made, at the most."""
        clips = sum(_pixels(shot.size) * shot.frames for name, shot in self.crew.shots.items() if name in self.to_make)
        finishes = [finish for name, finish in self.crew.finishes.items() if name in self.crew.missing_segments]
        segments = sum(_pixels(finish.size) * finish.frames for finish in finishes)
        # A segment lies in the store, in out/ and in the film.
        return int(clips * CLIP_BYTES_PER_PIXEL + 3 * segments * SEGMENT_BYTES_PER_PIXEL)

    @property
    def to_make(self) -> set[str]:
        return self.crew.missing_clips


def _pixels(size: tuple[int, int]) -> int:
    return size[0] * size[1]


def rehearse(story: Story, store: Store, options: Options) -> Rehearsed:
    gear = gear_for(story, options.draft, options.weights, options.device, store.memory)
    crew = Rehearsal(store)
    reel = film(story, gear, crew, Wanted(options.scenes, options.anew))
    return Rehearsed(story, gear, crew, reel, options)


def produce(
    story: Story, store: Store, options: Options, events: Events, on_kept: Callable[[str], None] | None = None
) -> Outcome:
    """Make what is missing, then the film if every clip is there.

    on_kept: hears of each scene once its clip is there.

    Raises:
        MachineLacks: something needed is not on this machine; nothing was begun.
        SceneFailed: a scene could not be made; what was finished is kept.
    """
    rehearsed = rehearse(story, store, options)
    if rehearsed.gear.lacks:
        raise MachineLacks("; ".join(rehearsed.gear.lacks))
    _check_room(rehearsed, store)
    manifest = Manifest(store, story.path)
    mode = mode_of(options.draft)
    manifest.note(mode, only={scene.name for scene in story.scenes})
    expected = [shot for name, shot in rehearsed.crew.shots.items() if name in rehearsed.to_make]
    crew = LocalCrew(store, events, Machine(options.device), expected)
    stand_ins = [str(stand_in) for stand_in in rehearsed.gear.stand_ins]
    counts = {"to_render": len(expected), "to_finish": len(rehearsed.crew.missing_segments)}
    events.tell("run.started", story=str(story.path), mode=mode, **counts, stand_ins=stand_ins or None)

    def on_clip(scene: str, shot: Shot, clip: Clip) -> None:
        for of, take in crew.takes:
            manifest.note(mode, scene=of, take=take.name)
        crew.takes.clear()
        manifest.note(mode, scene=scene, keys={"shot": digest(shot)})
        if on_kept is not None:
            on_kept(scene)

    def on_segment(scene: str, finish: Finish, segment: Segment) -> None:
        manifest.note(mode, scene=scene, keys={"segment": digest(finish)})
        explained(lambda: deliver(segment.path, out_path(story, scene, options.draft)))

    wanted = Wanted(options.scenes, options.anew, options.keep_going, on_clip, on_segment)
    reel = film(story, rehearsed.gear, crew, wanted)
    failed = {name: str(error) for name, error in reel.failed.items()}
    outcome = Outcome(made=crew.made, failed=failed, skipped=reel.skipped)
    segments = reel.complete(story) or _others(story, store, options, reel)
    outcome.missing = tuple(s.name for s in story.scenes if segments is None and s.name not in reel.segments)
    if segments is not None:
        target = options.film or film_path(story, options.draft)
        outcome.film = target
        outcome.joined = explained(lambda: join_film(story, rehearsed.gear, segments, target, store, manifest, events))
    events.tell("run.done", made=sorted(outcome.made), failed=failed or None, film=str(outcome.film or "") or None)
    return outcome


def _others(story: Story, store: Store, options: Options, reel: Reel) -> tuple[Segment, ...] | None:
    """All segments, where a run of some scenes finds the rest kept."""
    if options.scenes is None or reel.failed:
        return None
    whole = Options(options.draft, None, frozenset(), False, None, options.device, options.weights)
    rest = rehearse(story, store, whole)
    return rest.reel.complete(story) if not (rest.crew.missing_clips | rest.crew.missing_segments) else None


def _check_room(rehearsed: Rehearsed, store: Store) -> None:
    needed = rehearsed.bytes_needed
    free = free_bytes(store.root)
    if needed > free:
        raise MachineLacks(
            f"about {gigabytes(needed)} of disk are needed and {gigabytes(free)} are free in {store.root}: "
            "free some space (`storyboard gc` drops unused work), or use --store on another disk"
        )
