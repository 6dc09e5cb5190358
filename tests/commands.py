"""The command line in this process: for what it says and how it ends, where a process of its own would prove no more.

A process costs half a second of imports. That commands work as processes, and load only what they need, is shown by
test_cli.py.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from typer.testing import CliRunner

from storyboard.cli import app


@dataclass(frozen=True)
class Ran:
    """As subprocess.CompletedProcess has it."""

    returncode: int
    stdout: str
    stderr: str


def run_here(*args: str | Path, env: dict[str, str]) -> Ran:
    """Run a command with these variables; the others are those of this process, but for the project's own."""
    unset: dict[str, str | None] = {name: None for name in os.environ if name.startswith(("HF_", "STORYBOARD_"))}
    result = CliRunner(env={**unset, **env}).invoke(app, [str(arg) for arg in args])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception  # a person would see a traceback
    return Ran(result.exit_code, result.stdout, result.stderr)
