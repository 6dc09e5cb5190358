"""Reads stories and kept work for the server, in a process that it starts when it must and ends when it is idle.

python -m storyboard.serve.reader PARENT. Questions come as JSON lines on stdin, answers go to stdout. What a session of
the command line loads (NumPy, PyAV, OpenCV) is loaded here; a picture that eats all memory ends this process alone.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

import typer

from scenes.footage import DamagedFile
from scenes.picture import PictureError
from scenes.shot import MachineLacks
from storyboard.board import reading
from storyboard.choosing import NotToBeChosen
from storyboard.leash import leash
from storyboard.mistakes import StoryError
from storyboard.serve import questions, taking
from storyboard.serve.questions import NotCurrent
from storyboard.settings import SettingsError

QUESTIONS = {**questions.QUESTIONS, **taking.QUESTIONS, **reading.QUESTIONS}


def answer(question: dict[str, Any]) -> dict[str, Any]:
    """Of one question; what goes wrong is an answer too."""
    try:
        return {"answer": QUESTIONS[question["ask"]](**question["facts"])}
    except StoryError as error:
        mistakes = [
            {
                "message": mistake.message,
                "file": Path(mistake.file).name,
                "line": mistake.line,
                "column": mistake.column,
                "scene": mistake.scene,
                "source": mistake.source,
                "width": mistake.width,
            }
            for mistake in error.mistakes
        ]
        return {"wrong": "story", "mistakes": mistakes}
    except PictureError as error:
        return {"wrong": "picture", "says": str(error)}
    except NotToBeChosen as error:
        return {"wrong": "choice", "says": str(error)}
    except NotCurrent as error:
        return {"wrong": "not-current", "says": str(error)}
    except KeyError as error:
        return {"wrong": "missing", "says": str(error.args[0])}
    except typer.BadParameter as error:
        return {"wrong": "usage", "says": error.message}
    except (MachineLacks, SettingsError, DamagedFile, OSError) as error:
        return {"wrong": "machine", "says": str(error)}
    except Exception:
        traceback.print_exc()
        return {"wrong": "bug"}


def main() -> None:
    leash(int(sys.argv[1]))
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what some library prints is no answer
    for line in sys.stdin:
        answers.write(json.dumps(answer(json.loads(line))) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
