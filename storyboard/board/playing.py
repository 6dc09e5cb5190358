"""What is looked at: small stills, clips, seams, the film."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from storyboard.board.page import shown
from storyboard.board.view import Asked, asked, read
from storyboard.serve.media import send_file
from storyboard.serve.names import SCENE_NAME
from storyboard.serve.problems import Problem, missing


async def still(request: Request) -> Response:
    """Small; made of what is kept, all of a story's at once, when the first is asked for."""
    ask, digest = asked(request), request.path_params["digest"]
    if not re.fullmatch("[0-9a-f]{64}", digest):
        raise missing("there is no such still")
    path = ask.previews / f"{digest}.jpg"
    if not path.is_file():
        await ask.serving.reader.recall(ask.path, "thumbnails", mode=ask.mode, into=str(ask.previews))
    return await send_file(request, path, digest)


async def clip(request: Request) -> Response:
    ask, name = asked(request), request.path_params["scene"]
    found = await read(ask)
    scene = next((each for each in found["said"]["scenes"] if each["name"] == name), None)
    if scene is None or scene["segment"] is None:
        raise missing(f'"{name[:80]}" is not finished as the story says now')
    return await send_file(request, Path(found["places"]["segments"][name]), scene["segment"])


async def seam(request: Request) -> Response:
    found = await _seam(asked(request), request.path_params["scene"])
    return await send_file(request, Path(found["path"]), found["tag"])


async def _seam(ask: Asked, scene: str) -> dict[str, Any]:
    if not re.fullmatch(SCENE_NAME, scene):
        raise missing("there is no such scene")
    return await ask.serving.reader.recall(ask.path, "seam", mode=ask.mode, scene=scene, into=str(ask.previews))


async def film(request: Request) -> Response:
    found = await read(asked(request))
    film = found["places"]["film"]
    if film is None:
        raise missing(found["said"]["why_no_film"])
    return await send_file(request, Path(film["path"]), film["tag"])


async def player(request: Request) -> Response:
    """What the dialog shows to play something; what is not there to be played is said."""
    ask, what, name = asked(request), request.path_params["what"], request.query_params.get("scene", "")
    found = await read(ask)
    scenes = found["said"]["scenes"]
    names = [scene["name"] for scene in scenes]
    base, tail = f"/board/{ask.story}", f"?mode={found['said']['mode']}"
    if what == "film" and found["places"]["film"]:
        tag = found["places"]["film"]["tag"]
        return shown("player.html", heading="The film", path=f"{base}/film.mp4{tail}&v={tag}", loop=False, about="")
    if what == "clip" and name in names:
        segment = scenes[names.index(name)]["segment"]
        path = f"{base}/scenes/{name}/clip.mp4{tail}&v={segment}"
        return shown("player.html", heading=f"Scene {name}", path=path, loop=False, about="")
    if what == "seam" and name in names[1:]:
        made = await _seam(ask, name)
        before = names[names.index(name) - 1]
        about = "The last second of the one, the first of the other, small, again and again."
        path = f"{base}/scenes/{name}/seam.mp4{tail}&v={made['tag']}"
        return shown("player.html", heading=f"Seam from {before} to {name}", path=path, loop=True, about=about)
    if what == "take" and name in names and (number := request.query_params.get("take", "")).isdecimal():
        path = f"{base}/scenes/{name}/takes/{number}.mp4{tail}"
        return shown("player.html", heading=f"Take {number} of {name}", path=path, loop=False, about="")
    raise Problem(404, "not-current", f"that cannot be played: {found['said']['why_no_film'] or 'it is not there'}")
