"""What a run was asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from scenes.shot import Machine


@dataclass(frozen=True, slots=True)
class Options:
    """What a run was asked for. `scenes`: None for all; `anew`: these are made even where they are kept; `deliver`:
    each scene goes to out/ too; `judged`: these fail where they end too far from the frame they hold. From `device` on,
    facts of the machine: `weights` are folders, `vram` and `ram` bytes.
    """

    draft: bool
    scenes: frozenset[str] | None = None
    anew: frozenset[str] = frozenset()
    keep_going: bool = False
    film: Path | None = None
    deliver: bool = True
    judged: frozenset[str] = frozenset()
    device: str | None = None
    weights: tuple[Path, ...] = ()
    vram: int | None = None
    ram: int | None = None
    attention: str | None = None
    compile: bool = True
    finish_on: str | None = None

    def machine(self, say: Callable[[str], None], aside: int) -> Machine:
        return Machine(self.device, self.vram, self.ram, self.attention, self.compile, say, aside)
