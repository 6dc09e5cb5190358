"""`storyboard serve`: stories over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from storyboard.failures import say

LACKS = 'the server\'s packages are not installed: pip install "storyboard[serve]"'


def serve(
    folder: Annotated[
        Path, typer.Argument(metavar="[FOLDER]", help="stories, a folder each; made where there is none")
    ] = Path("stories"),
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="another than loopback needs a token")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one")] = 8720,
    devices: Annotated[
        str | None,
        typer.Option("--devices", metavar="LIST", help="as in cuda:0,cuda:1: one job at a time on each (default: one)"),
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option("--token-file", metavar="PATH", help="the token (default: STORYBOARD_TOKEN)")
    ] = None,
    name: Annotated[
        list[str] | None,
        typer.Option("--name", metavar="HOST", help="a name that the server goes by, beside addresses (repeatable)"),
    ] = None,
) -> None:
    """Serve stories over HTTP: uploads, jobs, films, the board."""
    check_packages()
    from storyboard.board.routes import board_routes
    from storyboard.serve.access import Access
    from storyboard.serve.app import application
    from storyboard.serve.server import alone, bound, is_loopback, run, token_of
    from storyboard.serve.stories import Library

    if folder.is_file():
        raise typer.BadParameter(f"{folder} is a file: name a folder of stories, or `storyboard board {folder}`")
    token = token_of(token_file)
    if token is None and not is_loopback(host):
        raise typer.BadParameter(f"--host {host} is open to others: name a token by --token-file or STORYBOARD_TOKEN")
    library = Library(folder)
    library.folder.mkdir(parents=True, exist_ok=True)
    access = Access(token, [*(name or []), host])
    with alone(library), bound(host, port) as listening:
        app = application(library, access, device_list(devices), pages=board_routes())
        known = (
            (name or ["localhost"])[0] if host in ("0.0.0.0", "::") else host
        )  # of all addresses none can be visited
        where = f"http://{f'[{known}]' if ':' in known else known}:{listening.getsockname()[1]}"

        def ready() -> None:
            say(f"{library.folder} is served on {where}")
            if access.guarded:
                say(f"for a browser, once: {where}{access.new_link()}")

        run(app, listening, ready)


def device_list(listed: str | None) -> list[str | None]:
    found = [device.strip() for device in (listed or "").split(",") if device.strip()]
    if len(set(found)) < len(found):
        raise typer.BadParameter(f"--devices {listed}: name each once")
    return [*found] or [None]


def check_packages() -> None:
    """Raises MachineLacks."""
    from importlib.util import find_spec

    if any(find_spec(module) is None for module in ("starlette", "uvicorn", "python_multipart", "jinja2")):
        from scenes.shot import MachineLacks

        raise MachineLacks(LACKS)
