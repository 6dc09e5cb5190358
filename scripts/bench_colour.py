"""A chain of ten clips that drift, before and after its colour is held: ΔE2000 at the tenth hop, for docs/colour.md.

python scripts/bench_colour.py

Photographs that a camera pans over, at 416x240, with grain of two levels in every frame. Each clip's frames are those
of the one before, drifted once more. Needs scikit-image.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import cv2
import numpy as np
import skimage.data
from skimage.color import deltaE_ciede2000, rgb2lab

from post.grade import IDENTITY, graded, matrix_of, numbers_of
from post.match import match, next_in_run
from scenes.footage import Frame

WIDTH, HEIGHT, HOPS, GRAIN = 416, 240, 10, 2.0
PHOTOS = ("astronaut", "chelsea", "coffee", "rocket")
LUMA = np.array([0.2126, 0.7152, 0.0722])


def lit(levels: np.ndarray) -> np.ndarray:
    values = levels / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def shown(light: np.ndarray) -> np.ndarray:
    light = light.clip(0, 1)
    return 255 * np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


DRIFTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "red -2 %": lambda levels: levels * [0.98, 1, 1],
    "red +2 %, blue -2 %": lambda levels: levels * [1.02, 1, 0.98],
    "contrast -2 %": lambda levels: (levels - 128) * 0.98 + 128,
    "saturation +2 %": lambda levels: (levels @ LUMA)[..., None] * -0.02 + levels * 1.02,
    "2 levels off red": lambda levels: levels - [2, 0, 0],
    "light: red -4 %, blue +2 %": lambda levels: shown(lit(levels) * [0.96, 1, 1.02]),
    "gamma 1.02": lambda levels: 255 * (levels.clip(0, 255) / 255) ** 1.02,
}


def frame(name: str, at: int) -> np.ndarray:
    picture = getattr(skimage.data, name)() * 0.85 + 12
    scale = 1.5 * max(WIDTH / picture.shape[1], HEIGHT / picture.shape[0])
    picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return picture[3 * at : 3 * at + HEIGHT, 7 * at : 7 * at + WIDTH]


def drifted(levels: np.ndarray, by: Callable[[np.ndarray], np.ndarray], times: int) -> np.ndarray:
    for _ in range(times):
        levels = by(levels)
    return levels


def apart(one: np.ndarray, other: np.ndarray) -> float:
    return float(deltaE_ciede2000(*(rgb2lab(each.clip(0, 255) / 255).mean((0, 1)) for each in (one, other))))


def chain(name: str, by: Callable[[np.ndarray], np.ndarray], rng: np.random.Generator) -> tuple[float, float]:
    def drawn(at: int, hops: int) -> Frame:
        levels = drifted(frame(name, at), by, hops)
        return (levels + rng.normal(0, GRAIN, levels.shape)).clip(0, 255).round().astype(np.uint8)

    held = IDENTITY
    for hop in range(1, HOPS + 1):
        found = match(drawn(hop, hop), drawn(hop, hop - 1))
        held = matrix_of(numbers_of(next_in_run(held, found, 1.0)))
    last = drawn(HOPS, HOPS)
    return apart(frame(name, HOPS), last), apart(frame(name, HOPS), graded(last, held))


def main() -> None:
    rng = np.random.default_rng(0)
    print(f"| a hop | {' | '.join(PHOTOS)} |\n|---{'|---' * len(PHOTOS)}|")
    for how, by in DRIFTS.items():
        found = [chain(name, by, rng) for name in PHOTOS]
        print(f"| {how} | {' | '.join(f'{before:.1f} → {after:.2f}' for before, after in found)} |")
    big = cv2.resize(frame("coffee", 0), (832, 480)).astype(np.uint8)
    for what, work in (("match", lambda: match(big, big)), ("grade", lambda: graded(big, 1.01 * IDENTITY))):
        work()
        started = time.process_time()
        for _ in range(20):
            work()
        print(f"{what}, 832x480: {50 * (time.process_time() - started):.1f} CPU ms")


if __name__ == "__main__":
    main()
