"""A scene edited in place: what the form says is written into story.toml, once it is known to be right there."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response

from storyboard.board.page import form_of, part, shown, written
from storyboard.board.pages import refreshed
from storyboard.board.view import Asked, asked, read, view
from storyboard.edit import Clash, Value, digest_of, with_keys, write_text
from storyboard.mistakes import Places
from storyboard.serve.problems import Problem, conflict, missing, refused

FIELDS = ("prompt", "negative_prompt", "seed", "seconds", "recipe")
CLASH = "story.toml was changed meanwhile, not by this page. Nothing was written."


@dataclass(slots=True)
class Form:
    """`values`: as they stand in the fields; `was`: as they stood in the file of this digest; `theirs`: what the file
    says now, where that clashes; `wrong`: by field, and under "" what belongs to none."""

    scene: str
    digest: str
    values: dict[str, str]
    was: dict[str, str]
    theirs: dict[str, str] = field(default_factory=dict[str, str])
    wrong: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    clash: bool = False


@dataclass(frozen=True, slots=True)
class File:
    """The story's file at a moment."""

    text: str
    digest: str

    def table(self, scene: str) -> tuple[int, dict[str, Any]]:
        """Where a scene stands, and what it says itself. Raises Problem."""
        try:
            tables = cast("list[dict[str, Any]]", tomllib.loads(self.text).get("scene", []))
            return next((i, table) for i, table in enumerate(tables) if table.get("name") == scene)
        except (ValueError, RecursionError, AttributeError):
            raise refused("story.toml cannot be read: mend it first") from None
        except StopIteration:
            raise missing(f'the story has no scene "{scene[:80]}"') from None


async def _file(path: Path) -> File:
    try:
        data = await anyio.to_thread.run_sync(path.read_bytes)
        return File(data.decode("utf-8-sig"), digest_of(data))
    except (OSError, UnicodeDecodeError):
        raise refused("story.toml cannot be read") from None


def _values(table: dict[str, Any]) -> dict[str, str]:
    """As fields show them: nothing where the scene does not say it itself."""
    return {name: "" if table.get(name) is None else str(table[name]) for name in FIELDS}


async def edit(request: Request) -> Response:
    ask, scene = asked(request), request.path_params["scene"]
    file = await _file(ask.path)
    values = _values(file.table(scene)[1])
    return await _shown(ask, Form(scene, file.digest, values, dict(values)))


async def _shown(ask: Asked, form: Form, status: int = 200) -> Response:
    """With what holds where a field is left empty."""
    said, recipes = None, list[str]()
    try:
        known = (await read(ask))["said"]
        recipes = known["recipes"]
        said = next((each for each in known["scenes"] if each["name"] == form.scene), None)
    except Problem:
        pass  # the story is wrong elsewhere: the form says what it can
    return shown("edit.html", status, story=ask.story, mode=ask.mode, form=form, said=said, recipes=recipes)


async def save(request: Request) -> Response:
    ask, scene, sent = asked(request), request.path_params["scene"], await form_of(request)
    plain = {name: value.replace("\r\n", "\n") for name, value in sent.items()}
    values = {name: plain.get(name, "") for name in FIELDS}
    form = Form(scene, sent.get("digest", ""), values, {name: plain.get(f"was_{name}", "") for name in FIELDS})
    file = await _file(ask.path)
    index, table = file.table(scene)
    if file.digest != form.digest:
        return await _clashing(ask, form, file, table)
    keys = _changed(form, table)
    text = _edited(form, file, keys)
    if keys and not form.wrong:
        await _check(ask, form, text, index)
    if form.wrong:
        return await _shown(ask, form, 422)
    if keys:
        try:
            await anyio.to_thread.run_sync(write_text, ask.path, text, file.digest)
        except Clash:
            file = await _file(ask.path)
            return await _clashing(ask, form, file, file.table(scene)[1])
        except OSError as error:
            raise conflict(f"story.toml cannot be written: {error.strerror}") from None
    done = f"Scene {scene} is saved." if keys else f"Nothing was changed in scene {scene}."
    parts = written("saved.html", focus=f"open-{scene}", text=done)
    return part(parts + refreshed(await view(ask), sent.get("order", "")))


async def _clashing(ask: Asked, form: Form, file: File, table: dict[str, Any]) -> Response:
    """The form as it was filled in, with what the file says now beside what was changed in both; saved again, it is
    meant. A field that was not touched shows what the file says now."""
    theirs = _values(table)
    touched = [name for name in FIELDS if form.values[name] != form.was[name]]
    form.theirs = {name: theirs[name] for name in touched if theirs[name] not in (form.values[name], form.was[name])}
    form.values |= {name: theirs[name] for name in FIELDS if name not in touched}
    form.digest, form.was, form.clash = file.digest, theirs, True
    form.wrong[""] = [CLASH]
    return await _shown(ask, form, 409)


def _changed(form: Form, table: dict[str, Any]) -> dict[str, Value | None]:
    """Keys that the form says otherwise than the scene; None where one is to leave it."""
    before, keys = _values(table), dict[str, Value | None]()
    for name in FIELDS:
        given = form.values[name] if name in ("prompt", "negative_prompt") else form.values[name].strip()
        if given == before[name]:
            continue
        try:
            keys[name] = _value(name, given) if given.strip() or name == "prompt" else None
        except ValueError as error:
            form.wrong.setdefault(name, []).append(str(error))
    if keys.get("seconds") is not None and "frames" in table:
        keys["frames"] = None  # one of them says how long it is
    return keys


def _value(name: str, given: str) -> Value:
    if name == "seed":
        if not given.isascii() or not given.isdecimal() or len(given) > 19:
            raise ValueError("a seed is a whole number, 0 or more, below 2^63")
        return int(given)
    if name == "seconds":
        try:
            seconds = float(given.replace(",", "."))
        except ValueError:
            raise ValueError("a length is a number of seconds, as in 5 or 2.5") from None
        if not 0 < seconds <= 60:
            raise ValueError("a length is more than 0 seconds and at most 60")
        return int(seconds) if seconds.is_integer() else seconds
    return given


def _edited(form: Form, file: File, keys: dict[str, Value | None]) -> str:
    try:
        return with_keys(file.text, form.scene, keys)
    except (KeyError, ValueError, RecursionError):
        form.wrong.setdefault("", []).append(
            "story.toml is written in a way that cannot be changed here: edit the file"
        )
        return file.text


async def _check(ask: Asked, form: Form, text: str, index: int) -> None:
    """The whole story as it would be: its mistakes, each at its field."""
    try:
        await ask.serving.reader.ask("check", path=str(ask.path), text=text)
    except Problem as problem:
        places = Places(text)
        lines = {places.find(("scene", index, name))[0]: name for name in reversed(FIELDS) if name != "prompt"}
        lines |= {places.find(("scene", index, "prompt"))[0]: "prompt"}
        for mistake in problem.mistakes or [{"message": problem.detail, "line": 0}]:
            where = lines.get(mistake["line"], "") if mistake.get("scene") == form.scene else ""
            said = mistake["message"] if where else f"line {mistake['line']}: {mistake['message']}"
            form.wrong.setdefault(where, []).append(said)
