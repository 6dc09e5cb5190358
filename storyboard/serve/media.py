"""Files as answers: ranges, conditions, and one open file from the first byte to the last."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import AsyncIterator
from email.utils import formatdate
from pathlib import Path

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from storyboard.serve.problems import Problem, missing

CHUNK = 2**18
TYPES = {
    ".mp4": "video/mp4",
    ".mkv": "video/matroska",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".avif": "image/avif",
    ".gif": "image/gif",
    ".bmp": "image/bmp",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".jp2": "image/jp2",
    ".wav": "audio/wav",
    ".mp3": "audio/mpeg",
    ".flac": "audio/flac",
    ".m4a": "audio/mp4",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
    ".toml": "text/plain; charset=utf-8",
}
OTHER = "application/octet-stream"


async def send_file(request: Request, path: Path, tag: str | None = None) -> Response:
    """A file, or the range of it that was asked for. tag: what it was made of, beside its name, size and time.

    Raises:
        Problem: it is gone, or the range lies past its end.
    """
    try:
        file = await anyio.to_thread.run_sync(os.open, path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    except OSError:
        raise missing("the file is gone") from None
    try:
        facts = os.fstat(file)
        if not stat.S_ISREG(facts.st_mode):
            raise missing("the file is gone")
        # Its size and time always: made anew (--force), a clip has other bytes under the same key.
        known = f"{tag or path}|{facts.st_size}|{facts.st_mtime_ns}|{facts.st_ino}"
        headers = {
            "ETag": f'"{hashlib.sha256(known.encode()).hexdigest()[:32]}"',
            "Last-Modified": formatdate(facts.st_mtime, usegmt=True),
            "Accept-Ranges": "bytes",
            "Cache-Control": "private, no-cache",  # kept, and asked about: a story may change any minute
        }
        if _has_it(request, headers["ETag"]):
            os.close(file)
            return Response(None, 304, headers)
        start, stop, status = _asked_range(request, headers, facts.st_size)
    except BaseException:
        os.close(file)
        raise
    kind = TYPES.get(path.suffix.lower(), OTHER)
    headers["Content-Length"] = str(stop - start)
    if status == 206:
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{facts.st_size}"
    if request.method == "HEAD":
        os.close(file)
        return Response(None, status, headers, kind)
    return _Opened(_read(file, start, stop), file, status, headers, kind)


class _Opened(StreamingResponse):
    """Closes its file even where the first byte was never asked for."""

    def __init__(self, body: AsyncIterator[bytes], file: int, status: int, headers: dict[str, str], kind: str) -> None:
        super().__init__(body, status, headers, kind)
        self._file = file

    async def __call__(self, scope: object, receive: object, send: object) -> None:
        try:
            await super().__call__(scope, receive, send)  # type: ignore[arg-type]
        finally:
            os.close(self._file)


async def _read(file: int, start: int, stop: int) -> AsyncIterator[bytes]:
    while start < stop:
        chunk = await anyio.to_thread.run_sync(os.pread, file, min(CHUNK, stop - start), start)
        if not chunk:
            return  # cut short under our hands: the client sees fewer bytes than were promised
        start += len(chunk)
        yield chunk


def _has_it(request: Request, tag: str) -> bool:
    asked = request.headers.get("if-none-match", "")
    return asked.strip() == "*" or tag in [each.strip().removeprefix("W/") for each in asked.split(",")]


def _asked_range(request: Request, headers: dict[str, str], size: int) -> tuple[int, int, int]:
    """Start, stop and status. What is no single range of bytes is passed over, as RFC 9110 lets it be."""
    given = request.headers.get("range", "") if request.method == "GET" else ""  # there are ranges of nothing else
    asked = re.fullmatch(r"bytes=\s*(\d{0,18})-(\d{0,18})\s*", given, re.IGNORECASE | re.ASCII)
    still = request.headers.get("if-range", headers["ETag"]) in (headers["ETag"], headers["Last-Modified"])
    if (
        asked is None
        or not still
        or not (asked[1] or asked[2])
        or (asked[1] and asked[2] and int(asked[1]) > int(asked[2]))
    ):
        return 0, size, 200
    if asked[1]:
        start, stop = int(asked[1]), min(size, int(asked[2]) + 1) if asked[2] else size
    else:
        start, stop = max(0, size - int(asked[2])), size
    if start >= size or start >= stop:
        raise Problem(416, "no-such-range", f"the file has {size} bytes", headers={"Content-Range": f"bytes */{size}"})
    return start, stop, 206
