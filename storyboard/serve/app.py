"""The application: doors behind the checks that every request passes, opened and closed with its library."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import sys
import time
import traceback
import uuid
from collections.abc import AsyncGenerator, Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from storyboard.serve.access import Access, Secured
from storyboard.serve.asking import Reader
from storyboard.serve.door import Door
from storyboard.serve.doors import DOORS
from storyboard.serve.feed import Feed
from storyboard.serve.ledger import Ledger
from storyboard.serve.limits import Limits
from storyboard.serve.metrics import Metrics
from storyboard.serve.openapi import document
from storyboard.serve.problems import NO_ROOM, Problem, missing
from storyboard.serve.queue import Queue
from storyboard.serve.serving import Serving
from storyboard.serve.stories import Library

OPEN = frozenset(door.path for door in DOORS if door.open)


def application(
    library: Library,
    access: Access,
    devices: Sequence[str | None] = (None,),
    limits: Limits | None = None,
    pages: Sequence[BaseRoute] = (),
    open_pages: Sequence[str] = (),
) -> Starlette:
    """pages: further routes, which find what they need in `request.app.state.serving` and pass the same checks;
    open_pages: paths that need no token."""

    @contextlib.asynccontextmanager
    async def opened(app: Starlette) -> AsyncGenerator[None]:
        serving = _serving(library, access, devices, limits or Limits())
        app.state.serving = serving
        await serving.queue.open()
        try:
            yield
        finally:
            serving.feed.close()
            await serving.queue.close()
            await serving.reader.close()
            serving.ledger.close()

    app = Starlette(routes=[*_routes(DOORS), *pages], lifespan=opened)
    app.router.redirect_slashes = False
    app.state.board_mode = None
    app.state.document = json.dumps(document(DOORS, guarded=access.guarded), ensure_ascii=False)
    app.add_exception_handler(HTTPException, _unrouted)
    app.add_exception_handler(Problem, _problem)
    app.add_middleware(Checked, access=access, open_to_all=frozenset((*OPEN, *open_pages)))
    app.add_middleware(Secured)
    return app


def _serving(library: Library, access: Access, devices: Sequence[str | None], limits: Limits) -> Serving:
    library.open()
    ledger = Ledger(library.own / "serve.db")
    feed, reader = Feed(ledger), Reader(limits.answer)
    queue = Queue(devices, library, ledger, feed, limits)
    reader.plain = queue.workers[0].plain
    return Serving(library, ledger, feed, queue, reader, access, Metrics(), limits)


def _routes(doors: Sequence[Door]) -> list[BaseRoute]:
    """One route a path: a method it does not have is answered with those it has."""
    by_path: dict[str, dict[str, Door]] = {}
    for door in doors:
        by_path.setdefault(door.path, {})[door.method] = door
    return [_route(path, methods) for path, methods in by_path.items()]


def _route(path: str, methods: dict[str, Door]) -> Route:
    async def answer(request: Request) -> Response:
        door = methods["GET" if request.method == "HEAD" else request.method]
        return await door.call(request, request.app.state.serving)

    return Route(path.replace("{file}", "{file:path}"), answer, methods=list(methods))


class Checked:
    """Lets requests pass that may, counts them, and turns whatever goes wrong into an answer."""

    def __init__(self, app: ASGIApp, access: Access, open_to_all: frozenset[str]) -> None:
        self._app, self._access, self._open = app, access, open_to_all

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.monotonic(), 0

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._count(scope, status, time.monotonic() - began)
            await send(message)

        try:
            request = Request(scope)
            self._access.check(request.method, request.headers, open_to_all=scope["path"] in self._open)
            await self._app(scope, receive, noting)
        except Exception as error:
            if status:  # too late for another answer: the connection ends
                raise
            await _answer(error)(scope, receive, noting)

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        route = scope.get("route")
        scope["app"].state.serving.metrics.count(scope["method"], getattr(route, "path", "other"), status, seconds)


def _answer(error: Exception) -> Response:
    if isinstance(error, Problem):
        return error.response()
    full = isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_FULL
    if full or (isinstance(error, OSError) and error.errno in NO_ROOM):
        return Problem(507, "no-room", "the server's disk is full").response()
    name = uuid.uuid4().hex[:8]
    sys.stderr.write(f"fault {name}:\n{''.join(traceback.format_exception(error))}")
    return Problem(500, "fault", f"the server made a mistake; its log has it as {name}").response()


async def _problem(request: Request, error: Exception) -> Response:
    return _answer(error)


async def _unrouted(request: Request, error: Exception) -> Response:
    """What Starlette itself answers: no such path, or no such method there."""
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return missing("there is nothing at this path").response()
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        detail = f"{request.method[:20]} is not for this path: it takes {allowed}"
        return Problem(405, "no-such-method", detail, headers=error.headers).response()
    kind = "malformed" if error.status_code == 400 else "refused"
    return Problem(error.status_code, kind, str(error.detail), headers=error.headers).response()
