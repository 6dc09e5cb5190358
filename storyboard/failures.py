"""What goes wrong, as a message and an exit code: never a traceback for something a person can cause."""

from __future__ import annotations

import errno
import sys
from typing import Any

import typer
from typer.core import TyperGroup

FAILED, USAGE, STORY, MACHINE, PARTLY, INTERRUPTED = 1, 2, 3, 4, 5, 130


def say(text: str) -> None:
    """A message, to stderr."""
    sys.stderr.write(text + "\n")


class Commands(TyperGroup):
    """Runs a command; mistakes become messages and exit codes, never a traceback."""

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]  # typer's Context is the one passed
        from storyboard.mistakes import StoryError

        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            say("interrupted; what was finished is kept")
            raise typer.Exit(INTERRUPTED) from None
        except StoryError as error:
            say(str(error))
            raise typer.Exit(STORY) from None
        except (typer.Exit, typer.Abort, BrokenPipeError):
            raise  # a reader of a pipe that leaves is typer's to handle
        except Exception as error:
            raise typer.Exit(failure(error)) from None


def failure(error: Exception) -> int:
    """Say what went wrong and give the exit code; what no person can have caused goes on as it is."""
    from post.encode import EncoderMissing
    from post.rife_ncnn import NcnnFailed
    from post.weights import Lacking
    from scenes.footage import DamagedFile
    from scenes.picture import PictureError
    from scenes.shot import MachineLacks, Stopped
    from scenes.wan.checkpoint import CheckpointError
    from storyboard.export import NotRendered
    from storyboard.film import SceneFailed
    from storyboard.settings import FlagError, SettingsError

    cause = error.__cause__ if isinstance(error, SceneFailed) else error
    match cause:
        case Stopped():
            code = INTERRUPTED
        case FlagError():
            code = USAGE
        case MachineLacks() | Lacking() | EncoderMissing() | SettingsError() | CheckpointError():
            code = MACHINE
        case PictureError():
            code = STORY
        case DamagedFile() | NotRendered() | NcnnFailed():
            code = FAILED
        case OSError():
            code = MACHINE
        case _ if isinstance(error, SceneFailed):
            code = FAILED
        case _:
            raise error
    say(_said(cause, error))
    return code


def _said(cause: BaseException | None, error: Exception) -> str:
    """The message; what the system refuses, as a sentence with the file first."""
    if isinstance(cause, OSError) and cause.strerror and cause.filename and cause is error:
        return f"{cause.filename}: {cause.strerror}"
    if isinstance(cause, OSError) and cause.errno == errno.ENOSPC:
        return f"{error}: free some space and run the same command again; what was finished is kept"
    return str(error)
