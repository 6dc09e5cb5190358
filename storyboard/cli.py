"""The commands. Everything heavy is imported by the command that needs it, so that --help answers at once."""

from __future__ import annotations

from typing import Annotated

import typer

from storyboard.cli_board import board
from storyboard.cli_clip import clip
from storyboard.cli_kept import doctor, export, gc, verify
from storyboard.cli_models import models
from storyboard.cli_render import plan, render
from storyboard.cli_seams import seams
from storyboard.cli_serve import serve
from storyboard.cli_story import graph, init, presets, schema, validate
from storyboard.cli_takes import take, takes
from storyboard.failures import Commands

app = typer.Typer(
    cls=Commands,
    help="Turns a story into a film: WAN 2.2 scenes, each opening on the exact last frame of the one before.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    app()


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(version("storyboard"))
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="print the version", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Options of storyboard itself."""


for command in (
    init, validate, plan, render, take, takes, clip, export, verify, seams, gc, graph, presets, schema, doctor,
    serve, board,
):  # fmt: skip
    app.command()(command)
app.add_typer(models, name="models")
