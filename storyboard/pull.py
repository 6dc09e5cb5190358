"""Bringing published weights into ComfyUI's folders: told of first, compared after, never over another file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from scenes.files import settle_file, settle_folder
from scenes.shot import MachineLacks
from scenes.wan.weights_folders import Kind, walk, weights_folders
from storyboard.catalogue import Bundle, PublishedFile
from storyboard.hub import Hub, HubError, HubFile, Part, Repo
from storyboard.memory import Memory
from storyboard.room import existing, free_bytes, gigabytes
from storyboard.transfer import Transfer

OF_KIND: dict[str, Kind] = {
    "diffusion_models": "experts",
    "loras": "loras",
    "text_encoders": "text_encoder",
    "vae": "vae",
}
"""What of WAN's lies in ComfyUI's folders."""


class PullError(MachineLacks):
    """Nothing was brought; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Errand:
    """A file to be at `target`."""

    file: HubFile
    target: Path

    @property
    def part(self) -> Path:
        """Where it grows: named by its content, so that no other file is ever gone on with."""
        return self.target.with_name(f".{self.target.name}.{self.file.sha256[:12]}.part")

    @property
    def left(self) -> int:
        """Bytes still to bring."""
        return self.file.size - (self.part.stat().st_size if self.part.is_file() else 0)


@dataclass(frozen=True, slots=True)
class Places:
    """`into`: the folder asked for, else it is the first of `folders`. `memory`: of weights' digests."""

    folders: Sequence[Path]
    into: Path | None
    memory: Memory

    @property
    def root(self) -> Path:
        """The `models` folder that weights go to. Raises PullError."""
        if self.into is not None:
            return models_folder(self.into)
        if not self.folders:
            raise PullError(
                "no weights folder is named: set STORYBOARD_MODELS=/path/to/ComfyUI/models, "
                'write models = "/path/to/ComfyUI/models" in the user\'s config file, or give --into DIR'
            )
        return models_folder(self.folders[0])

    def elsewhere(self, name: str, folder: str) -> list[Path]:
        """Files of that name among what lies in that folder's kind."""
        roots = [root for root in ([self.root] if self.into is not None else self.folders) if root.is_dir()]
        if folder in OF_KIND:
            search = weights_folders(roots).folders[OF_KIND[folder]]
        else:  # not WAN's
            search = tuple(place for root in roots if (place := models_folder(root) / folder).is_dir())
        return [path for each in search for path in walk(each, []) if path.name == name]


def pull(bundle: Bundle, places: Places, hub: Hub, show: Transfer) -> list[Path]:
    """Where a bundle's files lie, once all are there.

    Raises:
        HubError: the hub cannot be reached, or does not give what it should.
        PullError: there is no place or no room, or another file of that name is there.
    """
    root = places.root
    names = dict.fromkeys(file.repo for file in bundle.files)
    repos = {name: hub.repo(name) for name in names}
    errands = [_errand(file, repos[file.repo], root, hub) for file in bundle.files]
    _tell(bundle, repos, errands, show)
    there = [_there(errand, file.folder, places, show) for errand, file in zip(errands, bundle.files, strict=True)]
    missing = [errand for errand, place in zip(errands, there, strict=True) if place is None]
    _check_room(root, missing)
    for errand in missing:
        _bring(errand, hub, places.memory, show)
    return [place or errand.target for errand, place in zip(errands, there, strict=True)]


def models_folder(folder: Path) -> Path:
    """Weights folders may be named by ComfyUI itself, or what it lies in."""
    inside = (folder / "models", folder / "ComfyUI" / "models")
    return next((each for each in inside if each.is_dir()), folder)


def _errand(file: PublishedFile, repo: Repo, root: Path, hub: Hub) -> Errand:
    known = repo.files.get(file.path)
    if known is None:
        raise HubError(
            f"{repo.name} has no {file.path} with a checksum at {hub.endpoint}: "
            f"see {hub.endpoint}/{repo.name} for what became of it"
        )
    return Errand(known, root / file.folder / file.name)


def _tell(bundle: Bundle, repos: dict[str, Repo], errands: Sequence[Errand], show: Transfer) -> None:
    show.says(f"{bundle.name}: {bundle.says}")
    show.says(f"licence: {bundle.licence}")
    for repo in repos.values():
        if repo.licence is not None and repo.licence.casefold() != bundle.licence.casefold():
            show.says(f"  {repo.name} says: {repo.licence}")
    for errand in errands:
        show.says(f"  {errand.target.name}, {gigabytes(errand.file.size)}, from {errand.file.repo}")
    show.says(f"{gigabytes(sum(errand.file.size for errand in errands))} in all")


def _there(errand: Errand, folder: str, places: Places, show: Transfer) -> Path | None:
    """Where this very file lies already. Raises PullError where another one has its place."""
    if errand.target.exists():
        why = _unlike(errand.target, errand.file, places.memory, show)
        if why is not None:
            raise PullError(
                f"{errand.target} is there and is another file than {errand.file.repo} publishes ({why}): "
                "move it away, or name another folder with --into"
            )
        show.says(f"{errand.target} is there already")
        return errand.target
    for path in places.elsewhere(errand.target.name, folder):
        if _unlike(path, errand.file, places.memory, show) is None:
            show.says(f"{path} is there already")
            return path
    return None


def _unlike(path: Path, file: HubFile, memory: Memory, show: Transfer) -> str | None:
    size = path.stat().st_size if path.is_file() else -1
    if size != file.size:
        return "it is no file" if size < 0 else f"{size} bytes, not {file.size}"
    return None if memory.told_digest(path, show.says) == file.sha256 else "its SHA-256 differs"


def _check_room(root: Path, missing: Sequence[Errand]) -> None:
    if not missing:
        return
    near = existing(root)
    if not os.access(near, os.W_OK):
        raise PullError(f"{near} cannot be written to: name another folder with --into")
    needed, free = sum(errand.left for errand in missing), free_bytes(root)
    if needed > free:
        raise PullError(
            f"{gigabytes(needed)} are to be brought and {gigabytes(free)} are free in {near}: "
            "free some space, or name a folder on another disk with --into"
        )


def _bring(errand: Errand, hub: Hub, memory: Memory, show: Transfer) -> None:
    errand.target.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(f"{errand.part}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        show.says(f"another pull brings {errand.target.name}: waiting for it")
        lock.acquire()
    try:
        if not errand.target.exists():
            _fetch(errand, hub, show)
            memory.note(errand.target, errand.file.sha256)  # a render need not read it to know it
            memory.save()
    finally:
        if errand.target.exists():  # else another pull may wait on this very lock to go on with the part
            Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


def _fetch(errand: Errand, hub: Hub, show: Transfer) -> None:
    file, name = errand.file, errand.target.name
    if errand.part.exists():
        show.says(f"{name}: going on from {gigabytes(errand.part.stat().st_size)}")
    with Part(errand.part) as part:
        hub.fetch(file, part, lambda done: show.at(name, done, file.size))
        found = part.sha256
    if found != file.sha256:
        errand.part.unlink()
        raise HubError(
            f"{name} came with the SHA-256 {found} where {file.repo} tells {file.sha256}: "
            "it was deleted, run the same command again"
        )
    settle_file(errand.part)
    errand.part.rename(errand.target)
    settle_folder(errand.target.parent)
    for left in errand.target.parent.glob(f".{name}.*.part"):
        left.unlink(missing_ok=True)  # of what was published before
    show.says(f"{errand.target}: {gigabytes(file.size)}, SHA-256 {found}")
