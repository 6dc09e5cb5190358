"""`storyboard board`: a story in a browser."""

from __future__ import annotations

import secrets
from hashlib import sha256
from pathlib import Path
from socket import socket
from typing import Annotated

import typer

from storyboard.failures import say

PORT = 8721


def board(
    story: Annotated[Path, typer.Argument(metavar="STORY", help="the story file")],
    draft: Annotated[bool, typer.Option("--draft", help="show drafts first (default: the mode last rendered)")] = False,
    open_it: Annotated[bool, typer.Option("--open/--no-open", help="open it in the browser")] = True,
    port: Annotated[
        int | None, typer.Option("--port", min=0, max=65535, help=f"default: {PORT}, or a free one where it is taken")
    ] = None,
    devices: Annotated[
        str | None, typer.Option("--devices", metavar="LIST", help="as of serve: where jobs run (default: one)")
    ] = None,
) -> None:
    """Show a story in the browser: edit, render, play."""
    from storyboard.cli_serve import check_packages, device_list

    check_packages()
    from storyboard.board.routes import board_routes
    from storyboard.serve.access import Access
    from storyboard.serve.app import application
    from storyboard.serve.server import alone, run
    from storyboard.serve.stories import Library

    if not story.is_file():
        raise typer.BadParameter(f"{story} is no file: name a story file")
    library = Library(story.absolute().parent, single=story)
    with alone(library), _bound(port) as listening:
        name = sha256(str(story.absolute()).encode()).hexdigest()[:12]
        access = Access(_secret(library.own / "token"), cookie=f"storyboard-{name}")
        app = application(library, access, device_list(devices), pages=board_routes())
        app.state.board_mode = "draft" if draft else None
        where = f"http://127.0.0.1:{listening.getsockname()[1]}"

        def ready() -> None:
            link = f"{where}{access.new_link()}"
            say(f"{story} is on the board; for a browser, once: {link}")
            if open_it:
                typer.launch(link)  # where there is no browser, the link stands in the terminal

        run(app, listening, ready)


def _bound(port: int | None) -> socket:
    from storyboard.serve.server import bound
    from storyboard.settings import SettingsError

    if port is not None:
        return bound("127.0.0.1", port)
    try:
        return bound("127.0.0.1", PORT)
    except SettingsError:
        return bound("127.0.0.1", 0)


def _secret(path: Path) -> str:
    """Kept beside the server's other files, so that a page that is open finds its way in again after a restart."""
    if not path.is_file():
        path.touch(0o600)
        path.write_text(secrets.token_urlsafe(32), encoding="ascii")
    return path.read_text(encoding="ascii")
