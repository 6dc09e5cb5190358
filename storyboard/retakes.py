"""`render --takes`: candidates of one scene, drawn on the same opening with other seeds, all kept to choose from."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from graphlib import TopologicalSorter
from itertools import zip_longest
from pathlib import Path
from typing import Any

from scenes.files import load_clip
from scenes.footage import Clip, Frame
from scenes.shot import MachineLacks, Shot
from storyboard.candidates import Candidate, Part, alike, candidates
from storyboard.contact_sheet import Row, preview_path, sheet_path, write_preview, write_sheet
from storyboard.crew import LocalCrew
from storyboard.events import Event, Events
from storyboard.film import SceneFailed, at_work, shot_of
from storyboard.handed import Handed
from storyboard.identity import digest
from storyboard.manifest import Manifest, mode_of
from storyboard.notes import render_notes
from storyboard.options import Options
from storyboard.order import closure, needs
from storyboard.placing import Workplace
from storyboard.readiness import bytes_needed, check_disk, check_ready, clip_bytes
from storyboard.rehearsal import Rehearsed, rehearse
from storyboard.shortage import explained
from storyboard.store import CLIPS, Store
from storyboard.story import Scene, Story
from storyboard.takes import Take, Takes


@dataclass
class Drawn:
    """What a run of takes came to. `sheet`: None where there is no take."""

    sheet: Path | None = None
    takes: list[Take] = field(default_factory=list[Take])
    made: set[str] = field(default_factory=set[str])
    failed: dict[str, str] = field(default_factory=dict[str, str])


def make_takes(story: Story, store: Store, options: Options, events: Events, name: str, count: int) -> Drawn:
    """See that so many takes of a scene are there, what it needs first; then their previews and the contact sheet.

    No scene that follows is drawn, and nothing is finished or joined.

    Raises:
        MachineLacks: something needed is not on this machine; nothing was begun.
        SceneFailed: a take, or what it opens on, could not be drawn; what was drawn is kept.
    """
    asked = replace(options, scenes=frozenset({name}))
    rehearsed = rehearse(story, store, asked, lambda text: events.tell("note", text=text))
    for failed, error in rehearsed.reel.failed.items():
        raise SceneFailed(failed, error)
    check_ready(rehearsed, store)
    run = Retakes(rehearsed, store, events, story.scene(name), count)
    run.begin()
    try:
        run.draw()
    except SceneFailed:
        run.show()
        run.tell_so_far()
        raise
    run.show()
    return run.end()


class Retakes:
    """Takes of one scene being drawn."""

    def __init__(self, rehearsed: Rehearsed, store: Store, events: Events, scene: Scene, count: int) -> None:
        self._rehearsed, self._store, self._events = rehearsed, store, events
        self._scene, self._count = scene, count
        self._story, self._options, self._gear = rehearsed.story, rehearsed.options, rehearsed.gear
        self._mode = mode_of(self._options.draft)
        self._manifest = Manifest(store, self._story.path)
        self._takes = Takes(store, self._manifest, self._mode, scene.name)
        # Once what it opens on is there, its opening is known.
        self._part = Part(scene, rehearsed.crew.shots[scene.name], self._gear, self._story)
        self._expected: dict[str, Shot] = {}
        self._shown: dict[int, tuple[Frame, ...]] = {}
        self._drawn = Drawn()

    def _wanted(self) -> list[Candidate]:
        takes = self._takes.all()
        return candidates(self._part, takes, lambda take: self._takes.home(take) is not None, self._count)

    def begin(self) -> None:
        """Tell what will be drawn. Raises MachineLacks."""
        crew, gear, name = self._rehearsed.crew, self._gear, self._scene.name
        first = {each: shot for each, shot in crew.shots.items() if each in crew.undrawn - {name}}
        missing = {self._label(each): each.shot for each in self._wanted() if self._missing(each)}
        self._expected = {**first, **missing}
        if missing and gear.lacks_to_draw:
            raise MachineLacks("\n".join(gear.lacks_to_draw))
        check_disk(bytes_needed(self._rehearsed) + int(clip_bytes(missing.values())), self._store)
        self._manifest.note(self._mode, only={scene.name for scene in self._story.scenes})
        stand_ins = [str(stand_in) for stand_in in gear.stand_ins] or None
        work = {"render": [*sorted(first), *missing], "finish": list[str](), "takes": len(missing)}
        self._events.tell("run.started", story=str(self._story.path), mode=self._mode, **work, stand_ins=stand_ins)
        for text in render_notes(self._story, gear, crew.shots, {*first, *([name] if missing else [])}):
            self._events.tell("note", text=text)

    def _missing(self, candidate: Candidate) -> bool:
        return self._store.find(CLIPS, digest(candidate.shot)) is None

    def _label(self, candidate: Candidate) -> str:
        return self._label_of(candidate.number)

    def _label_of(self, number: int) -> str:
        """What the crew calls a take: no scene's name has a dot in it."""
        return f"{self._scene.name}.{number}"

    def draw(self) -> None:
        """What the scene needs, then its takes, one after another; each is noted the moment it is there."""
        options = self._options
        told = Events(None, (lambda event: retell(event, self._events),))
        machine = options.machine(lambda text: self._events.tell("note", text=text), 0)
        crew = LocalCrew(self._store, told, machine, self._expected, Workplace(options.device))
        try:
            with at_work(crew):
                self._part = replace(self._part, shot=self._opened(crew))
                wanted = self._wanted()
                for label in self._expected.keys() - {self._label(each) for each in wanted}:
                    crew.skip(label)  # drawn by now; or what it opens on came out as once before, and other takes fit
                self._draw_all(crew, wanted)
        finally:
            self._drawn.made |= crew.made

    def _opened(self, crew: LocalCrew) -> Shot:
        """The scene's own shot, once the clips are there that it opens or ends on."""
        story, name = self._story, self._scene.name
        graph = needs({scene.name: scene for scene in story.scenes})
        order = TopologicalSorter({each: graph[each] for each in closure(story, frozenset({name}))})
        there: dict[str, Handed] = {}
        for each in order.static_order():
            scene = story.scene(each)
            shot = shot_of(scene, story, self._gear, crew, there)
            if each == name:
                return shot
            try:
                clip = crew.shoot(each, shot, anew=False, held=scene.held).result()
                there[each] = crew.hand_on(clip, scene.hand_on)
            except Exception as error:
                raise SceneFailed(each, error) from error
            self._manifest.note_clip(self._mode, each, digest(shot), clip.path)
        raise AssertionError("the order ends with the scene itself")

    def _draw_all(self, crew: LocalCrew, wanted: Sequence[Candidate]) -> None:
        """One is drawn while the preview of the one before is written."""
        ahead = crew.shoot(self._label(wanted[0]), wanted[0].shot, anew=False, held=self._scene.held)
        for candidate, after in zip_longest(wanted, wanted[1:]):
            clip = self._noted(candidate, ahead)
            if after is not None:
                ahead = crew.shoot(self._label(after), after.shot, anew=False, held=self._scene.held)
            if clip is not None:
                self._preview(*clip)

    def _noted(self, candidate: Candidate, drawn: Future[Clip]) -> tuple[Take, Clip] | None:
        """The take, noted; None where it could not be drawn and the run goes on."""
        try:
            clip = drawn.result()
        except Exception as error:
            if not self._options.keep_going:
                raise SceneFailed(self._scene.name, error) from error
            self._drawn.failed[self._label(candidate)] = str(error)
            return None
        key = digest(candidate.shot)
        take = self._takes.note(key, candidate.number)
        if candidate.shot.seed == self._scene.seed:
            self._manifest.note_clip(self._mode, self._scene.name, key, clip.path)
        return take, clip

    def _preview(self, take: Take, clip: Clip) -> None:
        target = preview_path(self._story, self._scene.name, take.number, self._options.draft)
        with self._store.damage_set_aside():
            self._shown[take.number] = explained(lambda: write_preview(clip, target))

    def show(self) -> None:
        """The contact sheet of all takes that are what the scene would be with their seed; so too after a failure."""
        drawn = self._drawn
        for take in self._takes.all():
            home = self._takes.home(take)
            if home is not None and self._part.fits(take):
                if take.number not in self._shown:
                    self._preview(take, load_clip(home))
                drawn.takes.append(take)
        if drawn.takes:
            target = sheet_path(self._story, self._scene.name, self._options.draft)
            rows = [Row(self._said(take), self._shown[take.number]) for take in drawn.takes]
            title = f"{self._scene.name}: {self._scene.prompt}"
            explained(lambda: write_sheet(title, rows, self._scene.frames, target))
            drawn.sheet = target

    def tell_so_far(self) -> None:
        if self._drawn.sheet is not None:
            self._events.tell("note", text=f"what is there so far is on {self._drawn.sheet}")

    def end(self) -> Drawn:
        """Tell what there is to choose from."""
        drawn = self._drawn
        for text in alike(drawn.takes, self._options.draft):
            self._events.tell("note", text=text)
        sheet = str(drawn.sheet) if drawn.sheet is not None else None
        self._events.tell("takes.done", scene=self._scene.name, sheet=sheet, takes=list(map(self._facts, drawn.takes)))
        made = sorted(drawn.made - {self._label_of(take.number) for take in drawn.takes})
        self._events.tell("run.done", made=made, failed=drawn.failed or None)
        return drawn

    def _said(self, take: Take) -> tuple[str, ...]:
        return (f"take {take.number}", f"seed {take.seed}", *(["the story's"] if self._part.chosen(take) else []))

    def _facts(self, take: Take) -> dict[str, Any]:
        preview = preview_path(self._story, self._scene.name, take.number, self._options.draft)
        return {
            "take": take.number,
            "seed": take.seed,
            "made": self._label_of(take.number) in self._drawn.made,
            "chosen": self._part.chosen(take),
            "preview": str(preview),
        }


def retell(event: Event, events: Events) -> None:
    """What the crew tells of scene `boat.3` is told of take 3 of boat."""
    facts = {key: value for key, value in event.items() if key not in ("id", "time", "event")}
    scene, dot, number = str(facts.get("scene", "")).partition(".")
    if dot:
        facts |= {"scene": scene, "take": int(number)}
    events.tell(event["event"].replace("scene.", "take.") if dot else event["event"], **facts)
