"""The pages: the stories, a story's board, and the parts of it that change."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from storyboard.board.page import part, shown, written
from storyboard.board.view import asked, view
from storyboard.serve.serving import Serving


async def home(request: Request) -> Response:
    serving: Serving = request.app.state.serving
    single = serving.library.single
    return RedirectResponse(f"/board/{single}" if single else "/board", 303)


async def stories(request: Request) -> Response:
    serving: Serving = request.app.state.serving
    found = await anyio.to_thread.run_sync(lambda: list(serving.library.list()))
    return shown("stories.html", stories=found, story=None)


async def board(request: Request) -> Response:
    ask = asked(request)
    return shown("board.html", **with_marks(await view(ask)))


async def now(request: Request) -> Response:
    """What may have changed on a page that is open, each part to be put in its place."""
    found = await view(asked(request))
    return part(refreshed(found, request.query_params.get("order", "")))


def refreshed(found: dict[str, Any], order: str) -> str:
    """`order`: the scenes that the page has; where they are others now, all cards are sent."""
    whole = found["problem"] is None and order != found["order"]
    return written("now.html", **with_marks(found), whole=whole)


def with_marks(found: dict[str, Any]) -> dict[str, Any]:
    """The scenes' cards as text. Each, and the job, has a mark by which the page knows that it has it already: a button
    that is put anew while it is pressed hears of no click."""
    job = found["job"] and {**found["job"], "percent": None, "left": None}
    offers = [bool(found.get(name)) for name in ("problem", "film")]
    offers.append(bool(found.get("lacking")) and not (job and job["active"]))
    found = {**found, "job_mark": mark_of(repr((job, offers)))}
    if found["problem"] is not None:
        return found
    cards: dict[str, dict[str, str]] = {}
    for scene in found["scenes"]:
        text = written("card.html", scene=scene, story=found["story"], mode=found["mode"])
        cards[scene["name"]] = {"text": text, "mark": mark_of(text)}
    return {**found, "cards": cards}


def mark_of(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:16]
