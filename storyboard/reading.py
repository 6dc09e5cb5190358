"""The files that a story names: where they are, whether it may have them, and what is complained of."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from scenes.footage import Size
from scenes.picture import PictureError, fit_picture, picture_size
from storyboard.mistakes import Place, did_you_mean, written


@dataclass
class Reading:
    """Where a story's paths start, whether they must stay there, and the mistakes found so far.

    `unsure`: places that were wrong and are read as if they had been left out. `decode`: pictures are read whole.
    """

    folder: Path
    confined: bool
    found: list[tuple[Place, str]]
    unsure: tuple[Place, ...] = ()
    decode: bool = False
    sizes: dict[Path, Size | None] = field(default_factory=dict[Path, "Size | None"])

    def complain(self, place: Place, message: str) -> None:
        """Once: what [look] says wrongly is met in every scene. What may follow from another mistake is not said."""
        consequence = any(unsure[: len(place)] == place for unsure in self.unsure)
        if not consequence and (place, message) not in self.found:
            self.found.append((place, message))

    def path(self, place: Place, name: str) -> Path | None:
        """A path as the author wrote it, from the story's folder; None after complaining."""
        said = f"{place[-1]} = {written(name)}"
        try:
            path = self.folder / (name if self.confined else Path(name).expanduser())
            if "\0" in name:
                self.complain(place, f"{said} holds a NUL character, which no path can")
            elif self.confined and _outside(path, name, self.folder):
                self.complain(place, f"{said} leads outside the story's folder: name a file in it")
            else:
                return path
        except RuntimeError:  # no such user
            self.complain(place, f"{said} leads nowhere: write the whole path")
        except (OSError, ValueError) as error:
            self.complain(place, f"{said} cannot be found ({why(error)})")
        return None

    def file(self, place: Place, name: str) -> Path | None:
        path = self.path(place, name)
        if path is None:
            return None
        try:
            if path.is_file():
                return path
            what = _what_else(path, name)
        except OSError as error:
            what = f"cannot be read ({why(error)})"
        self.complain(place, f"{place[-1]} = {written(name)} {what}")
        return None

    def picture(self, place: Place, name: str) -> Path | None:
        """A picture that opens, with its size remembered."""
        path = self.file(place, name)
        if path is None or path in self.sizes:
            return path if path is None or self.sizes[path] else None
        try:
            self.sizes[path] = picture_size(path)
            if self.decode:
                fit_picture(path, (16, 16), "cover", (0, 0, 0))
        except PictureError as error:
            self.sizes[path] = None
            self.complain(place, f"{place[-1]} = {written(name)} {error}")
            return None
        return path

    def size_of(self, name: str) -> Size | None:
        """The size of a picture that was read, by the name it was given in the story."""
        try:
            return self.sizes.get(self.folder / (name if self.confined else Path(name).expanduser()))
        except RuntimeError:
            return None


def why(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _outside(path: Path, name: str, folder: Path) -> bool:
    """Whether a path leads out of a folder, or may for a later reader, who takes ~ for a home."""
    return name.startswith("~") or not _real(path).is_relative_to(_real(folder))


def _real(path: Path) -> Path:
    """Where links lead. Path.resolve() raises over links in a ring in some Python versions."""
    return Path(os.path.realpath(path))


def _what_else(path: Path, name: str) -> str:
    """Why there is no file to read."""
    if path.is_dir():
        return "is a folder, not a file"
    if path.exists():
        return "is no ordinary file"
    if path.is_symlink():
        return "is a link that leads nowhere"
    return f"is not there{_nearby(path, name)}"


def _nearby(path: Path, name: str) -> str:
    """A file of nearly that name in its folder, or what is wrong with the folder."""
    if not path.parent.is_dir():
        return f": there is no folder {written(str(Path(name).parent))} either"
    there = [str(Path(name).with_name(p.name)) for p in path.parent.iterdir() if p.is_file()]
    return did_you_mean(name, there, cutoff=0.7)  # all share an ending
