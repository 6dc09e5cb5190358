"""`render --hold`: a scene made again between its own first frame and the one it ends on, so what follows stays."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from scenes.files import load_clip, read_still
from scenes.footage import Clip, DamagedFile, Still
from scenes.shot import MachineLacks
from storyboard.edit import write_keys
from storyboard.events import Events
from storyboard.export import NotRendered
from storyboard.film import SceneFailed
from storyboard.hand_on import LAST
from storyboard.handed import handed
from storyboard.manifest import Manifest, mode_of
from storyboard.mending import TooFar
from storyboard.mistakes import Mistake, StoryError
from storyboard.options import Options
from storyboard.order import followers
from storyboard.production import Outcome, produce
from storyboard.publish import published
from storyboard.rehearsal import Rehearsed, rehearse
from storyboard.reroll import check_writable, drawn_seed
from storyboard.store import CLIPS, Store
from storyboard.story import Scene, Story
from storyboard.takes import Takes
from storyboard.typed import typed_render

HELD = "held"
"""The folder beside a story where frames lie that its scenes hold."""


@dataclass(frozen=True, slots=True)
class Held:
    """`story` has the new seed, and holds `frame`. `stays`: kept scenes after this one that are valid as they are.
    `picture`: where the frame goes, None where it lies there."""

    story: Story
    scene: str
    seed: int
    frame: Still | None
    picture: Path | None
    stays: tuple[str, ...]

    def writer(self, events: Events) -> Callable[[str], None]:
        """Call with each scene whose clip is there: writes the frame and the story when it is this one's."""

        def write(scene: str) -> None:
            if scene != self.scene:
                return
            if self.picture is not None and self.frame is not None:
                with published(self.picture) as aside:
                    shutil.copyfile(self.frame.path, aside)
            held = {"hold": f"{HELD}/{self.picture.name}"} if self.picture is not None else {}
            # What [look] says of these gives way to hold; what the scene says itself would contradict it.
            write_keys(self.story.path, scene, {"seed": self.seed, **held}, {"trim_end": 0, "hand_on": "last"})
            facts = {"seed": self.seed, **held, "stays": self.stays}
            events.tell("hold.written", scene=scene, path=str(self.story.path), **facts)

        return write


def produce_held(story: Story, store: Store, options: Options, name: str, seed: int | None, events: Events) -> Outcome:
    """Make a scene again with another seed, between its own first frame and the one it hands on now, then the film.

    seed: None draws one.

    Raises:
        NotRendered: there is no clip whose end could be held.
        SceneFailed: it was made, and ends too far from that frame: it is kept, and the story stays as it is.
    """
    check_holdable(story, name)
    new = held(story, store, options, name, drawn_seed() if seed is None else seed)
    one = frozenset({name})
    options = replace(options, scenes=one, judged=one, keep_going=False)
    if options.draft and new.picture is not None:
        events.tell("note", text=f"{name} is to hold a draft's frame: drop `hold` before it is rendered in earnest")
    try:
        return produce(new.story, store, options, events, new.writer(events))
    except SceneFailed as failure:
        if not isinstance(failure.__cause__, TooFar) or failure.scene != name:
            raise
        far = failure.__cause__
        Takes(store, Manifest(store, story.path), mode_of(options.draft), name).note(far.key)
        told = TooFar(far.found, far.key, _remedy(new, story.scene(name), options))
        raise SceneFailed(name, told) from told


def check_holdable(story: Story, name: str) -> None:
    """Raises MachineLacks where nothing can be written down, StoryError where the model draws up to no frame."""
    check_writable(story)
    folder = story.folder / HELD
    if folder.exists() and not (folder.is_dir() and os.access(folder, os.W_OK)):
        raise MachineLacks(f"{folder} cannot be written to, and the frame that {name} is to hold belongs in it")
    if not story.model.takes_end_image:
        what = f"{story.model.name} takes no end image, so no scene can be drawn up to a frame"
        raise StoryError([Mistake(f"{what}: --reroll draws it and what follows anew", str(story.path), scene=name)])


def held(story: Story, store: Store, options: Options, name: str, seed: int) -> Held:
    """The story with that scene held where it ends now; a scene that holds a frame keeps on holding it."""
    scene = story.scene(name)
    frame = picture = None
    new = replace(scene, seed=seed)
    if not scene.held:
        frame = _handed_on(rehearse(story, store, replace(options, scenes=frozenset({name}))), scene, store)
        picture = _place(story.folder / HELD, name, frame)
        new = replace(new, ends_on=frame.path, held=True, hand_on=LAST)
    changed = replace(story, scenes=tuple(new if each.name == name else each for each in story.scenes))
    ahead = rehearse(changed, store, replace(options, scenes=None))
    kept = followers(changed, name) - {name} - ahead.crew.missing_clips - ahead.reel.skipped
    stays = tuple(each.name for each in story.scenes if each.name in kept)
    return Held(changed, name, seed, frame, picture, stays)


def _handed_on(rehearsed: Rehearsed, scene: Scene, store: Store) -> Still:
    """The frame that a scene's clip hands on, as the story stands or as it was last rendered; it lies in the store."""
    clip = rehearsed.reel.clips.get(scene.name)
    if clip is None or scene.name in rehearsed.crew.missing_clips:
        clip = _last_rendered(rehearsed, scene, store)
    if clip is None or clip.size != rehearsed.story.size or not scene.hand_on.fits(clip.frames):
        now = "" if clip is None else " as the story has it now"
        what = f"{scene.name} is not rendered{now}, so it has no end to hold"
        first = typed_render(rehearsed.story.path, scene.name, draft=rehearsed.gear.draft)
        raise NotRendered(f"{what}: run `{first}` first")
    found = handed(store, clip, scene.hand_on, keep=True).still
    store.copy_still(found)
    return store.still(found.digest)


def _last_rendered(rehearsed: Rehearsed, scene: Scene, store: Store) -> Clip | None:
    """Its clip from before the story was edited: what follows was drawn after that."""
    keys = Manifest(store, rehearsed.story.path).scene(mode_of(rehearsed.gear.draft), scene.name)
    home = store.find(CLIPS, keys.get("mend") or keys.get("shot", "none"))
    return load_clip(home) if home is not None else None


def _place(folder: Path, name: str, frame: Still) -> Path:
    """A file of that name that is not there yet, or holds this frame."""
    for number in itertools.count(1):
        path = folder / (f"{name}.png" if number == 1 else f"{name}.{number}.png")
        try:
            read_still(Still(frame.digest, path))
        except DamagedFile:
            if path.exists():
                continue
        return path
    raise AssertionError


def _remedy(new: Held, scene: Scene, options: Options) -> str:
    """What can be done about an end that is too far off."""
    render = typed_render(new.story.path, new.scene, draft=options.draft)
    again = f"`{render} --hold` tries another seed"
    free = " (once `hold` is dropped from it)" if scene.held else ""
    cascade = f"`{render} --seed {new.seed}`{free} draws it without, and what follows anew"
    return f". The take is kept and the story is as it was. {again}; {cascade}"
