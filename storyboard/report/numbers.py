"""The numbers of a seam and of a drift, each with the limit that judges it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from post.limits import Limits
from post.look import Drift
from post.seams import Seam


@dataclass(frozen=True, slots=True)
class Number:
    """limit: the name of the limit it is judged by, None where it is only told. ratio: 1 is the same."""

    name: str
    says: str
    value: float
    limit: str | None = None
    ratio: bool = False


def numbers(seam: Seam) -> Iterator[Number]:
    drift = seam.drift
    yield Number("delta_e", "colour, ΔE2000", drift.delta_e, "delta_e")
    yield Number("cells_mean", "colour, mean of the grid's cells, ΔE2000", drift.cells_mean)
    yield Number("cells_max", "colour in the worst cell, ΔE2000", drift.cells_max, "cells_max")
    yield Number("luma", "brightness, L", drift.luma, "luma")
    yield Number("contrast", "contrast", drift.contrast, "contrast", ratio=True)
    yield Number("saturation", "saturation", drift.saturation, "saturation", ratio=True)
    yield Number("sharpness", "sharpness", drift.sharpness, "sharpness", ratio=True)
    yield Number("flash", "flash, L", seam.flash, "flash")
    yield Number("mismatch", "mismatch of the two frames, 0 to 2", seam.mismatch, "mismatch")
    yield Number("flow_before", "motion before, % of the width", seam.before)
    yield Number("flow_across", "motion over the seam, % of the width", seam.across)
    yield Number("flow_after", "motion after, % of the width", seam.after)
    yield Number(
        "repeats", "motion over the seam to the next step's", seam.across / max(seam.after, 0.01), "duplicate", True
    )
    yield Number("skips", "motion over the seam to the larger beside it", _skips(seam), "skipped", True)
    yield Number("pace", "motion after to motion before", seam.after / max(seam.before, 0.01), "pace", ratio=True)
    yield Number("tail_sharpness", "sharpness of the last frame to those before", seam.tail_sharpness, "blurred", True)
    yield Number("head_sharpness", "sharpness of the first frame to those after", seam.head_sharpness, "blurred", True)


@dataclass(frozen=True, slots=True)
class Drifting:
    """One number of a drift, as it runs along a film. same: its value where nothing has drifted. signed: it may fall
    below that."""

    name: str
    says: str
    limit: str
    same: float
    ratio: bool = False
    signed: bool = False

    def of(self, drift: Drift) -> float:
        return float(getattr(drift, self.name))

    def distance(self, value: float) -> float:
        """How far a value is from no drift, either way."""
        return max(value, 1 / max(value, 1e-6)) if self.ratio else abs(value)


DRIFTING = (
    Drifting("delta_e", "Colour, ΔE2000", "run_delta_e", 0.0),
    Drifting("luma", "Brightness, L", "run_luma", 0.0, signed=True),
    Drifting("contrast", "Contrast, ratio", "run_contrast", 1.0, ratio=True),
    Drifting("saturation", "Saturation, ratio", "run_saturation", 1.0, ratio=True),
)


def _skips(seam: Seam) -> float:
    return seam.across / max(seam.before, seam.after, 0.01)


JUDGED = {
    "hard cut": "mismatch",
    "colour step": "delta_e",
    "colour step in part": "cells_max",
    "luma step": "luma",
    "contrast step": "contrast",
    "saturation step": "saturation",
    "sharpness step": "sharpness",
    "luma flash": "flash",
    "duplicate frame": "repeats",
    "skipped frame": "skips",
    "change of pace": "pace",
    "blurred tail": "tail_sharpness",
    "blurred head": "head_sharpness",
}
"""The number that tells of each fault; frozen ends are counted in steps, and told in words."""


def allowed(number: Number, limits: Limits) -> str:
    """What a number may be, in a few characters."""
    if number.limit is None:
        return ""
    limit = float(getattr(limits, number.limit))
    match number.limit:
        case "duplicate" | "blurred":
            return f"{limit:g} or more"
        case "contrast" | "saturation" | "sharpness" | "pace":
            return f"{1 / limit:.2f} to {limit:.2f}"
        case "luma" | "flash":
            return f"-{limit:g} to {limit:g}"
        case _:
            return f"up to {limit:g}"
