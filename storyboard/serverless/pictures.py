"""A job's pictures, from web addresses or base64, as files in a folder."""

from __future__ import annotations

import base64
import binascii
import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from storyboard.mistakes import written
from storyboard.serverless.fetch import FetchError, Limits, fetch
from storyboard.serverless.order import OrderError

LIMITS = Limits()
ALL_BYTES = 512_000_000
AT_ONCE = 4
DATA = re.compile(r"data:[^,]{0,200};base64,", re.IGNORECASE)
WEB = re.compile(r"https?://", re.IGNORECASE)
SCHEME = re.compile(r"[a-z][a-z0-9+.-]{0,30}:", re.IGNORECASE)

Fetch = Callable[[str, Path], None]


def write_pictures(pictures: dict[str, str], folder: Path, fetch: Fetch = fetch) -> None:
    """Raises OrderError that names every picture which cannot be had."""
    got, counting = 0, threading.Lock()

    def write(name: str) -> str | None:
        nonlocal got
        if got > ALL_BYTES:
            return None  # those before it are refused already
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            _write(pictures[name], target, fetch)
            with counting:
                got += target.stat().st_size
        except FetchError as error:
            shown = pictures[name] if len(pictures[name]) <= 120 else f"{pictures[name][:117]}..."
            return f"picture {written(name)}: {shown} {error}"
        except ValueError as error:
            return f"picture {written(name)} {error}"
        return None

    with ThreadPoolExecutor(AT_ONCE) as pool:
        problems = [problem for problem in pool.map(write, pictures) if problem is not None]
    if got > ALL_BYTES:
        problems.append(f"the pictures are larger than {ALL_BYTES / 1e6:g} MB together")
    if problems:
        raise OrderError(*problems)


def _write(given: str, target: Path, fetch: Fetch) -> None:
    if WEB.match(given):
        fetch(given, target)
        return
    data = DATA.match(given)
    if data is None and SCHEME.match(given):
        raise ValueError("must be an http:// or https:// address, a data:...;base64, URL or base64")
    text = re.sub(r"\s+", "", given[data.end() :] if data else given)
    if len(text) * 3 // 4 > LIMITS.bytes:
        raise ValueError(f"is larger than {LIMITS.bytes / 1e6:g} MB")
    try:
        target.write_bytes(base64.b64decode(text, validate=True))
    except binascii.Error as error:
        raise ValueError(f"is no base64 ({str(error).lower()})") from None
