"""What the API says of takes, and takes where one is chosen."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from storyboard.serve.answers import Asked


class MadeOf(BaseModel):
    """`take`: null where that clip is none of the scene's takes."""

    scene: str
    take: int | None
    current: bool


class TakeSaid(BaseModel):
    """`number`: null for a clip that is none of the takes. `misfits`: why it is not what the scene would be with its
    seed, and cannot be chosen."""

    number: int | None
    seed: int | None
    made: str | None
    kept: bool
    chosen: bool
    dropped: bool
    misfits: list[str]
    made_of: MadeOf | None


class TakenScene(BaseModel):
    name: str
    state: Literal["kept", "render", "mend", "waits", "broken"]
    why: str
    takes: list[TakeSaid]


class Takes(BaseModel):
    """As `takes --json`."""

    mode: Literal["draft", "real"]
    scenes: list[TakenScene]


class Choice(Asked):
    take: int = Field(ge=1, le=2**31 - 1, description="its number")
    draft: bool = Field(default=False, description="of the draft's; without it, of the mode last rendered")


class Chosen(BaseModel):
    """`written`: its seed, into the story; `swapped`: it changed places with a clip of the same seed."""

    scene: str
    take: int
    seed: int
    written: bool
    swapped: bool
