"""The container files. No engine is needed: what they say is read and linted, not built."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

ROOT = Path(__file__).parent.parent
TEXTS = [ROOT / "Dockerfile", ROOT / "docker-compose.yml", *ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]


class Line(NamedTuple):
    word: str  # RUN, COPY, ...
    rest: str


def dockerfile() -> dict[str, list[Line]]:
    """The instructions of each stage by its name, without comments, continuations joined."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    stages: dict[str, list[Line]] = {}
    for line in text.replace("\\\n", " ").splitlines():
        if line.strip():
            word, rest = line.split(maxsplit=1)
            if word == "FROM":
                stages[rest.split(" AS ")[1]] = []
            stages[next(reversed(stages))].append(Line(word, " ".join(rest.split())))
    return stages


def compose() -> dict[str, dict]:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]


def run(tool: str, *arguments: str) -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / tool, *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert done.returncode == 0, done.stdout.decode()


def test_hadolint_finds_nothing_in_the_dockerfile():
    run("hadolint", "--no-color", "Dockerfile")


def test_hadolint_is_told_to_overlook_apt_versions_only():
    assert set(re.findall(r"hadolint\s+ignore=(\S+)", (ROOT / "Dockerfile").read_text())) == {"DL3008"}


def test_compose_file_follows_the_compose_specification():
    run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", "docker-compose.yml")


@pytest.mark.parametrize("name", ["serve", "render", "runpod"])
def test_services_that_render_reserve_every_nvidia_gpu(name: str):
    assert compose()[name]["deploy"]["resources"]["reservations"]["devices"] == [
        {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}
    ]


def test_check_needs_no_gpu():
    assert "deploy" not in compose()["check"]


def test_services_build_the_stages_of_their_names():
    stages = dockerfile()
    for name, service in compose().items():
        assert service["build"]["target"] == ("render" if name == "serve" else name)
        assert service["build"]["target"] in stages
    assert next(reversed(stages)) == "runpod"  # what a build without a target makes, as RunPod's are


def test_up_starts_the_server_alone():
    services = compose()
    assert [name for name, service in services.items() if not service.get("profiles")] == ["serve"]
    assert services["render"]["profiles"] == ["render"]
    assert services["runpod"]["profiles"] == ["runpod"]


@pytest.mark.parametrize("name", ["serve", "runpod"])
def test_servers_are_published_on_loopback_and_watched(name: str):
    service = compose()[name]
    (port,) = service["ports"]
    assert port.startswith("127.0.0.1:")
    inside = port.rpartition(":")[2]
    assert f"127.0.0.1:{inside}/" in service["healthcheck"]["test"][-1]
    assert inside in service["command"]
    compile(service["healthcheck"]["test"][-1], "healthcheck", "exec")


def test_runpod_runs_the_handler_as_serverless_does():
    """In compose behind the SDK's local server; on RunPod the image's own command, with neither flag."""
    lines = dockerfile()["runpod"]
    assert lines[0] == Line("FROM", "render AS runpod")
    assert Line("CMD", '["python", "-u", "/src/handler.py"]') in lines
    assert Line("COPY", "handler.py /src/") in lines
    assert not [line for line in lines if line.word == "RUN"]
    command = compose()["runpod"]["command"]
    assert command[:5] == ["python", "-u", "/src/handler.py", "--rp_serve_api", "--rp_api_host"]
    assert [volume.rpartition(":")[2] for volume in compose()["runpod"]["volumes"]] == [
        "/runpod-volume",
        "/runpod-volume/models",
    ]


def test_weights_stories_and_caches_are_volumes():
    render = compose()["render"]
    assert [volume.rpartition(":")[2] for volume in render["volumes"]] == ["/models", "/stories", "/cache"]
    assert render["environment"]["STORYBOARD_MODELS"] == "/models"


def test_caches_outlive_the_container():
    """Compiled blocks and digests of weights, which cost minutes to make."""
    lines = dockerfile()["environment"]
    assert Line("ENV", "XDG_CACHE_HOME=/cache") in lines
    assert Line("RUN", "install --directory --mode=1777 /cache") in lines  # a new volume takes its mode from here


def test_driver_brings_vulkan_and_nvenc():
    (found,) = re.findall(r"NVIDIA_DRIVER_CAPABILITIES=(\S+)", (ROOT / "Dockerfile").read_text())
    assert set(found.split(",")) == {"compute", "utility", "graphics", "video"}


def test_environment_ends_with_the_only_workdir():
    """New layers go right above it; there is no other place that ends with a WORKDIR."""
    stages = dockerfile()
    assert stages["environment"][-1] == Line("WORKDIR", "/stories")
    assert sum(line.word == "WORKDIR" for lines in stages.values() for line in lines) == 1


def test_environment_holds_no_source():
    """An edit of the source must not install torch again."""
    stages = dockerfile()
    for name in ("base", "vulkan", "environment"):
        assert not [line for line in stages[name] if line.word in ("COPY", "ADD")], name
    assert [line.rest for line in stages["requirements"] if line.word == "COPY"] == [
        "pyproject.toml /src/",
        "scripts/requirements.py /src/scripts/",
    ]


@pytest.mark.parametrize("stage", ["render", "check"])
def test_source_comes_last_and_brings_no_dependency(stage: str):
    first, *lines = dockerfile()[stage]
    assert first == Line("FROM", f"environment AS {stage}")
    source = next(i for i, line in enumerate(lines) if line.word == "COPY")
    installs = [line.rest for line in lines[source:] if line.word == "RUN"]
    assert len(installs) == 1
    assert "--no-deps" in installs[0]


@pytest.mark.parametrize("stage", ["render", "check"])
def test_nothing_runs_as_root(stage: str):
    users = [line.rest for line in dockerfile()[stage] if line.word == "USER"]
    assert users == ["1000:1000"]


def test_entrypoint_is_the_command():
    assert Line("ENTRYPOINT", '["storyboard"]') in dockerfile()["render"]


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_texts_speak_of_compose_and_keep_the_build_cache(path: Path):
    """Plain `docker run` forgets the GPU and the volumes; a dropped cache costs half an hour."""
    bad = r"docker\s+(container\s+)?run\b|--no-cache(?!-dir)|\b(builder|buildx|image|system)\s+prune\b|--rmi\b"
    assert not re.findall(bad, path.read_text())


def test_requirement_lists_hold_the_extras_of_extras():
    done = subprocess.run(
        [sys.executable, "scripts/requirements.py", "wan"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    lines = done.stdout.splitlines()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    assert {*project["dependencies"], *extras["upscale"]} < set(lines)
    assert not [line for line in lines if line.startswith(project["name"])]


def test_notices_name_every_direct_dependency():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *(line for lines in project["optional-dependencies"].values() for line in lines),
    ]
    names = {re.match(r"[A-Za-z0-9-]+", line)[0] for line in wanted} - {project["name"]}
    named = set(re.findall(r"^\| ([a-z0-9-]+)", (ROOT / "THIRD_PARTY_NOTICES.md").read_text(), flags=re.MULTILINE))
    assert names <= named, names - named
