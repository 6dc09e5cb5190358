"""How pages are written: templates with every value escaped, and answers where something is wrong."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from storyboard.board.lasting import lasting
from storyboard.serve.door import body_of
from storyboard.serve.problems import Problem

HERE = Path(__file__).parent
MOST = 2**18
"""Bytes of a form: a story's prompts are a few hundred each."""
Answer = Callable[[Request], Awaitable[Response]]

_templates = Environment(
    loader=FileSystemLoader(HERE / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.filters["lasting"] = lasting
_templates.filters["short"] = lambda seconds: f"{seconds:.2f}".rstrip("0").rstrip(".")


def written(template: str, **values: Any) -> str:
    return _templates.get_template(template).render(values)


def shown(template: str, status: int = 200, **values: Any) -> Response:
    return HTMLResponse(written(template, **values), status, {"Cache-Control": "no-store"})


def part(text: str) -> Response:
    """Parts of a page, written already."""
    return HTMLResponse(text, 200, {"Cache-Control": "no-store"})


def route(path: str, answer: Answer, method: str = "GET") -> Route:
    """What goes wrong is a page where a page was asked for, and a line where a part of one was."""

    async def answered(request: Request) -> Response:
        try:
            return await answer(request)
        except Problem as problem:
            if "hx-request" not in request.headers:
                return shown("problem.html", problem.status, problem=problem, story=None)
            said = shown("said.html", problem.status, text=problem.detail, mistakes=problem.mistakes or [])
            said.headers.update({"HX-Retarget": "#said", "HX-Reswap": "innerHTML", **problem.headers})
            return said

    return Route(path, answered, methods=[method])


async def form_of(request: Request) -> dict[str, str]:
    """A form's fields, each once. Raises Problem."""
    sent = await body_of(request, MOST, "a form")
    try:
        return dict(parse_qsl(sent.decode(), keep_blank_values=True, errors="strict", max_num_fields=50))
    except ValueError:
        raise Problem(400, "malformed", "the form cannot be read") from None
