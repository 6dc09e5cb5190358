"""How much of a clip is shown, and so which of its frames the next scene opens on."""

from __future__ import annotations

import re
from dataclasses import dataclass

FORM = re.compile(r"\s*(?:last|sharpest\s+of\s+([0-9]{1,4}))\s*")


@dataclass(frozen=True, slots=True)
class HandOn:
    """`trim` frames are left out at a clip's end, and of the last `among` of the rest the sharpest is the last that is
    shown: that one is handed on."""

    trim: int = 0
    among: int = 1

    def most(self, frames: int) -> int:
        """Of a clip's frames, those that are shown, at most."""
        return frames - self.trim

    def least(self, frames: int) -> int:
        return frames - self.trim - self.among + 1

    def fits(self, frames: int) -> bool:
        """Whether a clip of so many has all the frames that may be handed on; one from before an edit may not."""
        return self.least(frames) >= 1


LAST = HandOn()


def among_of(text: str) -> int | None:
    """Of how many frames a story's `hand_on` names the sharpest; None where it names no frame."""
    found = FORM.fullmatch(text)
    count = None if found is None else int(found[1] or 1)
    return count or None
