"""`storyboard clip`: one clip without a story."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Option

from storyboard.failures import say
from storyboard.flags import AsEvents, Attention, Compile, Device, Draft, Ram, Vram

if TYPE_CHECKING:
    from storyboard.clip import Asked
    from storyboard.session import Session
    from storyboard.settings import Settings

Image = Annotated[Path, Option("--image", "-i", metavar="PATH", envvar="INPUT_IMAGE", help="opens on it")]
Prompt = Annotated[str, Option("--prompt", "-p", metavar="TEXT", envvar="POSITIVE_PROMPT", help="what happens")]
Negative = Annotated[
    str | None, Option("--negative", "-n", metavar="TEXT", envvar="NEGATIVE_PROMPT", help="what to keep out")
]
EndImage = Annotated[Path | None, Option("--end-image", "-e", metavar="PATH", help="ends on it")]
Width = Annotated[int | None, Option("--width", "-w", min=1, envvar="WIDTH", help="default: the picture's aspect")]
Height = Annotated[int | None, Option("--height", min=1, envvar="HEIGHT", help="as --width")]
Length = Annotated[
    int | None, Option("--length", "-l", min=1, envvar="LENGTH", help="frames (default: the model's own)")
]
Seed = Annotated[int, Option("--seed", min=0, max=2**63 - 1, envvar="SEED", help="of the noise")]
Model = Annotated[str, Option("--model", metavar="NAME", help="wan2.2-ti2v-5b, or a folder")]
RecipeName = Annotated[
    str | None,
    Option("--recipe", metavar="NAME", help="how it is sampled (default lightning-4, of the 5B quality-40)"),
]
Upscale = Annotated[str, Option("--upscale", metavar="NAME", help="an upscaler, twice the size")]
Interpolate = Annotated[
    str | None, Option("--interpolate", metavar="NAME", help="twice the rate: rife (default), flow, none")
]
Resize = Annotated[bool, Option("--auto-resize/--no-auto-resize", help="take a size to the nearest the model draws")]
ClipFile = Annotated[Path | None, Option("--film", "-o", metavar="PATH", help="default out/PICTURE-HASH.mp4")]
ClipStore = Annotated[
    Path | None, Option("--store", metavar="DIR", help="kept work (default .storyboard in this folder)")
]


def clip(
    image: Image,
    prompt: Prompt,
    negative: Negative = None,
    end_image: EndImage = None,
    width: Width = None,
    height: Height = None,
    length: Length = None,
    seed: Seed = 0,
    model: Model = "wan2.2-i2v-a14b",
    recipe: RecipeName = None,
    upscale: Upscale = "none",
    interpolate: Interpolate = None,
    auto_resize: Resize = True,
    film: ClipFile = None,
    draft: Draft = False,
    device: Device = None,
    vram: Vram = None,
    ram: Ram = None,
    attention: Attention = None,
    compile: Compile = None,
    store: ClipStore = None,
    as_json: AsEvents = False,
) -> None:
    """Make one clip of a picture, without a story.

    It is drawn, kept and finished as a story's scene is, but for upscaling, which is to be asked for.
    """
    from storyboard.clip import Asked
    from storyboard.settings import settings

    facts = settings(store, device, vram=vram, ram=ram, attention=attention, compile=compile)
    asked = Asked(
        image, prompt, negative, end_image, width, height, length, seed, model, recipe, upscale, interpolate, film
    )
    _make(_session(asked, facts, auto_resize), draft, as_json)


def _session(asked: Asked, facts: Settings, resize: bool) -> Session:
    from storyboard.clip import ClipError, clip_session

    try:
        return clip_session(asked, facts, resize, say)
    except ClipError as error:
        raise typer.BadParameter(str(error)) from None


def _make(session: Session, draft: bool, as_json: bool) -> None:
    from storyboard.production import produce

    options = replace(session.options(draft), deliver=False)  # the film is all that was asked for
    with session.run(as_json) as events:
        outcome = produce(session.story, session.store, options, events)
    if not as_json:
        if not outcome.joined:
            say("nothing to do: the clip is there as asked for")
        print(outcome.film)
