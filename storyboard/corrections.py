"""How a clip's colour is corrected, in a few words, and why that changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from post.grade import Grade, Matrix, matrix_of
from post.match import LUMA
from storyboard.colour import Shade, anchor_of
from storyboard.identity import UNMADE, Json, recipe
from storyboard.story import Story

MIDDLE = 128.0
"""The grey that per cent are of."""

SMALL, SMALL_CONTRAST = 0.05, 0.5
"""Per cent below which nothing is said of a channel, and of contrast and saturation."""


def colours_said(story: Story, shades: Mapping[str, Shade]) -> dict[str, str]:
    """Of each scene whose colour is matched, or that others are matched to; scenes without a clip are left out."""
    said = {index: _said(story, index, shades) for index in range(len(story.scenes))}
    return {story.scenes[index].name: text for index, text in said.items() if text is not None}


def _said(story: Story, index: int, shades: Mapping[str, Shade]) -> str | None:
    shade = shades.get(story.scenes[index].name)
    if shade is None:
        return None
    anchor = anchor_of(story, index)
    if anchor == index:
        after = index + 1
        followed = after < len(story.scenes) and anchor_of(story, after) == index
        return "as drawn: the scenes after it are matched to it" if followed else None
    to = f"matched to {story.scenes[anchor].name}"
    if not shade.known:
        return f"{to}, once {awaited(story, index, shade)} is drawn"
    if not shade.alike:
        return f"shown as {story.scenes[index - 1].name}: its first frame is too unlike what it opens on to be {to}"
    far = "" if shade.whole else ", as far as a grade may go"
    return f"{to}{far}: {correction(shade.grade)}"


def awaited(story: Story, index: int, shade: Shade) -> str:
    """The last scene of a run up to this one that has no clip yet; this one where its run is there."""
    run = zip(story.scenes[anchor_of(story, index) :], shade.run, strict=False)
    return [story.scenes[index].name, *(scene.name for scene, clip in run if clip.startswith(UNMADE))][-1]


def correction(grade: Grade | None) -> str:
    """What becomes of a middle grey, and of contrast and saturation where they change otherwise than that."""
    if grade is None:
        return "nothing to correct"
    first = _changes(matrix_of(grade.first))
    if grade.last is None:
        return first
    return f"{first}; at its end {_changes(matrix_of(grade.last))}"


def _changes(matrix: Matrix) -> str:
    gain = matrix[:, :3]
    grey = gain.sum(1) + matrix[:, 3] / MIDDLE
    contrast = float(LUMA @ gain.sum(1))
    chroma = np.eye(3) - 1 / 3
    saturation = float(np.trace(chroma @ gain @ chroma)) / 2
    changed = [
        *((name, value - 1, SMALL) for name, value in zip(("red", "green", "blue"), grey.tolist(), strict=True)),
        ("contrast", contrast / max(float(LUMA @ grey), 0.01) - 1, SMALL_CONTRAST),
        ("saturation", saturation / max(contrast, 0.01) - 1, SMALL_CONTRAST),
    ]
    said = [f"{100 * by:+.1f} % {name}" for name, by, least in changed if abs(100 * by) >= least]
    return ", ".join(said) or f"less than {SMALL:g} %"


def why_graded_anew(old: Json, follows: Sequence[str], new: Shade, story: Story, index: int) -> str | None:
    """Why the colour of a kept clip's segment is another now; None where it is not.

    old: the recipe that its segment was last finished by. follows: the digests of its run's clips before it, then.
    """
    was = old.get("colour") if isinstance(old, dict) else None
    had = was.get("clip") if isinstance(was, dict) else None
    now = new.grade
    if had == recipe(now):
        return None
    if now is None:
        return "its colour is not corrected any more"
    names = [scene.name for scene in story.scenes[anchor_of(story, index) : index]]
    if had is not None and len(follows) == len(new.run) - 1 == len(names):
        for name, before, there in zip(names, follows, new.run, strict=False):
            if before != there:
                return f"colour follows {name}'s new clip"
    return "its colour is corrected" if had is None else "its colour is corrected otherwise"
