"""WAN 2.2 as a renderer: what of it is part of a clip's key. Free of torch until it is opened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, ClassVar

from scenes.shot import Machine, Shot, Studio

if TYPE_CHECKING:
    from scenes.wan.recipes import Recipe
    from scenes.wan.weights import Weights


@dataclass(frozen=True, slots=True)
class Wan:
    """What a story asks of the model. `model`: a name in MODELS. `precision`: None (weights as they are), "fp8" or
    "fp16-accumulate"; `vae`: "fp32" or "bf16"."""

    kind: ClassVar[str] = "wan/1"
    fps: Fraction
    model: str
    weights: Weights
    recipe: Recipe
    precision: str | None
    vae: str

    def open(self, shots: Sequence[Shot], machine: Machine) -> Studio:
        from scenes.wan.studio import WanStudio

        return WanStudio(shots, machine)


def wan_of(shot: Shot) -> Wan:
    """The renderer of a shot that WAN draws."""
    if not isinstance(shot.renderer, Wan):
        raise TypeError(f"WAN cannot draw {shot.renderer!r}")
    return shot.renderer
