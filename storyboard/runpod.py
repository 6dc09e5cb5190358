"""RunPod Serverless: a job is what `storyboard render` does, with its story and pictures in the input."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import Any, cast

import runpod

from storyboard.serverless.bucket import DeliveryError
from storyboard.serverless.job import Job, JobFailed
from storyboard.serverless.order import OrderError, read_order
from storyboard.serverless.telling import Telling

SENDING = "(_thread_target)"  # what Python calls the threads of the SDK's progress_update
SENT_SECONDS = 5.0


async def handler(job: dict[str, Any]) -> dict[str, Any]:
    """The answer to a job, or {"error": ...}. A cancelled job stops its render between two steps."""
    telling = Telling(lambda facts: _send(job, facts))
    try:
        return await Job(str(job.get("id", "job")), read_order(job.get("input")), telling).fulfil()
    except OrderError as error:
        return {"error": str(error), "mistakes": error.mistakes} if error.mistakes else {"error": str(error)}
    except JobFailed as error:
        # A worker whose GPU or memory failed is stopped: the next job gets another.
        return {"error": str(error), "refresh_worker": True} if error.machine else {"error": str(error)}
    except DeliveryError as error:
        return {"error": str(error)}
    except OSError as error:
        remedy = "free some space, or attach a larger volume; what was finished is kept: send the job again"
        return {"error": f"the worker's disk or volume cannot be used ({error}): {remedy}"}
    finally:
        telling.close()
        await asyncio.to_thread(_await_sent)


def _send(job: dict[str, Any], facts: dict[str, Any]) -> None:
    if os.environ.get("RUNPOD_WEBHOOK_POST_OUTPUT"):  # the local server has nowhere to send it to
        cast(Any, runpod.serverless).progress_update(job, facts)


def _await_sent() -> None:
    """The SDK sends each progress from a thread of its own: one that came after the result would hide it."""
    for thread in threading.enumerate():
        if thread.name.endswith(SENDING):
            thread.join(SENT_SECONDS)


def start() -> None:
    cast(Any, runpod.serverless).start({"handler": handler})
