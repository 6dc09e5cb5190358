"""Names: which a story may have on the server, and which its files."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from pathlib import PurePosixPath

STORY_ID = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"
SCENE_NAME = r"^[A-Za-z0-9_-]{1,80}$"
STORY_FILE = "story.toml"
SCHEMA_FILE = "story.schema.json"
"""What `init` writes beside a story, for editors."""
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".avif", ".gif", ".bmp", ".tif", ".tiff", ".tga", ".ppm", ".jp2")
SOUNDS = (".wav", ".mp3", ".flac", ".m4a", ".ogg", ".opus")
WEIGHTS = (".safetensors", ".gguf", ".pth", ".pt", ".pkl", ".ckpt", ".bin", ".onnx", ".param")
KEPT = (".storyboard", "out")
"""What renders leave in a story's folder: never uploaded, and never replaced."""
LEFT_BY_SYSTEMS = re.compile(r"__MACOSX/.*|(.*/)?(\.DS_Store|Thumbs\.db|desktop\.ini|\._[^/]*)")
RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
LONGEST, DEEPEST = 200, 8


class NameRefused(ValueError):  # noqa: N818 (an outcome)
    """A file's name that a story may not have; the message is a sentence."""


def passed_over(name: str) -> bool:
    """What file managers leave in archives by themselves."""
    return LEFT_BY_SYSTEMS.fullmatch(name) is not None


def usable(name: str) -> str:
    """The name of a file in a story, relative to its folder. Raises NameRefused.

    What one system takes for a name and another for a device, a drive or a folder above is refused on all.
    """
    said = f'the name "{name[:80]}"'
    parts = name.split("/")
    if not name or len(name) > LONGEST or len(parts) > DEEPEST or any(len(part.encode()) > 120 for part in parts):
        raise NameRefused(f"{said} is empty, too long or too deep")
    if any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") or c in '\\:*?"<>|' for c in name):
        raise NameRefused(f"{said} holds characters that names of files may not have")
    for part in parts:
        if part in ("", ".", "..") or part != part.strip() or part.endswith(".") or RESERVED.fullmatch(part):
            raise NameRefused(f"{said} leads outside the story's folder, or is no name on some systems")
        if part.startswith((".", "~")):
            raise NameRefused(f"{said} is a hidden file's")
    if parts[0].casefold() in KEPT:
        raise NameRefused(f"{said} is where renders write: it cannot be uploaded")
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in WEIGHTS:
        raise NameRefused(f"{said} is of weights: they lie on the server, and are never uploaded")
    if name not in (STORY_FILE, SCHEMA_FILE) and suffix not in (*PICTURES, *SOUNDS):
        raise NameRefused(f"{said} is of no picture or sound: a story is {STORY_FILE} with those")
    return name


def check_apart(names: Iterable[str]) -> None:
    """Raises NameRefused where two names, or a file and a folder, are one on some system."""
    seen: dict[str, str] = {}
    files: set[str] = set()
    for name in names:
        folded = folded_name(name)
        if folded in seen:
            raise NameRefused(f'"{seen[folded]}" and "{name}" are one file on some systems: rename one')
        seen[folded] = name
        files.add(folded)
    for folded, name in seen.items():
        parents = [str(parent) for parent in PurePosixPath(folded).parents]
        if any(parent in files for parent in parents):
            raise NameRefused(f'"{name}" lies in what is a file as well: rename one')
    written: dict[str, str] = {}
    for name in seen.values():
        for parent in map(str, PurePosixPath(name).parents):
            if written.setdefault(folded_name(parent), parent) != parent:
                raise NameRefused(f'the folders "{parent}" and "{written[folded_name(parent)]}" differ in case alone')


def folded_name(name: str) -> str:
    """Equal where some system takes two names for one."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
