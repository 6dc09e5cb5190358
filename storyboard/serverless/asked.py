"""Questions that need pictures decoded, films opened or a driver asked, answered as JSON by a process of their own.

python -m storyboard.serverless.asked gpu | story FILE | videos FILE...
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from storyboard.leash import leash

PIXELS = 100_000_000
"""Of one picture: what phones take, and what decoding may not fill a worker's memory with."""


def gpu(_: list[str]) -> dict[str, Any]:
    """What doctor says of the GPU, and what of it keeps WAN from drawing."""
    from storyboard.doctor import examine_gpu
    from storyboard.finding import MISSING

    found = list(examine_gpu())
    lacks = [f"{each.says}: {each.remedy}" if each.remedy else each.says for each in found if each.state == MISSING]
    return {"says": [each.says for each in found if each.state != MISSING], "lacks": lacks}


def story(files: list[str]) -> dict[str, Any]:
    """The story's mistakes and its scenes' names, and what is wrong with pictures beside it."""
    from storyboard.mistakes import StoryError
    from storyboard.story import read_story

    path = Path(files[0])
    problems = [
        f'picture "{each.relative_to(path.parent).as_posix()}" {problem}'
        for each in sorted(path.parent.rglob("*"))
        if each.is_file() and each != path and (problem := _picture_problem(each))
    ]
    if problems:
        return {"pictures": problems}
    try:
        read = read_story(path, decode=True, confined=True)
    except StoryError as error:
        mistakes = [asdict(mistake) | {"file": path.name} for mistake in error.mistakes]
        said = [str(mistake).replace(str(path), path.name) for mistake in error.mistakes]
        return {"mistakes": mistakes, "said": said}
    return {"scenes": [scene.name for scene in read.scenes], "film": read.film.stem}


def _picture_problem(path: Path) -> str | None:
    """What it is by its own bytes, whatever it is called."""
    from scenes.picture import PictureError, picture_size

    try:
        width, height = picture_size(path)
    except PictureError as error:
        return str(error)
    if width * height > PIXELS:
        return f"is {width}x{height}: the most is {PIXELS // 10**6} megapixels"
    return None


def videos(files: list[str]) -> list[dict[str, Any]]:
    """Frames, rate and length of each."""
    import av

    found: list[dict[str, Any]] = []
    for name in files:
        with av.open(name) as container:
            stream = container.streams.video[0]
            frames = stream.frames or sum(packet.size > 0 for packet in container.demux(stream))
            fps = stream.average_rate
        seconds = round(float(frames / fps), 3) if fps else None
        found.append({"frames": frames, "fps": str(fps), "seconds": seconds})
    return found


QUESTIONS: dict[str, Callable[[list[str]], Any]] = {"gpu": gpu, "story": story, "videos": videos}

if __name__ == "__main__":
    leash(os.getppid())
    sys.stdout.write(json.dumps(QUESTIONS[sys.argv[1]](sys.argv[2:]), ensure_ascii=False))
