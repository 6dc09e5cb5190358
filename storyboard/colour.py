"""Colour that holds along a run: scenes that go on from one another in play order, matched to the first of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from post.grade import AS_DRAWN, Grade, Graded, Matrix, Numbers, matrix_of, numbers_of
from post.match import RUN, Ends, Match, after, bounded, easing, ends, match, next_in_run, same, within
from scenes.files import CLIP_FILE, read_still, read_video
from scenes.footage import Clip, DamagedFile, Frame, Still
from storyboard.handed import Handed
from storyboard.identity import UNMADE
from storyboard.store import Store
from storyboard.story import After, Anchored, Opening, Scene, Story

T = TypeVar("T", Match, Ends)


UNKNOWN = Graded(follows=(UNMADE,))
"""Of a segment whose colour follows a clip that is not there yet."""


class Measuring(Protocol):
    """Who reads frames for it: a crew."""

    def match(self, clip: Clip, shown: Still) -> Match: ...
    def ends(self, handed: Handed) -> Ends: ...


@dataclass(frozen=True, slots=True)
class Shade:
    """How a clip is shown. `grade`: None as it was drawn. `run`: digests of its run's clips up to this one. `known`:
    False where the clip is not there yet. `alike`: False where its first frame shows something else than it opens on,
    so that it is shown as the clip before. `whole`: False where bounds leave some of the drift."""

    grade: Grade | None
    run: tuple[str, ...]
    known: bool = True
    alike: bool = True
    whole: bool = True

    @property
    def handed_on(self) -> Grade | None:
        """Of the frame that it hands on."""
        return _grade(self.grade.end, self.grade.end, 0) if self.grade is not None else None


class Colours:
    """Of a walk: what each clip is graded by, found as soon as it is there."""

    def __init__(self, story: Story, crew: Measuring) -> None:
        self._story, self._crew = story, crew
        self.shades: dict[str, Shade] = {}

    def hear(self, index: int, opened_on: Still, handed: Handed) -> None:
        """Of a clip, after those before it in its run. Raises DamagedFile."""
        scene, before = self._story.scenes[index], self._story.lead(index)
        asked, clip = scene.colour, handed.clip
        if asked is None or before is None:
            self.shades[scene.name] = Shade(None, (clip.digest,))
            return
        earlier = self.shades[before]
        run = (*earlier.run, clip.digest)
        unmade = clip.digest.startswith(UNMADE) or opened_on.digest.startswith(UNMADE)
        towards = self._shown_at_end(scene)
        if unmade or not earlier.known or (towards is not None and not towards.known):
            self.shades[scene.name] = Shade(None, run, known=False)
            return
        found = self._crew.match(clip, opened_on)
        before = matrix_of(_end(earlier))
        first = next_in_run(before, found, asked.strength)
        last = self._last(scene, asked, first, handed)
        grade = _grade(numbers_of(first), last, handed.stop - 1)
        self.shades[scene.name] = Shade(grade, run, alike=same(found), whole=not bounded(before, found, asked.strength))

    def _last(self, scene: Scene, asked: Anchored, first: Matrix, handed: Handed) -> Numbers:
        """At a clip's end. One that is drawn towards a picture comes to look as that one is shown, not past it; what a
        scene holds is a frame of its own run."""
        match scene.ends_on:
            case Path() if not scene.held:
                return AS_DRAWN
            case Opening():
                towards = self._shown_at_end(scene)
                return _end(towards) if towards is not None else AS_DRAWN
            case _ if asked.drift:
                return numbers_of(within(after(easing(self._crew.ends(handed), asked.drift), first), RUN))
            case _:
                return numbers_of(first)

    def _shown_at_end(self, scene: Scene) -> Shade | None:
        """Of the clip whose frame a scene ends on; None where it ends on no clip's."""
        source = self._story.scene(scene.ends_on.scene).opens_on if isinstance(scene.ends_on, Opening) else None
        return self.shades[source.scene] if isinstance(source, After) else None

    def graded(self, index: int, beside: Mapping[str, Shade], tail: str | None) -> Graded | None:
        """Of all that a scene's segment is made from; None where all of it stays as it was drawn.

        beside: of scenes that are not in the walk. tail: the scene that it dissolves from.
        """
        own, before = self.shades[self._story.scenes[index].name], self._story.lead(index)
        lead = self.shades[before] if before is not None else None
        other = None if tail is None else self.shades.get(tail) or beside.get(tail)
        if not all(shade is None or shade.known for shade in (own, lead, other)):
            return UNKNOWN
        of_lead, of_tail = lead.handed_on if lead is not None else None, other.grade if other is not None else None
        if own.grade is of_lead is of_tail is None:
            return None
        return Graded(own.grade, of_lead, of_tail, own.run[:-1])


def _end(shade: Shade) -> Numbers:
    return shade.grade.end if shade.grade is not None else AS_DRAWN


def anchor_of(story: Story, index: int) -> int:
    """The first scene of a scene's run; itself where it stays as drawn."""
    while story.scenes[index].colour is not None and story.lead(index) is not None:
        index -= 1
    return index


def followers_of(story: Story, names: Collection[str]) -> set[str]:
    """These scenes, and those after them in their runs."""
    found = set(names)
    for index, scene in enumerate(story.scenes):
        if anchor_of(story, index) != index and story.scenes[index - 1].name in found:
            found.add(scene.name)
    return found


def _grade(first: Numbers, last: Numbers, over: int) -> Grade | None:
    """None where nothing changes: what needs no correction has the key that it has without."""
    if first == last:
        return None if first == AS_DRAWN else Grade(first)
    return Grade(first, last, over)


def recalled_match(store: Store, clip: Clip, shown: Still) -> Match:
    """A clip's first frame beside the one it redraws, read once. Raises DamagedFile."""
    how = f"match/1 {shown.digest}"
    return _recalled(store, clip, how, Match.read, lambda: match(_first(clip), read_still(shown)))


def recalled_ends(store: Store, handed: Handed) -> Ends:
    """A clip's first frame and the one it hands on, read once. Raises DamagedFile."""
    clip, how = handed.clip, f"ends/1 {handed.still.digest}"
    return _recalled(store, clip, how, Ends.read, lambda: ends(_first(clip), _frame(clip, handed.stop - 1)))


def _recalled(store: Store, clip: Clip, how: str, read: Callable[[str], T], find: Callable[[], T]) -> T:
    path = clip.path / CLIP_FILE
    try:
        known = store.memory.recall(path, how)
        if known is not None:
            return read(known)
    except FileNotFoundError as error:
        raise DamagedFile(path, "is missing") from error
    except (ValueError, TypeError):
        pass  # found again
    found = find()
    store.memory.note(path, found.text(), how)
    return found


def _first(clip: Clip) -> Frame:
    return _frame(clip, 0)


def _frame(clip: Clip, index: int) -> Frame:
    (frame,) = read_video(clip.path / CLIP_FILE, index, index + 1)
    return frame
