"""Prints what the core and each extra named require, without the project itself.

The Dockerfile installs these before it copies any source.
"""

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

PROJECT = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]
OWN_EXTRA = re.compile(rf"{PROJECT['name']}\[(.+)\]")


def requirements(extra: str) -> Iterator[str]:
    """An extra's requirements; those of our own extras that it names, `storyboard[upscale]`, in their place."""
    for line in PROJECT["optional-dependencies"][extra]:
        if own := OWN_EXTRA.fullmatch(line):
            for name in own[1].split(","):
                yield from requirements(name.strip())
        else:
            yield line


if __name__ == "__main__":
    wanted = [*PROJECT["dependencies"], *(line for extra in sys.argv[1:] for line in requirements(extra))]
    print("\n".join(sorted(set(wanted))))
