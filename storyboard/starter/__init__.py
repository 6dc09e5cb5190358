"""A first story: commented, with a picture, rendering as it is."""

from __future__ import annotations

import errno
import json
from importlib.resources import files
from pathlib import Path

from storyboard.schema import json_schema

PARTS = ("story.toml", "opening.png")


def write_starter(folder: Path) -> Path:
    """The story file written. Raises FileExistsError, having written nothing, where one of its files is there."""
    for name in (*PARTS, "story.schema.json"):
        if (folder / name).exists():
            raise FileExistsError(errno.EEXIST, "is there already", str(folder / name))
    folder.mkdir(parents=True, exist_ok=True)
    for name in PARTS:
        (folder / name).write_bytes((files(__package__ or "") / name).read_bytes())
    (folder / "story.schema.json").write_text(json.dumps(json_schema(), indent=1) + "\n", encoding="utf-8")
    return folder / "story.toml"
