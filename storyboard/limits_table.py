"""[seams] in a story: from where on a number at a seam is a finding."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from post.limits import Limits, known_limits
from storyboard.table import Table

KNOWN = {limit.name: limit for limit in known_limits()}


def _limit(name: str) -> Any:
    limit = KNOWN[name]
    said = f"{limit.means}; default {limit.usual:g}"
    return Field(default=None, ge=limit.least, le=limit.most, allow_inf_nan=False, description=said)


def _count(name: str) -> Any:
    limit = KNOWN[name]
    said = f"{limit.means}; default {limit.usual}"
    return Field(default=None, ge=round(limit.least), le=round(limit.most), description=said)


class SeamsTable(Table):
    """What `storyboard seams` calls a finding; each key is a limit's name."""

    delta_e: float | None = _limit("delta_e")
    cells_max: float | None = _limit("cells_max")
    luma: float | None = _limit("luma")
    contrast: float | None = _limit("contrast")
    saturation: float | None = _limit("saturation")
    sharpness: float | None = _limit("sharpness")
    flash: float | None = _limit("flash")
    mismatch: float | None = _limit("mismatch")
    duplicate: float | None = _limit("duplicate")
    skipped: float | None = _limit("skipped")
    pace: float | None = _limit("pace")
    still: float | None = _limit("still")
    frozen: float | None = _limit("frozen")
    frozen_steps: int | None = _count("frozen_steps")
    blurred: float | None = _limit("blurred")
    run_delta_e: float | None = _limit("run_delta_e")
    run_luma: float | None = _limit("run_luma")
    run_contrast: float | None = _limit("run_contrast")
    run_saturation: float | None = _limit("run_saturation")
    severe: float | None = _limit("severe")

    def limits(self) -> Limits:
        """With the usual ones for those left out."""
        return Limits(**self.model_dump(exclude_none=True))
