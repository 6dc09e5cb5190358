"""`storyboard clip`: one clip without a story."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from storyboard.failures import say
from storyboard.flags import Attention, Compile, Device, Draft, Ram, Vram


def clip(
    image: Annotated[Path, typer.Option("--image", "-i", metavar="PATH", envvar="INPUT_IMAGE", help="opens on it")],
    prompt: Annotated[
        str, typer.Option("--prompt", "-p", metavar="TEXT", envvar="POSITIVE_PROMPT", help="what happens")
    ],
    negative: Annotated[
        str | None, typer.Option("--negative", "-n", metavar="TEXT", envvar="NEGATIVE_PROMPT", help="what to keep out")
    ] = None,
    end_image: Annotated[Path | None, typer.Option("--end-image", "-e", metavar="PATH", help="ends on it")] = None,
    width: Annotated[
        int | None, typer.Option("--width", "-w", min=1, envvar="WIDTH", help="default: the picture's aspect")
    ] = None,
    height: Annotated[int | None, typer.Option("--height", min=1, envvar="HEIGHT", help="as --width")] = None,
    length: Annotated[
        int | None, typer.Option("--length", "-l", min=1, envvar="LENGTH", help="frames (default: the model's own)")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**63 - 1, envvar="SEED", help="of the noise")] = 0,
    model: Annotated[
        str, typer.Option("--model", metavar="NAME", help="wan2.2-ti2v-5b, or a folder")
    ] = "wan2.2-i2v-a14b",
    recipe: Annotated[
        str | None, typer.Option("--recipe", metavar="NAME", help="how it is sampled (default lightning-4)")
    ] = None,
    upscale: Annotated[str, typer.Option("--upscale", metavar="NAME", help="an upscaler, twice the size")] = "none",
    interpolate: Annotated[
        str | None, typer.Option("--interpolate", metavar="NAME", help="twice the rate: rife (default), flow, none")
    ] = None,
    auto_resize: Annotated[
        bool, typer.Option("--auto-resize/--no-auto-resize", help="take a size to the nearest the model draws")
    ] = True,
    film: Annotated[
        Path | None, typer.Option("--film", "-o", metavar="PATH", help="default out/PICTURE-HASH.mp4")
    ] = None,
    draft: Draft = False,
    device: Device = None,
    vram: Vram = None,
    ram: Ram = None,
    attention: Attention = None,
    compile: Compile = None,
    store: Annotated[
        Path | None, typer.Option("--store", metavar="DIR", help="kept work (default .storyboard in this folder)")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="events as JSON lines, on stdout")] = False,
) -> None:
    """Make one clip of a picture, without a story.

    It is drawn, kept and finished as a story's scene is, but for upscaling, which is to be asked for.
    """
    from storyboard.clip import Asked, ClipError, clip_session, drop_copy
    from storyboard.production import produce
    from storyboard.settings import settings

    facts = settings(store, device, vram=vram, ram=ram, attention=attention, compile=compile)
    asked = Asked(
        image, prompt, negative, end_image, width, height, length, seed, model, recipe, upscale, interpolate, film
    )
    try:
        session = clip_session(asked, facts, auto_resize, say)
    except ClipError as error:
        raise typer.BadParameter(str(error)) from None
    options = session.options(draft)
    with session.run(as_json) as events:
        outcome = produce(session.story, session.store, options, events)
        drop_copy(session.story, draft)
    if not as_json:
        if not outcome.joined:
            say("nothing to do: the clip is there as asked for")
        print(outcome.film)
