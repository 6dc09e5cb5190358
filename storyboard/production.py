"""A run of `render`: rehearse, see that there is room, make what is missing, join the film."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

from post.encode import fingerprint
from post.finish import Finish, Segment
from scenes.footage import Clip
from scenes.shot import Shot
from storyboard.colour import Shade, followers_of
from storyboard.corrections import colours_said
from storyboard.crew import LocalCrew
from storyboard.delivery import deliver, film_path, join_film, join_of, out_path
from storyboard.events import Events
from storyboard.film import Reel, Wanted, film
from storyboard.identity import digest
from storyboard.manifest import Manifest, mode_of
from storyboard.notes import render_notes
from storyboard.options import Options
from storyboard.placing import drawn_by_wan, workplace
from storyboard.readiness import check_ready
from storyboard.rehearsal import Rehearsed, rehearse
from storyboard.shortage import explained
from storyboard.store import Store
from storyboard.story import Story
from storyboard.takes import Takes


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
    check_ready(rehearsed, store)
    run = Run(rehearsed, store, events, on_kept)
    run.tell_start()
    reel = run.walk_alike()
    outcome = Outcome(made=run.made, there=len(reel.clips), skipped=reel.skipped)
    whole, outcome.missing = _whole(rehearsed, store, reel, events)
    outcome.failed = {name: str(error) for name, error in reel.failed.items()}
    segments = whole.complete(story)
    if segments is not None:
        outcome.film = options.film or film_path(story, options.draft)
        outcome.joined = run.join(segments, outcome.film, whole.shades)
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
        work = {"render": sorted(crew.undrawn), "finish": sorted(crew.missing_segments)}
        stand_ins = [str(stand_in) for stand_in in self._rehearsed.gear.stand_ins]
        self._events.tell(
            "run.started", story=str(self._story.path), mode=self._mode, **work, stand_ins=stand_ins or None
        )
        for text in render_notes(self._story, self._rehearsed.gear, crew.shots, crew.undrawn):
            self._events.tell("note", text=text)

    def walk(self) -> Reel:
        rehearsal, options = self._rehearsed.crew, self._options
        expected = {name: shot for name, shot in rehearsal.shots.items() if name in rehearsal.undrawn}
        gear, drawn = self._rehearsed.gear, drawn_by_wan(rehearsal.shots, rehearsal.undrawn)
        place = workplace(self._story, gear, options, drawn)
        if place.says and rehearsal.missing_segments:
            self._events.tell("note", text=place.says)
        machine = options.machine(lambda text: self._events.tell("note", text=text), place.aside)
        crew = LocalCrew(self._store, self._events, machine, expected, place, options.judged)
        if drawn:
            crew.prepare(gear.upscale, gear.interpolate, self._story.size)

        def on_clip(scene: str, shot: Shot, clip: Clip) -> None:
            for of, moved in crew.takes:
                Takes(self._store, self._manifest, self._mode, of).forced(moved)
            crew.takes.clear()
            self._manifest.note_clip(self._mode, scene, digest(shot), clip.path)
            if self._on_kept is not None:
                self._on_kept(scene)

        anew = options.anew - self.made
        beside, shades = self._rehearsed.beside, self._rehearsed.shades
        wanted = Wanted(options.scenes, anew, options.keep_going, beside, on_clip, self._on_segment, shades)
        try:
            reel = film(self._story, self._rehearsed.gear, crew, wanted)
        finally:
            self.made |= crew.made
        for scene, before in reel.unfinished.items():
            text = f"{scene}: its clip is kept; it is finished once {before} is there, which it dissolves from"
            self._events.tell("note", text=text)
        for scene, text in colours_said(self._story, reel.shades).items():
            if scene in rehearsal.missing_segments:
                self._events.tell("note", text=f"colour of {scene}: {text}")
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

    def join(self, segments: tuple[Segment, ...], target: Path, shades: Mapping[str, Shade]) -> bool:
        def joined() -> bool:
            join = join_of(self._story, self._rehearsed.gear, segments, shades, self._store)
            return join_film(join, self._mode, target, self._manifest, self._events)

        return explained(joined)


def _whole(rehearsed: Rehearsed, store: Store, reel: Reel, events: Events) -> tuple[Reel, tuple[str, ...]]:
    """The whole film's reel, and the scenes that it lacks still; a run of some may find the others kept.

    Of these it finishes anew those that are drawn over a cut with one of the run, or follow its colour. What fails is
    added to `reel`.
    """
    story, options = rehearsed.story, rehearsed.options
    if reel.complete(story) is not None:
        return reel, ()
    rest = rehearse(story, store, replace(options, scenes=None, anew=frozenset()))
    names = [scene.name for scene in story.scenes]
    follow = followers_of(story, reel.clips)
    near = {name for pair in pairwise(names) if follow & {*pair} for name in pair}
    failed = reel.failed or rest.reel.failed
    if not failed and not rest.crew.missing_clips and set() < rest.crew.missing_segments <= near:
        # Only a seam with what was made now has changed, or the colour after it, and that needs no drawing.
        left = Run(rest, store, events, None).walk_alike()
        reel.failed.update(left.failed)
        return left, tuple(left.failed)
    kept = rest.reel.segments.keys() - rest.crew.missing_clips - rest.crew.missing_segments
    missing = tuple(name for name in names if name not in kept)
    return (reel, missing) if missing else (rest.reel, ())
