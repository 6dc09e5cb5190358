"""Runs the application: one server a library, ended in good order by Ctrl-C or SIGTERM."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import signal
import socket
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from types import FrameType

import uvicorn
from filelock import FileLock, Timeout
from starlette.applications import Starlette

from storyboard.failures import INTERRUPTED
from storyboard.serve.ledger import Ledger
from storyboard.serve.stories import Library
from storyboard.settings import SettingsError
from storyboard.stopping import SIGNALS

TOKEN = "STORYBOARD_TOKEN"
SHORTEST = 16
LEAVE = 5
"""Seconds that requests have to end when the server does."""


class Server(uvicorn.Server):
    """Ends event streams as soon as it is asked to end: they would hold it."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        serving = getattr(self.config.app.state, "serving", None)  # type: ignore[union-attr]  # it is a Starlette
        if serving is not None:
            serving.feed.close()
        super().handle_exit(sig, frame)


def token_of(file: Path | None) -> str | None:
    """From a file, else the variable. Raises SettingsError where it is too short to guard anything."""
    where, token = TOKEN, os.environ.get(TOKEN)
    if file is not None:
        try:
            where, token = str(file), file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"{file} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if token is None or (not token and file is None):
        return None
    if len(token) < SHORTEST or not token.isascii() or not token.isprintable():
        remedy = "make one with `openssl rand -hex 32`"
        raise SettingsError(f"{where}: a token has {SHORTEST} plain characters at least: {remedy}")
    return token


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextlib.contextmanager
def alone(library: Library) -> Generator[None]:
    """Raises SettingsError where another server serves this library, or its database cannot be used."""
    library.own.mkdir(parents=True, exist_ok=True)
    lock = FileLock(library.own / "server.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise SettingsError(f"{library.folder} is served already, by another server") from None
    try:
        Ledger(library.own / "serve.db").close()  # what is wrong with it is said before anything is begun
        yield
    finally:
        lock.release()


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 takes a free one. Raises SettingsError."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # By its protocol asyncio knows to send at once (TCP_NODELAY): else answers wait 40 ms for the client's ACK.
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise SettingsError(f"cannot listen on {host}:{port}: {why}; --port names another") from None
    return listening


def run(app: Starlette, listening: socket.socket, ready: Callable[[], None]) -> None:
    """Serve until it is asked to end."""

    class Ready(Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                ready()

    config = uvicorn.Config(
        app,
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=LEAVE,
        h11_max_incomplete_event_size=64 * 1024,
        proxy_headers=False,
    )
    server = Ready(config)

    def leave(number: int, frame: FrameType | None) -> None:
        # uvicorn raises its signals once more when it has ended in good order: that is no failure.
        if not server.should_exit:
            sys.exit(INTERRUPTED)

    for number in SIGNALS:
        signal.signal(number, leave)
    server.run(sockets=[listening])
    if not server.started:
        sys.exit(1)
