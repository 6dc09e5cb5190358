"""One job's own process: python -m storyboard.serve.child PARENT LOCK DEVICE COMMANDS.

COMMANDS is a JSON list of command lines of `storyboard`, run one after another until one fails. LOCK is a file of the
library's for its device, held for as long as this process runs, so that the job after it waits for whatever is still
ending, even where the server was killed and is another one by now. On a GPU it waits for other libraries' jobs too.
stdout is a file, the job's journal: the server may die and read on later.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path

from post.devices import has_gpu
from storyboard.failures import FAILED, INTERRUPTED, PARTLY
from storyboard.leash import gpu_lock, heed_interrupts, held, leash
from storyboard.settings import SettingsError, settings

ENDED = "run.ended"
"""The journal's last line: where it is missing, the process was killed, and the job goes on another time."""


def main(parent: int, lock: Path, device: str | None, commands: list[list[str]]) -> None:
    heed_interrupts()
    leash(parent)
    try:
        with held(lock, _waits("waits for what is still ending on this device")), on_gpu(device):
            code = _run(commands)
    except KeyboardInterrupt:
        code = INTERRUPTED
    _tell(event=ENDED, code=code)
    sys.exit(code)


def on_gpu(device: str | None) -> AbstractContextManager[object]:
    """The GPU is this job's within `with`, of all that are begun by a server or a worker on this machine."""
    with suppress(SettingsError):  # the command itself says what is wrong
        device = settings(device=device).device
    if not has_gpu(device):
        return nullcontext()
    return held(gpu_lock(device), _waits("waits for another library's job on this GPU"))


def _waits(text: str) -> Callable[[], None]:
    return lambda: _tell(event="device.waiting", text=text)


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
    main(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] or None, json.loads(sys.argv[4]))
