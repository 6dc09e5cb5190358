"""CPU seconds and peak memory of what must stay cheap: help, plan, an untouched story, finishing.

python scripts/bench_core.py [--finish-frames 500] [--markdown]

CPU seconds are user + system of the whole process, the median of five runs; memory is the peak of the whole process.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[1]
PLAIN = '[finish]\nupscale = { model = "none" }\ninterpolate = { model = "none" }\nencode = { preset = "ultrafast" }\n'


@dataclass(frozen=True)
class Figure:
    what: str
    value: float
    limit: float
    unit: str


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument(
        "--finish-frames", type=int, default=500, help="length of the clips to finish; 0 leaves it out"
    )
    options.add_argument("--markdown", action="store_true", help="a table for docs/benchmarks.md")
    asked = options.parse_args()
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder:
        figures.append(Figure("`storyboard --help`", cpu(["--help"]), 0.3, "CPU s"))
        figures.append(planned(Path(folder) / "plan"))
        figures.append(untouched(Path(folder) / "untouched"))
        figures.append(held(Path(folder) / "held"))
        for size, limit in (((1920, 1080), 1.2), ((3840, 2160), 2.5)) if asked.finish_frames else ():
            figures.append(finished(Path(folder), size, asked.finish_frames, limit))
    for figure in figures:
        row = (figure.what, f"{figure.value:.2f} {figure.unit}", f"{figure.limit:g}")
        print(f"| {' | '.join(row)} |" if asked.markdown else f"{row[0]:<70} {row[1]:>12}  (limit {row[2]})")
    return int(any(figure.value > figure.limit for figure in figures))


def cpu(args: list[str], runs: int = 5) -> float:
    """Median CPU seconds of a command."""
    return statistics.median(measured(lambda: command(args))[0] for _ in range(runs))


def command(args: list[str]) -> None:
    os.execv(sys.executable, [sys.executable, "-m", "storyboard", *args])


def measured(work: Callable[[], None]) -> tuple[float, float]:
    """CPU seconds and peak GB of some work in a process of its own."""
    child = os.fork()
    if child == 0:
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        work()
        os._exit(0)
    _, status, usage = os.wait4(child, 0)
    if status != 0:
        raise SystemExit(f"a measured command failed with status {os.waitstatus_to_exitcode(status)}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e9


def pictures(folder: Path, count: int, size: tuple[int, int]) -> None:
    folder.mkdir(parents=True)
    for number in range(count):
        rng = np.random.default_rng(number)
        small = rng.integers(0, 256, (9, 16, 3), dtype=np.uint8)
        Image.fromarray(small).resize(size, Image.Resampling.BICUBIC).save(folder / f"p{number}.png")


def story(folder: Path, scenes: int, every: int, look: str) -> Path:
    """A story of chains: each `every`th scene opens on a picture."""
    tables: list[str] = []
    for number in range(scenes):
        opens = f'image = "p{number // every}.png"\n' if number % every == 0 else ""
        tables.append(f'[[scene]]\nname = "s{number}"\n{opens}prompt = "scene {number}"\ncamera = "pan left"\n')
    path = folder / "story.toml"
    path.write_text(f"[look]\n{look}\n" + "\n".join(tables) + PLAIN, encoding="utf-8")
    return path


def planned(folder: Path) -> Figure:
    pictures(folder, 50, (1280, 720))
    path = story(folder, 1000, 20, 'size = "832x480"')
    (folder / ".storyboard").mkdir()  # a store, so that fitted pictures are remembered
    measured(lambda: command(["plan", str(path), "--draft"]))
    return Figure("`plan`, 1,000 scenes, 50 pictures, warm", cpu(["plan", str(path), "--draft"]), 2, "CPU s")


def untouched(folder: Path) -> Figure:
    pictures(folder, 20, (64, 48))
    path = story(folder, 200, 10, 'size = "64x48"\nframes = 5')
    measured(lambda: command(["render", str(path), "--draft"]))
    return Figure("`render`, 200 scenes, untouched", cpu(["render", str(path), "--draft"]), 2, "CPU s")


def held(folder: Path) -> Figure:
    pictures(folder, 50, (64, 48))
    path = story(folder, 1000, 20, 'size = "64x48"\nframes = 5\ncolour = { drift = 0.5 }')
    measured(lambda: command(["render", str(path), "--draft"]))
    return Figure("`plan`, 1,000 scenes kept, colour held", cpu(["plan", str(path), "--draft"]), 3, "CPU s")


def finished(folder: Path, size: tuple[int, int], frames: int, limit: float) -> Figure:
    def work() -> None:
        from post.encode import Encode
        from post.finish import Finish, write_segment
        from post.interpolate import Flow, Interpolate
        from post.suite import Place, Suite
        from post.upscale import Lanczos, Upscale
        from scenes.files import load_clip, write_clip
        from scenes.footage import Span

        into = folder / f"{size[0]}"
        (into / "clip").mkdir(parents=True)
        (into / "segment").mkdir()
        write_clip(moving(frames), into / "clip", Fraction(16), frames, {})
        clip = load_clip(into / "clip")
        finish = Finish(
            Span(clip, 0, frames),
            None,
            Upscale(Lanczos(), size),
            Interpolate(Flow(), 2),
            Encode("h264", 16.0, "medium"),
        )
        pictures = Suite(Place("cpu")).pictures(finish, lambda done: None, "yuv420p")
        write_segment(finish, pictures, into / "segment", {})

    what = f"finishing {frames} frames to {size[0]}x{size[1]}, lanczos and flow, peak memory"
    return Figure(what, measured(work)[1], limit, "GB")


def moving(frames: int):
    """A detailed picture panned by a few pixels a frame, 832x480."""
    rng = np.random.default_rng(1)
    wide = Image.fromarray(rng.integers(0, 256, (60, 260, 3), dtype=np.uint8)).resize(
        (2080, 480), Image.Resampling.BICUBIC
    )
    picture = np.asarray(wide)
    for number in range(frames):
        left = (number * 3) % (2080 - 832)
        yield np.ascontiguousarray(picture[:, left : left + 832])


if __name__ == "__main__":
    sys.exit(main())
