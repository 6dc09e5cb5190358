"""A still of each scene: the middle frame of its kept clip, graded as the film is, before it is enlarged or encoded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from post.finish import Finish
from post.grade import graded
from scenes.files import read_span
from scenes.footage import Frame
from storyboard.finished import Tell
from storyboard.store import Store
from storyboard.story import Scene, Story
from storyboard.timeline import numbered


def write_stills(story: Story, finishes: Sequence[Finish], folder: Path, store: Store, tell: Tell) -> int:
    """One PNG a scene; gives their number. Raises DamagedFile."""
    folder.mkdir()
    for index, (scene, finish) in enumerate(zip(story.scenes, finishes, strict=True)):
        number = finish.span.start + finish.span.frames // 2
        with store.damage_set_aside():
            frame = _frame(finish, number)
        path = folder / f"{numbered(story, index)}.png"
        Image.fromarray(frame).save(path, format="PNG", pnginfo=_facts(scene, number))
        tell(scene.name, 1.0)
    return len(finishes)


def _frame(finish: Finish, number: int) -> Frame:
    """Frame `number` of the clip, which is read to its end: only there it is known to be whole."""
    frames = enumerate(read_span(finish.span), start=finish.span.start)
    (frame,) = [frame for at, frame in frames if at == number]
    grade = finish.colour.clip if finish.colour is not None else None
    return graded(frame, grade.at(number) if grade is not None else None)


def _facts(scene: Scene, number: int) -> PngInfo:
    facts = PngInfo()
    facts.add_itxt("Title", scene.name)
    facts.add_itxt("Description", scene.prompt)
    facts.add_itxt("Comment", f"seed {scene.seed}, frame {number} of {scene.frames}")
    return facts
