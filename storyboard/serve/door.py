"""One route: what it takes, what it gives, and who answers. The application and its document are made of these."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast, get_origin
from urllib.parse import parse_qsl

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from storyboard.mistakes import did_you_mean, written
from storyboard.serve.answers import Nothing
from storyboard.serve.names import SCENE_NAME, STORY_ID
from storyboard.serve.problems import Problem, missing, too_large

if TYPE_CHECKING:
    from storyboard.serve.serving import Serving

PARAMETERS = {
    "story": (STORY_ID, "a story's id"),
    "scene": (SCENE_NAME, "a scene's name"),
    "job": (r"^[0-9a-f]{32}$", "a job's id"),
    "take": (r"^[1-9][0-9]{0,8}$", "a take's number"),
    "file": (r"^[^\x00-\x1f]{1,1000}$", "a file's path in the story's folder"),
}
HEADERS = {
    "Range": (r"^[ -~]{0,200}$", "one range of bytes"),
    "If-Range": (r"^[ -~]{0,200}$", "the ETag or time of what the range is to be of; of another, all of it comes"),
    "If-None-Match": (r"^[ -~]{0,1000}$", "the ETag that is known already"),
    "Last-Event-ID": (r"^[0-9]{1,15}$", "the number of the last event that came"),
    "Idempotency-Key": (r"^[!-~]{1,200}$", "the client's name for this job: sent again, it gives the same job"),
}
JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Call:
    """One request, checked. `query` and `body` are of the door's models."""

    request: Request
    serving: Serving
    path: Mapping[str, str]
    query: Any
    body: Any = None


Answer = Callable[[Call], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Door:
    """`gives`: what each good status carries, a model or media types, None for nothing. `takes`: the body's media types
    where it is no JSON; `headers` it reads. `open`: without a token."""

    method: str
    path: str
    does: str
    answer: Answer
    gives: Mapping[int, type[BaseModel] | str | tuple[str, ...] | None]
    problems: tuple[int, ...] = ()
    query: type[BaseModel] = Nothing
    body: type[BaseModel] | None = None
    takes: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    open: bool = False

    @property
    def name(self) -> str:
        return getattr(self.answer, "__name__", "")

    async def call(self, request: Request, serving: Serving) -> Response:
        """Raises Problem."""
        path = {name: str(value) for name, value in request.path_params.items()}
        for name, value in path.items():
            if not re.fullmatch(PARAMETERS[name][0], value):
                raise missing(f'there is no {name} "{value[:80]}"')
        query = _checked(self.query, _query(request, self.query), "the query")
        body = None if self.body is None else await _json(request, self.body, serving.limits.json)
        for name in self.headers:
            value = request.headers.get(name)
            if value is not None and not re.fullmatch(HEADERS[name][0], value):
                raise Problem(422, "unusable", f"the header {name} is not as it should be")
        return await self.answer(Call(request, serving, path, query, body))


def _query(request: Request, model: type[BaseModel]) -> dict[str, Any]:
    """Texts by name; lists where the model has lists, and where a name comes twice, which it then refuses."""
    try:
        pairs = parse_qsl(request.url.query, keep_blank_values=True, max_num_fields=2000, errors="strict")
    except ValueError:
        raise Problem(400, "malformed", "the query cannot be read") from None
    found: dict[str, Any] = {}
    for name, value in pairs:
        known = model.model_fields.get(name)
        if name in found or (known is not None and get_origin(known.annotation) is list):
            found.setdefault(name, [])
            before = found[name] if isinstance(found[name], list) else [found[name]]
            found[name] = [*cast("list[str]", before), value]
        else:
            found[name] = value
    return found


async def body_of(request: Request, most: int, what: str) -> bytearray:
    """A small body, whole. Raises Problem."""
    sent = bytearray()
    try:
        async for chunk in request.stream():
            sent += chunk
            if len(sent) > most:
                raise too_large(f"{what} may have {most} bytes at most")
    except ClientDisconnect:
        raise Problem(400, "cut-off", "the request was cut off") from None
    return sent


async def _json(request: Request, model: type[BaseModel], most: int) -> BaseModel:
    """An empty body is an empty object."""
    kind = request.headers.get("content-type", JSON).partition(";")[0].strip().lower()
    sent = await body_of(request, most, "the request's JSON")
    if kind != JSON and sent:
        raise Problem(415, "unsupported", f"send {JSON}")
    try:
        data: Any = json.loads(sent.decode("utf-8")) if sent else {}
    except (ValueError, RecursionError) as error:
        raise Problem(400, "malformed", f"the body is no JSON: {error}") from None
    return _checked(model, data, "the body", strict=True)


def _checked(model: type[BaseModel], data: Any, what: str, *, strict: bool | None = None) -> BaseModel:
    try:
        return model.model_validate(data, strict=strict)
    except ValidationError as error:
        mistakes = [
            {"message": _message(model, each, what), "place": list(each["loc"])}
            for each in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        raise Problem(422, "unusable", f"{what} is not as it should be", mistakes=mistakes) from None


def _message(model: type[BaseModel], error: ErrorDetails, what: str) -> str:
    place = [str(part) for part in error["loc"]]
    if error["type"] == "extra_forbidden":
        known = list(model.model_fields)
        hint = did_you_mean(place[-1], known) or f" (there are: {', '.join(known) or 'none'})"
        return f"{what} has no {written(place[-1])}{hint}"
    return f"{'.'.join(place) or what}: {error['msg']}"


def said(model: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(model.model_dump_json(), status, {"Cache-Control": "no-store", **(headers or {})}, JSON)
