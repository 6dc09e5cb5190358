"""From where on a number at a seam is a finding: what a story's [seams] and `--limit` name, and what each means."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class Limit:
    """means: what the number is, with its unit. Numbers run from `least` to `most`."""

    name: str
    usual: float
    means: str
    least: float
    most: float
    whole: bool


def _limit(usual: Any, means: str, least: float = 0.01, most: float = 100) -> Any:
    return field(default=usual, metadata={"means": means, "least": least, "most": most})


@dataclass(frozen=True, slots=True)
class Limits:
    """A ratio is judged as itself or its inverse, whichever is more. `run_`: against the first frame of a run."""

    delta_e: float = _limit(1.5, "ΔE2000 of the mean colour over the seam; about 1 can just be seen")
    cells_max: float = _limit(6.0, "ΔE2000 in the worst cell of a grid of 4 by 6")
    luma: float = _limit(1.5, "L (0 to 100) that the first frame is brighter or darker by")
    contrast: float = _limit(1.12, "ratio of contrast over the seam", 1.001)
    saturation: float = _limit(1.25, "ratio of saturation over the seam", 1.001)
    sharpness: float = _limit(1.4, "ratio of sharpness over the seam", 1.001)
    flash: float = _limit(1.5, "L that one to three frames near the seam stand out by")
    mismatch: float = _limit(
        0.3, "from here on the two frames do not show one scene: 0 they do, 1 nothing is alike", most=2
    )
    duplicate: float = _limit(
        0.35, "motion over the seam to the next step's, below which the first frame is a repeat", most=1
    )
    skipped: float = _limit(1.5, "motion over the seam to the larger beside it, above which frames are missing", 1.001)
    pace: float = _limit(2.5, "ratio of the motion before and after", 1.001)
    still: float = _limit(0.08, "motion, in % of the width a frame, below which nothing moves", 0.001)
    frozen: float = _limit(0.2, "share of the usual motion below which a step is frozen", most=1)
    frozen_steps: int = _limit(2, "so many frozen steps in a row at an end are a finding", 1, 5)
    blurred: float = _limit(0.75, "sharpness of an end's frame to the usual near it, below which it is blurred", most=1)
    run_delta_e: float = _limit(5.0, "ΔE2000 of the mean colour since the run began")
    run_luma: float = _limit(7.0, "L brighter or darker since the run began")
    run_contrast: float = _limit(1.3, "ratio of contrast since the run began", 1.001)
    run_saturation: float = _limit(1.45, "ratio of saturation since the run began", 1.001)
    severe: float = _limit(2.0, "so many times over its limit, a number is an error and no warning", 1)


def known_limits() -> Iterator[Limit]:
    """In the order of `Limits`."""
    for each in fields(Limits):
        usual: Any = each.default
        said = each.metadata
        yield Limit(each.name, usual, said["means"], said["least"], said["most"], isinstance(usual, int))


USUAL = Limits()
