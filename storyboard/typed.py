"""Commands as they are typed, for whoever is to run one next."""

from __future__ import annotations

import shlex
from pathlib import Path


def typed(verb: str, story: Path, *more: str, draft: bool) -> str:
    """A command of this program; options go behind it."""
    return " ".join(["storyboard", verb, shlex.quote(str(story)), *more, *(["--draft"] if draft else [])])


def typed_render(story: Path, scene: str, *, draft: bool) -> str:
    """What renders one scene."""
    return typed("render", story, draft=draft) + f" --scene {scene}"
