"""How much of a device's memory finishing takes, and in what portions it works so that it fits. Free of torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

from post.interpolate import Interpolate, Rife
from post.upscale import Lanczos, RealESRGAN, Spandrel, Upscale
from post.weights import Lacking
from scenes.footage import Size

if TYPE_CHECKING:
    from post.conform import Conform

GIB = 2**30

# Bytes in fp16, of nets uncompiled, which take the most; fitted on an H200 (scripts/bench_finish.py peak).
RRDB, RRDB_MORE = 1400, 200_000_000
"""An RRDBNet's for each pixel it sees, and what it takes besides."""
SRVGG = 256
"""An SRVGGNetCompact's for each pixel it sees; it makes its picture three times over."""
UNKNOWN = 12_000
"""Another architecture's, of which nothing is known."""
RIFE, RIFE_46 = 320, 170
"""Bytes for a pixel of a pair: flow, mask and fetched pictures in fp32, features in fp16. Measured: 4.6 takes 158, 4.26
takes 290."""
PICTURE, PICTURES_AT_ONCE = 36, 8
"""Bytes for a pixel that is converted for the encoder, in fp32, and so many pictures together."""
FRAME = 6
"""Bytes of a frame's pixel: three halves."""
NETS = 128 * 2**20
"""The nets' own weights and what their libraries keep."""
SLACK = 1.1
"""What the allocator cannot give out again, of all that it holds."""

WIDEST = 4 * GIB
"""No more is taken where more is there, as it wins nothing."""
AT_ONCE = (8, 4, 2, 1)
"""Alone a GPU is as busy with four, but beside the drawing every kernel waits for its turn (docs/LOG.md), and of eight
there are half as many. Heavy nets take one frame: that is work enough."""
CLIPS_AT_ONCE = 2
"""That are finished together, at most. While one is encoded, which is what takes long, the device is at another; more
would win little, and each takes the memory of an encoder."""
TILES = tuple(1024 * 1024 >> halved for halved in range(6))
"""Pixels of a tile, overlap and all, where a frame does not fit as a whole: 1,048,576 down to 32,768."""


@dataclass(frozen=True, slots=True)
class FinishPlan:
    """`bytes`: the peak on the device. `tile_pixels`: larger frames go through the upscaler in tiles."""

    frames_at_once: int
    tile_pixels: int
    pairs_at_once: int
    bytes: int


def plan_finishing(
    upscale: Upscale | None, interpolate: Interpolate | Conform | None, source_size: Size, vram: int | None
) -> FinishPlan:
    """The widest way to work within `vram` bytes, None for as much as is of use.

    Raises:
        Lacking: not even the leanest fits.
    """
    plans = sorted(_plans(upscale, interpolate, source_size), key=_portion, reverse=True)
    leanest = min(plan.bytes for plan in plans)
    most = max(WIDEST, leanest)
    if vram is not None:
        most = min(most, vram)
    for plan in plans:
        if plan.bytes <= most:
            return plan
    raise Lacking(
        f"finishing needs {leanest / GIB:.1f} GiB of the GPU's memory and may take {most / GIB:.1f}: name a larger "
        "--vram, a smaller size in [finish], or another device with --finish-on"
    )


def _plans(
    upscale: Upscale | None, interpolate: Interpolate | Conform | None, source_size: Size
) -> Iterator[FinishPlan]:
    """Every way to work. Tiles only of single frames: a tile's edges are drawn twice."""
    source = source_size[0] * source_size[1]
    finished = upscale.size[0] * upscale.size[1] if upscale is not None else source
    by = upscale.by if upscale is not None and not isinstance(upscale.by, Lanczos) else None
    by_rife = interpolate is not None and isinstance(interpolate.by, Rife)
    portions = [(count, source) for count in (AT_ONCE if by is not None and not by.heavy else AT_ONCE[-1:])]
    portions += [(1, tile) for tile in TILES if tile < source and by is not None]
    for frames, tile in portions:
        for pairs in AT_ONCE if by_rife else AT_ONCE[-1:]:
            enlarging = _enlarging(by, frames, tile, source) if by is not None else 0
            between = _between(interpolate) * finished * pairs
            # Held meanwhile of each clip: two batches of sized frames, pairs stacked and drawn, pictures on their way
            # out; and what a dissolve holds of the scene before.
            held = CLIPS_AT_ONCE * FRAME * finished * (3 * frames + 5 * pairs * by_rife + PICTURES_AT_ONCE)
            peak = max(enlarging, between, PICTURES_AT_ONCE * PICTURE * finished) + held
            yield FinishPlan(frames, tile, pairs, ceil(NETS + SLACK * peak))


def _portion(plan: FinishPlan) -> int:
    return plan.frames_at_once * plan.tile_pixels * plan.pairs_at_once


def _between(interpolate: Interpolate | Conform | None) -> int:
    """Bytes for a pixel of a pair."""
    if interpolate is None or not isinstance(interpolate.by, Rife):
        return 0
    return RIFE_46 if interpolate.by.version == "4.6" else RIFE


def _enlarging(by: RealESRGAN | Spandrel, frames: int, tile: int, source: int) -> int:
    """Bytes that a net takes for a batch, with what it makes before that is brought to size."""
    seen = frames * min(tile, source)
    scale = by.scale or 4
    made = FRAME * scale * scale  # for each pixel of the source
    if isinstance(by, Spandrel):
        net = UNKNOWN * seen
    elif by.heavy:
        net = (RRDB + made) * seen + RRDB_MORE
    else:
        net = (SRVGG + 3 * made) * seen
    canvas = made * frames * source if tile < source else 0
    return net + canvas + 2 * made * source
