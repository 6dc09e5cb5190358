"""What is answered where something is wrong: RFC 9457's problem+json, never a traceback."""

from __future__ import annotations

import errno
import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from starlette.responses import Response

MEDIA = "application/problem+json"
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


class Problem(Exception):  # noqa: N818 (an answer)
    """An answer that is no success. `kind` names the problem for programs, `detail` says it to people."""

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        *,
        mistakes: Sequence[Mapping[str, Any]] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.kind, self.detail = status, kind, detail
        self.mistakes, self.headers = mistakes, dict(headers or {})

    def response(self) -> Response:
        said: dict[str, Any] = {
            "type": f"urn:storyboard:{self.kind}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }
        if self.mistakes is not None:
            said["mistakes"] = list(self.mistakes)
        headers = {"Cache-Control": "no-store", **self.headers}
        return Response(json.dumps(said), self.status, headers, MEDIA)


def missing(what: str) -> Problem:
    return Problem(404, "not-found", what)


def refused(detail: str, mistakes: Sequence[Mapping[str, Any]] | None = None) -> Problem:
    """What was sent can be read and cannot be used."""
    return Problem(422, "unusable", detail, mistakes=mistakes)


def too_large(detail: str) -> Problem:
    return Problem(413, "too-large", detail)


def conflict(detail: str) -> Problem:
    return Problem(409, "conflict", detail)
