"""`storyboard models`: weights, where they are and how to get them."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from storyboard.flags import AsJson

models = typer.Typer(
    help="List weights and what they serve; pull published ones.", no_args_is_help=True, rich_markup_mode=None
)


@models.command("list")
def list_(as_json: AsJson = False) -> None:
    """Say which file serves what, and how to get what is missing."""
    from storyboard.models import model_lines, models_here
    from storyboard.settings import settings

    found = models_here(settings().models)
    print(json.dumps(asdict(found), ensure_ascii=False, indent=1) if as_json else "\n".join(model_lines(found)))


@models.command("pull")
def pull_(
    name: Annotated[str, typer.Argument(metavar="NAME", help="what to bring, as `storyboard models list` names it")],
    into: Annotated[
        Path | None,
        typer.Option("--into", metavar="DIR", help="models folder to bring it to (default: the first that is named)"),
    ] = None,
) -> None:
    """Bring published weights into the weights folders.

    What was interrupted goes on where it was.
    """
    from storyboard.catalogue import CATALOGUE
    from storyboard.hub import hub_of_environment
    from storyboard.memory import weights_memory
    from storyboard.mistakes import did_you_mean
    from storyboard.pull import Places, pull
    from storyboard.settings import settings
    from storyboard.transfer import transfer

    if name not in CATALOGUE:
        hint = did_you_mean(name, CATALOGUE) or f" (there are: {', '.join(CATALOGUE)})"
        raise typer.BadParameter(f'nothing is published as "{name}"{hint}')
    places = Places(settings().models, into, weights_memory())
    with transfer() as show:
        paths = pull(CATALOGUE[name], places, hub_of_environment(), show)
    print("\n".join(map(str, paths)))
