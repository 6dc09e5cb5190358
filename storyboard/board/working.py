"""Renders from the board: the plan before one starts, starting it, cancelling it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from storyboard.board.lasting import time_of
from storyboard.board.page import form_of, part, shown
from storyboard.board.pages import refreshed
from storyboard.board.taking import scene_takes, there_are
from storyboard.board.view import Asked, asked, read, view
from storyboard.serve.answers import Render
from storyboard.serve.doors_jobs import check_render
from storyboard.serve.problems import Problem, refused


async def plan(request: Request) -> Response:
    """What a render would make, to be agreed to."""
    ask = asked(request)
    found = await read(ask)
    said = found["said"]
    wanted = _wanted(request.query_params, said)
    scene = wanted.scenes[0] if wanted.scenes else None
    planned = said["plan"]
    if scene is not None:
        answer = await ask.serving.reader.recall(ask.path, "forecast", mode=said["mode"], scenes=[scene])
        planned = ask.serving.reader.plain(answer)
    anew = {scene} if wanted.reroll or wanted.hold else set[str | None]()
    makes = [each for each in planned["scenes"] if each["state"] != "kept" or each["name"] in anew]
    makes = [each for each in makes if wanted.takes is None or each["name"] != scene]
    takes = await _takes(ask, said["mode"], wanted, planned["scenes"])
    finishes = [each for each in planned["scenes"] if each["segment"] != "kept" and each not in makes]
    return shown(
        "plan.html",
        story=ask.story,
        mode=said["mode"],
        wanted=wanted,
        scene=scene,
        makes=makes,
        takes=takes,
        finishes=finishes if wanted.takes is None else [],
        seconds=time_of([*makes, *takes], ask.story, said["mode"] == "draft", ask.serving.ledger),
        plan=planned,
        joins=scene is None and not found["places"]["film"],
        **await _after_it(ask, wanted, said),
    )


def _wanted(sent: Mapping[str, str], said: dict[str, Any]) -> Render:
    """What a plan or a render is asked for, by a query or a form. Raises Problem."""
    flags = {name: sent.get(name) == "1" for name in ("reroll", "hold")}
    scenes = [sent["scene"]] if sent.get("scene") else None
    try:
        wanted = Render(
            scenes=scenes, draft=said["mode"] == "draft", takes=int(sent.get("takes") or 0) or None, **flags
        )
    except (ValidationError, ValueError):
        raise refused("that is no render") from None
    check_render(wanted, [each["name"] for each in said["scenes"]])
    return wanted


async def _takes(ask: Asked, mode: str, wanted: Render, planned: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The scene once for each take that is to be drawn."""
    if wanted.takes is None or wanted.scenes is None:
        return []
    there = there_are(await scene_takes(ask, mode, wanted.scenes[0]))
    return [each for each in planned if each["name"] == wanted.scenes[0]] * max(0, wanted.takes - there)


async def _after_it(ask: Asked, wanted: Render, said: dict[str, Any]) -> dict[str, Any]:
    """What comes of the scenes that go on from one that is made anew; or why its end cannot be kept."""
    found: dict[str, Any] = {"stale": [], "stays": [], "refused": ""}
    if wanted.scenes and wanted.reroll:
        found["stale"] = followers(wanted.scenes[0], said["scenes"])
    if wanted.scenes and wanted.hold:
        reader = ask.serving.reader
        try:
            found["stays"] = await reader.ask("holding", path=str(ask.path), mode=said["mode"], scene=wanted.scenes[0])
        except Problem as problem:
            found["refused"] = problem.mistakes[0]["message"] if problem.mistakes else problem.detail
    return found


def followers(scene: str, scenes: list[dict[str, Any]]) -> list[str]:
    """Scenes that open on its end, or on that of one that does."""
    found = {scene}
    for _ in scenes:  # as often as a line can be long: play order need not be the graph's
        found |= {each["name"] for each in scenes if (each["opens_on"] or {}).get("scene") in found}
    return [each["name"] for each in scenes if each["name"] in found - {scene}]


async def render(request: Request) -> Response:
    ask, form = asked(request), await form_of(request)
    wanted = _wanted(form, (await read(ask))["said"])
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
    return part(refreshed(await view(ask), order))
