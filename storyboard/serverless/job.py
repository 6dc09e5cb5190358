"""A job, top to bottom: its pictures fetched, its story checked, rendered, verified, and the videos given back."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import tempfile
import time
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from storyboard.events import read_event
from storyboard.failures import INTERRUPTED, MACHINE, PARTLY
from storyboard.leash import gpu_lock
from storyboard.mistakes import did_you_mean
from storyboard.serverless.bucket import Bucket, bucket_of, check_inline, content_type, inline
from storyboard.serverless.child import Ended, ask, storyboard
from storyboard.serverless.order import Order, OrderError
from storyboard.serverless.pictures import write_pictures
from storyboard.serverless.places import Places, places, publish, story_id, sweep, writable
from storyboard.serverless.telling import Course, Telling
from storyboard.serverless.toml import toml_text

SUFFIX = {"prores": ".mov", "prores-4444": ".mov", "ffv1": ".mkv"}


class JobFailed(Exception):  # noqa: N818 (an outcome)
    """The message is for whoever sent the job. `machine`: another worker may well do it."""

    def __init__(self, message: str, *, machine: bool = False) -> None:
        super().__init__(message)
        self.machine = machine


@dataclass
class Job:
    """One job under way. `timings`: seconds of each step."""

    id: str
    order: Order
    telling: Telling
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    timings: dict[str, Any] = field(default_factory=dict[str, Any])
    course: Course = field(default_factory=Course)

    async def fulfil(self) -> dict[str, Any]:
        """The answer. Raises OrderError, JobFailed and DeliveryError."""
        began = time.monotonic()
        bucket, where = bucket_of(self.environment), places(self.environment)
        for folder in (where.stories, Path(where.environment["STORYBOARD_STORE"])):
            if problem := writable(folder):
                raise JobFailed(f"{problem}, and kept work belongs there: attach a network volume that may be written")
        if not self.order.draft:
            await self._check_gpu(where)
        story = await self._story(where)
        code = await self._render(story, where)
        seams = await self._seams(story, where)
        with self._timed("deliver"):
            videos = await self._videos(story, where, bucket)
        self.timings |= {"scenes": self.course.seconds, "total": round(time.monotonic() - began, 3)}
        answer = {"videos": videos, "seams": seams, "timings": self.timings, "made": self.course.made}
        return answer | self._besides(code, where)

    def _besides(self, code: int, where: Places) -> dict[str, Any]:
        notes = list(dict.fromkeys(self.course.notes))
        if not where.lasting:
            notes.append("no volume is attached: what was kept goes with this worker")
        said = {"seed": self.course.seed, "notes": notes or None}
        said |= {"failed": self.course.failed} if code == PARTLY else {}
        return {key: value for key, value in said.items() if value is not None}

    @contextlib.contextmanager
    def _timed(self, step: str) -> Generator[None]:
        self.telling.tell(step=step)
        began = time.monotonic()
        try:
            yield
        finally:
            self.timings[step] = round(time.monotonic() - began, 3)

    async def _check_gpu(self, where: Places) -> None:
        """doctor's own checks of the GPU, before anything else is done."""
        if where.environment.get("STORYBOARD_DEVICE") == "cpu":  # asked for by name
            return
        with self._timed("gpu"):
            lacks: list[str] = _json(await ask("gpu", environment=where.environment))["lacks"]
        if lacks:
            raise JobFailed("\n".join(lacks), machine=True)

    async def _story(self, where: Places) -> Path:
        """The story file in a folder of its own, with its pictures, all checked."""
        order = self.order
        try:
            text = order.story if isinstance(order.story, str) else toml_text(order.story)
            text.encode("utf-8")
        except ValueError as error:
            raise OrderError(f"input.story {error}") from None
        with self._timed("fetch"), tempfile.TemporaryDirectory(prefix="storyboard-") as made:
            folder = Path(made)
            await asyncio.to_thread(write_pictures, order.pictures, folder)
            names = await self._checked(text, folder, where)
            seed = order.new_seed(self.id)
            (folder / "story.toml").unlink()
            named = (names[0], seed) if seed is not None else None
            home = where.stories / await asyncio.to_thread(story_id, text, folder, named)
            await asyncio.to_thread(sweep, where.stories)
            return await asyncio.to_thread(publish, text, folder, home)

    async def _checked(self, text: str, folder: Path, where: Places) -> list[str]:
        """The scenes that are wanted. Raises OrderError with every mistake."""
        story = folder / "story.toml"
        story.write_text(text, encoding="utf-8", newline="")
        found: dict[str, Any] = _json(await ask("story", str(story), environment=where.environment))
        if "pictures" in found:
            raise OrderError(*found["pictures"])
        if "mistakes" in found:
            raise OrderError(*found["said"], mistakes=found["mistakes"])
        there: list[str] = found["scenes"]
        wanted = list(dict.fromkeys(self.order.scenes or []))
        unknown = [name for name in wanted if name not in there]
        if unknown:
            raise OrderError(*(f'input.scenes: no scene is named "{n}"{did_you_mean(n, there)}' for n in unknown))
        return wanted

    async def _render(self, story: Path, where: Places) -> int:
        """Raises JobFailed where nothing came of it."""

        def hear(line: str) -> None:
            event = read_event(line)
            if event is not None:
                self.telling.tell(step="render", **self.course.hear(event))

        with self._timed("render"):
            ended = await storyboard(
                *("render", str(story), "--json", *self._flags()),
                environment=where.environment,
                lock=gpu_lock(where.environment.get("STORYBOARD_DEVICE")),
                hear=hear,
            )
        if ended.code not in (0, PARTLY):
            raise _failed("render", ended)
        return ended.code

    def _flags(self) -> Iterable[str]:
        order = self.order
        yield from (flag for name in order.scenes or [] for flag in ("--scene", name))
        for flag, given in (("--draft", order.draft), ("--force", order.force), ("--keep-going", order.keep_going)):
            if given:
                yield flag
        seed = order.new_seed(self.id)
        if seed is not None:
            yield from ("--seed", str(seed))

    async def _seams(self, story: Path, where: Places) -> list[dict[str, Any]]:
        """What `verify` finds. Raises JobFailed where a seam does not hold."""
        draft = ("--draft",) if self.order.draft else ()
        with self._timed("verify"):
            ended = await storyboard("verify", str(story), "--json", *draft, environment=where.environment)
        found: list[dict[str, Any]] = _json(ended)
        broken = [f"{each['scene']}: {each['what']}" for each in found if each["holds"] is False]
        if broken:
            raise JobFailed("\n".join(["the film was made, and its seams do not hold:", *broken]))
        return found

    async def _videos(self, story: Path, where: Places, bucket: Bucket | None) -> list[dict[str, Any]]:
        paths = [*self._scene_files(story), *await self._film_files(story, where)]
        if bucket is None:
            check_inline(paths)
        facts: list[dict[str, Any]] = []
        if paths:
            facts = _json(await ask("videos", *map(str, paths), environment=where.environment))
        found: list[dict[str, Any]] = []
        for path, known in zip(paths, facts, strict=True):
            if bucket is None:
                where_to = {"data": await asyncio.to_thread(inline, path)}
            else:
                where_to = {"url": await asyncio.to_thread(bucket.upload, path, f"{self.id}/{path.name}")}
            size = path.stat().st_size
            found.append({"name": path.name, "type": content_type(path), **where_to, "bytes": size, **known})
        return found

    def _scene_files(self, story: Path) -> list[Path]:
        """The finished clips of the scenes that were named."""
        ending = ".draft.mp4" if self.order.draft else ".mp4"
        names = [name for name in dict.fromkeys(self.order.scenes or []) if name in self.course.finished]
        return [story.parent / "out" / f"{name}{ending}" for name in names]

    async def _film_files(self, story: Path, where: Places) -> list[Path]:
        if self.course.film is None:
            return []
        film, form = Path(self.course.film), self.order.format
        if form == "h264":
            return [film]
        path = film.with_name(f"{film.stem}.{form}{SUFFIX.get(form, '.mp4')}")
        draft = ("--draft",) if self.order.draft else ()
        ended = await storyboard(
            *("export", str(story), "--to", form, "--output", str(path), *draft),
            environment=where.environment,
            lock=gpu_lock(where.environment.get("STORYBOARD_DEVICE")),
        )
        if ended.code:
            raise _failed(f"export as {form}", ended)
        return [path]


def _json(ended: Ended) -> Any:
    """What a child answered. Raises JobFailed where it did not."""
    try:
        return json.loads(ended.out)
    except ValueError:
        raise _failed("a check", ended) from None


def _failed(what: str, ended: Ended) -> JobFailed:
    said = ended.said or "nothing was said"
    if ended.code == INTERRUPTED:
        return JobFailed(f"{what} was interrupted; what was finished is kept: send the job again")
    if ended.code < 0:
        why = f"was ended by signal {-ended.code}, as when memory runs out"
        return JobFailed(f"{what} {why}; what was finished is kept: send the job again\n{said}", machine=True)
    return JobFailed(said, machine=ended.code == MACHINE and "GPU" in said)
