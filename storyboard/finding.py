"""What the doctor finds."""

from __future__ import annotations

from dataclasses import dataclass

OK, MISSING, NOTE = "ok", "missing", "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """`state`: ok, missing (something asked for will fail) or note. `remedy` where there is one."""

    part: str
    state: str
    says: str
    remedy: str | None = None
