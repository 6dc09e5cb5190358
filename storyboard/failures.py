"""What goes wrong, as a message and an exit code: never a traceback for something a person can cause."""

from __future__ import annotations

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
        except (RuntimeError, BrokenPipeError):
            raise  # typer's own: Exit, Abort, a reader that has left
        except Exception as error:
            raise typer.Exit(failure(error)) from None


def failure(error: Exception) -> int:
    """Say what went wrong and give the exit code; what no person can have caused goes on as it is."""
    from post.encode import EncoderMissing
    from post.weights import Lacking
    from scenes.footage import DamagedFile
    from scenes.picture import PictureError
    from scenes.shot import MachineLacks, Stopped
    from storyboard.export import NotRendered
    from storyboard.film import SceneFailed
    from storyboard.settings import SettingsError

    cause = error.__cause__ if isinstance(error, SceneFailed) else error
    match cause:
        case Stopped():
            code = INTERRUPTED
        case MachineLacks() | Lacking() | EncoderMissing() | SettingsError():
            code = MACHINE
        case PictureError():
            code = STORY
        case DamagedFile() | NotRendered():
            code = FAILED
        case OSError():
            code = MACHINE
        case _ if isinstance(error, SceneFailed):
            code = FAILED
        case _:
            raise error
    say(str(error))
    return code
