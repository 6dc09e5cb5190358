"""What compiling a model's blocks takes on this machine. Free of torch."""

from __future__ import annotations

import os
import shutil
import sysconfig
from importlib.util import find_spec
from pathlib import Path

UNCOMPILED = "WAN draws uncompiled, about a fifth slower"


def compile_lacks() -> tuple[str, str] | None:
    """What triton is missing to compile while rendering, and the remedy; None where nothing is."""
    if find_spec("triton") is None:
        return "the package triton is missing", "pip install triton (Windows: triton-windows)"
    if shutil.which(os.environ.get("CC", "gcc")) is None and shutil.which("clang") is None:
        return "no C compiler is here, which triton needs while running", "install gcc"
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        return "Python's headers are not here, which triton compiles with", "install python3-dev"
    return None
