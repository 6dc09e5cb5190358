"""The commands about story files: to begin one, to find its mistakes, to draw its graph, to see what it may say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from storyboard.failures import STORY, USAGE, say
from storyboard.flags import AsJson, StoryFile
from storyboard.typed import typed


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="a new or empty folder")] = Path(),
) -> None:
    """Write a commented story, with a picture, that renders as it is."""
    from storyboard.starter import write_starter

    try:
        story = write_starter(folder)
    except FileExistsError as error:
        say(f"{error.filename} is there already: nothing was written")
        raise typer.Exit(USAGE) from None
    say(f"next: {typed('render', story, draft=True)}")
    print(story)


def validate(story: StoryFile, as_json: AsJson = False) -> None:
    """Find every mistake in a story at once."""
    from dataclasses import asdict

    from storyboard.mistakes import StoryError
    from storyboard.story import read_story

    try:
        read = read_story(story, decode=True)
    except StoryError as error:
        if as_json:
            _out([asdict(mistake) for mistake in error.mistakes])
        else:
            say(str(error))
            count = len(error.mistakes)
            say(f"{count} mistake{'s' if count > 1 else ''}")
        raise typer.Exit(STORY) from None
    if as_json:
        _out([])
    else:
        print(f"{story}: {len(read.scenes)} scenes, no mistakes")


def graph(
    story: StoryFile,
    mermaid: Annotated[bool, typer.Option("--mermaid", help="as a Mermaid flowchart")] = False,
    svg: Annotated[bool, typer.Option("--svg", help="as an SVG picture")] = False,
) -> None:
    """Show which scene opens on which."""
    from storyboard.graph import graph_mermaid, graph_svg, graph_text
    from storyboard.story import read_story

    if mermaid and svg:
        raise typer.BadParameter("one of --mermaid and --svg")
    draw = graph_mermaid if mermaid else graph_svg if svg else graph_text
    print(draw(read_story(story)))


def schema() -> None:
    """Print the JSON Schema of story files, for editors."""
    from storyboard.schema import json_schema

    _out(json_schema())


def presets(as_json: AsJson = False) -> None:
    """List prompt and negative presets, camera moves and recipes."""
    from storyboard.presets import CAMERAS, NEGATIVES, POSITIVES, RECIPES

    if as_json:
        _out({"positives": POSITIVES, "negatives": NEGATIVES, "cameras": CAMERAS, "recipes": RECIPES})
        return
    for heading, texts in (("positives (presets = [...])", POSITIVES), ("negatives (avoid = [...])", NEGATIVES)):
        print(f"{heading}:")
        for name, text in texts.items():
            print(f"  {name}: {text}")
    print(f"cameras (camera = ...): {', '.join(CAMERAS)}")
    print(f"recipes (recipe = ...): {', '.join(RECIPES)}")


def _out(facts: Any) -> None:
    print(json.dumps(facts, ensure_ascii=False, indent=1))
