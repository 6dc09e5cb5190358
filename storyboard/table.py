"""What the tables of a story file are made of: strict, closed, and their values in range."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

NAME_PATTERN = r"^[A-Za-z0-9_-]+$"
SEED_MAX = 2**63 - 1  # the largest whole number TOML holds

Text = Annotated[str, Field(min_length=1)]
Strength = Annotated[float, Field(ge=-10, le=10, allow_inf_nan=False)]
Cfg = Annotated[float, Field(ge=0, le=30, allow_inf_nan=False)]
Seconds = Annotated[float, Field(gt=0, le=60, allow_inf_nan=False)]
Frames = Annotated[int, Field(ge=1, le=2001)]
Left = Annotated[int, Field(ge=0, le=2001)]
Seed = Annotated[int, Field(ge=0, le=SEED_MAX)]


class Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
