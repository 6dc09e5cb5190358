"""The OpenAPI 3.1 document, made of the doors and the models that serve the requests."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from storyboard.serve.answers import ProblemSaid
from storyboard.serve.door import HEADERS, JSON, PARAMETERS, Door
from storyboard.serve.problems import MEDIA
from storyboard.serve.upload import FORM

REF = "#/components/schemas/{model}"
EVERYWHERE = (401, 403, 421, 500)
SAYS = {
    200: "Well.", 201: "Made.", 202: "Under way.", 204: "Done, with nothing to say.", 206: "A range of bytes.",
    303: "Come in.", 304: "Nothing has changed.", 400: "It cannot be read.", 401: "A token is needed.",
    403: "Not from there.", 404: "No such thing, or not as the story says now.", 409: "Something is in the way.",
    413: "Too much.", 415: "Of another type.", 416: "No such range.", 421: "Not the server's name.",
    422: "It can be read and not be used.", 429: "The queue is full.", 500: "A fault of the server.",
    503: "Not possible on this machine, or not now.", 507: "The server's disk is full.",
}  # fmt: skip


def document(doors: Sequence[Door], *, guarded: bool) -> dict[str, Any]:
    """guarded: a token is needed."""
    models = _models(doors)
    schemas = models_json_schema([(model, "validation") for model in models], ref_template=REF)[1]["$defs"]
    paths: dict[str, dict[str, Any]] = {}
    for door in doors:
        paths.setdefault(door.path, {})[door.method.lower()] = _operation(door, schemas, guarded)
    security: list[dict[str, list[str]]] = [{"token": []}, {"cookie": []}] if guarded else []
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "storyboard",
            "version": version("storyboard"),
            "summary": "Stories become films.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": security,
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "cookie": {"type": "apiKey", "in": "cookie", "name": "storyboard"},
            },
        },
    }


def _models(doors: Sequence[Door]) -> list[type[BaseModel]]:
    found: dict[str, type[BaseModel]] = {"ProblemSaid": ProblemSaid}
    for door in doors:
        for model in (door.query, door.body, *door.gives.values()):
            if isinstance(model, type):
                found[model.__name__] = model
    return list(found.values())


def _operation(door: Door, schemas: dict[str, Any], guarded: bool) -> dict[str, Any]:
    said: dict[str, Any] = {
        "operationId": door.name,
        "summary": door.does,
        "parameters": [
            *_texts(re.findall(r"{(\w+)}", door.path), "path", PARAMETERS),
            *_query(door, schemas),
            *_texts(door.headers, "header", HEADERS),
        ],
        "responses": _responses(door, guarded),
    }
    if door.open:
        said["security"] = []
    if door.body is not None:
        said["requestBody"] = {"content": {JSON: {"schema": _ref(door.body)}}}
    elif door.takes:
        said["requestBody"] = {"required": True, "content": {kind: {"schema": _sent(kind)} for kind in door.takes}}
    return said


def _texts(names: Iterable[str], place: str, known: Mapping[str, tuple[str, str]]) -> list[dict[str, Any]]:
    """Parameters that are text. known: the pattern and the description of each."""
    return [
        {
            "name": name,
            "in": place,
            "required": place == "path",
            "description": known[name][1],
            "schema": {"type": "string", "pattern": known[name][0]},
        }
        for name in names
    ]


def _query(door: Door, schemas: dict[str, Any]) -> list[dict[str, Any]]:
    model = schemas[door.query.__name__]
    return [
        {"name": name, "in": "query", "required": name in model.get("required", []), "schema": _without_null(schema)}
        for name, schema in model.get("properties", {}).items()
    ]


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A query holds no null: it is left out."""
    kinds = [kind for kind in schema.get("anyOf", []) if kind != {"type": "null"}]
    rest = {key: value for key, value in schema.items() if key != "anyOf" and not (key == "default" and value is None)}
    return {**rest, **kinds[0]} if len(kinds) == 1 else schema


def _responses(door: Door, guarded: bool) -> dict[str, Any]:
    found: dict[int, Any] = {}
    for status, gives in door.gives.items():
        found[status] = {"description": SAYS[status]}
        kinds = gives if isinstance(gives, tuple) else (gives,) if isinstance(gives, str) else ()
        if kinds:
            found[status]["content"] = {kind: {} for kind in kinds}
        elif isinstance(gives, type):
            found[status]["content"] = {JSON: {"schema": _ref(gives)}}
    needed = {400, 422}  # a query that cannot be read, or is not known
    for status in sorted({*door.problems, *EVERYWHERE, *needed} - ({401} if door.open or not guarded else set[int]())):
        found.setdefault(status, {"description": SAYS[status], "content": {MEDIA: {"schema": _ref(ProblemSaid)}}})
    return {str(status): each for status, each in sorted(found.items())}


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": REF.format(model=model.__name__)}


def _sent(kind: str) -> dict[str, Any]:
    if kind != FORM:
        return {"type": "string", "contentMediaType": kind}
    files = {"type": "array", "items": {"type": "string", "contentMediaType": "application/octet-stream"}}
    return {"type": "object", "properties": {"files": files}, "required": ["files"]}
