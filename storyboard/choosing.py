"""`storyboard take`: a scene's take chosen, by its seed in the story file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from scenes.files import read_facts
from scenes.footage import DamagedFile
from scenes.shot import MachineLacks
from storyboard.candidates import Part
from storyboard.edit import write_seed
from storyboard.identity import recipe
from storyboard.manifest import Manifest, mode_of
from storyboard.reasons import reasons
from storyboard.rehearsal import Rehearsed, waits
from storyboard.store import Store
from storyboard.takes import Take, Takes, home_of
from storyboard.typed import typed_render


class NotToBeChosen(Exception):  # noqa: N818
    """The take is not there, or is none of the scene as the story has it; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """What choosing changed. `written`: the seed, in the story file; `swapped`: kept clips changed places."""

    take: Take
    written: bool
    swapped: bool


def choose(rehearsed: Rehearsed, store: Store, name: str, number: int) -> Chosen:
    """Make a take the scene's: its pixels on the clips' shelf, its seed in the story file.

    Raises:
        NotToBeChosen, StoryError.
        MachineLacks: the story file cannot be written.
    """
    story = rehearsed.story
    takes = Takes(store, Manifest(store, story.path), mode_of(rehearsed.gear.draft), name)
    take = next((take for take in takes.all() if take.number == number), None)
    if take is None:
        raise NotToBeChosen(_unknown(rehearsed, name, number, takes))
    home = takes.home(take)
    if home is None or take.seed is None:
        again = f": {_render(rehearsed, name)} --seed {take.seed} draws it" if take.seed is not None else ""
        raise NotToBeChosen(f"{name}'s take {number} is {'dropped' if take.dropped else 'gone'}{again}")
    _check_fits(rehearsed, name, take, store)
    _check_whole(home, f"{name}'s take {number}", store)
    written = take.seed != story.scene(name).seed
    if written and not (os.access(story.path, os.W_OK) and os.access(story.path.resolve().parent, os.W_OK)):
        raise MachineLacks(f"{story.path} cannot be written to, and the take's seed belongs in it")
    swapped = home.parent.name == "takes"
    if swapped:
        takes.bring_back(take, home)
    if written:
        write_seed(story.path, name, take.seed)
    return Chosen(take, written, swapped)


def _render(rehearsed: Rehearsed, name: str) -> str:
    return typed_render(rehearsed.story.path, name, draft=rehearsed.gear.draft)


def _unknown(rehearsed: Rehearsed, name: str, number: int, takes: Takes) -> str:
    there = ", ".join(str(take.number) for take in takes.all())
    if not there:
        return f"{name} has no takes: {_render(rehearsed, name)} --takes 4 makes some"
    return f"{name} has no take {number}; there are {there}"


def _check_whole(home: Path, take: str, store: Store) -> None:
    try:
        store.check(home, thorough=True)
    except DamagedFile as error:
        store.set_aside(home, "damaged")
        raise NotToBeChosen(f"{take} is damaged and was set aside ({error}): --takes draws it again") from error


def _check_fits(rehearsed: Rehearsed, name: str, take: Take, store: Store) -> None:
    """Raises NotToBeChosen where its seed alone does not bring it back."""
    if name in rehearsed.reel.failed:
        raise NotToBeChosen(str(rehearsed.reel.failed[name]))
    shot = rehearsed.crew.shots.get(name)
    if shot is None or waits(shot):
        needs = " and ".join(rehearsed.story.scene(name).needs)
        raise NotToBeChosen(f"{name} waits for {needs}: render that first, to see which takes go with it")
    part = Part(rehearsed.story.scene(name), shot, rehearsed.gear, rehearsed.story)
    if not part.fits(take):
        why = "; ".join(misfit(part, take, store)) or "the scene has changed"
        raise NotToBeChosen(
            f"{name}'s take {take.number} was made otherwise than the story now says ({why}): undo that, "
            f"or draw its seed as the scene is now: {_render(rehearsed, name)} --seed {take.seed}"
        )


def misfit(part: Part, take: Take, store: Store) -> list[str]:
    """Why a take is not what the scene would be with its seed."""
    home = home_of(take, store)
    if home is None or take.seed is None:
        return []
    return reasons(read_facts(home / "recipe.json").get("recipe"), recipe(part.with_seed(take.seed)), part.scene)
