"""Files as a Hugging Face hub publishes them: what it says of them, and their bytes, continued where they broke off.

A client of our own, where huggingface_hub would be at hand: that one compares no checksum (its issue 3643), begins
anew after a break in some of its versions (issue 4196), and is not in the core installation. What is asked of the hub
is little and has been stable for years: a model's facts with its files' SHA-256, and byte ranges.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import urllib.request
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPException, HTTPResponse
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any, cast
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urljoin, urlsplit

from scenes.shot import MachineLacks

ENDPOINT = "https://huggingface.co"
CHUNK = 1 << 20
TIMEOUT = 30.0
PASSING = (408, 425, 429, 500, 502, 503, 504)
YES = ("1", "on", "yes", "true")


class HubError(MachineLacks):
    """The hub cannot be asked, or does not give what is asked of it; the message says what to do."""


class Broken(Exception):  # noqa: N818 (an outcome)
    """A connection that broke, or never came about; another try may do."""


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a repository at one commit. `sha256` is of its bytes."""

    repo: str
    commit: str
    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Repo:
    """What the hub says of a repository. `licence` None: it says none. `files`: those it keeps a SHA-256 of."""

    name: str
    licence: str | None
    files: Mapping[str, HubFile]


class Part:
    """A file on its way: what is there of it, with the SHA-256 so far. Used as a context, it is closed at its end."""

    def __init__(self, path: Path) -> None:
        self._hash = hashlib.sha256()
        self.size = 0
        self._file: IO[bytes] = path.open("a+b")
        self._file.seek(0)
        while chunk := self._file.read(CHUNK):
            self._count(chunk)

    def write(self, chunk: bytes) -> None:
        self._file.write(chunk)
        self._count(chunk)

    def restart(self) -> None:
        self._file.truncate(0)
        self._hash, self.size = hashlib.sha256(), 0

    def _count(self, chunk: bytes) -> None:
        self._hash.update(chunk)
        self.size += len(chunk)

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def __enter__(self) -> Part:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


@dataclass(frozen=True, slots=True)
class Hub:
    """`pauses`: seconds before each further try after a broken connection; bytes that came start them anew."""

    endpoint: str = ENDPOINT
    token: str | None = None
    offline: bool = False
    pauses: tuple[float, ...] = (1, 2, 4, 8, 16)

    def repo(self, name: str) -> Repo:
        """Raises HubError."""
        if self.offline:
            raise HubError("HF_HUB_OFFLINE is set, and weights are to be pulled: unset it")
        try:
            with self._opened(f"{self.endpoint}/api/models/{name}?blobs=true", name) as answer:
                facts: Any = json.loads(b"".join(_chunks(answer)))
            return _repo(name, facts)
        except Broken as error:
            raise HubError(f"{self.endpoint} cannot be reached ({error}): {self._remedy()}") from None
        except (ValueError, KeyError, TypeError, AttributeError):
            raise HubError(f"{self.endpoint} answers as no hub does: {self._remedy()}") from None

    def fetch(self, file: HubFile, part: Part, told: Callable[[int], None]) -> None:
        """Bring a part to its whole size, going on from what is there; `told` hears how many bytes there are.

        Raises:
            HubError: the hub gives it no more, or broke off again and again.
        """
        pauses = iter(self.pauses)
        told(part.size)
        while part.size < file.size:
            had = part.size
            try:
                self._continue(file, part, told)
                why = "the connection ended early"
            except Broken as error:
                why = str(error)
            if part.size > had:
                pauses = iter(self.pauses)
            if part.size < file.size:
                pause = next(pauses, None)
                if pause is None:
                    raise HubError(
                        f"{file.path} broke off at {part.size} of {file.size} bytes ({why}): "
                        "what came is kept, run the same command again to go on"
                    )
                time.sleep(pause)

    def _continue(self, file: HubFile, part: Part, told: Callable[[int], None]) -> None:
        url = f"{self.endpoint}/{file.repo}/resolve/{file.commit}/{quote(file.path)}"
        begin = f"bytes={part.size}-" if part.size else None
        with self._opened(url, file.repo, begin) as answer:
            if part.size and not _goes_on(answer, part.size):
                part.restart()  # a proxy that knows no ranges sends it whole
            for chunk in _chunks(answer):
                part.write(chunk)
                told(part.size)
                if part.size > file.size:
                    return  # another file than the hub told of: its checksum will say so

    @contextmanager
    def _opened(self, url: str, repo: str, begin: str | None = None) -> Generator[HTTPResponse]:
        """Raises Broken and HubError."""
        headers = {"User-Agent": f"storyboard/{version('storyboard')}", "Accept-Encoding": "identity"}
        if begin is not None:
            headers["Range"] = begin
        try:
            request = urllib.request.Request(url, headers=headers)
            if self.token:
                request.add_unredirected_header("Authorization", f"Bearer {self.token}")
            answer = urllib.request.build_opener(Redirects).open(request, timeout=TIMEOUT)
        except HTTPError as error:
            error.close()
            if error.code in PASSING:
                raise Broken(f"it answers {error.code} {error.reason}") from None
            raise HubError(self._refusal(error.code, str(error.reason), url, repo)) from None
        except (OSError, HTTPException) as error:
            raise Broken(_why(error)) from error
        except ValueError as error:
            raise HubError(f"HF_ENDPOINT={self.endpoint} is no address of a hub ({error})") from None
        with answer:
            yield answer

    def _refusal(self, code: int, reason: str, url: str, repo: str) -> str:
        page = f"{self.endpoint}/{repo}"
        if code in (401, 403):
            token = "the token in HF_TOKEN does not open it" if self.token else "it wants a token: set HF_TOKEN"
            return f"{self.endpoint} does not give {repo} ({code} {reason}): {token}, and see {page} for its terms"
        if code == 404:
            return f"{url} is not there (404): see {page} for what became of it"
        return f"{self.endpoint} does not give {repo} ({code} {reason})"

    def _remedy(self) -> str:
        way = f"is HF_ENDPOINT={self.endpoint} right" if self.endpoint != ENDPOINT else "is this machine online"
        return f"{way}? Weights brought by hand go into the same folders"


class Redirects(urllib.request.HTTPRedirectHandler):
    """Follows the hub to where its bytes lie; a token goes to the hub's own host alone."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> urllib.request.Request | None:
        new = super().redirect_request(req, fp, code, msg, cast("Any", headers), newurl)
        known = req.get_header("Authorization")
        if new is not None and known and urlsplit(urljoin(req.full_url, newurl))[:2] == urlsplit(req.full_url)[:2]:
            new.add_unredirected_header("Authorization", known)
        return new


def hub_of_environment() -> Hub:
    """As huggingface_hub reads its variables: HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE."""
    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or ENDPOINT
    offline = os.environ.get("HF_HUB_OFFLINE", "").strip().lower() in YES
    return Hub(endpoint, os.environ.get("HF_TOKEN", "").strip() or None, offline)


def _repo(name: str, facts: Any) -> Repo:
    files: dict[str, HubFile] = {}
    for sibling in facts["siblings"]:
        known: Any = sibling.get("lfs")
        if known and "sha256" in known:
            path = str(sibling["rfilename"])
            files[path] = HubFile(name, str(facts["sha"]), path, int(known["size"]), str(known["sha256"]).lower())
    card: Any = facts.get("cardData")
    stated: Any = card.get("license") if card else None
    return Repo(name, stated if isinstance(stated, str) else None, files)


def _chunks(answer: HTTPResponse) -> Generator[bytes]:
    while True:
        try:
            chunk = answer.read(CHUNK)
        except (OSError, HTTPException) as error:
            raise Broken(_why(error)) from error
        if not chunk:
            return
        yield chunk


def _goes_on(answer: HTTPResponse, begin: int) -> bool:
    return answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {begin}-")


def _why(error: Exception) -> str:
    """What broke, in the system's words."""
    cause = error.reason if isinstance(error, URLError) else error
    if isinstance(cause, TimeoutError):
        return f"no answer for {TIMEOUT:.0f} s"
    return (cause.strerror if isinstance(cause, OSError) else None) or str(cause) or type(cause).__name__
