"""What a film can be exported as, where that goes, and what is refused before anything is written."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import typer

from post.encode import FORMATS, encoder_problem
from post.finish import Finish
from scenes.shot import MachineLacks
from storyboard.delivery import film_path, out_path
from storyboard.mistakes import did_you_mean
from storyboard.rehearsal import Rehearsed
from storyboard.room import free_bytes, gigabytes
from storyboard.story import Story
from storyboard.timeline_otio import opentimelineio

TIMELINES = ("otio", "otioz", "fcpxml", "edl")
TARGETS = (*FORMATS, "png", "stills", *TIMELINES, "master")
MEDIA = "prores"
"""What editors cut with least trouble: every frame of it stands alone."""

# For the check of free space, on the safe side; others take less than LOSSY.
BYTES_PER_PIXEL = {"ffv1": 1.5, "master": 1.5, "png": 2.0, "stills": 2.0, "prores": 0.7, "prores-4444": 1.0}
LOSSY = 0.3
# What an earlier export of its kind consists of: a folder of anything else is not overwritten.
LEFT_THERE = r"\.DS_Store|Thumbs\.db|desktop\.ini"
FRAME, STILL, SCENE = r"\d{6,}\.png", r"\d{2,}-[A-Za-z0-9_-]+\.png", r"\d{2,}-[A-Za-z0-9_-]+\.(mp4|mov|mkv)|sound\.wav"


@dataclass(frozen=True, slots=True)
class Export:
    """`fps`: conformed to it; None for the film's own rate. `media`: a timeline's."""

    target: str
    path: Path
    crf: float | None = None
    preset: str | None = None
    fps: Fraction | None = None
    media: str = MEDIA

    @property
    def format(self) -> str | None:
        """The format of the files of video in it, None where there are none."""
        return self.media if self.target in TIMELINES else self.target if self.target in FORMATS else None

    @property
    def folder(self) -> bool:
        """Whether it is several files, in a folder of their own."""
        return self.target in ("png", "stills") or self.timeline is not None

    @property
    def timeline(self) -> str | None:
        """The name of the file that is a timeline, in a folder with its media."""
        folder = self.path.name.removesuffix(f"-{self.target}")
        return f"{folder}.{self.target}" if self.target in TIMELINES and self.target != "otioz" else None

    @property
    def opens(self) -> Path:
        """What a person opens."""
        return self.path / self.timeline if self.timeline else self.path


def export_path(rehearsed: Rehearsed, target: str, fps: Fraction | None = None) -> Path:
    """out/NAME.hevc.mp4 and the like: beside the film, never over it."""
    film = rehearsed.options.film or rehearsed.story.film
    stem = f"{film.stem}{'.draft' if rehearsed.gear.draft else ''}{f'.{fps}fps' if fps else ''}"
    match target:
        case "otioz":
            return film.with_name(f"{stem}.otioz")
        case "otio" | "fcpxml" | "edl" | "stills":
            return film.with_name(f"{stem}-{target}")
        case _:
            suffix = FORMATS[target].suffix if target in FORMATS else ""
            return film.with_name(f"{stem}.{target}{suffix}")


def check_asked(target: str, fps: Fraction | None, media: str | None) -> None:
    """What was asked for by name. Raises typer.BadParameter."""
    for flag, name, there in (("--to", target, TARGETS), ("--media", media, tuple(FORMATS))):
        if name is not None and name not in there:
            hint = did_you_mean(name, there) or f" (there are: {', '.join(there)})"
            raise typer.BadParameter(f'{flag}: no format "{name}"{hint}')
    if media is not None and target not in TIMELINES:
        raise typer.BadParameter(f"--media {media}: {target} is no timeline ({', '.join(TIMELINES)} are): drop it")
    if fps is not None and target in ("master", "stills"):
        why = {"master": "a master keeps the film's own frames", "stills": "stills are frames of the clips"}[target]
        raise typer.BadParameter(f"--fps {fps}: {why}: drop it")


def check(wanted: Export, story: Story) -> None:
    """Raises typer.BadParameter, and MachineLacks where this machine cannot write it."""
    if wanted.target in ("otio", "otioz"):
        opentimelineio()
    _check_quality(wanted)
    _check_place(wanted, story)


def _check_quality(wanted: Export) -> None:
    form = wanted.format
    most = FORMATS[form].crf_most if form else None
    if wanted.crf is not None and (most is None or wanted.crf > most):
        takes = f"takes 0 to {most}" if most is not None else "has no such setting"
        raise typer.BadParameter(f"--crf {wanted.crf:g}: {form or wanted.target} {takes}")
    problem = encoder_problem(form) if form and form.endswith("_nvenc") else None
    if problem is not None:
        raise MachineLacks(problem)


def _check_place(wanted: Export, story: Story) -> None:
    """A folder gives way if it is an earlier export, a file if it is none of the story's.

    Raises:
        typer.BadParameter: the place is taken, or its name promises another format.
    """
    path, target = wanted.path, wanted.target
    if wanted.folder and (not path.name or path.is_symlink()):  # it is replaced as a whole
        raise typer.BadParameter(f"--output {path}: name a folder of its own, as in --output cut")
    if target in ("png", "stills"):
        what, names = ("PNG sequence", FRAME) if target == "png" else ("folder of stills", STILL)
        if path.exists() and not _holds_only(path, names):
            raise typer.BadParameter(f"{path} is there and is no {what}: name a new folder with --output")
    elif wanted.timeline:
        if path.suffix.lower() == f".{target}":
            folder = f"it lies in a folder with its media: name that, as in --output {path.stem}"
            raise typer.BadParameter(f"--output {path}: {folder}")
        if path.exists() and not _is_timeline(path, wanted.timeline):
            raise typer.BadParameter(f"{path} is there and is no {target} with its media alone: name a new folder")
    else:
        _check_file(wanted, story)


def _check_file(wanted: Export, story: Story) -> None:
    path, target = wanted.path, wanted.target
    if path.is_dir():
        raise typer.BadParameter(f"{path} is a folder: name a file with --output")
    suffix = ".otioz" if target == "otioz" else FORMATS[target].suffix
    if path.suffix.lower() != suffix:
        raise typer.BadParameter(f"--output {path}: {target} goes into a {suffix} file")
    ours = [
        story.film,
        film_path(story, True),
        *(out_path(story, s.name, d) for s in story.scenes for d in (True, False)),
    ]
    taken = [*ours, *([story.finishing.soundtrack] if story.finishing.soundtrack else [])]
    if any(_same(path, other) for other in taken):
        raise typer.BadParameter(f"{path} is the film's, a scene's or the soundtrack's own file: name another")


def _same(one: Path, other: Path) -> bool:
    """Whether two paths lead to one file, in whatever letters and by whatever way."""
    return one.resolve() == other.resolve() or (one.exists() and other.exists() and one.samefile(other))


def _is_timeline(folder: Path, name: str) -> bool:
    """Whether it is empty, or holds a timeline of that name and its media. A person's own, saved beside it, is kept."""
    media = folder / "media"
    return _holds_only(folder, rf"media|{re.escape(name)}") and (not media.exists() or _holds_only(media, SCENE))


def _holds_only(folder: Path, names: str) -> bool:
    """Whether it is a folder of such files, beside what file managers leave there."""
    return folder.is_dir() and all(re.fullmatch(rf"{names}|{LEFT_THERE}", path.name) for path in folder.iterdir())


def check_room(folder: Path, target: str, finishes: Sequence[Finish]) -> None:
    """Raises MachineLacks."""
    made = [(1, f.span.clip.size) if target == "stills" else (f.frames, f.size) for f in finishes]
    pixels = sum(frames * width * height for frames, (width, height) in made)
    needed = pixels * BYTES_PER_PIXEL.get(target, LOSSY)
    free = free_bytes(folder)
    if needed > free:
        raise MachineLacks(f"about {gigabytes(needed)} of disk are needed and {gigabytes(free)} are free in {folder}")
