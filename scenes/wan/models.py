"""What each WAN 2.2 model draws: its rate, lengths and sizes. Free of torch.

Source: the models' own configurations (Wan-AI/Wan2.2-I2V-A14B and Wan-AI/Wan2.2-TI2V-5B).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from scenes.footage import Size


@dataclass(frozen=True, slots=True)
class WanModel:
    """`multiple`: width and height are multiples of it. `frames`: the length it was trained on."""

    name: str
    fps: int
    frames: int
    multiple: int
    experts: int
    takes_end_image: bool
    buckets: tuple[Size, ...]


I2V_A14B = WanModel(
    name="wan2.2-i2v-a14b",
    fps=16,
    frames=81,
    multiple=16,
    experts=2,
    takes_end_image=True,
    buckets=((832, 480), (720, 544), (624, 624), (544, 720), (480, 832)),
)
TI2V_5B = WanModel(
    name="wan2.2-ti2v-5b",
    fps=24,
    frames=121,
    multiple=32,
    experts=1,
    takes_end_image=False,
    buckets=((1280, 704), (1088, 832), (960, 960), (832, 1088), (704, 1280)),
)
MODELS = {model.name: model for model in (I2V_A14B, TI2V_5B)}
RECIPES = ("lightning-4", "lcm-4", "motion-6", "hybrid-12", "quality-40")


def model_of(named: str | Mapping[str, str], beside: Path) -> WanModel:
    """The model that a name, a folder or a set of files stands for, told without its weights.

    A folder that is not here is taken by its name: "5b" in it means the 5B. High and low files are the A14B's.
    """
    if not isinstance(named, str):
        return I2V_A14B
    if named in MODELS:
        return MODELS[named]
    index = beside / named / "model_index.json"
    if index.is_file():
        pipeline = json.loads(index.read_text(encoding="utf-8"))
        return TI2V_5B if pipeline.get("expand_timesteps") else I2V_A14B
    return TI2V_5B if "5b" in named.lower() else I2V_A14B


def whole_frames(frames: float) -> int:
    """The nearest length of 4n+1 frames, the longer of two as near, at least 5."""
    return max(5, int((frames - 1) / 4 + 0.5) * 4 + 1)
