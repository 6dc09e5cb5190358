"""What `storyboard seams` is asked for: limits by flag, a page's place; and whether this machine can measure."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import typer

from post.devices import installed
from post.limits import Limits
from scenes.shot import MachineLacks
from storyboard.delivery import film_path
from storyboard.limits_table import KNOWN
from storyboard.mistakes import did_you_mean
from storyboard.story import Story

PACKAGE, MODULE = "scikit-image", "skimage"


def measurable() -> None:
    """Raises MachineLacks where colours cannot be compared."""
    if not installed(PACKAGE, MODULE):
        lacks = f"seams are measured with {PACKAGE}, which is not installed"
        raise MachineLacks(f"{lacks}: pip install 'storyboard[seams]'")


def limits_of(own: Limits, flags: Sequence[str]) -> Limits:
    """The story's limits, but for those that flags name as NAME=NUMBER. Raises typer.BadParameter."""
    named: dict[str, float] = {}
    for flag in flags:
        name, equals, text = (part.strip() for part in flag.partition("="))
        if not equals:
            raise typer.BadParameter(f"--limit {flag}: write a name and a number, as in --limit delta_e=2")
        if name not in KNOWN:
            hint = did_you_mean(name, KNOWN) or f" (there are: {', '.join(KNOWN)})"
            raise typer.BadParameter(f'--limit {flag}: there is no limit "{name}"{hint}')
        named[name] = _number(flag, name, text)
    return dataclasses.replace(own, **named)


def _number(flag: str, name: str, text: str) -> float:
    limit = KNOWN[name]
    try:
        number = int(text) if limit.whole else float(text)
    except ValueError:
        what = "a whole number" if limit.whole else "a number"
        raise typer.BadParameter(f"--limit {flag}: {text or 'nothing'} is not {what}") from None
    if not limit.least <= number <= limit.most:  # nor is NaN within
        raise typer.BadParameter(f"--limit {flag}: {name} runs from {limit.least:g} to {limit.most:g}")
    return number


def page_path(story: Story, asked: Path | None, *, draft: bool) -> Path:
    """Where the page goes: out/NAME.seams.html beside the film, unless it was asked for. Raises typer.BadParameter."""
    if asked is None:
        film = film_path(story, draft)
        return film.with_name(f"{film.stem}.seams.html")
    if asked.suffix.lower() not in (".html", ".htm"):
        raise typer.BadParameter(f"--page {asked} must end in .html")
    if asked.is_dir():
        raise typer.BadParameter(f"--page {asked} is a folder: name a file")
    return asked
