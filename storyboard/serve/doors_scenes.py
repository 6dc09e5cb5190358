"""What a story came to: plan, graph, scenes, and the files of what is kept, as far as it is as the story says now."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from starlette.responses import Response

from storyboard.serve.answers import GraphQuery, ModeQuery, PlanQuery, PlanSaid, Scenes
from storyboard.serve.door import Answer, Call, Door, said
from storyboard.serve.doors_stories import RANGES
from storyboard.serve.media import send_file

READ = (404, 422, 503)
FORMS = {"svg": "image/svg+xml", "mermaid": "text/plain; charset=utf-8", "text": "text/plain; charset=utf-8"}


async def _asked(call: Call, what: str, **facts: Any) -> Any:
    return await call.serving.reader.recall(call.serving.library.path(call.path["story"]), what, **facts)


async def get_plan(call: Call) -> Response:
    plan = await _asked(call, "plan", draft=call.query.draft, scenes=call.query.scene or None)
    return said(PlanSaid.model_validate(plan))


async def get_graph(call: Call) -> Response:
    drawn = await _asked(call, "graph", form=call.query.form)
    return Response(drawn, 200, {"Cache-Control": "no-store"}, FORMS[call.query.form])


async def list_scenes(call: Call) -> Response:
    return said(Scenes.model_validate(await _asked(call, "scenes", draft=call.query.draft)))


async def get_film(call: Call) -> Response:
    where = await _asked(call, "film", draft=call.query.draft)
    return await send_file(call.request, Path(where["path"]), where["tag"])


async def _footage(part: str, call: Call) -> Response:
    where: Any = await _asked(call, "footage", draft=call.query.draft, scene=call.path["scene"], part=part)
    return await send_file(call.request, Path(where["path"]), where["tag"])


def _named(answer: Any, name: str) -> Answer:
    answer.__name__ = name
    return answer


def _file(path: str, what: str, kind: str, does: str) -> Door:
    answer = _named(partial(_footage, what), f"get_{what}")
    gives = {200: kind, 206: kind, 304: None}
    return Door("GET", path, does, answer, gives, (*READ, 416), query=ModeQuery, headers=RANGES)


SCENE = "/stories/{story}/scenes/{scene}"
DOORS = (
    Door("GET", "/stories/{story}/plan", "What a render would make.", get_plan, {200: PlanSaid}, READ, query=PlanQuery),
    Door(
        "GET",
        "/stories/{story}/graph",
        "The graph of its scenes, drawn.",
        get_graph,
        {200: ("text/plain", "image/svg+xml")},
        READ,
        query=GraphQuery,
    ),
    Door(
        "GET",
        "/stories/{story}/scenes",
        "Every scene with its state and which of its files are there.",
        list_scenes,
        {200: Scenes},
        READ,
        query=ModeQuery,
    ),
    _file(f"{SCENE}/opening.png", "opening", "image/png", "The very frame that a scene opens on."),
    _file(f"{SCENE}/last.png", "last", "image/png", "Its last frame in the film: what the next scene opens on."),
    _file(f"{SCENE}/clip.mkv", "clip", "video/matroska", "Its clip as drawn, lossless (FFV1)."),
    _file(f"{SCENE}/segment.mp4", "segment", "video/mp4", "Its clip as finished, to be played."),
    Door(
        "GET",
        "/stories/{story}/film.mp4",
        "The film.",
        get_film,
        {200: "video/mp4", 206: "video/mp4", 304: None},
        (*READ, 416),
        query=ModeQuery,
        headers=RANGES,
    ),
)
