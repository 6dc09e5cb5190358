"""What a job asks for, checked before anything is fetched or begun."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from storyboard.mistakes import did_you_mean, written

SEED_MAX = 2**63 - 1
STORY_LIMIT = 1_000_000
PICTURES_LIMIT = 200
DEPTH = 4
Format = Literal["h264", "hevc", "av1", "prores", "prores-4444", "h264_nvenc", "hevc_nvenc", "ffv1"]

PART = re.compile(r"[\w(][\w .()+,=@-]{0,99}")
RESERVED = ("out", "story.toml")


class OrderError(Exception):
    """The job's input is at fault: every mistake in it. `mistakes`: those of the story, as `validate --json` says."""

    def __init__(self, *problems: str, mistakes: list[dict[str, Any]] | None = None) -> None:
        super().__init__("\n".join(problems))
        self.mistakes = mistakes


class Order(BaseModel):
    """The input of a job. `seed` and `reroll` are for exactly one of `scenes`, as on the command line."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    story: str | dict[str, Any]
    pictures: Annotated[dict[str, str], Field(max_length=PICTURES_LIMIT)] = {}
    scenes: list[str] | None = None
    draft: bool = False
    seed: Annotated[int, Field(ge=0, le=SEED_MAX)] | None = None
    reroll: bool = False
    force: bool = False
    keep_going: bool = False
    format: Format = "h264"

    @field_validator("story")
    @classmethod
    def _story_has_a_size(cls, story: str | dict[str, Any]) -> str | dict[str, Any]:
        if isinstance(story, str) and len(story) > STORY_LIMIT:
            raise ValueError(f"is longer than {STORY_LIMIT} characters")
        return story

    @field_validator("pictures")
    @classmethod
    def _pictures_have_names(cls, pictures: dict[str, str]) -> dict[str, str]:
        problems = list(_misnamed(pictures))
        if problems:
            raise ValueError("; ".join(problems))
        return pictures

    @model_validator(mode="after")
    def _seeds_are_for_one_scene(self) -> Order:
        if self.seed is not None and self.reroll:
            raise ValueError("give one of seed and reroll")
        if (self.seed is not None or self.reroll) and len(set(self.scenes or [])) != 1:
            raise ValueError('seed and reroll need exactly one scene: "scenes": ["NAME"]')
        return self

    def new_seed(self, job: str) -> int | None:
        """The seed for its one scene. A job that is tried again draws the same, and so goes on with what is kept."""
        if not self.reroll:
            return self.seed
        return int.from_bytes(hashlib.sha256(f"{job}/{self.scenes}".encode()).digest()[:4], "big")


def read_order(given: object) -> Order:
    """The job's input as an order. Raises OrderError with every mistake in it."""
    if not isinstance(given, dict):
        raise OrderError('the input must be an object: {"story": "...", "pictures": {...}}')
    try:
        return Order.model_validate(given)
    except ValidationError as error:
        raise OrderError(*dict.fromkeys(_said(dict(detail)) for detail in error.errors(include_url=False))) from None


def _said(detail: dict[str, Any]) -> str:
    # Where a value may be of several kinds pydantic adds the kind it tried to the place.
    place = [str(part) for part in detail["loc"] if part not in ("str", "dict[str,any]")]
    at, last = "input" + "".join(f".{part}" for part in place), place[-1] if place else ""
    match detail["type"]:
        case "extra_forbidden":
            known = list(Order.model_fields)
            hint = did_you_mean(last, known) or f" (there are: {', '.join(known)})"
            return f"input has no key {written(last)}{hint}"
        case "missing":
            return f'{at} is missing: the text of a story file, or its tables, as in {{"{last}": "..."}}'
        case "value_error":
            return f"{at}: {detail['ctx']['error']}"
        case _:
            message = str(detail["msg"])
            return f"{at}: {message[:1].lower()}{message[1:]}"


def _is_plain(part: str) -> bool:
    """Whether every system takes it for the name of a file; they count up to 255 bytes."""
    return PART.fullmatch(part) is not None and part == part.rstrip(" .") and len(part.encode()) <= 240


def _misnamed(pictures: dict[str, str]) -> Iterator[str]:
    """Names that are no plain path within the story's folder, or that a case-blind disk takes for one another."""
    folded: dict[str, str] = {}
    for name in pictures:
        parts = name.split("/")
        if len(parts) > DEPTH or not all(_is_plain(part) for part in parts):
            yield f"{written(name)} is no name for a picture: letters, digits, - and _, as in dock.png or day1/dock.png"
        elif parts[0].casefold() in RESERVED:
            yield f"{written(name)} is where the story keeps its own: name the picture otherwise"
        elif any(other.casefold().startswith(f"{name.casefold()}/") for other in pictures):
            yield f"{written(name)} is a picture and a folder of pictures: rename one"
        other = folded.setdefault(name.casefold(), name)
        if other != name:
            yield f"{written(name)} and {written(other)} differ in case alone: rename one"
