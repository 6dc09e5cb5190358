"""One job's own process: python -m storyboard.serve.child PARENT LOCK COMMANDS.

COMMANDS is a JSON list of command lines of `storyboard`, run one after another until one fails. LOCK is the device's
file: held for as long as this process runs, so that the job after it waits for whatever is still ending, even where the
server was killed and is another one by now. stdout is a file, the job's journal: the server may die and read on later.
"""

from __future__ import annotations

import json
import sys
import traceback
from pathlib import Path

from storyboard.failures import FAILED, INTERRUPTED, PARTLY
from storyboard.leash import heed_interrupts, held, leash

ENDED = "run.ended"
"""The journal's last line: where it is missing, the process was killed, and the job goes on another time."""


def main(parent: int, lock: Path, commands: list[list[str]]) -> None:
    heed_interrupts()
    leash(parent)
    try:
        with held(lock, lambda: _tell(event="device.waiting", text="waits for what is still ending on this device")):
            code = _run(commands)
    except KeyboardInterrupt:
        code = INTERRUPTED
    _tell(event=ENDED, code=code)
    sys.exit(code)


def _run(commands: list[list[str]]) -> int:
    code = 0
    for command in commands:
        ended = _ended(command)
        code = code or ended
        if ended not in (0, PARTLY):
            return ended
    return code


def _ended(command: list[str]) -> int:
    from storyboard.cli import app

    try:
        app(command)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else FAILED if end.code else 0
    except KeyboardInterrupt:
        return INTERRUPTED
    except BaseException:
        traceback.print_exc()
        return FAILED
    return 0


def _tell(**facts: object) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]))
