"""Scenes that hold their end: the frame they end on is kept as a picture beside the story."""

from __future__ import annotations

from pathlib import Path

from scenes.footage import Size
from scenes.wan.models import WanModel
from storyboard.mistakes import Place, written
from storyboard.reading import Reading
from storyboard.schema import SceneTable, StoryTable


def held_picture(table: SceneTable, place: Place, model: WanModel, reading: Reading) -> Path | None:
    """The frame that a scene holds; None where it holds none, and after complaining."""
    if table.hold is None:
        return None
    if not model.takes_end_image:
        reading.complain((*place, "hold"), f"{model.name} takes no end image: drop hold, or use wan2.2-i2v-a14b")
    return reading.picture((*place, "hold"), table.hold)


def check_held(table: StoryTable, size: Size | None, reading: Reading) -> None:
    """Complains of held frames that are none of these clips'."""
    for index, scene in enumerate(table.scene):
        found = reading.size_of(scene.hold) if scene.hold is not None else None
        if size is not None and found is not None and found != size:
            what = f"hold = {written(scene.hold)} is {found[0]}x{found[1]}, and the clips are {size[0]}x{size[1]}"
            reading.complain(("scene", index, "hold"), f"{what}: name a frame of that size, or drop hold")
