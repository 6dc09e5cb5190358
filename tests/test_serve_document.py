"""The OpenAPI document: what it says is what is served, tried by schemathesis through every route."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from jsonschema import Draft202012Validator

from storyboard.serve.doors import DOORS
from storyboard.serve.openapi import document
from tests.serving import ROOT, TOKEN, Served, png, put, served, two_scenes

EXAMPLES = int(os.environ.get("STORYBOARD_FUZZ", "4"))
"""Examples an operation; more by hand, as in STORYBOARD_FUZZ=200."""
# Data may be of the right shape and no story all the same; the stream of all events has no end.
LEFT_OUT = ["--exclude-checks", "positive_data_acceptance", "--exclude-path", "/events"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("document") / "stories", token=TOKEN) as running:
        yield running


def test_every_door_is_in_it_and_no_other():
    paths: dict[str, Any] = document(DOORS, guarded=True)["paths"]
    said = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    assert said == {(door.method, door.path) for door in DOORS}
    names = [operation["operationId"] for methods in paths.values() for operation in methods.values()]
    assert len(names) == len(set(names))


def test_answers_are_of_its_models(server: Served):
    """A client walks through every operation that reads, and compares what comes with what is said."""
    with server.client() as client:
        said = client.get("/openapi.json").json()
        assert said["openapi"] == "3.1.0"
        put(client, "one", {"story.toml": two_scenes(), "a.png": png()})
        job = client.post("/stories/one/render?wait=true", json={"draft": True}).json()["id"]
        client.post("/stories/one/render?wait=true", json={"draft": True, "scenes": ["b"], "takes": 2})
        names = {"story": "one", "scene": "b", "job": job, "file": "a.png", "take": "2"}
        for path, methods in said["paths"].items():
            if "get" not in methods or path in ("/events", "/enter"):
                continue
            answer = client.get(path.format(**names))
            assert answer.status_code == 200, (path, answer.text)
            check(answer, methods["get"], said)
        check(client.post("/links"), said["paths"]["/links"]["post"], said)
        choice = said["paths"]["/stories/{story}/scenes/{scene}/take"]["post"]
        check(client.post("/stories/one/scenes/b/take", json={"take": 2, "draft": True}), choice, said)


def check(answer: httpx2.Response, operation: dict[str, Any], said: dict[str, Any]) -> None:
    contents = operation["responses"][str(answer.status_code)]["content"]
    kind = answer.headers["content-type"].partition(";")[0]
    found = next((each for name, each in contents.items() if re.fullmatch(name.replace("*", ".*"), kind)), None)
    assert found is not None, (kind, contents)
    if "schema" in found:
        Draft202012Validator({**found["schema"], "components": said["components"]}).validate(answer.json())


@pytest.mark.slow
def test_schemathesis_finds_no_fault(server: Served, tmp_path: Path):
    with server.client() as client:
        put(client, "one", {"story.toml": two_scenes(), "a.png": png()})
        client.post("/stories/one/render?wait=true", json={"draft": True})
    tool = Path(sys.executable).with_name("schemathesis")
    command = [str(tool), "run", f"{server.url}/openapi.json", "-H", f"Authorization: Bearer {TOKEN}"]
    command += ["--max-examples", str(EXAMPLES), "--seed", "1", "--no-color", "--request-timeout", "30"]
    ran = subprocess.run(
        [*command, "--suppress-health-check", "all", *LEFT_OUT],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-6000:]
    assert "fault" not in server.log.read_text()
    with server.client() as client:
        assert client.get("/health").status_code == 200
        metrics = client.get("/metrics").text
    assert not re.search(r'status="5(?!03)\d\d"', metrics), metrics


def test_it_can_be_written_as_json():
    assert json.loads(json.dumps(document(DOORS, guarded=False)))["security"] == []
    assert (ROOT / "docs" / "serve.md").is_file()
