"""The files that pages bring along: read once, sent from memory."""

from __future__ import annotations

from functools import cache
from hashlib import sha256

from starlette.requests import Request
from starlette.responses import Response

from storyboard.board.page import HERE
from storyboard.serve.problems import missing

TYPES = {
    "board.css": "text/css; charset=utf-8",
    "board.js": "text/javascript; charset=utf-8",
    "htmx-2.0.11.min.js": "text/javascript; charset=utf-8",
    "htmx-ext-sse-2.2.4.min.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}


@cache
def _read(name: str) -> tuple[bytes, str]:
    data = (HERE / "static" / name).read_bytes()
    return data, f'"{sha256(data).hexdigest()[:32]}"'


async def asset(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in TYPES:
        raise missing("there is no such file")
    data, tag = _read(name)
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match") == tag:
        return Response(None, 304, headers)
    return Response(data, 200, {**headers, "Content-Type": TYPES[name]})
