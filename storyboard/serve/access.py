"""Who may come in: by which name of the server, from which page, with which token."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
import time
from collections.abc import Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from storyboard.serve.problems import Problem

COOKIE = "storyboard"
LINK_LASTS = 600.0
LINKS = 100
READING = ("GET", "HEAD", "OPTIONS")
SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
}


class Access:
    """`token`: None lets everyone in, which is for loopback alone. `names`: the server's own, beside localhost and
    addresses; a page of another site that makes its name lead here is told by that. `cookie`: its name: browsers keep
    one for all ports of a host."""

    def __init__(self, token: str | None, names: Sequence[str] = (), cookie: str = COOKIE) -> None:
        self._cookie = cookie
        self._token = token.encode() if token is not None else None
        self._names = {"localhost", *(name.lower().rstrip(".") for name in names)}
        self._links: dict[str, float] = {}

    @property
    def guarded(self) -> bool:
        return self._token is not None

    def check(self, method: str, headers: Headers, *, open_to_all: bool) -> None:
        """Raises Problem."""
        if not self._known_host(headers.get("host", "")):
            raise Problem(421, "unknown-host", "this server does not go by that name: --name adds one")
        if method not in READING:
            self._check_origin(headers)
        if not open_to_all and not self._let_in(headers):
            raise Problem(401, "no-token", "a token is needed", headers={"WWW-Authenticate": "Bearer"})

    def _known_host(self, host: str) -> bool:
        name = host_name(host)
        if name is None:
            return False
        try:
            ipaddress.ip_address(name)  # no page of another site can have an address for its name
        except ValueError:
            return name.lower().rstrip(".") in self._names
        return True

    def _check_origin(self, headers: Headers) -> None:
        """A browser says which page a change comes from; other clients say nothing."""
        origin = headers.get("origin")
        site = headers.get("sec-fetch-site", "none")
        same = origin is None or origin.partition("://")[2].lower() == headers.get("host", "").lower()
        if not same or site not in ("none", "same-origin"):
            raise Problem(403, "other-origin", "changes are taken from this server's own pages alone")

    def _let_in(self, headers: Headers) -> bool:
        if self._token is None:
            return True
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), self._token):
            return True
        # Not by http.cookies: it stops at what it cannot read, and browsers send cookies of all servers on this host.
        cookie = cookie_parser(headers.get("cookie", "")).get(self._cookie)
        return cookie is not None and self._is_ours(cookie)

    def _is_ours(self, cookie: str) -> bool:
        nonce, _, mark = cookie.partition(".")
        return hmac.compare_digest(mark.encode(), self._mark(nonce).encode())

    def _mark(self, nonce: str) -> str:
        """Only who has the token can make it: cookies outlive a restart, and end when the token changes."""
        return hmac.new(self._token or b"", b"cookie:" + nonce.encode(), hashlib.sha256).hexdigest()

    def cookie(self, *, secure: bool) -> str:
        """The value of Set-Cookie."""
        nonce = secrets.token_urlsafe(16)
        ending = "; Secure" if secure else ""
        return f"{self._cookie}={nonce}.{self._mark(nonce)}; Path=/; HttpOnly; SameSite=Strict; Max-Age=2592000{ending}"

    def new_link(self) -> str:
        """A path that lets a browser in once."""
        now = time.monotonic()
        self._links = dict([(c, t) for c, t in self._links.items() if t > now][-LINKS + 1 :])
        code = secrets.token_urlsafe(24)
        self._links[hashlib.sha256(code.encode()).hexdigest()] = now + LINK_LASTS
        return f"/enter?code={code}"

    def use_link(self, code: str) -> bool:
        """Whether a code was good; it is no more."""
        until = self._links.pop(hashlib.sha256(code.encode()).hexdigest(), None)
        return until is not None and time.monotonic() < until


def host_name(host: str) -> str | None:
    """The name or address in a Host header; None where it is none."""
    if host.startswith("["):
        name, closed, port = host[1:].partition("]")
        port = port.removeprefix(":")
        return name if closed and (port.isdecimal() or not port) else None
    name, _, port = host.partition(":")
    return name if name and (port.isdecimal() or ":" not in host) else None


class Secured:
    """Adds the headers that keep browsers safe to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, secured)
