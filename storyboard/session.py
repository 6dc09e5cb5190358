"""What most commands begin with: the story read, its store and the machine's settings found."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import typer

from storyboard.delivery import film_path
from storyboard.events import Events, new_run
from storyboard.failures import say
from storyboard.manifest import DRAFT, REAL, Manifest
from storyboard.mistakes import did_you_mean
from storyboard.options import Options
from storyboard.progress import display
from storyboard.rehearsal import Rehearsed, rehearse
from storyboard.room import existing
from storyboard.settings import Settings, SettingsError, settings
from storyboard.stopping import stoppable
from storyboard.store import Store
from storyboard.story import Story, read_story


@dataclass(frozen=True, slots=True)
class Session:
    """A story, where its work is kept, and what this machine is."""

    story: Story
    store: Store
    settings: Settings

    def named(self, names: Sequence[str] | None) -> frozenset[str] | None:
        """The named scenes, None for all. Raises typer.BadParameter where the story has no such scene."""
        there = [scene.name for scene in self.story.scenes]
        for name in names or []:
            if name not in there:
                raise typer.BadParameter(f'no scene is named "{name}"{did_you_mean(name, there)}')
        return frozenset(names) if names else None

    def mode(self, draft: bool) -> str:
        """What was asked for, else the mode last rendered."""
        return DRAFT if draft else Manifest(self.store, self.story.path).last_mode or REAL

    def options(self, draft: bool, film: Path | None = None) -> Options:
        """Of a run on this machine. Raises typer.BadParameter for a film that is no MP4."""
        if film is not None:
            self._check_film(film)
        target = film_path(self.story, draft, film) if film is not None else None
        known = self.settings
        return Options(
            draft,
            film=target,
            device=known.device,
            weights=known.models,
            vram=known.vram,
            ram=known.ram,
            attention=known.attention,
            compile=known.compile,
            finish_on=known.finish_on,
        )

    def _check_film(self, film: Path) -> None:
        stem = film.stem.casefold().removesuffix(".draft")
        if film.suffix.lower() != ".mp4":
            raise typer.BadParameter(f"--film {film} must end in .mp4 (other formats: storyboard export)")
        if film.is_dir():
            raise typer.BadParameter(f"--film {film} is a folder: name a file")
        clash = next((scene.name for scene in self.story.scenes if scene.name.casefold() == stem), None)
        if clash is not None and film.parent.absolute() == (self.story.folder / "out").absolute():
            raise typer.BadParameter(f'--film {film} is where scene "{clash}" goes: name another')

    def rehearsed(self, draft: bool, names: Sequence[str] | None = None, film: Path | None = None) -> Rehearsed:
        """The story walked through without making anything, in the mode asked for or last rendered."""
        options = self.options(self.mode(draft) == DRAFT, film)
        return rehearse(self.story, self.store, replace(options, scenes=self.named(names)), say)

    @contextlib.contextmanager
    def run(self, as_json: bool = False) -> Generator[Events]:
        """A run in the store: its events written down and shown."""
        near = existing(self.store.root)
        if not os.access(near, os.W_OK):
            raise SettingsError(f"{near} cannot be written to: --store names another folder for kept work")
        with self.store.in_use(), display(as_json) as show, stoppable():
            events = Events(self.store.root / "runs" / new_run() / "events.jsonl", (show,))
            try:
                yield events
            except KeyboardInterrupt:
                events.tell("run.interrupted")
                raise
            except Exception as error:
                events.tell("run.failed", error=str(error))
                raise


def open_session(
    path: Path,
    store: Path | None = None,
    device: str | None = None,
    *,
    vram: str | None = None,
    ram: str | None = None,
    attention: str | None = None,
    compile: bool | None = None,
    finish_on: str | None = None,
) -> Session:
    """Raises StoryError and SettingsError."""
    story = read_story(path)
    facts = settings(store, device, vram=vram, ram=ram, attention=attention, compile=compile, finish_on=finish_on)
    root = facts.store or story.folder / ".storyboard"
    if root.exists() and not root.is_dir():
        raise SettingsError(f"{root} is a file: --store names a folder for kept work")
    return Session(story, Store(facts.store or story.folder / ".storyboard"), facts)
