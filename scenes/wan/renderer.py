"""WAN 2.2 as a renderer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

from scenes.shot import Machine, MachineLacks, Shot, Studio

NOT_YET = "this version draws drafts only, WAN 2.2 comes with the next: add --draft"


@dataclass(frozen=True, slots=True)
class Wan:
    """What a story asks of the model; `open` says what is lacking."""

    kind: ClassVar[str] = "wan/0"
    fps: Fraction
    model: str
    recipe: str
    precision: str | None
    vae: str

    def open(self, shots: Sequence[Shot], machine: Machine) -> Studio:
        raise MachineLacks(NOT_YET)
