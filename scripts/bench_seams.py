"""What `storyboard seams` takes: a film of kept clips is written, then measured and shown.

python scripts/bench_seams.py [--scenes 50] [--frames 81] [--size 832x480] [--runs 3] [--folder DIR]

The clips are a camera over a photograph (scikit-image's), each frame with its own grain of one level, as
tests/test_seams.py draws them; all scenes but the first are chained, and most seams have a fault. Wall and CPU seconds
are of the whole command.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from scenes.footage import Frame  # noqa: E402
from storyboard.story import read_story  # noqa: E402
from tests import test_seams  # noqa: E402
from tests.kept_films import keep_film  # noqa: E402


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--scenes", type=int, default=50)
    options.add_argument("--frames", type=int, default=81)
    options.add_argument("--size", default="832x480")
    options.add_argument("--runs", type=int, default=3)
    options.add_argument("--folder", type=Path, help="where the film is kept for another time")
    asked = options.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder: Path = asked.folder or Path(temporary)
        story = folder / "story.toml"
        if not story.exists():
            write_film(folder, story, asked.scenes, asked.frames, asked.size)
        page = folder / "out" / "story.draft.seams.html"
        for what, more in (("measured", ["--no-page"]), ("with its page", ["--page", str(page)])):
            for _ in range(asked.runs):
                print(f"{what}: {timed(['seams', str(story), '--draft', *more])}")
        if page.exists():
            print(f"page: {page.stat().st_size / 1e6:.1f} MB")
    return 0


def timed(args: list[str]) -> str:
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, "-m", "storyboard", *args]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 1):
        raise SystemExit(done.stderr)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return f"{wall:.1f} s, {cpu:.1f} CPU s, {len(os.sched_getaffinity(0))} cores, peak {after.ru_maxrss / 1e6:.2f} GB"


def write_film(folder: Path, story: Path, scenes: int, frames: int, size: str) -> None:
    """A story and its kept clips, as a draft would have kept them."""
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(test_seams.photo("coffee")).save(folder / "coffee.png")
    tables = [f'[[scene]]\nname = "s{number}"\nprompt = "a camera moves"\n' for number in range(scenes)]
    tables[0] += 'image = "coffee.png"\n'
    story.write_text(f'[look]\nsize = "{size}"\nframes = {frames}\n\n' + "\n".join(tables), encoding="utf-8")
    test_seams.SIZE = test_seams.WIDTH, test_seams.HEIGHT = read_story(story).size
    keep_film(story, lambda scene, shot: drawn(int(scene[1:]), shot.frames))


def drawn(number: int, frames: int) -> Iterator[Frame]:
    """One camera that comes and goes over a photograph, from scene to scene; a fault where six of eight scenes begin
    or end."""
    rng = np.random.default_rng(number)
    camera = test_seams.shot(np.random.default_rng(3), "coffee")
    camera = camera._replace(pace=(4.0, 1.5), zoom=1.001, turn=0.0)
    fault = number % 8
    for index in range(frames):
        shown = {2: index + 1, 3: max(0, index - 1), 6: min(index, frames - 4)}.get(fault, index)
        frame = camera.frame(60 * np.sin((number * (frames - 1) + shown) / 60))
        light = {1: 2.5, 4: 6.0 if index in (1, 2) else 0.0}.get(fault, 0.0)
        if light:
            frame = test_seams.shifted(frame, np.array([light, 0, 0]))
        if fault == 5 and index >= frames - 2:
            frame = np.asarray(cv2.GaussianBlur(frame, (0, 0), 4.0), dtype=np.uint8)
        yield test_seams.grained(frame, rng)


if __name__ == "__main__":
    sys.exit(main())
