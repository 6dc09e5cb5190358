"""How much the VAE holds at its fullest moment, counted without running it. Free of torch.

That moment is in a residual block at a high resolution: what the block was given, what its convolution is given, that
again joined to the frames that are remembered, what it gives, and everything that is remembered for the next chunk.
What the libraries take besides (workspaces, fp32 copies in bf16) is not counted: bytes are a + b * elements.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from scenes.footage import Size
from scenes.wan.strips import Level, Strip, cut
from scenes.wan.vae_shape import VaeShape

VAE_2_1 = VaeShape(16, 96, 96, (1, 2, 4, 4), 2, (False, True, True), residual=False, patch=1)
VAE_2_2 = VaeShape(48, 160, 256, (1, 2, 4, 4), 2, (False, True, True), residual=True, patch=2)
CONV = 1
"""Lines to either side that a convolution sees: all that reach beyond a pixel are 3x3."""


@dataclass(frozen=True, slots=True)
class _Stage:
    """Residual blocks of one resolution: `given` and `made` are channels, `frames` those of a full chunk."""

    given: int
    made: int
    frames: int
    blocks: int


def decode_elements(shape: VaeShape, size: Size, frames: int, strips: int) -> int:
    """Elements held at the fullest moment of decode(); `size` in pixels."""
    across, along = _latents(shape, size)
    levels, stages = _decoder(shape)
    strip = _widest(cut(levels, across, strips))
    held, fullest = 0, 0
    for index, (stage, (_, lines)) in enumerate(zip(stages, strip.crops, strict=False)):
        area = lines * (along << index)
        held += _remembered(stage, area)
        if not index:
            given = stage.given * area
        else:
            given = stage.given * stage.frames * 2 * strip.crops[index - 1][1] * (along << index)
        if shape.residual:
            given += stage.given * stage.frames * area  # its shortcut's copy
        fullest = max(fullest, given + _at_work(stage, area))
    seen = shape.decoder_base * shape.multiples[-1] * ((frames - 1) // 4 + 1) * across * along
    held += 2 * stages[-1].made * strip.crops[-2][1] * (along << len(stages) - 1)
    return seen + held + fullest


def encode_elements(shape: VaeShape, size: Size, strips: int) -> int:
    """Elements held at the fullest moment of condition(), or, for the residual VAE, of image_latent()."""
    across, along = _latents(shape, size)
    levels, stages = _encoder(shape)
    strip = _widest(cut(levels, across, strips))
    width = shape.base * shape.multiples[-1]
    held = 2 * width * (2 * shape.blocks + 5) * across * along  # of the last resolution and the middle block
    fullest = 0
    for index, (stage, (_, lines)) in enumerate(zip(stages, strip.crops, strict=False)):
        area = lines * (along << len(levels) - index)
        held += _remembered(stage, area)
        # What the block remembered is kept until it is compared with what it remembers now.
        fullest = max(fullest, _at_work(stage, area) + 2 * stage.made * area)
    return held + fullest


def _at_work(stage: _Stage, area: int) -> int:
    """In the first block of a stage, or in a later one, which is given what the stage makes."""
    working = 0
    for block in range(stage.blocks):
        given = stage.made if block else stage.given
        shortcut = stage.made if given != stage.made else 0
        wide = max(given, stage.made)
        came = given if block else 0  # the first block's is what the stage was given
        working = max(working, (came + shortcut + 2 * wide + stage.made) * stage.frames + 2 * wide + 2 * wide)
    return working * area


def _remembered(stage: _Stage, area: int) -> int:
    """Two frames of what each convolution was given."""
    return 2 * area * (stage.given + (2 * stage.blocks - 1) * stage.made)


def _decoder(shape: VaeShape) -> tuple[list[Level], list[_Stage]]:
    widths = [shape.decoder_base * multiple for multiple in (shape.multiples[-1], *reversed(shape.multiples))]
    reach = 2 * CONV * (shape.blocks + 1)
    top = len(shape.multiples) - 1
    levels = [Level(reach, "up", CONV)] * top + [Level(reach + CONV)]
    stages: list[_Stage] = []
    frames = 1
    for index, (given, made) in enumerate(pairwise(widths)):
        halved = index > 0 and not shape.residual  # 2.1's doubling of the size halves the channels
        stages.append(_Stage(given // 2 if halved else given, made, frames, shape.blocks + 1))
        frames *= 2 if index < top and shape.temporal[top - 1 - index] else 1
    return levels, stages


def _encoder(shape: VaeShape) -> tuple[list[Level], list[_Stage]]:
    widths = [shape.base * multiple for multiple in (1, *shape.multiples)]
    levels: list[Level] = []
    stages: list[_Stage] = []
    frames = 1 if shape.residual else 4
    for index in range(len(shape.multiples) - 1):
        levels.append(Level(2 * CONV * shape.blocks + (0 if index else CONV), "down", CONV))
        stages.append(_Stage(widths[index], widths[index + 1], frames, shape.blocks))
        frames = frames // 2 if shape.temporal[index] and frames > 1 else frames
    return levels, stages


def _latents(shape: VaeShape, size: Size) -> tuple[int, int]:
    """Latents across the strips, and along them: strips divide the longer side."""
    sides = size[0] // shape.stride, size[1] // shape.stride
    return max(sides), min(sides)


def _widest(strips: tuple[Strip, ...]) -> Strip:
    return max(strips, key=lambda strip: strip.crops[-2][1])
