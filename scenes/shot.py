"""A shot: everything a renderer may read, and so the whole identity of the clip it becomes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar, Protocol

from scenes.footage import Frames, Size, Still

Tell = Callable[[float], None]
"""Takes the part of a shot that is done, 0 to 1. It may raise Stopped, which a renderer lets pass: this is how
a render stops between steps when asked."""


class Stopped(Exception):  # noqa: N818 (an order, not a mishap)
    """The person asked to stop."""


class MachineLacks(Exception):  # noqa: N818
    """This machine lacks something (GPU, weights, memory, a package, disk); the message says what to do."""


@dataclass(frozen=True, slots=True)
class Lora:
    """A LoRA at its strengths on the high-noise and the low-noise expert; `digest` is of the file."""

    kind: ClassVar[str] = "lora/1"
    digest: str
    high: float
    low: float
    path: Path = field(compare=False)


def unheard(text: str) -> None:
    """Says nothing to nobody."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Where and how a renderer may work. None of it is part of a key.

    `vram` and `ram`: bytes it may use, None for what is free; of the former `aside` are left to what else this process
    does on the device. `attention`: a kernel's name, None for the fastest exact one that works here. `say` takes what
    a person should know while it works.
    """

    device: str | None = None
    vram: int | None = None
    ram: int | None = None
    attention: str | None = None
    compile: bool = True
    say: Callable[[str], None] = unheard
    aside: int = 0


class Studio(Protocol):
    """A renderer with its weights loaded, ready to draw."""

    @property
    def made(self) -> dict[str, Any]:
        """How it draws (device, kernels, versions), for the record."""
        ...

    def render(self, shot: Shot, tell: Tell) -> Frames:
        """The shot's frames, exactly `shot.frames` of them; frame 0 redraws `shot.opening[-1]`."""
        ...

    def close(self) -> None: ...


class Renderer(Protocol):
    """How shots are drawn: a frozen dataclass, free of torch, whose compared fields are part of every key."""

    kind: ClassVar[str]

    @property
    def fps(self) -> Fraction: ...

    def open(self, shots: Sequence[Shot], machine: Machine) -> Studio:
        """Load once for all of these shots, each drawn by its own `renderer`.

        Openings of shots that wait for others are not there yet: only `render` may read them.

        Raises:
            MachineLacks: with the remedy.
        """
        ...


@dataclass(frozen=True, slots=True)
class Shot:
    """A resolved scene. `frames` is 4n+1: WAN's VAE folds four frames into a latent and keeps the first alone."""

    kind: ClassVar[str] = "shot/1"
    prompt: str
    negative_prompt: str | None
    seed: int
    frames: int
    size: Size
    opening: tuple[Still, ...]
    last: Still | None
    loras: tuple[Lora, ...]
    renderer: Renderer
