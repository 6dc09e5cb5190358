"""The server itself: whether it is well, what it counts, what it can do, and the way in for browsers."""

from __future__ import annotations

from importlib.metadata import version

from starlette.responses import Response

from storyboard.serve.answers import EnterQuery, Health, LinkSaid
from storyboard.serve.door import JSON, Call, Door, said
from storyboard.serve.metrics import MEDIA
from storyboard.serve.problems import Problem


async def get_health(call: Call) -> Response:
    call.serving.ledger.counts()  # fails where the disk does
    return said(Health(status="ok", version=version("storyboard")))


async def get_metrics(call: Call) -> Response:
    text = call.serving.metrics.text(call.serving)
    return Response(text, 200, {"Cache-Control": "no-store", "Content-Type": MEDIA})


async def get_openapi(call: Call) -> Response:
    return Response(call.request.app.state.document, 200, {"Cache-Control": "no-cache"}, JSON)


async def create_link(call: Call) -> Response:
    return said(LinkSaid(path=call.serving.access.new_link()), 201)


async def enter(call: Call) -> Response:
    if not call.serving.access.use_link(call.query.code):
        raise Problem(403, "used-link", "this link was used, or is too old: make another")
    cookie = call.serving.access.cookie(secure=call.request.url.scheme == "https")
    return Response(None, 303, {"Location": "/", "Set-Cookie": cookie, "Cache-Control": "no-store"})


DOORS = (
    Door("GET", "/health", "Whether the server is well.", get_health, {200: Health}, open=True),
    Door("GET", "/metrics", "Counts, as Prometheus reads them.", get_metrics, {200: "text/plain"}),
    Door("GET", "/openapi.json", "This document.", get_openapi, {200: JSON}),
    Door("POST", "/links", "A link that lets a browser in, once.", create_link, {201: LinkSaid}),
    Door("GET", "/enter", "Let a browser in.", enter, {303: None}, (403, 422), query=EnterQuery, open=True),
)
