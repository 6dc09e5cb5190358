"""Strips: how a picture goes through convolutions part by part and comes out as it would whole.

A strip is given the lines beyond its own that the layers see; from one resolution to the next, what is no longer
needed is cropped. WAN's VAE allows it everywhere but in its middle block: its norms are per pixel, and its only
attention is there. Free of torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

Change = Literal["up", "same", "down"]


@dataclass(frozen=True, slots=True)
class Level:
    """Layers at one resolution, then a change of it by two.

    reach: lines to either side that the layers before the change see. edge: lines that the convolution of the change
    sees at the higher resolution: to either side where it goes up, after (and none before) where it goes down.
    """

    reach: int
    change: Change = "same"
    edge: int = 0

    def needs(self, before: int, after: int) -> tuple[int, int]:
        """Lines before and after a strip that must come in, so that so many of those that go out are right."""
        if self.change == "up":
            return -(-(before + self.edge) // 2) + self.reach, -(-(after + self.edge) // 2) + self.reach
        if self.change == "same":
            return before + self.reach, after + self.reach
        # Even, so that the strip is halved at the very pixels at which the whole is.
        return _even(2 * before + self.reach), _even(2 * after + self.edge + self.reach)

    def scaled(self, line: int) -> int:
        return {"up": 2 * line, "same": line, "down": line // 2}[self.change]


@dataclass(frozen=True, slots=True)
class Strip:
    """`crops`: first line and number of lines kept of each level's input, and of the last level's output.

    The first of them is cut from the whole. `own`: first line and number of lines of the whole output that it gives.
    """

    crops: tuple[tuple[int, int], ...]
    own: tuple[int, int]


def cut(levels: Sequence[Level], latents: int, count: int) -> tuple[Strip, ...]:
    """`count` strips of nearly equal width, each at least one latent wide; `latents`: lines of the smaller end."""
    count = max(1, min(count, latents))
    bounds = [round(latents * index / count) for index in range(count + 1)]
    return tuple(_strip(levels, latents, start, stop) for start, stop in pairwise(bounds))


def halos(levels: Sequence[Level]) -> list[tuple[int, int]]:
    """Lines before and after a strip's own that each level's input must have."""
    found: list[tuple[int, int]] = []
    beyond = (0, 0)
    for level in reversed(levels):
        beyond = level.needs(*beyond)
        found.insert(0, beyond)
    return found


def _strip(levels: Sequence[Level], latents: int, start: int, stop: int) -> Strip:
    scale = 2 ** sum(level.change == "down" for level in levels)
    crops: list[tuple[int, int]] = []
    come = 0  # the line of the whole at which what comes in begins
    for level, (before, after) in zip(levels, halos(levels), strict=True):
        first, last = max(0, start * scale - before), min(latents * scale, stop * scale + after)
        crops.append((first - come, last - first))
        come, scale = level.scaled(first), level.scaled(scale)
    own = (start * scale, (stop - start) * scale)
    return Strip((*crops, (own[0] - come, own[1])), own)


def _even(lines: int) -> int:
    return lines + lines % 2
