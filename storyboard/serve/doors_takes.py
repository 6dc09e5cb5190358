"""Takes: listed, looked at, chosen. They are drawn by a render that asks for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from starlette.responses import Response

from storyboard.serve.answers import ModeQuery, PlanQuery
from storyboard.serve.answers_takes import Choice, Chosen, Takes
from storyboard.serve.door import Call, Door, said
from storyboard.serve.doors_stories import RANGES
from storyboard.serve.ledger import RUNNING
from storyboard.serve.media import send_file
from storyboard.serve.serving import Serving

TAKE = "/stories/{story}/scenes/{scene}/takes/{take}"


def _mode(draft: bool) -> str | None:
    return "draft" if draft else None


async def list_takes(call: Call) -> Response:
    path, query = call.serving.library.path(call.path["story"]), call.query
    found = await call.serving.reader.recall(path, "takes", mode=_mode(query.draft), scenes=query.scene or None)
    return said(Takes.model_validate(found))


async def get_take(call: Call) -> Response:
    path, number = call.serving.library.path(call.path["story"]), int(call.path["take"])
    facts = {"mode": _mode(call.query.draft), "scene": call.path["scene"], "number": number}
    where = await call.serving.reader.recall(path, "preview", **facts)
    return await send_file(call.request, Path(where["path"]), where["tag"])


async def choose_take(call: Call) -> Response:
    asked: Choice = call.body
    chosen = await choose(call.serving, call.path["story"], _mode(asked.draft), call.path["scene"], asked.take)
    return said(Chosen.model_validate(chosen))


async def choose(serving: Serving, story: str, mode: str | None, scene: str, number: int) -> dict[str, Any]:
    """Not while a job reads the very clips that may change places. Raises Problem."""
    path = serving.library.path(story)
    serving.queue.check_idle(story, [RUNNING])
    chosen = await serving.reader.ask("take", path=str(path), mode=mode, scene=scene, number=number)
    serving.feed.tell("take.chosen", story=story, **chosen)
    return chosen


READ = (404, 422, 503)
DOORS = (
    Door(
        "GET",
        "/stories/{story}/takes",
        "The takes of each scene, and which is chosen.",
        list_takes,
        {200: Takes},
        READ,
        query=PlanQuery,
    ),
    Door(
        "GET",
        f"{TAKE}.mp4",
        "A take, small, to be looked at.",
        get_take,
        {200: "video/mp4", 206: "video/mp4", 304: None},
        (*READ, 416),
        query=ModeQuery,
        headers=RANGES,
    ),
    Door(
        "POST",
        "/stories/{story}/scenes/{scene}/take",
        "Choose a take: its seed is written into the story.",
        choose_take,
        {200: Chosen},
        (400, 404, 409, 413, 415, 422, 503),
        body=Choice,
    ),
)
