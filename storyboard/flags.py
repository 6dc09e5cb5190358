"""Arguments and options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

StoryFile = Annotated[
    Path, typer.Argument(metavar="STORY", help="the story file, story.toml", show_default=False, readable=False)
]
StoreFolder = Annotated[
    Path | None, typer.Option("--store", metavar="DIR", help="kept work (default .storyboard beside the story)")
]
Draft = Annotated[bool, typer.Option("--draft", help="draw with the animatic: no GPU, no weights")]
DraftWork = Annotated[bool, typer.Option("--draft", help="the draft's (default: the mode last rendered)")]
AsJson = Annotated[bool, typer.Option("--json", help="machine-readable, on stdout")]
AsEvents = Annotated[bool, typer.Option("--json", help="events as JSON lines, on stdout")]
FilmFile = Annotated[Path | None, typer.Option("--film", metavar="PATH", help="the film's file, NAME.mp4")]
SceneNames = Annotated[
    list[str] | None, typer.Option("--scene", metavar="NAME", help="only this scene and what it needs (repeatable)")
]

# How the machine may be used: never part of a story, nor of what makes a clip.
Device = Annotated[str | None, typer.Option("--device", metavar="DEVICE", help="cuda:0, or cpu")]
FinishOn = Annotated[
    str | None,
    typer.Option(
        "--finish-on",
        metavar="DEVICE",
        help="device that finishes clips, as in cuda:1 (default: another GPU with room, else the same)",
    ),
]
Vram = Annotated[
    str | None,
    typer.Option("--vram", metavar="SIZE", help="GPU memory to stay within, as in 24GiB (default: all free)"),
]
Ram = Annotated[
    str | None, typer.Option("--ram", metavar="SIZE", help="memory to stay within, as in 32GiB (default: all free)")
]
Attention = Annotated[
    str | None, typer.Option("--attention", metavar="NAME", help="attention kernel (default: the fastest that works)")
]
Compile = Annotated[
    bool | None,
    typer.Option(
        "--compile/--no-compile", show_default=False, help="compile WAN's blocks and upscalers (default: yes)"
    ),
]
