"""How far frames drift from the first of their run by what the camera brings into view, and by a drift of the model.

python scripts/drift_of_content.py [--runs 100]

A run is five clips of 81 frames, a camera over a photograph (as in tests/test_seams.py) that stands still or travels by
a share of the frame's width; every eighth frame is held against the first. The drift gains 2 % in red and loses 2 % in
blue a clip. The limits `run_*` are chosen by these figures: docs/seams.md says how.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from post.look import drift, look_at
from storyboard.report.numbers import DRIFTING
from tests.test_seams import WIDTH, shot

CLIPS, FRAMES = 5, 81


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=int, default=100)
    asked = options.parse_args()
    for travel, drifts in ((0, True), (1 / 16, False), (1 / 16, True), (1 / 4, False)):
        far = np.array([farthest(np.random.default_rng(seed), travel, drifts) for seed in range(asked.runs)])
        what = f"travels {travel:.2f} of the width{', with a drift of 2 % a clip' if drifts else ''}"
        print(f"{what}, {asked.runs} runs; farthest frame of a run, median, ninth decile and most:")
        for column, each in enumerate(DRIFTING):
            deciles = np.quantile(far[:, column], [0.5, 0.9, 1.0])
            print(f"  {each.name:<11}" + "".join(f"{value:8.2f}" for value in deciles))
    return 0


def farthest(rng: np.random.Generator, travel: float, drifts: bool) -> list[float]:
    camera = shot(rng)
    share = travel * WIDTH / (CLIPS * FRAMES) / np.hypot(*camera.pace)
    slow = camera._replace(pace=(camera.pace[0] * share, camera.pace[1] * share), zoom=1.0, turn=0.0)
    first = look_at(slow.frame(0.0))
    far = [each.same for each in DRIFTING]
    for moment in range(0, CLIPS * FRAMES, 8):
        gain = np.array([1.02, 1.0, 0.98]) ** (moment // FRAMES if drifts else 0)
        frame = np.clip(slow.frame(float(moment)) * gain, 0, 255).round().astype(np.uint8)
        found = drift(first, look_at(frame))
        far = [max(each.distance(each.of(found)), most) for each, most in zip(DRIFTING, far, strict=True)]
    return far


if __name__ == "__main__":
    sys.exit(main())
