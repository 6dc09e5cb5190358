"""Paints the pictures of the example story "The lighthouse" and the starter story's opening picture.

    python scripts/paint_lighthouse.py [dock storm lamp morning opening] [--root DIR]

Every picture is made from noise, polygons and a little optics, always the same one: there is no other source.
Positions are in pixels of the finished picture, y downwards; the canvas holds several samples for each of them.
"""

from __future__ import annotations

import argparse
import io
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[np.floating]
Paint = Callable[[Array, Array], Array]
Point = tuple[float, float]
Window = tuple[slice, slice]

SAMPLES = 2  # canvas samples along one pixel of the finished picture
TILE = 1024  # texels along the edge of a noise tile
F32 = np.float32

cv2.setNumThreads(1)


# ---------------------------------------------------------------- colour and small mathematics


def rgb(code: str) -> Array:
    """The colour of a six-digit hexadecimal code, as three floats from 0 to 1."""
    return np.array([int(code[i : i + 2], 16) for i in (0, 2, 4)], F32) / F32(255)


def mix(a: Array, b: Array, t: Array | float) -> Array:
    """`a` where t is 0, `b` where it is 1; t is a number or a map over the picture."""
    weight = np.asarray(t, F32)
    return a + (b - a) * (weight[..., None] if weight.ndim else weight)


def smooth(low: float, high: float, value: Array) -> Array:
    """Hermite step: 0 below `low`, 1 above `high`."""
    t = np.clip((value - F32(low)) / F32(high - low), 0, 1)
    return t * t * (3 - 2 * t)


def ramp(stops: Sequence[tuple[float, str]], t: Array) -> Array:
    """A colour gradient through `stops`, its corners rounded."""
    fine = np.linspace(-0.2, 1.2, 1401, dtype=F32)
    places = [place for place, _ in stops]
    colours = np.stack([rgb(code) for _, code in stops])
    table = np.stack([np.interp(fine, places, colours[:, c]) for c in range(3)], -1).astype(F32)
    table = cv2.GaussianBlur(table, (1, 0), sigmaX=0.001, sigmaY=35) if len(stops) > 2 else table
    place = np.clip((np.asarray(t, F32) + 0.2) * 1000, 0, 1400)
    low = np.minimum(place.astype(np.int32), 1399)
    return mix(table[low], table[low + 1], place - low)


# ---------------------------------------------------------------- noise


@lru_cache(maxsize=24)
def tile(seed: int, slope: float = 1.7, lowest: float = 3.0) -> Array:
    """A seamless square of fractal noise: amplitude falls as frequency ** -slope; mean 0, deviation 1."""
    white = np.random.default_rng(seed).standard_normal((TILE, TILE), F32)
    ky = np.fft.fftfreq(TILE, 1 / TILE).astype(F32)[:, None]
    kx = np.fft.rfftfreq(TILE, 1 / TILE).astype(F32)[None, :]
    k = np.hypot(kx, ky)
    gain = np.where(k >= lowest, np.maximum(k, 1) ** F32(-slope), 0).astype(F32)
    out = np.fft.irfft2(np.fft.rfft2(white) * gain, s=(TILE, TILE)).astype(F32)
    return out / out.std()


def sample(texture: Array, u: Array, v: Array) -> Array:
    """`texture` read at (u, v), in texels, repeating without end."""
    u, v = np.broadcast_arrays(u, v)
    mode = cv2.INTER_LINEAR
    return cv2.remap(texture, np.mod(u, TILE).astype(F32), np.mod(v, TILE).astype(F32), mode, None, cv2.BORDER_WRAP)


def line_noise(count: int, seed: int, slope: float, lowest: float = 1.0) -> Array:
    """Fractal noise along a line of `count` samples: mean 0, deviation 1."""
    white = np.random.default_rng(seed).standard_normal(2 * count)
    k = np.fft.rfftfreq(2 * count, 1 / (2 * count)) / 2
    gain = np.where(k >= lowest, np.maximum(k, 0.5) ** -slope, 0)
    out = np.fft.irfft(np.fft.rfft(white) * gain)[:count]
    return (out / out.std()).astype(F32)


@lru_cache(maxsize=8)
def facets(seed: int, count: int) -> tuple[Array, Array]:
    """A square cut into `count` flat faces: each face's own value from -1 to 1, and the way to its edge in texels."""
    rng = np.random.default_rng(seed)
    spots = np.ones((TILE, TILE), np.uint8)
    spots[rng.integers(0, TILE, count), rng.integers(0, TILE, count)] = 0
    wide = cv2.copyMakeBorder(spots, 128, 128, 128, 128, cv2.BORDER_WRAP)
    _, labels = cv2.distanceTransformWithLabels(wide, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    labels = labels[128:-128, 128:-128]
    edge = (labels != np.roll(labels, 1, 0)) | (labels != np.roll(labels, 1, 1))
    to_edge = cv2.distanceTransform((~edge).astype(np.uint8), cv2.DIST_L2, 5)
    values = rng.uniform(-1, 1, int(labels.max()) + 1).astype(F32)
    return values[labels], to_edge.astype(F32)


# ---------------------------------------------------------------- canvas and camera


@dataclass
class Canvas:
    """A picture in the making: colours from 0 to 1, SAMPLES x SAMPLES samples for each finished pixel."""

    width: int
    height: int
    rgb: Array = field(init=False)
    stencil: Array | None = None  # where polygons may be painted; everywhere when there is none

    def __post_init__(self) -> None:
        self.rgb = np.zeros((self.height * SAMPLES, self.width * SAMPLES, 3), F32)

    @cached_property
    def x(self) -> Array:
        """The columns' places, one row."""
        return ((np.arange(self.width * SAMPLES, dtype=F32) + F32(0.5)) / SAMPLES)[None, :]

    @cached_property
    def y(self) -> Array:
        """The rows' places, one column."""
        return ((np.arange(self.height * SAMPLES, dtype=F32) + F32(0.5)) / SAMPLES)[:, None]

    def window(self, left: float, top: float, right: float, bottom: float) -> Window:
        """The samples within a box, cut at the picture's edges."""
        rows, columns = self.rgb.shape[:2]
        x = [min(max(math.floor(v * SAMPLES), 0), columns) for v in (left, right + 1)]
        y = [min(max(math.floor(v * SAMPLES), 0), rows) for v in (top, bottom + 1)]
        return slice(y[0], y[1]), slice(x[0], x[1])

    def rows(self, top: float, bottom: float) -> Window:
        """The samples of a band across the whole picture."""
        return self.window(0, top, self.width, bottom)

    def at(self, window: Window) -> tuple[Array, Array]:
        """The places of a window's columns and rows."""
        return self.x[:, window[1]], self.y[window[0]]

    def cover(self, shapes: Iterable[Sequence[Point]], soft: float = 0) -> tuple[Window, Array]:
        """How much of each sample the polygons cover, within the window that holds them; `soft` blurs the edge."""
        outlines = [np.asarray(shape, np.float64) for shape in shapes]
        low = np.min([o.min(0) for o in outlines], 0) - 3 * soft - 1
        high = np.max([o.max(0) for o in outlines], 0) + 3 * soft + 1
        window = self.window(low[0], low[1], high[0], high[1])
        height, width = (s.stop - s.start for s in window)
        if min(height, width) <= 0:
            return window, np.zeros((max(height, 0), max(width, 0)), F32)
        fine = 4
        mask = np.zeros((height * fine, width * fine), np.uint8)
        corner = np.array([window[1].start, window[0].start])
        for outline in outlines:
            fixed = ((outline * SAMPLES - corner) * fine - 0.5) * 16
            cv2.fillPoly(mask, [np.round(fixed).astype(np.int32)], 255, cv2.LINE_8, 4)
        alpha = cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA).astype(F32) / F32(255)
        return window, cv2.GaussianBlur(alpha, (0, 0), soft * SAMPLES) if soft else alpha

    def blend(self, window: Window, colour: Array, alpha: Array | float) -> None:
        """Lay a colour over a window."""
        self.rgb[window] = mix(self.rgb[window], colour, alpha)

    def lighten(self, window: Window, colour: Array, amount: Array) -> None:
        """Add light to a window; what is bright already gains less."""
        under = self.rgb[window]
        self.rgb[window] = under + (1 - np.minimum(under, 1)) * (colour * amount[..., None])

    def fill(self, shape: Sequence[Point], paint: Array | Paint, alpha: float = 1, soft: float = 0) -> None:
        """Paint a polygon."""
        self.fill_all([shape], paint, alpha, soft)

    def fill_all(
        self, shapes: Sequence[Sequence[Point]], paint: Array | Paint, alpha: float = 1, soft: float = 0
    ) -> None:
        """Paint several polygons as one shape."""
        window, cover = self.cover(shapes, soft)
        if self.stencil is not None:
            cover = cover * self.stencil[window]
        if cover.size:
            self.blend(window, paint(*self.at(window)) if callable(paint) else paint, cover * F32(alpha))

    def stroke(
        self,
        line: Sequence[Point],
        width: float | Sequence[float],
        paint: Array | Paint,
        alpha: float = 1,
        soft: float = 0,
    ) -> None:
        """Paint a line; `width` may change from point to point."""
        widths = [width] * len(line) if isinstance(width, int | float) else list(width)
        self.fill_all(ribbon(line, widths), paint, alpha, soft)


def ribbon(line: Sequence[Point], widths: Sequence[float]) -> list[list[Point]]:
    """The polygons that make up a line: a quadrangle for each piece, a disc for each inner joint."""
    shapes: list[list[Point]] = []
    for (x0, y0), (x1, y1), w0, w1 in zip(line, line[1:], widths, widths[1:], strict=False):
        length = math.hypot(x1 - x0, y1 - y0) or 1
        nx, ny = (y0 - y1) / length / 2, (x1 - x0) / length / 2
        quad = [(x0 + nx * w0, y0 + ny * w0), (x1 + nx * w1, y1 + ny * w1)]
        shapes.append([*quad, (x1 - nx * w1, y1 - ny * w1), (x0 - nx * w0, y0 - ny * w0)])
    inner = list(zip(line, widths, strict=True))[1:-1]
    shapes.extend(ellipse(x, y, w / 2, w / 2, 12) for (x, y), w in inner if w > 1)
    return shapes


def ellipse(x: float, y: float, rx: float, ry: float, corners: int = 48) -> list[Point]:
    """An ellipse as a polygon."""
    turn = (2 * math.pi * i / corners for i in range(corners))
    return [(x + rx * math.cos(a), y + ry * math.sin(a)) for a in turn]


def curve(points: Sequence[Point], per_piece: int = 8) -> list[Point]:
    """A smooth line (Catmull-Rom) through `points`."""
    p = np.array([points[0], *points, points[-1]], float)
    out: list[Point] = []
    for i in range(1, len(p) - 2):
        a, b, c, d = p[i - 1 : i + 3]
        for t in np.arange(per_piece) / per_piece:
            q = 2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3
            out.append((q[0] / 2, q[1] / 2))
    return [*out, (float(p[-1][0]), float(p[-1][1]))]


@dataclass(frozen=True)
class Camera:
    """Looks level over water: x to the right, y up from the surface, z ahead, in metres."""

    x: float
    horizon: float
    focal: float
    height: float
    mirrored: bool = False

    def __call__(self, x: float, y: float, z: float) -> Point:
        up = -y if self.mirrored else y
        return self.x + self.focal * x / z, self.horizon + self.focal * (self.height - up) / z

    @property
    def reflection(self) -> Camera:
        """The camera that sees everything as still water mirrors it."""
        return replace(self, mirrored=True)


# ---------------------------------------------------------------- sky


def sky(canvas: Canvas, horizon: float, stops: Sequence[tuple[float, str]]) -> None:
    """A gradient from the top of the picture (0) to the horizon (1), kept on below it."""
    canvas.rgb[:] = ramp(stops, canvas.y / F32(horizon)) + np.zeros_like(canvas.x)[..., None]


def glow(canvas: Canvas, at: Point, colour: Array, radius: float, amount: float, flat: float = 1) -> None:
    """Soft light around a point; `flat` above 1 stretches it sideways."""
    distance = np.hypot((canvas.x - F32(at[0])) / F32(flat), canvas.y - F32(at[1])) / F32(radius)
    canvas.lighten((slice(None), slice(None)), colour, F32(amount) * np.exp(-distance))


def disc(canvas: Canvas, at: Point, radius: float, paint: Array | Paint, alpha: float = 1, soft: float = 0.6) -> None:
    """The sun or the moon."""
    canvas.fill(ellipse(*at, radius, radius, 96), paint, alpha, soft)


@dataclass(frozen=True)
class Clouds:
    """A layer of clouds: `cover` from about -1 (none) to 1 (all), lit from `sun`."""

    seed: int
    cover: float
    lit: str
    shade: str
    sun: Point
    size: float = 1  # of the single clouds
    alpha: float = 1
    stretch: float = 1  # sideways
    edge: float = 0.9  # the range of densities from clear to closed
    glow: float = 1  # how much the edges near the sun shine


def layer(canvas: Canvas, horizon: float, clouds: Clouds) -> None:
    """A flat layer of clouds overhead, drawing together towards the horizon."""
    window = canvas.rows(0, horizon)
    x, y = canvas.at(window)
    rise = np.maximum(F32(horizon) - y, 0) / F32(horizon)
    away = 1 / (rise + F32(0.16))
    u = (x - canvas.width / 2) * away / F32(1.9 * clouds.size * clouds.stretch)
    v = away * F32(190 / clouds.size) + np.zeros_like(x)
    bend = sample(tile(clouds.seed + 50, 2.2), u * F32(0.6), v * F32(0.6))
    density = sample(tile(clouds.seed, 1.65), u + 14 * bend, v + 10 * bend)
    density += F32(0.4) * sample(tile(clouds.seed + 7, 1.3, 16), u * 2 + 20 * bend, v * 2)
    fade = smooth(0.0, 0.14, rise)
    shade_clouds(canvas, window, clouds, density, fade)


def bank(canvas: Canvas, clouds: Clouds, base: float, height: float) -> None:
    """Heaped clouds that stand up from `base`, thinning out towards `height` above it."""
    window = canvas.rows(0, base + 30)
    x, y = canvas.at(window)
    scale = F32(1.1 / clouds.size)
    u, v = x * scale / F32(clouds.stretch), y * scale
    puffs = np.zeros((y.size, x.size), F32)
    for i, share in enumerate((0.8, 0.5, 0.3, 0.16)):  # what bulges is round, what lies between is creased
        finer = F32(1.9**i)
        puffs += F32(share) * (np.abs(sample(tile(clouds.seed + i, 3.0, 6), u * finer, v * finer)) - F32(0.8))
    mass = sample(tile(clouds.seed + 9, 2.4, 2), u * F32(0.45), v * F32(0.3) + 60)
    up = (F32(base) - y) / F32(height)
    density = puffs + F32(0.8) * mass - F32(1.6) * np.maximum(up, 0) ** 2 + F32(0.35)
    fade = smooth(-0.12, 0.1, up) + np.zeros_like(x)
    shade_clouds(canvas, window, clouds, density, fade)


def shade_clouds(canvas: Canvas, window: Window, clouds: Clouds, density: Array, fade: Array) -> None:
    """Colour clouds of a given density: edges that face the sun are lit, thin parts near it shine."""
    x, y = canvas.at(window)
    body = smooth(-clouds.cover, -clouds.cover + clouds.edge, density)
    wide = cv2.GaussianBlur(body, (0, 0), 5 * SAMPLES)
    wide = F32(0.55) * wide + F32(0.45) * cv2.GaussianBlur(body, (0, 0), 16 * SAMPLES)
    dy, dx = np.gradient(wide)
    sx, sy = F32(clouds.sun[0]) - x, F32(clouds.sun[1]) - y
    distance = np.hypot(sx, sy) + 1
    facing = -(dx * sx + dy * sy) / distance * F32(34)
    near = np.exp(-distance / F32(330))
    thin = np.exp(-F32(2.2) * body)
    light = np.clip(F32(0.36) + facing + F32(clouds.glow) * near * thin, 0, 1.25)
    colour = mix(rgb(clouds.shade), rgb(clouds.lit), light)
    canvas.blend(window, colour, body * fade * F32(clouds.alpha))


def stars(canvas: Canvas, seed: int, count: int, bottom: float) -> None:
    """Stars, most of them faint, thinning out towards `bottom`."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        x, y = rng.uniform(0, canvas.width), bottom * rng.uniform() ** 1.3
        bright = min(0.3 / rng.uniform(0.2, 1) ** 1.3, 1) * (1 - y / bottom) ** 0.4
        size = 0.6 + 0.9 * bright**2
        tint = mix(rgb("ffe9cf"), rgb("cfe0ff"), float(rng.uniform()))
        canvas.fill(ellipse(x, y, size, size, 10), tint, bright, 0.25)


# ---------------------------------------------------------------- land


def profile(canvas: Canvas, points: Sequence[Point], rough: float, seed: int, slope: float = 1.25) -> Array:
    """A ridge line, one height for each column: a smooth curve through `points`, roughened by noise."""
    line = np.array(curve(points, 24))
    ridge = np.interp(canvas.x[0], line[:, 0], line[:, 1])
    return (ridge + rough * line_noise(canvas.width * SAMPLES, seed, slope, 6)).astype(F32)


def conifers(canvas: Canvas, ridge: Array, seed: int, count: int, tall: float, span: Point) -> Array:
    """The ridge with fir trees standing on it."""
    rng = np.random.default_rng(seed)
    x, out = canvas.x[0], ridge.copy()
    for _ in range(count):
        middle, height = rng.uniform(*span), tall * rng.uniform(0.45, 1)
        column = int(np.clip(middle * SAMPLES, 0, x.size - 1))
        near = slice(max(column - int(height * SAMPLES), 0), column + int(height * SAMPLES))
        off = np.abs(x[near] - middle) / (0.24 * height)
        boughs = 0.09 * np.sin(off * 17 + rng.uniform(0, 6)) * (off > 0.06)
        tree = ridge[column] - height * (1 - off + boughs) + 2
        out[near] = np.where(off < 1.05, np.minimum(out[near], tree), out[near])
    return out


def land(canvas: Canvas, ridge: Array, foot: float, paint: Array | Paint, alpha: float = 1) -> None:
    """Fill from a ridge line down to the water at `foot`."""
    window = canvas.rows(max(float(ridge.min()) - 2, 0), foot)
    x, y = canvas.at(window)
    cover = np.clip((y - ridge[None, :]) * SAMPLES + F32(0.5), 0, 1) * np.clip(
        (F32(foot) - y) * SAMPLES + F32(0.5), 0, 1
    )
    canvas.blend(window, paint(x, y) if callable(paint) else paint, cover * F32(alpha))


def hillside(ridge: Array, foot: float, top: str, bottom: str, seed: int, patches: float = 0.05) -> Paint:
    """Woods and meadows in the haze: from the `top` colour at the ridge to `bottom` at the water."""

    def paint(x: Array, y: Array) -> Array:
        start = np.broadcast_to(ridge[None, :], (y.shape[0], ridge.size))
        down = np.clip((y - start) / np.maximum(F32(foot) - start, 6), 0, 1)
        patch = sample(tile(seed, 1.2, 8), x * F32(1.1), y * F32(3.4) - start)
        colour = mix(rgb(top), rgb(bottom), down ** F32(0.8))
        return colour * (1 + F32(patches) * (1 - F32(0.7) * down) * patch)[..., None]

    return paint


def rock(lit: str, shade: str, size: float, seed: int, side: float = -1, foot: float | None = None) -> Paint:
    """Broken stone, lit from the left (`side` -1) or the right (1); darker where it is wet above `foot`."""

    def paint(x: Array, y: Array) -> Array:
        scale = F32(90 / size)
        u, v = x * scale + 0 * y, y * scale * F32(0.62) + 0 * x
        bend = sample(tile(seed, 1.9), u, v)
        u, v = u + 13 * bend + F32(0.22) * v, v + 9 * np.roll(bend, 40, 1)
        big, crack = facets(seed, 150)
        small, _ = facets(seed + 1, 1500)
        grain = sample(tile(seed + 2, 1.15, 10), u * 2, v * F32(1.4))
        light = F32(0.42) + F32(0.3) * sample(big, u, v) + F32(0.17) * sample(small, u, v) + F32(0.09) * grain
        light -= F32(0.22) * np.exp(-sample(crack, u, v) / 5)
        slope = F32(side) * (np.roll(bend, 3, 1) - bend)
        light = np.clip(light + slope * F32(0.9), 0, 1)
        colour = mix(rgb(shade), rgb(lit), light)
        if foot is None:
            return colour
        wet = smooth(foot - size * 0.16, foot, y + 2 * bend)
        return colour * (1 - F32(0.5) * wet)[..., None]

    return paint


def mist(canvas: Canvas, y: float, thick: float, colour: str, amount: float, seed: int) -> None:
    """A bank of mist along a level, torn by noise."""
    window = canvas.rows(y - 3.2 * thick, y + 3.2 * thick)
    x, rows = canvas.at(window)
    wisps = sample(tile(seed, 1.9, 2), x * F32(0.45), rows * F32(2.4))
    level = (rows - F32(y)) / F32(thick) + F32(0.45) * wisps
    alpha = F32(amount) * np.exp(-level * level) * np.clip(F32(0.8) + F32(0.3) * wisps, 0, 1)
    canvas.blend(window, rgb(colour), alpha)


# ---------------------------------------------------------------- still and rippled water


@dataclass(frozen=True)
class Water:
    """A surface seen by `camera`: waves of `length` metres and shorter, whose slopes deviate by `slope`."""

    camera: Camera
    deep: str  # its own colour, seen where it mirrors least
    slope: float = 0.02
    length: float = 5.0
    seed: int = 1
    clear: float = 0.75  # how much of its own colour shows near the camera
    sun: Point | None = None
    light: str = "ffffff"
    glitter: float = 0.0
    heading: float = 1.2  # where the waves run to; 0 is right, pi / 2 is away


def ripples(canvas: Canvas, water: Water, window: Window) -> tuple[Array, Array, Array]:
    """Slopes to the right and away of a sum of waves, and the variance of those too fine to draw."""
    camera = water.camera
    x, y = canvas.at(window)
    down = np.maximum(y - F32(camera.horizon), F32(0.25))
    z = F32(camera.focal * camera.height) / down
    across = (x - F32(camera.x)) * z / F32(camera.focal)
    step_x, step_z = z / F32(camera.focal * SAMPLES), z / down / SAMPLES
    rng = np.random.default_rng(water.seed)
    count = 44
    sx, sz = np.zeros_like(across), np.zeros_like(across)
    lost = np.zeros_like(z)
    for i in range(count):
        number = 2 * math.pi / water.length * 1.115**i * rng.uniform(0.92, 1.08)
        angle = water.heading + rng.normal(0, 0.62)
        kx, kz = F32(number * math.cos(angle)), F32(number * math.sin(angle))
        swing = water.slope * math.sqrt(2 / count)
        phase = (abs(kx) * step_x + abs(kz) * step_z) / F32(1.3)
        seen = np.exp(-phase * phase)
        lost += F32(swing * swing / 2) * (1 - seen * seen)
        if float(seen.max()) < 0.02:
            continue
        rows = slice(int(np.argmax(seen[:, 0] > 0.02)), None)
        wave = np.cos(kx * across[rows] + (kz * z[rows] + F32(rng.uniform(0, 6.3)))) * (F32(swing) * seen[rows])
        sx[rows] += wave * F32(math.cos(angle))
        sz[rows] += wave * F32(math.sin(angle))
    gust = F32(1) + F32(0.38) * sample(
        tile(water.seed + 90, 2.0), across * F32(9 / water.length), z * F32(5 / water.length)
    )
    gust = np.clip(gust, 0.15, 2)
    return sx * gust, sz * gust, lost


def mirror(canvas: Canvas, horizon: float) -> Canvas:
    """What perfectly still water would show: everything above the horizon, upside down below it."""
    still = Canvas(canvas.width, canvas.height)
    still.rgb[:] = canvas.rgb
    edge = round(horizon * SAMPLES)
    rows = np.minimum(np.arange(still.rgb.shape[0] - edge), edge - 1)
    still.rgb[edge:] = canvas.rgb[edge - 1 - rows]
    return still


def pour(canvas: Canvas, still: Canvas, water: Water) -> None:
    """Paint the water: the `still` mirror image shaken by ripples, its own colour, and the sun's glitter."""
    camera = water.camera
    window = canvas.rows(camera.horizon, canvas.height)
    x, y = canvas.at(window)
    sx, sz, lost = ripples(canvas, water, window)
    down = y - F32(camera.horizon)
    from_y = np.abs(down + 2 * F32(camera.focal) * sz)
    from_x = x + 2 * sx * (down + F32(18))
    blurred = cv2.GaussianBlur(still.rgb[window], (0, 0), 0.6 * SAMPLES, sigmaY=1.6 * SAMPLES)
    limit = blurred.shape[0] - 1
    map_y = np.clip(from_y * SAMPLES - F32(0.5), 0, limit)
    map_x = from_x * SAMPLES - F32(0.5)
    image = cv2.remap(blurred, map_x, map_y, cv2.INTER_LINEAR, None, cv2.BORDER_REPLICATE)
    rise = np.clip(down / F32(canvas.height - camera.horizon) + sz * F32(2.2), 0, 1)
    own = F32(water.clear) * smooth(0.0, 1.15, rise)
    canvas.blend(window, mix(image, rgb(water.deep), own), 1.0)
    if water.sun:
        canvas.lighten(window, rgb(water.light), F32(water.glitter) * sparkle(water, x, down, (sx, sz, lost)))


def sparkle(water: Water, x: Array, down: Array, slopes: tuple[Array, Array, Array]) -> Array:
    """How much of the sun each spot throws into the eye, from the slope that would mirror it exactly."""
    assert water.sun
    sx, sz, lost = slopes
    high = F32(max(water.camera.horizon - water.sun[1], 4))
    need_z = (high - down) / F32(2 * water.camera.focal)
    need_x = (F32(water.sun[0]) - x) / (down + high)
    sharp = F32((0.3 * water.slope) ** 2)
    wide_z, wide_x = sharp + lost, 12 * sharp + F32(1.6) * lost
    off = (sz - need_z) ** 2 / (2 * wide_z) + (sx - need_x) ** 2 / (2 * wide_x)
    flicker = F32(0.8) + F32(0.75) * sample(
        tile(water.seed + 91, 1.0, 20), x * F32(1.1) + 0 * down, down * F32(4.5) + 0 * x
    )
    return np.exp(-off) * np.sqrt(sharp / wide_z) * F32(2.2) * np.clip(flicker, 0.05, 3)


# ---------------------------------------------------------------- heavy sea


@dataclass(frozen=True)
class Swell:
    """A square of storm waves that repeats without end; maps in metres of TILE texels."""

    height: Array
    right: Array  # its slope to the right
    away: Array  # its slope ahead
    foam: Array
    metres: float  # along the square's edge


def swell(seed: int, metres: float, heading: float, deviation: float, longest: float) -> Swell:
    """Waves with a wind sea's spectrum (Phillips), their crests drawn together; foam where the crests fold."""
    rng = np.random.default_rng(seed)
    ky = (np.fft.fftfreq(TILE, metres / TILE) * 2 * math.pi)[:, None]
    kx = (np.fft.rfftfreq(TILE, metres / TILE) * 2 * math.pi)[None, :]
    k = np.maximum(np.hypot(kx, ky), 1e-6)
    wind = (kx * math.cos(heading) + ky * math.sin(heading)) / k
    power = np.exp(-1 / (k * longest) ** 2) / k**4 * (0.04 + wind**2) * np.exp(-((k * metres / TILE / 0.8) ** 2))
    waves = np.fft.rfft2(rng.standard_normal((TILE, TILE))) * np.sqrt(power)
    waves[0, 0] = 0

    def field_of(spectrum: NDArray[np.complex128]) -> Array:
        return np.fft.irfft2(spectrum, s=(TILE, TILE)).astype(F32)

    scale = F32(deviation) / field_of(waves).std()
    height = field_of(waves) * scale
    push = [field_of(-1j * axis / k * waves) * scale for axis in (kx, ky)]
    pinch = [np.gradient(part, metres / TILE, axis=axis) for part, axis in ((push[0], 1), (push[1], 0))]
    fold = -(pinch[0] + pinch[1]).astype(F32)
    height, fold = (drawn(part, push, 1.15 * TILE / metres) for part in (height, fold))
    away, right = (np.asarray(g, F32) for g in np.gradient(height, metres / TILE))
    crest = smooth(0.7, 2.4, height / F32(deviation)) * F32(0.4)
    foam = np.clip(smooth(0.2, 1.1, cv2.GaussianBlur(fold, (0, 0), 2.0)) + crest, 0, 1)
    trail = cv2.GaussianBlur(np.tile(foam, (1, 2)), (0, 0), 9)[:, TILE // 2 : TILE // 2 + TILE]
    return Swell(height, right, away, np.clip(foam + F32(0.7) * np.roll(trail, TILE // 2, 1), 0, 1), metres)


def drawn(part: Array, push: Sequence[Array], texels: float) -> Array:
    """A map whose points were pushed sideways, read back on a straight grid."""
    v, u = np.mgrid[0:TILE, 0:TILE].astype(F32)
    du, dv = (p * F32(texels) for p in push)
    back = sample(du, u - du, v - dv), sample(dv, u - du, v - dv)
    return sample(part, u - back[0], v - back[1])


def sea_depth(canvas: Canvas, camera: Camera, sea: Swell) -> Array:
    """How far away the nearest wave is at each sample; endless where there is only air."""
    depths = np.geomspace(1.2, 6000, 2000).astype(F32)[:, None]
    texels = F32(TILE / sea.metres)
    across = (canvas.x - F32(camera.x)) * depths / F32(camera.focal)
    level = sample(sea.height, across * texels, depths * texels + 0 * across) * smooth(-420, -60, -depths)
    rows = F32(camera.horizon) + F32(camera.focal) * (F32(camera.height) - level) / depths
    skyline = np.minimum.accumulate(rows, 0)
    out = np.full(canvas.rgb.shape[:2], np.inf, F32)
    top = -canvas.y[:, 0]
    for column in range(out.shape[1]):
        line = -skyline[:, column]
        i = np.searchsorted(line, top)
        seen = i < line.size
        j = np.clip(i[seen], 1, None)
        part = (top[seen] - line[j - 1]) / np.maximum(line[j] - line[j - 1], 1e-6)
        out[seen, column] = depths[j - 1, 0] + (depths[j, 0] - depths[j - 1, 0]) * np.clip(part, 0, 1)
    return out


def by_distance(texture: Array, u: Array, v: Array, texels: Array) -> Array:
    """`texture` read at (u, v), the softer the more `texels` fall on one sample."""
    out, before = sample(texture, u, v), 1.0
    for blur in (2.0, 5.0, 12.0):
        wide = cv2.copyMakeBorder(texture, 40, 40, 40, 40, cv2.BORDER_WRAP)
        calm = cv2.GaussianBlur(wide, (0, 0), blur)[40:-40, 40:-40]
        t = np.clip((texels - F32(before)) / F32(2 * blur - before), 0, 1)
        out = out + (sample(calm, u, v) - out) * t
        before = 2 * blur
    return out


def heave(
    canvas: Canvas, camera: Camera, sea: Swell, depth: Array, tones: Sequence[tuple[float, str]], haze: str
) -> None:
    """Paint a heavy sea: dark water that mirrors the sky by its slope, light through its crests, foam, haze."""
    window = canvas.rows(camera.horizon - 60, canvas.height)
    x, _ = canvas.at(window)
    near = depth[window]
    cover = np.clip(cv2.GaussianBlur(np.isfinite(near).astype(F32), (0, 0), 0.7), 0, 1)
    z = np.where(np.isfinite(near), near, 6000).astype(F32)
    across = (x - F32(camera.x)) * z / F32(camera.focal)
    scale = F32(TILE / sea.metres)
    u, v, texels = across * scale, z * scale, z * z / F32(camera.focal * camera.height * SAMPLES) * scale
    height, right, away, foam = (
        by_distance(part, u, v, texels) for part in (sea.height, sea.right, sea.away, sea.foam)
    )
    for finer, share, reach in ((5.3, 0.42, 16), (17.0, 0.3, 7)):
        fine = F32(share) * np.exp(-z / F32(reach))
        right += fine * sample(sea.right, u * F32(finer) + 90, v * F32(finer))
        away += fine * sample(sea.away, u * F32(finer) + 90, v * F32(finer))
    look = np.clip(F32(camera.height) / z, 0, 1)
    facing = np.clip((look + away) / np.sqrt(1 + away * away + right * right), 0, 1)
    shine = F32(0.04) + F32(0.96) * (1 - facing) ** 4
    up = np.clip(F32(0.06) + look + F32(1.7) * np.maximum(away, -look * F32(0.4)) + F32(0.35) * right, 0, 1)
    through = smooth(0.3, 2.6, height / sea.height.std()) * smooth(-0.1, 0.95, away)
    body = mix(mix(rgb("0e1b21"), rgb("17303a"), facing), rgb("4f8580"), F32(0.66) * through)
    colour = mix(body, ramp(tones, up), np.clip(shine, 0, 0.8))
    colour = mix(colour, rgb("c9d2cf") * F32(0.93), lace(across, z, foam))
    colour = mix(colour, rgb(haze), F32(0.85) * (1 - np.exp(-((z / 110) ** 1.2))))
    canvas.blend(window, colour, cover)


def lace(across: Array, z: Array, foam: Array) -> Array:
    """How white the water is: foam torn into a net, dense where there is much of it."""
    u, v = across * 46, z * 30
    bend = sample(tile(87, 1.8), u, v)
    net = np.abs(sample(tile(88, 1.5, 8), u + 12 * bend, v + 12 * bend))
    small = np.abs(sample(tile(89, 1.4, 8), u * 3 + 20 * bend, v * 3))
    web = 1 - np.clip(F32(0.7) * net + F32(0.4) * small, 0, 1.4)
    dense = smooth(0.0, 0.55, web + F32(1.25) * foam - F32(1.05)) * smooth(0.02, 0.35, foam)
    streak = sample(tile(90, 1.6, 4), u * F32(0.55) + 8 * bend, v * F32(0.16))
    veins = smooth(0.72, 1.0, 1 - np.abs(net)) * smooth(0.2, 1.5, streak)
    return np.clip(dense * (F32(0.5) + F32(0.45) * foam) + F32(0.3) * veins * np.exp(-z / 40), 0, 0.96)


def spray(canvas: Canvas, at: Point, height: float, width: float, seed: int, colour: str, lean: float = 0.5) -> None:
    """Water thrown up by a breaking wave: jets that fan out, torn into drops, blown to one side."""
    rng = np.random.default_rng(seed)
    drops: list[list[Point]] = []
    for _ in range(26):
        start, tilt = rng.normal() * width * 0.45, rng.normal() * 0.35
        tall = height * rng.uniform(0.35, 1) * math.exp(-((start / width) ** 2))
        for rise in rng.uniform(0, 1, 30) ** 1.3:
            off = start + tall * rise * (tilt + lean * rise) + rng.normal() * (0.5 + 2.2 * rise)
            size = rng.uniform(0.25, 1.25) * (1.25 - rise)
            drops.append(ellipse(at[0] + off, at[1] - tall * rise + rng.normal(), size, size, 8))
    canvas.fill_all(drops, rgb(colour), 0.5, 2.6)
    canvas.fill_all(drops[::2], rgb(colour), 0.5, 0.5)


def rain(canvas: Canvas, seed: int, degrees: float, length: float, amount: float, colour: str) -> None:
    """Slanting streaks of rain."""
    rng = np.random.default_rng(seed)
    drops = (rng.random(canvas.rgb.shape[:2], F32) > F32(0.9985)).astype(F32)
    size = int(length * SAMPLES) | 1
    kernel = np.zeros((size, size), F32)
    reach = np.array([math.cos(math.radians(degrees)), math.sin(math.radians(degrees))]) * size / 2
    ends = [tuple(round(float(c)) for c in size / 2 + sign * reach) for sign in (-1, 1)]
    cv2.line(kernel, ends[0], ends[1], 1.0, 1, cv2.LINE_AA)
    streaks = cv2.GaussianBlur(cv2.filter2D(drops, -1, kernel), (0, 0), 0.6)
    gusts = np.clip(F32(0.8) + F32(0.35) * sample(tile(seed, 2.0, 2), canvas.x * F32(0.6), canvas.y * F32(0.5)), 0.1, 2)
    canvas.lighten((slice(None), slice(None)), rgb(colour), F32(amount) * np.minimum(streaks, 1.5) * gusts)


# ---------------------------------------------------------------- the lighthouse


@dataclass(frozen=True)
class Light:
    """Light on solid things: its colour, the colour of the shadows, where it comes from (degrees from the eye)."""

    key: str
    fill: str
    angle: float

    def __call__(self, u: Array) -> Array:
        """The light on an upright cylinder, `u` from its left edge (-1) to its right edge (1)."""
        angle = math.radians(self.angle)
        facing = u * math.sin(angle) + np.sqrt(np.maximum(1 - u * u, 0)) * math.cos(angle)
        return rgb(self.fill) + rgb(self.key) * np.clip(F32(0.92) * facing + F32(0.08), 0, 1)[..., None]


@dataclass(frozen=True)
class Lighthouse:
    """A round tower; its parts are measured in heights of the tower, its place and height in pixels."""

    x: float
    base: float
    height: float
    light: Light
    eye: float = 0  # the level of the eye
    tilt: float = 0.2  # how fast circles open with the way from the eye's level
    lamp: float = 1  # how bright the lamp is
    panes: int = 8
    bands: tuple[str, str] = ("b8392f", "f1ebdd")
    glass: str = "7f97a8"
    metal: str = "3a3d42"

    def place(self, turn: float, v: float, r: float) -> Point:
        """Where a point of a circle at level `v` is seen; `turn` 0 faces the eye, pi / 2 is its right edge."""
        opening = self.tilt * (v - self.eye) * r
        return self.x + self.height * r * math.sin(turn), self.base - self.height * (v + opening * math.cos(turn))

    def arc(self, v: float, r: float, start: float = -90, end: float = 90) -> list[Point]:
        """Part of a circle, in degrees."""
        turns = np.radians(np.linspace(start, end, max(8, int(abs(end - start) / 5))))
        return [self.place(float(turn), v, r) for turn in turns]

    def around(self, x: Array, y: Array, outline: Sequence[Point]) -> tuple[Array, Array]:
        """Where on a round wall each sample lies: from side to side (-1 to 1), and at what level."""
        levels, radii = zip(*outline, strict=True)
        v = (F32(self.base) - y) / F32(self.height) + np.zeros_like(x)
        r = np.interp(v, levels, radii).astype(F32)
        u = np.clip((x - F32(self.x)) / (r * F32(self.height)), -1, 1)
        return u, v - F32(self.tilt) * (v - F32(self.eye)) * r * np.sqrt(1 - u * u)


SHAFT = [(0.0, 0.124), (0.03, 0.117), (0.2, 0.1), (0.45, 0.083), (0.8, 0.068)]
CORNICE = [(0.795, 0.068), (0.812, 0.082), (0.828, 0.098)]
DECK = [(0.828, 0.107), (0.839, 0.107)]
PARAPET = [(0.836, 0.06), (0.872, 0.06)]
PANES = [(0.872, 0.056), (0.953, 0.056)]
EAVE = [(0.953, 0.067), (0.962, 0.067)]
DOME = [(0.962 + 0.052 * math.sin(a), 0.011 + 0.05 * math.cos(a)) for a in np.linspace(0, math.pi / 2, 31)]
BALL = [(1.031 + 0.0115 * math.sin(a), 0.0005 + 0.0175 * math.cos(a)) for a in np.linspace(-1.2, math.pi / 2, 31)]
VENT = [(1.012, 0.011), (1.017, 0.0095), (1.022, 0.0085)]


def wall(canvas: Canvas, house: Lighthouse, outline: Sequence[Point], colour: Array | Paint) -> None:
    """The visible half of a round part; a callable `colour` gets the place around it, not on the picture."""
    left = [house.place(-math.pi / 2, v, r) for v, r in outline]
    right = [house.place(math.pi / 2, v, r) for v, r in reversed(outline)]
    (low_v, low_r), (high_v, high_r) = outline[0], outline[-1]
    shape = [*left, *house.arc(high_v, high_r), *right, *house.arc(low_v, low_r, 90, -90)]

    def paint(x: Array, y: Array) -> Array:
        u, v = house.around(x, y, outline)
        return (colour(u, v) if callable(colour) else colour) * house.light(u)

    canvas.fill(shape, paint)


def masonry(house: Lighthouse) -> Paint:
    """The tower's red and white bands, streaked by the weather."""

    def paint(u: Array, v: Array) -> Array:
        crisp = 4.5 / house.height
        wave = np.sin((v - F32(0.03)) / F32(0.77) * F32(5 * math.pi))
        colour = mix(rgb(house.bands[1]), rgb(house.bands[0]), smooth(-5 * crisp, 5 * crisp, wave))
        turn = np.arcsin(u * F32(0.999))
        streaks = sample(tile(301, 1.3, 6), turn * 150 + 300, v * 90)
        blots = sample(tile(302, 1.8, 4), turn * 110 + 500, v * 420)
        foot = smooth(0.16, 0.0, v) * F32(0.18)
        return colour * (1 + F32(0.035) * streaks + F32(0.04) * blots - foot)[..., None]

    return paint


def panels(colour: Array) -> Paint:
    """Plates around a wall, with dark joints and a few stains."""

    def paint(u: Array, v: Array) -> Array:
        turn = np.arcsin(u * F32(0.999))
        joint = np.exp(-np.abs(np.sin(turn * 6 + F32(0.5))) * 26)
        stain = sample(tile(303, 1.5, 5), turn * 130 + 300, v * 900)
        return colour * (1 - F32(0.22) * joint + F32(0.045) * stain)[..., None]

    return paint


def windows(canvas: Canvas, house: Lighthouse) -> None:
    """The door and the windows up the shaft."""
    spots = [(0.1, 0.0, 0.045, 0.075), (-0.35, 0.3, 0.022, 0.042), (0.3, 0.48, 0.02, 0.04), (-0.3, 0.66, 0.018, 0.036)]
    for turn, v, wide, tall in spots:
        for grow, colour in ((1.5, "d9d2c2"), (1.0, "25282e")):
            r = float(np.interp(v, [level for level, _ in SHAFT], [radius for _, radius in SHAFT]))
            half, top = wide / 2 * grow / r, v + tall * (0.5 + 0.5 * grow)
            bottom = v + (1 - grow) * tall * 0.3 if v else 0.004
            shape = [house.place(turn + a * half, bottom, r) for a in (-1, 1)]
            for a in np.linspace(0, math.pi, 9):
                rise = top - wide * 0.55 * grow * (1 - math.sin(a))
                shape.append(house.place(turn + math.cos(a) * half, rise, r))
            shade = house.light(np.full((1, 1), math.sin(turn), F32))[0, 0]
            canvas.fill(shape, rgb(colour) * shade)


def railing(canvas: Canvas, house: Lighthouse, front: bool) -> None:
    """The half of the gallery's railing before or behind the lantern."""
    start = -90 if front else 90
    tone = house.light(np.full((1, 1), 0.2, F32))[0, 0] * rgb(house.metal) * F32(1.25 if front else 0.8)
    thin = max(house.height * 0.0016, 0.55)
    posts = 11 if house.height < 900 else 23
    strength = 1 if house.height > 250 else 0.75
    for i in range(posts + 1):
        turn = math.radians(start + 180 * i / posts)
        stout = 1.7 if i % 4 == 0 else 1
        canvas.stroke([house.place(turn, v, 0.103) for v in (0.838, 0.884)], thin * stout, tone, strength)
    levels = (0.853, 0.868, 0.884) if house.height > 900 else (0.862, 0.884)
    for v in levels:
        arc = house.arc(v, 0.103, start, start + 180)
        canvas.stroke(arc, thin * (1.9 if v == 0.884 else 1), tone, strength)


def lantern(canvas: Canvas, house: Lighthouse) -> None:
    """The lamp room: glass, lens and glazing bars."""
    warm, hot = rgb("ffb347"), rgb("fff3cf")

    def pane(u: Array, v: Array) -> Array:
        up = (v - F32(0.872)) / F32(0.081)
        middle = np.exp(-((u / F32(0.62)) ** 2 + ((up - F32(0.5)) / F32(0.5)) ** 2) * F32(1.4))
        night = mix(rgb("8a4b1c"), warm, np.clip(middle * F32(1.5), 0, 1))
        day = mix(rgb(house.glass) * F32(0.55), rgb(house.glass), np.clip(up + F32(0.25) * u, 0, 1))
        return mix(day, mix(night, hot, middle**2), house.lamp) / np.maximum(house.light(u), F32(0.05))

    wall(canvas, house, PANES, pane)
    bars(canvas, house, back=True)
    lens(canvas, house)
    bars(canvas, house, back=False)


def bars(canvas: Canvas, house: Lighthouse, back: bool) -> None:
    """The lantern's glazing bars; close to, they cross."""
    dark = rgb(house.metal) * house.light(np.zeros((1, 1), F32))[0, 0]
    tone = mix(dark, rgb("a8622a"), 0.75 * house.lamp) if back else mix(dark, rgb("3b2415"), 0.5 * house.lamp)
    thin = max(house.height * (0.0014 if back else 0.0022), 0.5)
    step, offset = 2 * math.pi / house.panes, 0.16
    for i in range(house.panes):
        turn = (i * step + offset + math.pi) % (2 * math.pi) - math.pi
        after = turn + step
        if (math.cos(turn + (step / 2 if house.height > 900 else 0)) < 0) != back:
            continue
        if house.height > 900:
            for low, high in ((0.872, 0.953), (0.953, 0.872)):
                steps = np.linspace(0, 1, 9)
                line = [house.place(turn + (after - turn) * t, low + (high - low) * t, 0.056) for t in steps]
                canvas.stroke(line, thin, tone)
        else:
            canvas.stroke([house.place(turn, v, 0.056) for v in (0.872, 0.953)], thin, tone)
    for v in (0.8735, 0.9125, 0.9515):
        arc = house.arc(v, 0.056, 90 if back else -90, 270 if back else 90)
        canvas.stroke(arc, thin * (1.6 if v != 0.9125 else 0.8), tone)


def lens(canvas: Canvas, house: Lighthouse) -> None:
    """The lens: a barrel of glass rings around the flame."""
    levels = np.linspace(0.876, 0.949, 25)
    outline = [(float(v), 0.0335 * math.sqrt(1 - ((v - 0.9125) / 0.048) ** 2)) for v in levels]

    def glass(u: Array, v: Array) -> Array:
        rings = np.sin((v - F32(0.9125)) * F32(2 * math.pi / 0.0078)) * smooth(0.006, 0.012, np.abs(v - F32(0.9125)))
        eye = np.exp(-(((v - F32(0.9125)) / F32(0.016)) ** 2 + (u / F32(0.55)) ** 2))
        lit = np.clip(F32(0.42) + eye + F32(0.3) * rings - F32(0.4) * u * u, 0, 1)
        night = mix(rgb("b85c16"), rgb("fffbe8"), lit)
        day = mix(rgb(house.glass), rgb("f2efe0"), np.clip(lit - F32(0.1), 0, 1))
        return mix(day, night, house.lamp) / np.maximum(house.light(u), F32(0.05))

    wall(canvas, house, outline, glass)


def roof(canvas: Canvas, house: Lighthouse) -> None:
    """The dome, its ventilator and its lightning rod."""
    red = rgb(house.bands[0]) * F32(0.9)

    def copper(u: Array, v: Array) -> Array:
        seams = np.abs(np.sin(np.arcsin(u * F32(0.999)) * 6 + F32(0.6)))
        return red * (1 - F32(0.28) * np.exp(-seams * 9))[..., None] * (1 + F32(2.2) * (v - F32(0.98)))[..., None]

    thin = max(house.height * 0.0022, 0.6)
    canvas.stroke([house.place(0, 1.04, 0), house.place(0, 1.085, 0)], thin, rgb(house.metal))
    for part in (VENT, BALL):
        wall(canvas, house, part, rgb(house.metal) * F32(1.5))
    wall(canvas, house, DOME, copper)
    under = mix(rgb(house.metal) * F32(0.6), rgb("c9772c"), 0.8 * house.lamp)
    canvas.fill(house.arc(EAVE[0][0], EAVE[0][1], 0, 360), under)
    wall(canvas, house, EAVE, red * F32(0.8))


def lighthouse(canvas: Canvas, house: Lighthouse) -> None:
    """All of the tower, its parts farthest from the eye's level first."""
    white, dark = rgb(house.bands[1]), rgb(house.metal)

    def shaft() -> None:
        wall(canvas, house, SHAFT, masonry(house))
        windows(canvas, house)

    def gallery() -> None:
        wall(canvas, house, CORNICE, panels(white * F32(0.82)))
        level = DECK[0] if house.eye < DECK[0][0] else DECK[1]
        canvas.fill(house.arc(*level, 0, 360), dark * F32(0.9 if house.eye < 0.8 else 1.4))
        if house.eye >= 0.8:
            canvas.fill(house.arc(0.839, 0.086, 0, 360), rgb("ffb25e"), 0.5 * house.lamp, 9)
        wall(canvas, house, DECK, dark * F32(1.6))
        if house.eye < 0.8:
            wall(canvas, house, CORNICE, white * F32(0.82))

    def parapet() -> None:
        wall(canvas, house, PARAPET, panels(white))

    from_below = [lambda: railing(canvas, house, False), lambda: lantern(canvas, house), parapet]
    from_below += [lambda: railing(canvas, house, True), gallery, shaft]
    from_lamp = [shaft, gallery, lambda: railing(canvas, house, False), parapet]
    from_lamp += [lambda: lantern(canvas, house), lambda: railing(canvas, house, True)]
    roof(canvas, house)
    for part in from_below if house.eye < 0.8 else from_lamp:
        part()


def beam(
    canvas: Canvas,
    at: Point,
    degrees: float,
    spread: float,
    reach: float,
    amount: float,
    colour: str = "ffe9b4",
    start: float = 1.5,
) -> None:
    """A shaft of light from the lamp, `start` wide where it begins, in air that is not quite even."""
    dx, dy = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x, y = canvas.x - F32(at[0]), canvas.y - F32(at[1])
    along, off = x * F32(dx) + y * F32(dy), y * F32(dx) - x * F32(dy)
    part = (off / (F32(start) + np.maximum(along, 0) * F32(spread))) ** 2
    air = 1 + F32(0.16) * sample(tile(71, 1.9, 2), x * F32(0.5) + 0 * y, y * F32(1.1) + 0 * x)
    bright = F32(0.3) * np.exp(-part) + F32(0.6) * np.exp(-part * part) + F32(0.5) * np.exp(-part * 7)
    fall = smooth(-6, 10, along) * np.exp(-np.maximum(along, 0) / F32(reach))
    canvas.lighten((slice(None), slice(None)), rgb(colour), F32(amount) * bright * fall * air)


# ---------------------------------------------------------------- dock and boats


@dataclass(frozen=True)
class Dock:
    """Planks on posts, running away over the water: its middle at `start`, sideways by `skew` for each metre."""

    start: float = -0.34
    skew: float = -0.08
    half: float = 1.12
    deck: float = 0.72
    near: float = 3.0
    far: float = 17.0
    wood: str = "7b6a5d"
    light: str = "ffd9b0"
    timber: Wood = field(default_factory=lambda: Wood())

    def spot(self, side: float, z: float) -> Point:
        """The place (x, z) at a way from the middle, in half widths."""
        return self.start + self.skew * z + side * self.half, z - self.skew * side * self.half


def planks(canvas: Canvas, camera: Camera, dock: Dock, haze: Array) -> None:
    """The deck, plank by plank, towards the eye."""
    rng = np.random.default_rng(17)
    z = dock.far
    while z > dock.near:
        wide = float(rng.uniform(0.15, 0.21))
        ends = 1 + rng.uniform(-0.035, 0.035, 2)
        corners = [(-ends[0], z), (ends[1], z), (ends[1], z - wide + 0.018), (-ends[0], z - wide + 0.018)]
        shape = [camera(x, dock.deck, far) for x, far in (dock.spot(side, at) for side, at in corners)]
        tone = rgb(dock.wood) * F32(1 + 0.11 * rng.normal()) * (1 + 0.012 * rng.normal(size=3)).astype(F32)
        canvas.fill(shape, grain(camera, dock, tone, haze, float(rng.uniform(0, 900))))
        if z < 9:
            nails(canvas, camera, dock, z - wide / 2)
        z -= wide


def grain(camera: Camera, dock: Dock, tone: Array, haze: Array, offset: float) -> Paint:
    """Weathered wood along a plank, catching the light of the sky where it lies flat to the eye."""

    def paint(x: Array, y: Array) -> Array:
        z = F32(camera.focal * (camera.height - dock.deck)) / np.maximum(y - F32(camera.horizon), 1)
        across = (x - F32(camera.x)) * z / F32(camera.focal)
        fibre = sample(tile(41, 1.2, 4), across * 34 + F32(offset), z * 560 + F32(offset))
        blot = sample(tile(42, 1.8, 3), across * 60, z * 60)
        fine = np.clip(F32(9) / z, 0.15, 1)
        shade = 1 + F32(0.15) * fine * fibre + F32(0.1) * blot
        sheen = np.clip((z - 4) / 16, 0, 1) * F32(0.55) + F32(0.05) * np.maximum(blot, 0)
        colour = mix(tone * shade[..., None], rgb(dock.light), sheen)
        return mix(colour, haze, np.clip((z - 7) / 26, 0, 0.6))

    return paint


def nails(canvas: Canvas, camera: Camera, dock: Dock, z: float) -> None:
    """Two pairs of nail heads in a plank."""
    for side in (-0.86, -0.8, 0.8, 0.86):
        at = dock.spot(side, z)
        x, y = camera(at[0], dock.deck, at[1])
        size = 0.011 * camera.focal / at[1]
        canvas.fill(ellipse(x, y, size, size * 0.45, 12), rgb("2a2320"), 0.75)


@dataclass(frozen=True)
class Wood:
    """The colours of round timber: its shadow, its lit side, its top."""

    shade: str = "2f2a2b"
    lit: str = "8d7463"
    top: str = "b39a86"

    def far(self, air: Array, z: float) -> Wood:
        """The same timber, seen through the air between."""
        fade = min(max((z - 6) / 26, 0), 0.6)
        return Wood(*(hexadecimal(mix(rgb(colour), air, fade)) for colour in (self.shade, self.lit, self.top)))


def post(canvas: Canvas, camera: Camera, at: Point, span: Point, wood: Wood) -> None:
    """A round post at `at` (x, z), from the lower to the upper level of `span`."""
    (x, low), high = camera(at[0], span[0], at[1]), camera(at[0], span[1], at[1])[1]
    r = 0.115 * camera.focal / at[1]
    flat = max(abs(camera.height - span[1]) / at[1], 0.06)
    seed = int(at[1] * 10)
    water = camera(0, 0, at[1])[1]

    def paint(px: Array, py: Array) -> Array:
        u = np.clip((px - F32(x)) / F32(r), -1, 1)
        bark = sample(tile(43, 1.2, 4), u * 45 + 13 * seed, py * F32(9 / r) + 0 * px)
        split = sample(tile(44, 1.5, 6), u * 70 + 29 * seed, py * F32(4 / r) + 0 * px)
        lit = np.clip(F32(0.4) - F32(0.6) * u + F32(0.1) * bark - F32(0.3) * smooth(1.2, 2.2, split), 0, 1)
        wet = smooth(high + 0.45 * (water - high), water, py + 0 * px)
        return mix(rgb(wood.shade), rgb(wood.lit), lit) * (1 - F32(0.5) * wet)[..., None]

    canvas.fill([(x - r, high), (x + r, high), *ellipse(x, low, r, r * flat * 0.8, 24)[:13]], paint)
    if not camera.mirrored:
        canvas.fill(ellipse(x, high, r, r * flat), rgb(wood.top))
        for ring, tone in ((0.86, 0.9), (0.6, 0.97), (0.54, 0.84), (0.2, 0.92)):
            canvas.fill(ellipse(x, high, r * ring, r * flat * ring), rgb(wood.top) * F32(tone))


def dock_frame(canvas: Canvas, camera: Camera, dock: Dock, haze: Array) -> None:
    """What carries the deck: the beam under the planks' ends and the dark beneath, seen between the planks too."""
    edge = [dock.spot(0.98, z) for z in np.linspace(dock.far, dock.near, 12)]
    top = [camera(x, dock.deck, z) for x, z in edge]
    for depth, tone, alpha in ((0.62, "14161a", 0.55), (0.2, dock.timber.shade, 1.0), (0.05, dock.timber.lit, 0.7)):
        under = [camera(x, dock.deck - depth, z) for x, z in reversed(edge)]
        canvas.fill([*top, *under], mix(rgb(tone), haze, 0.12), alpha)
    other = [camera(x, dock.deck, z) for x, z in (dock.spot(-0.98, z) for z in (dock.near, dock.far))]
    canvas.fill([*top, *other], mix(rgb("1a1818"), haze, 0.1))


def dock_posts(canvas: Canvas, camera: Camera, dock: Dock, low: float, haze: Array, sea: Array | None = None) -> None:
    """Both rows of posts from level `low` up, the farthest first; `sea` hides what lies behind its waves."""
    for i, z in enumerate(np.arange(dock.far - 0.2, 4.0, -2.45)):
        for side in (-1.0, 1.0):
            at = dock.spot(side * 1.09, float(z))
            canvas.stencil = None if sea is None else smooth(-0.06, 0.06, sea - F32(at[1]))
            top = dock.deck + 0.42 + 0.06 * ((i + int(side)) % 3)
            post(canvas, camera, at, (low, top), dock.timber.far(haze, at[1]))
    canvas.stencil = None


def pier(canvas: Canvas, dock: Dock, haze: Array, sea: Array | None = None) -> None:
    """The whole dock; what stands above the deck hides it, what stands below is hidden by it."""
    dock_posts(canvas, BAY, dock, -0.6 if sea is not None else -0.02, haze, sea)
    deck = F32(BAY.focal * (BAY.height - dock.deck)) / np.maximum(canvas.y - F32(BAY.horizon), 1)
    behind = None if sea is None else (sea - deck) / (F32(0.0016) * deck * deck)
    canvas.stencil = None if behind is None else smooth(-1, 1, behind)
    dock_frame(canvas, BAY, dock, haze)
    planks(canvas, BAY, dock, haze)
    if behind is not None:
        torn = sample(tile(97, 1.5, 4), canvas.x * 2 + 0 * deck, canvas.y * 3 + 0 * canvas.x)
        canvas.stencil = smooth(0.2, 1.1, np.exp(-np.maximum(behind, 0) / 5) + F32(0.22) * torn) * smooth(-3, 0, behind)
        corners = [dock.spot(side, z) for side, z in ((-1, dock.far), (1, dock.far), (1, dock.near), (-1, dock.near))]
        canvas.fill([BAY(x, dock.deck, z) for x, z in corners], rgb("c3cdca"), 0.85)
    dock_posts(canvas, BAY, dock, dock.deck - 0.02, haze, sea)


def hexadecimal(colour: Array) -> str:
    """The six-digit hexadecimal code of a colour."""
    return "".join(f"{round(float(np.clip(c, 0, 1)) * 255):02x}" for c in colour)


@dataclass(frozen=True)
class Boat:
    """A rowing boat on the water: its middle (x, z), its half length and half width, where its bow points."""

    x: float
    z: float
    heading: float
    length: float = 1.95
    beam: float = 0.68
    hull: str = "5f8a8e"
    trim: str = "e6d5b4"
    inside: str = "7d5b40"

    def spot(self, along: float, across: float, up: float) -> tuple[float, float, float]:
        """A point of the boat, in metres along, across and up, out in the world."""
        c, s = math.cos(self.heading), math.sin(self.heading)
        return self.x + along * c + across * s, up, self.z + along * s - across * c

    def rib(self, t: float) -> tuple[float, float]:
        """Half width and height of the rim, from the stern (t = -1) to the bow (1)."""
        wide = (1 - max(t, 0) ** 2.3) ** 0.85 if t > 0 else 1 - 0.34 * t * t
        return self.beam * wide, 0.4 + 0.2 * max(t, 0) ** 2.2 + 0.05 * t * t

    def line(self, camera: Camera, side: float, level: float) -> list[Point]:
        """A plank line from stern to bow: `level` 1 is the rim, 0 the water."""
        out: list[Point] = []
        for t in np.linspace(-1, 1, 41):
            wide, high = self.rib(float(t))
            tuck = (0.7 + 0.3 * level) if t < 0.99 else 1
            along = self.length * float(t) * (0.93 + 0.07 * level)
            out.append(camera(*self.spot(along, side * wide * tuck, high * level - 0.03 * (1 - level))))
        return out


def hull(canvas: Canvas, camera: Camera, boat: Boat, light: Light) -> None:
    """The outside of the boat that is seen."""
    near = 1 if math.cos(boat.heading) > 0 else -1
    tone = rgb(boat.hull) * light(np.full((1, 1), -0.3, F32))[0, 0]
    levels = (0.0, 0.24, 0.46, 0.66, 0.84, 1.0)
    for side in (-near, near) if camera.mirrored else (near,):
        for i, (low, high) in enumerate(pairwise(levels)):
            strake = [*boat.line(camera, side, low), *reversed(boat.line(camera, side, high))]
            colour = tone * F32(0.62 + 0.1 * i) if high < 1 else rgb(boat.trim) * tone.mean() * F32(2.1)
            canvas.fill(strake, colour)
            canvas.stroke(boat.line(camera, side, low), 1.1, tone * F32(0.3), 0.6)
    stern = [
        boat.line(camera, side, level)[0] for side in (-1, 1) for level in ((0.0, 1.0) if side < 0 else (1.0, 0.0))
    ]
    if math.sin(boat.heading) > 0:
        canvas.fill(stern, tone * F32(0.72))
        canvas.stroke([stern[1], stern[2]], 3, rgb(boat.trim) * tone.mean() * F32(2))


def rowing_boat(canvas: Canvas, camera: Camera, boat: Boat, light: Light) -> None:
    """The whole boat: its inside, benches and oars, then the hull around them."""
    key, shade = light(np.full((1, 1), -0.5, F32))[0, 0], light(np.full((1, 1), 0.9, F32))[0, 0]
    wood = rgb(boat.inside)
    near = 1 if math.cos(boat.heading) > 0 else -1
    rims = {side: boat.line(camera, side, 1.0) for side in (-1, 1)}
    canvas.fill([*rims[-1], *reversed(rims[1])], wood * shade * F32(0.75))
    far_wall = [*rims[-near], *reversed(boat.line(camera, -near, 0.35))]
    canvas.fill(far_wall, wood * key * F32(0.95))
    for level in (0.55, 0.78):
        canvas.stroke(boat.line(camera, -near, level), 1, wood * shade * F32(0.4), 0.7)
    for t in np.linspace(-0.85, 0.8, 9):
        wide, high = boat.rib(float(t))
        frame = [
            boat.spot(boat.length * float(t), -near * wide * w, high * v)
            for w, v in ((0.99, 0.97), (0.9, 0.4), (0.5, 0.16))
        ]
        canvas.stroke([camera(*p) for p in frame], 2.2, wood * shade * F32(0.62))
    for t in (-0.72, -0.05, 0.5):
        bench(canvas, camera, boat, t, rgb("b48d64") * key)
    oars(canvas, camera, boat, key)
    hull(canvas, camera, boat, light)
    for side in (-near, near):
        canvas.stroke(rims[side], 4.2, rgb(boat.trim) * shade * F32(0.9))
        canvas.stroke([(x, y - 1.2) for x, y in rims[side]], 1.5, rgb(boat.trim) * key * F32(1.15))


def bench(canvas: Canvas, camera: Camera, boat: Boat, t: float, tone: Array) -> None:
    """A board from side to side."""
    wide, high = boat.rib(t)
    ends = [
        (boat.length * t + off, side * wide * 0.95) for off, side in ((-0.13, -1), (0.13, -1), (0.13, 1), (-0.13, 1))
    ]
    for drop, shade in ((0.05, 0.4), (0.0, 1.05)):
        canvas.fill([camera(*boat.spot(a, c, high * 0.68 - drop)) for a, c in ends], tone * F32(shade))


def oars(canvas: Canvas, camera: Camera, boat: Boat, key: Array) -> None:
    """A pair of oars laid over the benches."""
    near = 1 if math.cos(boat.heading) > 0 else -1
    for side in (-0.34 * near, -0.06 * near):
        shaft = [boat.spot(a, side + 0.03 * near * a, 0.36 + 0.04 * a) for a in np.linspace(-1.6, 1.05, 12)]
        widths = [9, 9, 8, 3.2, *[2.6] * 8]
        points = [camera(*p) for p in shaft]
        canvas.stroke([(x + 1, y + 3) for x, y in points], widths, rgb("1c1614"), 0.45)
        canvas.stroke(points, widths, rgb("b08a5e") * key)


def rope(canvas: Canvas, a: Point, b: Point, sag: float, width: float, colour: Array) -> None:
    """A slack rope between two points."""
    line = [(a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t + sag * 4 * t * (1 - t)) for t in np.linspace(0, 1, 25)]
    canvas.stroke(line, width, colour)


def moor(canvas: Canvas, bow: Point, bollard: Point, radius: float) -> None:
    """A boat's rope, wound around its post three times."""
    dark, pale = rgb("4a3d33"), rgb("b7a184")
    rope(canvas, bow, (bollard[0] + radius, bollard[1] + 2), 18, 2.8, dark)
    rope(canvas, bow, (bollard[0] + radius, bollard[1] + 1), 18, 1.5, pale)
    for i in range(3):
        ends = [(bollard[0] + side * radius, bollard[1] + 4 * i - 1) for side in (-1, 1)]
        rope(canvas, ends[0], ends[1], 4, 4.4, dark)
        rope(canvas, ends[0], ends[1], 4, 2.6, pale * F32(0.95 - 0.1 * i))


def sailing_boat(canvas: Canvas, at: Point, size: float, dim: float = 1, mirrored: bool = False) -> None:
    """A small boat under sail, seen from the side; `size` is its half length."""

    def spot(points: Sequence[Point]) -> list[Point]:
        return [(at[0] + size * x, at[1] + size * (y if mirrored else -y)) for x, y in points]

    def cloth(warm: str, cool: str, left: float, right: float) -> Paint:
        def paint(x: Array, y: Array) -> Array:
            t = np.clip(((x - F32(at[0])) / F32(size) - F32(left)) / F32(right - left), 0, 1) + 0 * y
            seam = np.abs(np.sin((y - F32(at[1])) / F32(size) * 9 + t)) + 0 * x
            return (
                mix(rgb(cool), rgb(warm), t ** F32(0.8)) * (F32(dim) * (1 - F32(0.13) * np.exp(-seam * 16)))[..., None]
            )

        return paint

    main_sail = [
        *curve([(-0.07, 0.42), (-0.5, 0.34), (-0.98, 0.44)]),
        *curve([(-0.98, 0.44), (-0.62, 1.3), (-0.07, 2.42)]),
    ]
    jib = [*curve([(0.98, 0.36), (0.45, 1.2), (-0.01, 2.1)]), *curve([(-0.01, 2.1), (0.2, 1.1), (0.14, 0.42)])]
    deck = curve([(-1.0, 0.3), (-0.3, 0.24), (0.4, 0.27), (1.12, 0.43)])
    shell = [*deck, *curve([(1.12, 0.43), (0.95, 0.12), (0.76, -0.06)]), (-0.88, -0.06), (-1.0, 0.3)]
    wood = rgb("5b3a26") * F32(dim)
    canvas.stroke(spot([(-0.03, 0.15), (-0.03, 2.55)]), size * 0.045, wood)
    canvas.stroke(spot([(1.1, 0.38), (-0.03, 2.3)]), size * 0.012, wood)
    canvas.fill(spot(main_sail), cloth("f0573a", "a3272c", -0.9, 0.2))
    canvas.fill(spot(jib), cloth("fff3d6", "d9a184", -0.1, 0.8))
    canvas.stroke(spot([(-1.02, 0.41), (-0.03, 0.36)]), size * 0.04, wood)
    canvas.fill(spot(shell), cloth("e2402f", "7d1a20", -1.0, 1.1))
    canvas.stroke(spot(deck), size * 0.055, rgb("ffdcae") * F32(dim))
    canvas.stroke(spot([(-0.93, 0.06), (0.86, 0.06)]), size * 0.03, rgb("f3d9b8") * F32(0.85 * dim))
    pennant = curve([(-0.03, 2.55), (-0.18, 2.5), (-0.36, 2.53)])
    canvas.stroke(
        spot(pennant),
        [size * 0.09 * (1 - i / len(pennant)) + 0.4 for i in range(len(pennant))],
        rgb("d8392b") * F32(dim),
    )


# ---------------------------------------------------------------- cliff, cottage, gulls


def changed(after: Array, before: Array) -> Array:
    """1 where two states of a picture differ, 0 where they do not."""
    return (np.abs(after - before).max(-1) > F32(1e-5)).astype(F32)


def reflect(still: Canvas, ashore: Array, before: Array, foot: float) -> None:
    """Add what was painted since `before` to the mirror image, upside down from the water's edge at `foot`."""
    edge = round(foot * SAMPLES)
    below = still.rgb.shape[0] - edge
    rows = slice(edge - 1, edge - 1 - below, -1)
    still.rgb[edge:] = mix(still.rgb[edge:], ashore[rows], changed(ashore[rows], before[rows]))


def turf(canvas: Canvas, ridge: Array, thick: float, seed: int, colours: tuple[str, str]) -> None:
    """Grass along a ridge, hanging ragged over the edge; its rim catches the light."""
    window = canvas.rows(float(ridge.min()) - 12, float(ridge.min()) + 190)
    x, y = canvas.at(window)
    blades = 2.2 * np.abs(line_noise(ridge.size, seed + 1, 0.35, 60))
    edge = ridge - np.clip(blades, 0, 5).astype(F32)
    hang = F32(thick) * np.clip(F32(1.25) + F32(0.4) * line_noise(ridge.size, seed, 1.0, 8), 0.7, 2.2)
    down = y - edge[None, :]
    ragged = sample(tile(seed, 1.2, 6), x * F32(2.2) + 0 * y, y * F32(1.1) + 0 * x)
    alpha = np.clip(down * SAMPLES + F32(0.5), 0, 1) * smooth(-3.0, 3.0, hang[None, :] + 5 * ragged - down)
    tufts = sample(tile(seed + 2, 1.1, 8), x * F32(3.2) + 0 * y, y * F32(1.5) - F32(0.8) * x)
    light = np.clip(F32(0.62) - down / F32(2.6 * thick) + F32(0.16) * tufts, 0, 1)
    colour = mix(rgb(colours[1]), rgb(colours[0]), light)
    colour = mix(colour, rgb("ffe9a6"), F32(0.55) * np.exp(-np.abs(down - 1) / F32(2.2)))
    canvas.blend(window, colour, alpha)


FOOT = 612.0  # where the cliff meets the water


BACK = [(500, 800), (600, 660), (760, 520), (900, 446), (1010, 420), (1140, 398), (1280, 372)]
FRONT = [(480, 800), (560, 640), (596, 600), (622, 566), (650, 520), (690, 474), (740, 456), (860, 448), (980, 446)]
FRONT += [(1130, 440), (1280, 428)]
ROCKS = [(400, 760), (470, 640), (500, 612), (530, 598), (562, 603), (600, 588), (650, 580), (720, 592), (800, 578)]
ROCKS += [(900, 594), (1000, 583), (1120, 596), (1280, 578)]


def cliff(canvas: Canvas) -> None:
    """The cliff with its lighthouse, cottage and grass, lit by the low sun."""
    ridge = profile(canvas, [(0, 900), *BACK], 3, 281, 1.3)
    land(canvas, ridge, FOOT, rock("c9a98a", "6d6670", 90, 282, -1))
    turf(canvas, ridge, 80, 283, ("b8ac62", "66714a"))
    cottage(canvas, (1032, 430), 34)
    path(canvas)
    sun = Light("ffdfae", "6f7480", -62)
    lighthouse(canvas, Lighthouse(868, 450, 366, sun, -0.1, 0.3, 0.25, 10, glass="bfd3d8"))
    ridge = profile(canvas, [(0, 900), *FRONT], 3.4, 284, 1.15)
    land(canvas, ridge, FOOT, rock("eec294", "4b4148", 130, 285, -1, FOOT))
    turf(canvas, ridge, 17, 286, ("c9b765", "55623a"))
    fence(canvas, ridge)
    ridge = profile(canvas, [(0, 900), *ROCKS], 4, 287, 1.05)
    land(canvas, ridge, FOOT, rock("dcae84", "3a3238", 60, 288, -1, FOOT))


def path(canvas: Canvas) -> None:
    """A trodden path from the cottage to the tower."""
    line = curve([(1075, 432), (1030, 440), (960, 446), (905, 451)])
    widths = list(np.linspace(5, 9, len(line)))
    canvas.stroke(line, widths, rgb("d9c192"), 0.8, 0.8)


def fence(canvas: Canvas, ridge: Array) -> None:
    """Posts and two wires along the cliff's edge."""
    level = cv2.GaussianBlur(ridge[None, :], (0, 0), 30 * SAMPLES)[0]
    posts = [(float(x), float(level[int(x * SAMPLES)]) + 4) for x in np.arange(928, 1276, 23)]
    for x, y in posts:
        canvas.stroke([(x, y), (x + 0.8, y - 19)], 2.6, rgb("5d4b3c"))
        canvas.stroke([(x - 0.9, y), (x - 0.1, y - 19)], 0.9, rgb("f0d3a0"), 0.9)
    for up in (9, 16):
        canvas.stroke([(x, y - up) for x, y in posts], 0.9, rgb("4d4238"), 0.8)


def cottage(canvas: Canvas, at: Point, size: float) -> None:
    """The keeper's white cottage with its red roof."""

    def spot(points: Sequence[Point]) -> list[Point]:
        return [(at[0] + size * x, at[1] - size * y) for x, y in points]

    lit, shade, roof_tone = rgb("ffeccd"), rgb("b9b3b4"), rgb("b4553d")
    canvas.fill(spot([(1.3, 0.8), (1.3, 1.42), (1.52, 1.42), (1.52, 0.8)]), rgb("d8b79a"))
    canvas.fill(spot([(1.44, 0.8), (1.44, 1.42), (1.58, 1.42), (1.58, 0.8)]), rgb("8f7d78"))
    canvas.fill(spot([(0.9, -0.1), (2.5, -0.1), (2.5, 0.62), (0.9, 0.62)]), shade)
    canvas.fill(spot([(0, -0.1), (0.9, -0.1), (0.9, 0.62), (0.45, 1.08), (0, 0.62)]), lit)
    tiles = spot([(0.42, 1.15), (0.98, 0.54), (2.58, 0.54), (2.16, 1.15)])
    canvas.fill(tiles, roof_tone)
    for i in range(1, 7):
        t = i / 7
        row = spot([(0.42 + 0.56 * t, 1.15 - 0.61 * t), (2.16 + 0.42 * t, 1.15 - 0.61 * t)])
        canvas.stroke(row, 0.7, roof_tone * F32(0.72), 0.7)
    canvas.stroke(spot([(-0.07, 0.55), (0.44, 1.13), (0.97, 0.55)]), 2.2, roof_tone * F32(0.85))
    canvas.stroke(spot([(0.42, 1.15), (2.16, 1.15)]), 1.6, rgb("f2a983"), 0.9)
    for x, wide in ((1.2, 0.2), (1.68, 0.2), (2.12, 0.2)):
        canvas.fill(spot([(x, 0.16), (x + wide, 0.16), (x + wide, 0.42), (x, 0.42)]), rgb("3d4a57"))
    canvas.fill(spot([(0.33, 0.2), (0.57, 0.2), (0.57, 0.5), (0.33, 0.5)]), rgb("5b6b78"))


def gull(canvas: Canvas, at: Point, span: float, bank_angle: float, lift: float) -> None:
    """A gull on the wing; `lift` raises or lowers its wing tips."""
    c, s = math.cos(bank_angle), math.sin(bank_angle)

    def spot(points: Sequence[Point]) -> list[Point]:
        return [(at[0] + span * (x * c - y * s), at[1] + span * (x * s + y * c)) for x, y in points]

    for side, tone in ((1, "8b95a8"), (-1, "fff6e6")):
        wing = curve(
            [
                (0.02 * side, 0.0),
                (0.42 * side, -0.2 - 0.5 * lift),
                (0.72 * side, -0.17 - 0.6 * lift),
                (side, 0.02 - 0.5 * lift),
            ],
            6,
        )
        widths = [span * (0.17 - 0.15 * (i / (len(wing) - 1)) ** 1.3) for i in range(len(wing))]
        canvas.stroke(spot(wing), widths, rgb(tone))
        canvas.stroke(spot(wing[-5:]), [w * 1.05 for w in widths[-5:]], rgb("4a4f5c"))
    canvas.stroke(
        spot([(0.3, 0.05), (0.2, 0.02), (0, 0.03), (-0.26, 0.09)]),
        [span * w for w in (0.05, 0.13, 0.16, 0.05)],
        rgb("fffaf0"),
    )
    canvas.stroke(spot([(0.29, 0.05), (0.36, 0.065)]), span * 0.045, rgb("e9a23b"))


FLOCK = (
    (395, 205, 40, -0.22, 0.25),
    (508, 268, 27, 0.12, -0.05),
    (300, 292, 19, -0.1, 0.35),
    (610, 168, 20, 0.2, 0.4),
    (548, 356, 12, -0.15, 0.1),
    (455, 330, 10, 0.1, 0.4),
    (705, 246, 14, -0.3, 0.0),
    (1130, 160, 22, 0.18, 0.3),
    (1065, 226, 13, -0.1, 0.0),
)


def gulls(canvas: Canvas) -> None:
    """A few gulls, near and far."""
    for x, y, span, angle, lift in FLOCK:
        gull(canvas, (x, y), span, angle, lift)


def surf(canvas: Canvas, foot: float, left: float) -> None:
    """Foam where calm water laps at the rocks."""
    window = canvas.rows(foot - 16, foot + 30)
    x, y = canvas.at(window)
    wave = line_noise(x.size, 291, 1.3, 4)[None, :]
    torn = sample(tile(292, 1.5, 6), x * 2 + 0 * y, y * 6 + 0 * x)
    alpha = np.zeros((y.size, x.size), F32)
    for off, thick, amount in ((-1, 2.6, 0.95), (6, 1.8, 0.55), (14, 1.6, 0.3)):
        level = (y - F32(foot + off) - F32(1 + off * 0.22) * wave) / F32(thick)
        alpha = np.maximum(alpha, F32(amount) * np.exp(-level * level) * smooth(-0.9, 0.7, torn - F32(off * 0.05)))
    canvas.blend(window, rgb("fff4e0"), alpha * smooth(left - 25, left + 25, x))


def headlands(canvas: Canvas, horizon: float) -> None:
    """Blue capes along the far side of the sea."""
    for points, top, bottom, seed in (
        ([(0, 462), (60, 466), (110, 474), (150, 487), (230, 510), (1280, 530)], "c9a98f", "f0cf9f", 274),
        ([(0, 520), (520, 510), (640, 472), (760, 452), (900, 440), (1280, 430)], "a9b0b0", "e0cfae", 275),
    ):
        ridge = profile(canvas, points, 2.4, seed, 1.4)
        land(canvas, ridge, horizon, hillside(ridge, horizon, top, bottom, seed + 4))


# ---------------------------------------------------------------- finish


def brush(canvas: Canvas, radius: float, amount: float) -> None:
    """Draw the paint together in dabs: each sample takes the calmest of eight neighbourhoods (after Kuwahara)."""
    image = np.clip(canvas.rgb, 0, 1)
    tone = image.mean(-1)
    sigma = radius * SAMPLES * 0.42
    mean, first = (cv2.GaussianBlur(part, (0, 0), sigma) for part in (image, tone))
    spread = np.maximum(cv2.GaussianBlur(tone * tone, (0, 0), sigma) - first * first, 0)
    total = np.zeros_like(image)
    weights = np.full(tone.shape, 1e-12, F32)
    for turn in np.arange(8) * math.pi / 4:
        shift = np.array(
            [[1, 0, math.cos(turn) * radius * SAMPLES / 1.6], [0, 1, math.sin(turn) * radius * SAMPLES / 1.6]]
        )
        size = (image.shape[1], image.shape[0])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        calm = cv2.warpAffine(spread, shift, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
        weight = 1 / (calm + F32(4e-6)) ** 3
        weight /= F32(1e16)
        total += cv2.warpAffine(mean, shift, size, flags=flags, borderMode=cv2.BORDER_REPLICATE) * weight[..., None]
        weights += weight
    canvas.rgb = mix(canvas.rgb, total / weights[..., None], amount)


def finish(canvas: Canvas, vignette: float = 0.2, grain_amount: float = 1.0, seed: int = 5) -> NDArray[np.uint8]:
    """The finished picture: darker corners, grain, and rounding that leaves no bands."""
    half_w, half_h = canvas.width / 2, canvas.height / 2
    corner = np.hypot((canvas.x - half_w) / F32(half_w), (canvas.y - half_h) / F32(half_h)) / F32(math.sqrt(2))
    image = np.clip(canvas.rgb, 0, 1) * (1 - F32(vignette) * smooth(0.35, 1.1, corner))[..., None]
    small = cv2.resize(image, (canvas.width, canvas.height), interpolation=cv2.INTER_AREA) * F32(255)
    rng = np.random.default_rng(seed)
    shape = small.shape[:2]
    film = cv2.GaussianBlur(rng.standard_normal(shape, F32), (0, 0), 0.6) * F32(1.9 * grain_amount)
    dither = rng.random(shape, F32) - F32(0.5)
    return np.clip(np.rint(small + (film + dither)[..., None]), 0, 255).astype(np.uint8)


def png(picture: NDArray[np.uint8]) -> bytes:
    """The picture as an optimised PNG file."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG", optimize=True)
    return file.getvalue()


def fit(canvas: Canvas, limit: int, vignette: float = 0.2) -> bytes:
    """The finished picture in a file of at most `limit` bytes, with as much grain as that allows."""
    data = b""
    for amount in (1.0, 0.7, 0.45, 0.25):
        data = png(finish(canvas, vignette, amount))
        if len(data) <= limit:
            break
    return data


# ---------------------------------------------------------------- the pictures

WIDTH, HEIGHT = 1280, 736
BAY = Camera(640, 330, 1000, 2.3)
LIMIT = 1_200_000


def dock() -> Canvas:
    """Dawn over the bay, from the dock."""
    canvas = Canvas(WIDTH, HEIGHT)
    sun = (505.0, 262.0)
    stops = [(0, "54708f"), (0.3, "8197ac"), (0.55, "c3b3b4"), (0.75, "edc4a2"), (0.92, "fbdcae"), (1.0, "fce6c2")]
    sky(canvas, BAY.horizon, stops)
    glow(canvas, sun, rgb("ffc878"), 190, 0.8, 1.7)
    layer(canvas, BAY.horizon, Clouds(3, -0.1, "ffdcb4", "8d8fa3", sun, 1.1, 0.75, 1.6, 1.5))
    glow(canvas, sun, rgb("fff0c8"), 40, 0.9, 1.2)
    disc(canvas, sun, 17, rgb("fffbe9"), 1, 1.2)
    dawn_land(canvas, sun)
    still = mirror(canvas, BAY.horizon)
    scene = Light("ffcf9c", "58606f", -110)
    boat = Boat(2.7, 8.3, 2.5)
    jetty = Dock()
    air = rgb("e3c6b0")
    dock_posts(still, BAY.reflection, jetty, -0.02, air)
    dock_frame(still, BAY.reflection, jetty, air)
    hull(still, BAY.reflection, boat, scene)
    pour(canvas, still, Water(BAY, "2d4a58", 0.012, 4.5, 11, 0.62, sun, "ffe2b0", 0.5))
    for y, thick, amount, seed in ((338, 9, 0.75, 61), (352, 10, 0.45, 62), (384, 14, 0.36, 63), (430, 18, 0.2, 64)):
        mist(canvas, y, thick, "f6dfc8", amount, seed)
    pier(canvas, jetty, air)
    rowing_boat(canvas, BAY, boat, scene)
    moor(canvas, BAY(*boat.spot(boat.length * 0.97, 0, 0.55)), (685, 497), 16.5)
    return canvas


def dawn_land(canvas: Canvas, sun: Point) -> None:
    """The bay's far shores and the lighthouse, in the dawn."""
    foot = BAY.horizon
    shores(canvas, [("b9a7ad", "f0cfb0"), ("9a8f9d", "e6c4ab"), ("6f7484", "cdb4a8"), ("4d5767", "b9a59f")])
    glow(canvas, sun, rgb("ffd594"), 55, 0.75, 1.9)
    mist(canvas, foot - 4, 16, "fae0c2", 0.7, 65)
    house = Lighthouse(*TOWER, Light("ffcfa0", "74788a", -105), lamp=1)
    islet(canvas, ("c0a08c", "4c4f5c"))
    lighthouse(canvas, house)
    lamp = house.place(0, 0.9125, 0)
    for degrees, spread, reach, amount in ((187, 0.045, 190, 0.5), (-7, 0.06, 150, 0.4)):
        beam(canvas, lamp, degrees, spread, reach, amount, "fff0c4")
    glow(canvas, lamp, rgb("ffe9b0"), 11, 1.0)
    mist(canvas, foot - 1, 7, "fbe6cd", 0.75, 66)


TOWER = (905.0, 292.0, 150.0)


def islet(canvas: Canvas, colours: tuple[str, str]) -> None:
    """The rock that carries the lighthouse in the bay."""
    points = [
        (770, 345),
        (790, 331),
        (815, 322),
        (845, 312),
        (868, 297),
        (885, 291),
        (930, 291),
        (955, 303),
        (985, 316),
        (1020, 326),
        (1040, 345),
    ]
    ridge = profile(canvas, [(0, 400), (740, 380), *points, (1100, 380), (1280, 400)], 2.2, 75)
    land(canvas, ridge, BAY.horizon, rock(*colours, 26, 76, -1, BAY.horizon))


def shores(canvas: Canvas, colours: Sequence[tuple[str, str]]) -> None:
    """Four ranges of hills, the farthest first; each has a colour at its ridge and one in the mist at its foot."""
    foot = BAY.horizon
    lines = [
        [(0, 226), (180, 196), (330, 240), (520, 262), (700, 250), (900, 268), (1100, 244), (1280, 222)],
        [(0, 236), (120, 232), (260, 268), (420, 290), (560, 300), (700, 304), (900, 310), (1080, 284), (1280, 252)],
        [(0, 250), (90, 262), (200, 290), (320, 308), (430, 326), (520, 340), (1000, 345), (1130, 318), (1280, 288)],
        [(0, 282), (70, 290), (150, 305), (240, 322), (300, 338), (1120, 342), (1190, 326), (1280, 312)],
    ]
    for i, (line, (top, bottom)) in enumerate(zip(lines, colours, strict=True)):
        ridge = profile(canvas, line, 3.2 - 0.5 * i, 20 + i, 1.5)
        if i == 2:
            ridge = conifers(canvas, ridge, 31, 260, 13, (0, 430))
            ridge = conifers(canvas, ridge, 32, 160, 13, (1010, 1280))
        if i == 3:
            ridge = conifers(canvas, ridge, 33, 150, 34, (-10, 285))
            ridge = conifers(canvas, ridge, 34, 90, 30, (1150, 1290))
        land(canvas, ridge, foot, hillside(ridge, foot, top, bottom, 40 + i))


def storm() -> Canvas:
    """The same bay under a storm."""
    canvas = Canvas(WIDTH, HEIGHT)
    gap = (560.0, 262.0)
    sky(canvas, BAY.horizon, [(0, "1d252d"), (0.35, "2c3841"), (0.65, "4f5d62"), (0.88, "87948f"), (1.0, "9aa59d")])
    glow(canvas, gap, rgb("c9cfae"), 120, 0.5, 2.6)
    layer(canvas, BAY.horizon, Clouds(14, 0.9, "8a969a", "222a32", gap, 2.0, 0.95, 1.2, 2.6, 0.8))
    layer(canvas, BAY.horizon, Clouds(16, -0.25, "5d6a72", "141a20", gap, 1.7, 0.8, 1.5, 1.9, 0.5))
    bank(canvas, Clouds(27, -0.2, "98a39c", "414c53", gap, 1.5, 0.75, 2.6, 1.5, 0.6), 262, 90)
    shores(canvas, [("66737a", "89958f"), ("515f67", "7d8a88"), ("3d4a52", "6d7b7c"), ("29343b", "556366")])
    mist(canvas, BAY.horizon - 14, 20, "8f9b97", 0.45, 165)
    islet(canvas, ("5a6468", "1d242a"))
    house = Lighthouse(*TOWER, Light("5f6d74", "333d46", -70), lamp=1)
    lighthouse(canvas, house)
    lamp = house.place(0, 0.9125, 0)
    sea = swell(9, 64, 1.05, 0.32, 1.25)
    depth = sea_depth(canvas, BAY, sea)
    heave(canvas, BAY, sea, depth, [(0, "8d9b98"), (0.2, "5c6b70"), (0.5, "303e47"), (1, "1c262d")], "66757a")
    mist(canvas, BAY.horizon + 1, 6, "7d8b8b", 0.5, 167)
    for i, (x, high) in enumerate(((808, 38), (836, 62), (985, 40), (1012, 26), (900, 18))):
        spray(canvas, (x, 331), high, 17, 170 + i, "d3dbd8")
    pier(canvas, Dock(wood="4b4845", light="8c9a9c", timber=Wood("15181b", "565653", "77797a")), rgb("6d7a7c"), depth)
    spray(canvas, (318, 552), 62, 34, 181, "cbd5d2", 0.6)
    spray(canvas, (720, 600), 48, 30, 182, "cbd5d2", 0.6)
    for degrees, spread, reach, amount in ((171, 0.07, 620, 0.95), (-9, 0.1, 420, 0.8)):
        beam(canvas, lamp, degrees, spread, reach, amount, "ffeebb")
    glow(canvas, lamp, rgb("ffe9b0"), 16, 1.0)
    glow(canvas, lamp, rgb("ffd98a"), 70, 0.35)
    rain(canvas, 191, 112, 26, 0.12, "c4d0d2")
    rain(canvas, 192, 110, 60, 0.1, "d5dfe0")
    return canvas


NIGHT = Camera(640, 500, 1000, 34)


def lamp() -> Canvas:
    """The lamp room at night, the moonlit sea behind it."""
    canvas = Canvas(WIDTH, HEIGHT)
    moon = (1050.0, 150.0)
    sky(canvas, NIGHT.horizon, [(0, "080f22"), (0.4, "101d3a"), (0.75, "1f3252"), (0.95, "354b68"), (1.0, "3f5571")])
    milky_way(canvas)
    stars(canvas, 211, 760, 470)
    glow(canvas, moon, rgb("9fb9e0"), 150, 0.55)
    disc(canvas, moon, 30, moon_face(moon, 30))
    glow(canvas, moon, rgb("dfe9ff"), 26, 0.5)
    layer(canvas, NIGHT.horizon, Clouds(219, -0.55, "a9bcd8", "1b2a46", moon, 1.4, 0.7, 1.7, 1.6, 0.8))
    bank(canvas, Clouds(223, -0.75, "7f95b6", "1d2c49", moon, 1.1, 0.85, 2.4, 1.5, 0.7), 490, 80)
    night_coast(canvas)
    still = mirror(canvas, NIGHT.horizon)
    pour(canvas, still, Water(NIGHT, "0a1830", 0.075, 170, 17, 0.7, (moon[0], 396), "d9e6ff", 1.0))
    mist(canvas, NIGHT.horizon, 9, "566c88", 0.5, 231)
    house = Lighthouse(470, NIGHT.horizon + 0.885 * 2450, 2450, Light("6f8bb8", "222c44", 72), 0.885, 2.0, 1, 12)
    flame = house.place(0, 0.9125, 0)
    shafts = ((174.5, 0.02, 460), (-10, 0.115, 700))
    for degrees, spread, reach in shafts:
        beam(canvas, flame, degrees, spread, reach, 1.0, "ffe3a0", 25)
    glow(canvas, flame, rgb("ffb55a"), 150, 0.5)
    lighthouse(canvas, house)
    lamplight(canvas, house)
    for degrees, spread, _ in shafts:
        beam(canvas, flame, degrees, spread, 260, 0.3, start=25)
    glow(canvas, flame, rgb("fff1c9"), 40, 0.7)
    glow(canvas, flame, rgb("ffbe68"), 190, 0.3)
    return canvas


def milky_way(canvas: Canvas) -> None:
    """A faint band of far stars across the sky."""
    along = (canvas.x * F32(0.42) - canvas.y + F32(40)) / F32(95)
    dust = sample(tile(213, 1.6, 2), canvas.x * F32(0.7) + 0 * canvas.y, canvas.y * F32(0.7) + 0 * canvas.x)
    band = np.exp(-((along + F32(0.3) * dust) ** 2)) * np.clip(F32(0.75) + F32(0.4) * dust, 0, 1.6)
    canvas.lighten((slice(None), slice(None)), rgb("8fa4d8"), F32(0.12) * band * smooth(-480, -150, -canvas.y))


def moon_face(at: Point, radius: float) -> Paint:
    """The moon with its seas."""

    def paint(x: Array, y: Array) -> Array:
        seas = sample(
            tile(217, 1.9, 3),
            (x - F32(at[0])) * F32(120 / radius) + 300 + 0 * y,
            (y - F32(at[1])) * F32(120 / radius) + 0 * x,
        )
        edge = np.hypot(x - F32(at[0]), y - F32(at[1])) / F32(radius)
        return mix(
            rgb("fbfaf0"), rgb("c4cdda"), np.clip(smooth(-0.4, 1.6, seas) * F32(0.75) + F32(0.25) * edge**3, 0, 1)
        )

    return paint


def night_coast(canvas: Canvas) -> None:
    """Dark shores on either side of the sea, a village's lights on one."""
    foot = NIGHT.horizon
    far = profile(
        canvas, [(0, 472), (150, 478), (300, 492), (420, 506), (900, 510), (1090, 492), (1280, 470)], 2, 241, 1.5
    )
    land(canvas, far, foot, hillside(far, foot, "22344f", "3b506c", 242))
    near = profile(
        canvas, [(0, 484), (110, 489), (230, 498), (330, 508), (1100, 512), (1210, 492), (1280, 484)], 1.5, 243, 1.4
    )
    land(canvas, near, foot, hillside(near, foot, "121f36", "24364f", 244))
    rng = np.random.default_rng(245)
    for _ in range(30):
        x, y = float(rng.normal(1225, 26)), foot - float(rng.uniform(1, 7))
        canvas.fill(ellipse(x, y, 0.9, 0.8, 10), rgb("ffcf87"), float(rng.uniform(0.35, 1)), 0.35)


def lamplight(canvas: Canvas, house: Lighthouse) -> None:
    """The lamp's warm light on the rail and under the roof."""
    warm = rgb("ffb25e")
    arc = house.arc(0.8845, 0.103, -75, 75)
    widths = [0.3 + 2.1 * math.sin(math.pi * i / (len(arc) - 1)) for i in range(len(arc))]
    canvas.stroke(arc, widths, warm, 0.6, 0.6)
    canvas.stroke(house.arc(0.954, 0.067, -80, 80), 3.0, warm, 0.7, 0.9)


def morning() -> Canvas:
    """The morning after: the lighthouse on its cliff over a golden sea."""
    canvas = Canvas(WIDTH, HEIGHT)
    camera = Camera(640, 486, 1000, 3.2)
    sun = (262.0, 392.0)
    sky(canvas, camera.horizon, [(0, "3f78ad"), (0.3, "6fa0c4"), (0.6, "b5cbcd"), (0.82, "f3ddb0"), (1.0, "ffd999")])
    glow(canvas, sun, rgb("ffd27a"), 220, 0.75, 1.5)
    layer(canvas, camera.horizon, Clouds(255, -0.45, "fff3dc", "a9b3c2", sun, 1.1, 0.85, 1.8, 1.2))
    glow(canvas, sun, rgb("fff2c4"), 60, 0.9)
    disc(canvas, sun, 21, rgb("fffdf0"), 1, 1.4)
    bank(canvas, Clouds(266, -0.3, "fff0d2", "b3a9ad", sun, 1.6, 0.9, 1.6, 0.9, 0.9), 470, 150)
    headlands(canvas, camera.horizon)
    still = mirror(canvas, camera.horizon)
    before = canvas.rgb.copy()
    cliff(canvas)
    ashore = canvas.rgb.copy()
    reflect(still, ashore, before, FOOT)
    pour(canvas, still, Water(camera, "1d6a80", 0.042, 9, 23, 0.72, sun, "ffe9b0", 1.0))
    mist(canvas, camera.horizon - 1, 8, "ffe7bd", 0.4, 271)
    canvas.rgb = mix(canvas.rgb, ashore, changed(ashore, before))
    surf(canvas, FOOT, 505)
    gulls(canvas)
    return canvas


def opening() -> Canvas:
    """The starter story: a little red boat on the evening sea."""
    canvas = Canvas(832, 480)
    camera = Camera(416, 292, 700, 2.2)
    sun = (560.0, 250.0)
    sky(canvas, camera.horizon, [(0, "3b4a7c"), (0.3, "75669a"), (0.58, "cf8593"), (0.8, "f7ae7d"), (1.0, "ffd48c")])
    glow(canvas, sun, rgb("ffb45e"), 130, 0.8, 1.6)
    layer(canvas, camera.horizon, Clouds(305, -0.3, "ffc39a", "6c5f8d", sun, 1.0, 0.85, 1.7, 1.3))
    layer(canvas, camera.horizon, Clouds(322, -0.35, "ffd7a2", "9a6f92", sun, 0.7, 0.6, 4.5, 1.6))
    glow(canvas, sun, rgb("ffeab0"), 36, 0.9)
    disc(canvas, sun, 17, rgb("fffbe6"), 1, 1.2)
    far = profile(canvas, [(0, 276), (90, 270), (180, 282), (290, 296), (832, 310)], 1.6, 314, 1.4)
    land(canvas, far, camera.horizon, hillside(far, camera.horizon, "8d6f8f", "d99a8b", 315))
    still = mirror(canvas, camera.horizon)
    sailing_boat(still, (270, 345), 58, 0.8, mirrored=True)
    pour(canvas, still, Water(camera, "283a68", 0.036, 5, 29, 0.6, sun, "ffe0a0", 1.0))
    mist(canvas, camera.horizon, 5, "ffcf9a", 0.5, 317)
    sailing_boat(canvas, (270, 345), 58)
    wake(canvas, (270, 345), 58)
    for x, y, span, angle, lift in ((420, 150, 10, -0.2, 0.3), (452, 168, 7, 0.1, 0.0), (392, 176, 6, -0.1, 0.4)):
        gull(canvas, (x, y), span, angle, lift)
    return canvas


def wake(canvas: Canvas, at: Point, size: float) -> None:
    """Light ripples along the hull and behind it."""
    rng = np.random.default_rng(321)
    for _ in range(46):
        x = at[0] + size * rng.uniform(-2.2, 1.0)
        y = at[1] + size * (0.05 + 0.16 * abs(rng.normal()) * max(0.2, (at[0] - x) / size))
        half = size * rng.uniform(0.05, 0.3)
        line = [(x - half, y), (x, y - 0.5), (x + half, y)]
        canvas.stroke(line, [0.2, rng.uniform(0.8, 1.6), 0.2], rgb("ffe6c4"), float(rng.uniform(0.2, 0.7)), 0.3)


STORY = "examples/lighthouse"
PICTURES: dict[str, tuple[str, Callable[[], Canvas], int]] = {
    "dock": (f"{STORY}/dock.png", dock, LIMIT),
    "storm": (f"{STORY}/storm.png", storm, LIMIT),
    "lamp": (f"{STORY}/lamp.png", lamp, LIMIT),
    "morning": (f"{STORY}/morning.png", morning, LIMIT),
    "opening": ("storyboard/starter/opening.png", opening, 400_000),
}


def main() -> None:
    """Paint the pictures that are asked for, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"one of {', '.join(PICTURES)}; all when none is given"
    )
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parent.parent, help="where to write")
    options = parser.parse_args()
    if unknown := set(options.names) - set(PICTURES):
        parser.error(f"no such picture: {', '.join(sorted(unknown))}")
    for name in options.names or PICTURES:
        path, paint, limit = PICTURES[name]
        canvas = paint()
        brush(canvas, 2.2, 0.7)
        data = fit(canvas, limit)
        target = options.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        print(f"{path}: {len(data) / 1000:.0f} kB")


if __name__ == "__main__":
    main()
