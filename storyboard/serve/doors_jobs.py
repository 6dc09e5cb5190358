"""Renders as jobs, and what happens in them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from starlette.responses import Response, StreamingResponse

from storyboard.mistakes import did_you_mean
from storyboard.serve.answers import EventsQuery, Jobs, JobSaid, JobsQuery, Render, RenderQuery, job_said
from storyboard.serve.door import Call, Door, said
from storyboard.serve.ledger import ENDED
from storyboard.serve.problems import Problem, refused

KEY = "Idempotency-Key"
LAST = "Last-Event-ID"
STREAM = "text/event-stream"


async def render_story(call: Call) -> Response:
    story, queue = call.path["story"], call.serving.queue
    ask: Render = call.body
    key = call.request.headers.get(KEY)
    checked = await call.serving.reader.recall(call.serving.library.path(story), "check")
    there: list[str] = checked["scenes"]
    check_render(ask, there)
    asked: dict[str, Any] = {**ask.model_dump(), "forced": (ask.scenes or there) if ask.force else []}
    job, new = queue.submit(story, asked, key)
    where = {"Location": f"/jobs/{job.id}"}
    if not call.query.wait:
        return said(job_said(job), 202 if new else 200, where)
    job = await queue.wait(job.id)
    return said(job_said(job), 200 if job.state in ENDED else 202, where)


def check_render(ask: Render, there: Collection[str]) -> None:
    """Raises Problem where it asks for what does not go together."""
    unknown = [name for name in ask.scenes or [] if name not in there]
    if unknown:
        raise refused(f'the story has no scene "{unknown[0]}"{did_you_mean(unknown[0], there)}')
    if ask.seed is not None and ask.reroll:
        raise refused("one of seed and reroll")
    new_seed = ask.seed is not None or ask.reroll or ask.hold
    if ask.takes is not None and (new_seed or ask.force):
        raise refused("takes goes with none of force, seed, reroll and hold")
    if ask.hold and ask.force:
        raise refused("one of hold and force: hold draws with a new seed")
    if (new_seed or ask.takes is not None) and len(set(ask.scenes or [])) != 1:
        raise refused("seed, reroll, hold and takes need exactly one scene")


async def list_jobs(call: Call) -> Response:
    asked: JobsQuery = call.query
    found = call.serving.ledger.jobs(asked.state, asked.story, asked.before, asked.limit + 1)
    following = found[asked.limit - 1].number if len(found) > asked.limit else None
    return said(Jobs(jobs=[job_said(job) for job in found[: asked.limit]], next=following))


async def get_job(call: Call) -> Response:
    return said(job_said(call.serving.queue.job(call.path["job"])))


async def cancel_job(call: Call) -> Response:
    job = call.serving.queue.cancel(call.path["job"])
    return said(job_said(job), 200 if job.state in ENDED else 202)


async def get_events(call: Call) -> Response:
    """From now on, or past the number a client has."""
    after = _after(call)
    return _stream(call, call.serving.feed.last if after is None else after, None, lambda: False)


async def get_job_events(call: Call) -> Response:
    """All of a job's, or those past a number; it ends with the job."""
    job, serving = call.serving.queue.job(call.path["job"]), call.serving
    after = _after(call) or 0

    def over() -> bool:
        known = serving.ledger.job(job.id)
        return known is None or known.state in ENDED

    if after and over() and not serving.feed.after(after, job.id):
        return Response(None, 204)  # a browser asks no more after this
    return _stream(call, after, job.id, over)


def _after(call: Call) -> int | None:
    last = call.request.headers.get(LAST)
    return call.query.after if last is None else int(last)


def _stream(call: Call, after: int, job: str | None, over: Callable[[], bool]) -> Response:
    feed, limits = call.serving.feed, call.serving.limits
    if feed.streams >= limits.streams:
        detail = f"{limits.streams} streams are open, which is all there may be"
        raise Problem(503, "too-many-streams", detail, headers={"Retry-After": "10"})
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    if call.request.method == "HEAD":
        return Response(None, 200, headers, STREAM)  # a stream of nothing would never end
    return StreamingResponse(feed.stream(after, job, over), 200, headers, STREAM)


DOORS = (
    Door(
        "POST",
        "/stories/{story}/render",
        "Make what is missing, then the film: as a job, or waiting for its end.",
        render_story,
        {200: JobSaid, 202: JobSaid},
        (400, 404, 409, 413, 415, 422, 429, 503, 507),
        query=RenderQuery,
        body=Render,
        headers=(KEY,),
    ),
    Door("GET", "/jobs", "The jobs, newest first.", list_jobs, {200: Jobs}, query=JobsQuery),
    Door("GET", "/jobs/{job}", "A job.", get_job, {200: JobSaid}, (404,)),
    Door(
        "POST",
        "/jobs/{job}/cancel",
        "Cancel a job: queued, at once; running, between its steps, and asked again, at once. What is made is kept.",
        cancel_job,
        {200: JobSaid, 202: JobSaid},
        (404, 409, 507),
    ),
    Door(
        "GET",
        "/jobs/{job}/events",
        "What happens in a job, from its beginning or past an event, until it ends.",
        get_job_events,
        {200: STREAM, 204: None},
        (404, 422, 503),
        query=EventsQuery,
        headers=(LAST,),
    ),
    Door(
        "GET",
        "/events",
        "What happens from now on, or past an event.",
        get_events,
        {200: STREAM},
        (422, 503),
        query=EventsQuery,
        headers=(LAST,),
    ),
)
