"""Renders from the board: the plan before one starts, starting it, cancelling it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from storyboard.board.lasting import time_of
from storyboard.board.page import form_of, shown
from storyboard.board.pages import refreshed
from storyboard.board.view import Asked, asked, read, view
from storyboard.serve.answers import Render
from storyboard.serve.problems import refused


async def plan(request: Request) -> Response:
    """What a render would make, to be agreed to."""
    ask, query = asked(request), request.query_params
    said = (await read(ask))["said"]
    mode, scene, reroll = said["mode"], query.get("scene") or None, query.get("reroll") == "1"
    there = {each["name"]: each for each in said["scenes"]}
    _check(scene, there, reroll=reroll)
    planned = said["plan"]
    if scene is not None:
        answer = await ask.serving.reader.recall(ask.path, "forecast", mode=mode, scenes=[scene])
        planned = ask.serving.reader.plain(answer)
    makes = [each for each in planned["scenes"] if each["state"] != "kept" or (reroll and each["name"] == scene)]
    finishes = [
        each
        for each in planned["scenes"]
        if each["state"] == "kept" and each["segment"] != "kept" and each not in makes
    ]
    seconds = time_of(makes, ask.story, mode == "draft", ask.serving.ledger) if makes else None
    return shown(
        "plan.html",
        story=ask.story,
        mode=mode,
        scene=scene,
        reroll=reroll,
        makes=makes,
        finishes=finishes,
        stale=followers(scene, said["scenes"]) if reroll and scene else [],
        plan=planned,
        seconds=seconds,
        joins=scene is None,
        film=(await read(ask))["places"]["film"],
    )


def _check(scene: str | None, there: Mapping[str, Any], *, reroll: bool) -> None:
    if scene is not None and scene not in there:
        raise refused(f'the story has no scene "{scene[:80]}"')
    if reroll and scene is None:
        raise refused("which scene is to be rerolled?")


def followers(scene: str, scenes: list[dict[str, Any]]) -> list[str]:
    """Scenes that open on its end, or on that of one that does."""
    found = {scene}
    for _ in scenes:  # as often as a line can be long: play order need not be the graph's
        found |= {each["name"] for each in scenes if (each["opens_on"] or {}).get("scene") in found}
    return [each["name"] for each in scenes if each["name"] in found - {scene}]


async def render(request: Request) -> Response:
    ask, form = asked(request), await form_of(request)
    said = (await read(ask))["said"]
    scene, reroll = form.get("scene") or None, form.get("reroll") == "1"
    _check(scene, {each["name"]: each for each in said["scenes"]}, reroll=reroll)
    wanted = Render(scenes=[scene] if scene else None, draft=said["mode"] == "draft", reroll=reroll)
    ask.serving.queue.submit(ask.story, {**wanted.model_dump(), "forced": []})
    return await _after(ask, form.get("order", ""))


async def cancel(request: Request) -> Response:
    """Between its steps; asked again, at once."""
    ask, form = asked(request), await form_of(request)
    job = ask.serving.queue.job(form.get("job", ""))
    if job.story != ask.story:
        raise refused("that is another story's job")
    ask.serving.queue.cancel(job.id)
    return await _after(ask, form.get("order", ""))


async def _after(ask: Asked, order: str) -> Response:
    return Response(refreshed(await view(ask), order), 200, {"Cache-Control": "no-store"}, "text/html")
