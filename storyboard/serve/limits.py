"""How much a server takes in and keeps."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 2**20


@dataclass(frozen=True, slots=True)
class Limits:
    """Of what is uploaded: `upload` bytes as sent and `unpacked` as files, `files` in a story, `story` bytes of its
    text, `pixels` of a picture. `json`: bytes of a request's JSON. `queued` jobs at most; `events` and `ended` jobs are
    kept so many. `streams` at a time. `answer`: seconds that reading a story may take."""

    upload: int = 256 * MIB
    unpacked: int = 512 * MIB
    files: int = 500
    story: int = 2 * MIB
    pixels: int = 50_000_000
    json: int = MIB
    queued: int = 100
    events: int = 100_000
    ended: int = 1_000
    streams: int = 200
    answer: float = 60.0
