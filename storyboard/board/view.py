"""What a story's board shows at a moment."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from starlette.requests import Request

from storyboard.board.lanes import paths
from storyboard.board.lasting import time_left
from storyboard.serve.ledger import QUEUED, RUNNING, Job, Told
from storyboard.serve.problems import Problem, missing
from storyboard.serve.serving import Serving

MODES = ("draft", "real")
PARTS = {"scene": "drawn", "segment": "finished", "take": "drawn as take {}"}
OVER = ("run.started", "run.done", "job.started", "job.queued", "job.done", "job.failed", "job.partly", "job.cancelled")


class Doing(NamedTuple):
    """What is being done to a scene, and how much of it is done; or why that failed."""

    what: str
    percent: int
    why: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """Which story, in which mode; None: the one last rendered."""

    serving: Serving
    story: str
    path: Path
    mode: str | None

    @property
    def previews(self) -> Path:
        return self.serving.library.own / "previews"


def asked(request: Request) -> Asked:
    """Raises Problem."""
    serving: Serving = request.app.state.serving
    story = request.path_params["story"]
    mode = request.query_params.get("mode") or request.app.state.board_mode
    if mode is not None and mode not in MODES:
        raise missing("a board is of drafts or real")
    return Asked(serving, story, serving.library.path(story), mode)


async def read(ask: Asked) -> dict[str, Any]:
    """The reader's answer, its texts without this machine's paths. Raises Problem."""
    found = await ask.serving.reader.recall(ask.path, "board", mode=ask.mode)
    return {**found, "said": ask.serving.reader.plain(found["said"])}


async def view(ask: Asked) -> dict[str, Any]:
    """All that the templates show; where the story has mistakes, these alone."""
    serving = ask.serving
    common = {"story": ask.story, "job": work(ask), "last": serving.feed.last, "single": serving.library.single}
    try:
        found = await read(ask)
    except Problem as problem:
        with contextlib.suppress(Problem):
            title = serving.library.listed(ask.story).title
            return {**common, "title": title or ask.story, "mode": ask.mode or "real", "problem": problem}
        raise
    said = found["said"]
    scenes = said["scenes"]
    rows, width = paths(scenes)
    names = [scene["name"] for scene in scenes]
    return {
        **common,
        "title": said["title"],
        "mode": said["mode"],
        "problem": None,
        "scenes": [
            {**scene, "number": number + 1, "lines": rows[number], "before": scenes[number - 1] if number else None}
            for number, scene in enumerate(scenes)
        ],
        "width": width,
        "plan": said["plan"],
        "film": found["places"]["film"],
        "why_no_film": said["why_no_film"],
        "order": " ".join(names),
        "lacking": sum(scene["segment"] is None for scene in scenes),
        "doing": doing(ask, said["mode"]),
    }


def doing(ask: Asked, mode: str) -> dict[str, Doing]:
    """Scenes that are being made right now in this mode, or failed in its last job."""
    ledger, found = ask.serving.ledger, dict[str, Doing]()
    for job in ledger.jobs([RUNNING], ask.story, limit=1) or ledger.jobs((), ask.story, limit=1):
        if job.asked["draft"] is (mode == "draft"):
            for told in ledger.recent(job.id):
                follow(found, told)
    return found


def follow(found: dict[str, Doing], told: Told) -> None:
    part, _, what = told.event.partition(".")
    scene = str(told.facts.get("scene", ""))
    if told.event in OVER:
        for name in [name for name, did in found.items() if not did.why]:
            del found[name]
    elif part in PARTS and what in ("started", "progress"):
        done = PARTS[part].format(told.facts.get("take"))
        found[scene] = Doing(done, round(100 * told.facts.get("done", 0.0)))
    elif part in PARTS and what == "failed":
        found[scene] = Doing(PARTS[part].format(told.facts.get("take")), 0, str(told.facts.get("why", "")))
    elif part in PARTS:
        found.pop(scene, None)


def work(ask: Asked) -> dict[str, Any] | None:
    """The story's job under way, else the one that waits, else the last one."""
    ledger = ask.serving.ledger
    there = ledger.jobs([RUNNING], ask.story, limit=1) or ledger.jobs([QUEUED], ask.story, limit=100)[-1:]
    there = there or ledger.jobs((), ask.story, limit=1)
    return job_said(there[0], ask) if there else None


def job_said(job: Job, ask: Asked) -> dict[str, Any]:
    running = job.state == RUNNING
    return {
        "id": job.id,
        "state": job.state,
        "active": job.state in (RUNNING, QUEUED),
        "cancel": job.cancel,
        "percent": round(100 * job.part),
        "left": time_left(job, ask.serving.ledger) if running and not job.cancel else None,
        "what": _what(job.asked),
        "draft": job.asked["draft"],
        "error": job.error,
    }


def _what(asked: dict[str, Any]) -> str:
    """Of a job; older ones say nothing of takes, nor of hold."""
    scenes = ", ".join(asked["scenes"] or [])
    if asked.get("takes"):
        return f"{asked['takes']} takes of {scenes}"
    return f"{scenes}, its end kept" if asked.get("hold") else scenes or "the film"
