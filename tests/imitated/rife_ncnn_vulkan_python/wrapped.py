"""Mixes two frames, and fails as the file named by IMITATED_RIFE says: {"at": frame, "how": ...}; frame 0 is the trial.

Each process writes its number into the file beside it that ends with .pid, and each frame what it was given into .seen.
"""

import ctypes
import json
import os
import signal
import sys
from pathlib import Path

import numpy as np

ORDERS = Path(os.environ["IMITATED_RIFE"])
ORDERS.with_suffix(".pid").write_text(str(os.getpid()))


class StringType:
    str = None


class Image:
    def __init__(self, pixels, width, height, channels):
        self.pixels = np.frombuffer(pixels, np.uint8).reshape(height, width, channels)


def new_str_p():
    return []


def str_p_assign(pointer, value):
    pointer.append(value)


def get_gpu_count():
    return 0


class RifeWrapped:
    def __init__(self, gpu, tta, temporal_tta, uhd, threads, v2, v4):
        self.opened = {"gpu": gpu, "v4": v4, "other": (tta, temporal_tta, uhd, v2)}
        self.frame = 0

    def load(self, folder):
        self.opened["folder"] = str(Path(folder.str[0]).resolve())
        if orders()["how"] == "crash at load":
            os.kill(os.getpid(), signal.SIGSEGV)

    def process(self, before, after, time, out):
        said = orders()
        number, self.frame = self.frame, self.frame + 1
        mixed = before.pixels * (1 - time) + after.pixels * time
        out.pixels[:] = np.round(mixed).astype(np.uint8)
        if number:
            np.savez(ORDERS.with_suffix(".npz"), before=before.pixels, after=after.pixels, time=time)
            ORDERS.with_suffix(".seen").write_text(json.dumps(self.opened))
        if number == said.get("at"):
            if said.get("once"):
                ORDERS.write_text('{"how": ""}')
            return FAILURES[said["how"]](out)
        return 0


def orders():
    return json.loads(ORDERS.read_text())


def replies():
    return json.loads(sys.argv[1])["replies"]


def hang(out):
    ctypes.PyDLL(None).sleep(600)  # as PyDLL, it holds Python's lock meanwhile
    return 0


def crash(out):
    sys.stderr.write("vkCreateDevice failed -3\nand goodbye\n")
    sys.stderr.flush()
    os.kill(os.getpid(), signal.SIGSEGV)


def chatter(out):
    sys.stdout.write("[0 GPU]  queueC=0[1]\n")
    sys.stdout.flush()
    return 0


def complain(out):
    sys.stderr.write("vkQueueSubmit failed -4\n")
    sys.stderr.flush()
    return 0


def write(says):
    os.write(replies(), says)
    return 0


def blacken(out):
    out.pixels[:] = 0
    return 0


FAILURES = {
    "exit": lambda out: os._exit(7),
    "crash": crash,
    "hang": hang,
    "chatter": chatter,
    "complaint": complain,
    "code": lambda out: -100,
    "garbage": lambda out: write(b"\xff\x00 no JSON\n"),
    "no answer": lambda out: write(b"[1, 2]\n"),
    "wrong size": lambda out: write(b'{"drawn": [32, 32]}\n'),
    "black": blacken,
}
