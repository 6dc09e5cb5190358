"""Files that a story names: beside it, or by their names in the weights folders. Free of torch."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path

from scenes.shot import MachineLacks
from scenes.wan.checkpoint import CheckpointError
from scenes.wan.weights_folders import SUFFIXES, Kind, Places, walk

HOW_TO_NAME = "set STORYBOARD_MODELS, or models in the config file, to your ComfyUI/models folder"


class WeightsMissing(MachineLacks):
    """No weights where they were looked for; the message says where that was and what to do."""


def named_file(name: str, beside: Path, kind: Kind, places: Places, what: str) -> Path:
    """The file or folder that a name in a story means; `what` begins the sentence if there is none.

    Raises:
        WeightsMissing: there is none.
        CheckpointError: there are several.
    """
    folders = places.folders[kind]
    spelled = (name,) if name.lower().endswith(SUFFIXES) else (name, f"{name}.safetensors", f"{name}.gguf")
    for folder in (beside, *folders):
        found = next((path for each in spelled if (path := folder / each).exists()), None)
        if found is not None:
            return found
    troubles = list(places.troubles)
    below = [path for folder in folders for path in walk(folder, troubles)]
    same = _apart(path for path in below if path.as_posix().endswith(tuple(f"/{each}" for each in spelled)))
    if len(same) > 1:
        raise CheckpointError(
            f"{what} is there {len(same)} times ({', '.join(map(str, same))}): write its folder before its name"
        )
    if same:
        return same[0]
    near = _nearest(name, below)
    hint = f': did you mean "{near.name}"?' if near else ""
    useless = f"{'' if near else '.'} Of no use: {'; '.join(dict.fromkeys(troubles))}" if troubles else ""
    looked = f"looked beside the story ({beside}) and {searched(folders, troubles)}"
    raise WeightsMissing(f"{what} is not there: {looked}{hint}{useless}")


def searched(folders: Iterable[Path], troubles: Sequence[str] = ()) -> str:
    """The folders that were looked in, as the end of a sentence. troubles: of those that could not be."""
    named = [str(folder) for folder in folders]
    if named:
        return f"in {', '.join(named)}"
    return "in no weights folder" if troubles else f"in no weights folder, since none is named: {HOW_TO_NAME}"


def _nearest(name: str, paths: Iterable[Path]) -> Path | None:
    """The file whose name is nearly that one: neither endings nor capitals count, which would make strangers alike."""
    by_stem = {_stem(path.name): path for path in paths}
    near = difflib.get_close_matches(_stem(Path(name).name), by_stem, n=1, cutoff=0.75)
    return by_stem[near[0]] if near else None


def _stem(name: str) -> str:
    lowered = name.lower()
    return next((lowered.removesuffix(suffix) for suffix in SUFFIXES if lowered.endswith(suffix)), lowered)


def _apart(paths: Iterable[Path]) -> list[Path]:
    """Of several paths to one file the first."""
    kept: list[Path] = []
    for path in paths:
        if not any(path.samefile(other) for other in kept):
            kept.append(path)
    return kept
