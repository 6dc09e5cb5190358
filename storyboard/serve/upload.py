"""A story as it is sent, a zip or its files one by one, put into a fresh folder within limits."""

from __future__ import annotations

import errno
import stat
import zipfile
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import IO, Any, cast

import anyio.to_thread
from python_multipart.exceptions import FormParserError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect, Request

from storyboard.serve.limits import Limits
from storyboard.serve.names import STORY_FILE, NameRefused, check_apart, passed_over, usable
from storyboard.serve.problems import Problem, refused, too_large

ZIPS = ("application/zip", "application/x-zip-compressed")
FORM = "multipart/form-data"
CHUNK = 2**18
LIST = 2**20
"""Bytes of a zip's list of files, which names each with what else is said of it: some 100 bytes."""
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


async def receive_story(request: Request, aside: Path, limits: Limits) -> list[str]:
    """Write what a request carries into `aside`, a folder that is there and empty; gives the files' names.

    Raises:
        Problem: it is too large, no story, or has names that are refused.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in (*ZIPS, FORM):
        raise Problem(415, "unsupported", f"send a story as {ZIPS[0]} or {FORM}")
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > limits.upload:
        raise _too_much(limits)
    if kind == FORM:
        return await _form(request, aside, limits)
    whole = aside.with_name(f"{aside.name}.zip")
    try:
        with whole.open("wb") as file:
            async for chunk in _within(request.stream(), limits):
                await anyio.to_thread.run_sync(file.write, chunk)
        return await anyio.to_thread.run_sync(unpack, whole, aside, limits)
    except ClientDisconnect:
        raise Problem(400, "cut-off", "the upload was cut off") from None
    finally:
        whole.unlink(missing_ok=True)


async def _within(stream: AsyncIterator[bytes], limits: Limits) -> AsyncIterator[bytes]:
    sent = 0
    async for chunk in stream:
        sent += len(chunk)
        if sent > limits.upload:
            raise _too_much(limits)
        yield chunk


def _too_much(limits: Limits) -> Problem:
    return too_large(f"an upload may have {limits.upload} bytes at most")


async def _form(request: Request, aside: Path, limits: Limits) -> list[str]:
    """The parts that are files, by their file names; one that is a zip is unpacked."""
    counted = Request(request.scope, _counting(request.receive, limits))
    try:
        async with counted.form(max_files=limits.files + 1, max_fields=10) as form:
            files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
            return await anyio.to_thread.run_sync(_write_parts, files, aside, limits)
    except (MultiPartException, FormParserError) as error:
        raise Problem(400, "malformed", f"the form cannot be read: {error}") from None
    except ClientDisconnect:
        raise Problem(400, "cut-off", "the upload was cut off") from None
    except Problem:
        raise
    except Exception as error:
        # Starlette turns a parser's error into an HTTPException where an application is in the scope.
        if getattr(error, "status_code", None) == 400:
            raise Problem(400, "malformed", f"the form cannot be read: {getattr(error, 'detail', '')}") from None
        raise


def _counting(receive: Callable[[], Any], limits: Limits) -> Callable[[], Any]:
    sent = 0

    async def counted() -> Any:
        nonlocal sent
        message = await receive()
        sent += len(message.get("body", b""))
        if sent > limits.upload:
            raise _too_much(limits)
        return message

    return counted


def _write_parts(files: list[UploadFile], aside: Path, limits: Limits) -> list[str]:
    if len(files) == 1 and (files[0].filename or "").lower().endswith(".zip"):
        return _unpack(files[0].file, aside, limits)
    parts = [(file.filename or "", file.file) for file in files]
    return _write(iter(parts), [name for name, _ in parts], aside, limits)


def unpack(path: Path, aside: Path, limits: Limits) -> list[str]:
    """A zip's files, written into a folder. Raises Problem."""
    with path.open("rb") as file:
        return _unpack(file, aside, limits)


class _Sparing:
    """A zip's file. `zipfile` reads the whole list of its entries at once, and makes an object of each: a list of
    millions would be gigabytes of memory."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if size > LIST:
            raise zipfile.BadZipFile("its list of files is too long")
        return self._file.read(size)


def _unpack(file: IO[bytes], aside: Path, limits: Limits) -> list[str]:
    try:
        with zipfile.ZipFile(cast("IO[bytes]", _Sparing(file))) as archive:
            infos = [i for i in archive.infolist() if not i.is_dir() and not passed_over(i.filename)]
            _check_entries(infos, limits)
            top = _top([info.filename for info in infos])
            names = [info.filename.removeprefix(top) for info in infos]
            opened = ((name, archive.open(info)) for name, info in zip(names, infos, strict=True))
            return _write(opened, names, aside, limits)
    except (
        zipfile.BadZipFile,
        zipfile.LargeZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
        ValueError,
        OverflowError,
    ) as error:
        raise refused(f"the zip cannot be read: {error}") from None
    except OSError as error:
        if error.errno == errno.EINVAL:  # it says that something lies before its beginning
            raise refused("the zip cannot be read: it is not whole") from None
        raise


def _check_entries(infos: list[zipfile.ZipInfo], limits: Limits) -> None:
    if len(infos) > limits.files:
        raise too_large(f"a story may have {limits.files} files at most")
    if sum(info.file_size for info in infos) > limits.unpacked:
        raise too_large(f"a story may have {limits.unpacked} bytes at most")
    for info in infos:
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG):
            raise refused(f'"{info.filename[:80]}" is a link or a device: a story is made of files')
        if info.flag_bits & 1:
            raise refused("the zip is encrypted")
        if info.compress_type not in METHODS:
            raise refused(f'"{info.filename[:80]}" is compressed in a way that is not read: use deflate')


def _top(names: list[str]) -> str:
    """The one folder that everything lies in, where a folder was zipped rather than what is in it."""
    if STORY_FILE in names:
        return ""
    tops = {name.partition("/")[0] for name in names}
    top = f"{next(iter(tops))}/" if len(tops) == 1 else ""
    return top if f"{top}{STORY_FILE}" in names else ""


def _write(files: Iterator[tuple[str, IO[bytes]]], names: list[str], aside: Path, limits: Limits) -> list[str]:
    try:
        for name in names:
            usable(name)
        check_apart(names)
    except NameRefused as error:
        raise refused(str(error)) from None
    if STORY_FILE not in names:
        raise refused(f"there is no {STORY_FILE} in what was sent")
    if len(names) > limits.files:
        raise too_large(f"a story may have {limits.files} files at most")
    left = limits.unpacked
    for name, file in files:
        target = aside / name
        target.parent.mkdir(parents=True, exist_ok=True)
        most = min(left, limits.story) if name == STORY_FILE else left
        with target.open("xb") as out:
            # What an archive says of a file's size is not believed.
            while chunk := file.read(CHUNK):
                most, left = most - len(chunk), left - len(chunk)
                if most < 0:
                    raise too_large(f"{name} is too large, or all files together are")
                out.write(chunk)
    return names
