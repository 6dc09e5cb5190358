"""A scene's takes on the board: listed below its card, looked at, chosen."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from storyboard.board.page import form_of, part, written
from storyboard.board.pages import mark_of, refreshed
from storyboard.board.view import Asked, asked, read, view, work
from storyboard.serve.doors_takes import choose
from storyboard.serve.ledger import RUNNING
from storyboard.serve.media import send_file
from storyboard.serve.names import SCENE_NAME
from storyboard.serve.problems import conflict, missing, refused

AT_ONCE, MOST = 4, 99


async def scene_takes(ask: Asked, mode: str, scene: str) -> list[dict[str, Any]]:
    """Raises Problem."""
    reader = ask.serving.reader
    found = await reader.recall(ask.path, "scene_takes", mode=mode, scene=scene, into=str(ask.previews))
    return reader.plain(found)


def there_are(takes: list[dict[str, Any]]) -> int:
    """How many are kept, and are what the scene would be with their seed; its own clip is one."""
    ours = [take for take in takes if take["kept"] and (take["number"] is not None or take["chosen"])]
    return len({take["seed"] for take in ours if not take["misfits"]})


async def takes(request: Request) -> Response:
    """Nothing, where the page has them as they are: pictures stay, and the focus."""
    ask, scene = asked(request), request.path_params["scene"]
    text, mark = await _listed(ask, scene)
    return Response(None, 204) if request.query_params.get("mark") == mark else part(text)


async def _listed(ask: Asked, scene: str) -> tuple[str, str]:
    if not re.fullmatch(SCENE_NAME, scene):
        raise missing("there is no such scene")
    mode = (await read(ask))["said"]["mode"]
    found = await scene_takes(ask, mode, scene)
    there = there_are(found)
    more = AT_ONCE if there < AT_ONCE else min(MOST, there + AT_ONCE)
    facts = {"story": ask.story, "mode": mode, "scene": scene, "takes": found, "there": there, "more": more}
    mark = mark_of(repr(facts))
    return written("takes.html", mark=mark, **facts), mark


async def take(request: Request) -> Response:
    """Its film."""
    ask, number = asked(request), request.path_params["number"]
    facts = {"mode": ask.mode, "scene": request.path_params["scene"], "number": number}
    found = await ask.serving.reader.recall(ask.path, "preview", **facts)
    return await send_file(request, Path(found["path"]), found["tag"])


async def use(request: Request) -> Response:
    """Choose one."""
    ask, scene, form = asked(request), request.path_params["scene"], await form_of(request)
    number = form.get("take", "")
    if not (number.isascii() and number.isdecimal() and len(number) < 10):
        raise refused("which take is to be used?")
    job = work(ask)
    if job is not None and job["state"] == RUNNING:
        raise conflict("the story is being rendered: a take can be used when that has ended, or is cancelled")
    mode = (await read(ask))["said"]["mode"]
    chosen = await choose(ask.serving, ask.story, mode, scene, int(number))
    done = (
        f"Take {number} of {scene} is used: seed {chosen['seed']}{' is written into story.toml' * chosen['written']}."
    )
    parts = [(await _listed(ask, scene))[0], written("saved.html", focus=f"takes-heading-{scene}", text=done)]
    return part("".join(parts) + refreshed(await view(ask), form.get("order", "")))
