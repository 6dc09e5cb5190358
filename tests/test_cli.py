"""The commands as a person runs them: output, exit codes, what is imported."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from storyboard.story import read_story
from tests.commands import run_here
from tests.stories import chart, scene, write_picture, write_story

ROOT = Path(__file__).parents[1]


def run(*args: str | Path, env: dict[str, str] | None = None, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "storyboard", *map(str, args)]
    whole = {**os.environ, "COLUMNS": "100", **(env or {})}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=whole, cwd=ROOT, timeout=timeout)


@pytest.fixture
def story(tmp_path: Path) -> Path:
    write_picture(tmp_path, "a.png", 1)
    path = write_story(
        tmp_path, scene("dock", image="a.png", camera="push in"), scene("boat", camera="pan left"), scene("sea")
    )
    path.write_text("# the story of a dock\n" + path.read_text().replace('name = "boat"', 'name = "boat"   # rows'))
    return path


@pytest.mark.parametrize(
    "command", ["--help", "render --help", "plan --help", "--version", "presets --help", "seams --help"]
)
def test_help_loads_nothing_heavy(command: str):
    heavy = "{'torch', 'numpy', 'av', 'cv2', 'PIL', 'tree_sitter'}"
    code = (
        "import sys\nfrom storyboard.cli import main\nsys.argv[1:] = sys.argv[1].split()\n"
        f"try: main()\nexcept SystemExit: pass\nassert not {heavy} & set(sys.modules), {heavy} & set(sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code, command], capture_output=True, text=True, check=False, cwd=ROOT)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip()


@pytest.mark.parametrize("command", ["validate", "plan", "graph"])
@pytest.mark.parametrize("draft", [True, False])
def test_wan_stories_are_planned_without_torch(story: Path, command: str, draft: bool):
    code = "import sys\nsys.modules['torch'] = None\nfrom storyboard.cli import main\nmain()\n"
    text = story.read_text().replace('upscale = { model = "none" }', "")
    story.write_text(text)
    args = [command, str(story), *(["--draft"] if draft and command == "plan" else [])]
    ran = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, check=False, cwd=ROOT)
    assert ran.returncode == 0, ran.stderr
    assert "Traceback" not in ran.stderr


def test_every_command_of_the_contract_is_there():
    text = run("--help").stdout
    commands = [
        "init",
        "validate",
        "plan",
        "graph",
        "render",
        "export",
        "verify",
        "seams",
        "doctor",
        "presets",
        "gc",
        "schema",
    ]
    assert [name for name in commands if not re.search(rf"^  {name} ", text, re.M)] == []


def test_readme_shows_the_help_as_it_is():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = run("--help").stdout
    block = shown[shown.index("Commands:") :].rstrip()
    assert block in readme, "README.md shows other commands than `storyboard --help`"


def test_init_writes_a_story_that_renders_as_it_is(tmp_path: Path):
    made = run("init", tmp_path / "first")
    assert made.returncode == 0
    path = Path(made.stdout.strip())
    assert run("validate", path).stdout.endswith("3 scenes, no mistakes\n")
    assert run("init", tmp_path / "first").returncode == 2
    schema = json.loads((path.parent / "story.schema.json").read_text())
    assert schema == json.loads(run("schema").stdout)
    small = path.read_text().replace('"832x480"', '"208x128"').replace("seconds = 3", "frames = 5")
    path.write_text(small)
    rendered = run("render", path, "--draft")
    assert rendered.returncode == 0, rendered.stderr
    film = Path(rendered.stdout.strip())
    assert film.name == "story.draft.mp4"
    assert sorted(p.name for p in film.parent.iterdir()) == [
        "breeze.draft.mp4", "calm.draft.mp4", "memory.draft.mp4", "story.draft.mp4",
    ]  # fmt: skip


def test_a_render_plans_verifies_and_renders_nothing_again(story: Path):
    plan = run("plan", story, "--draft")
    assert "dock" in plan.stdout
    assert "never made" in plan.stdout
    assert "waits for dock" in plan.stdout
    assert "1 to 3 of 3" in plan.stdout
    first = run("render", story, "--draft")
    assert first.returncode == 0, first.stderr
    assert "animatic stands in for wan2.2-i2v-a14b" in first.stderr
    assert first.stdout.strip() == str(story.parent / "out" / "story.draft.mp4")
    again = run("render", story, "--draft")
    assert "nothing to do" in again.stderr
    planned = json.loads(run("plan", story, "--json").stdout)
    assert planned["mode"] == "draft", "plan speaks of the mode last rendered"
    assert {s["state"] for s in planned["scenes"]} == {"kept"}
    assert planned["film_frames"] == 13
    verified = run("verify", story)
    assert verified.returncode == 0
    assert verified.stdout.count("exact ") == 5
    assert "boat: opens on dock's last frame, pixel for pixel" in verified.stdout


def test_plan_says_why(story: Path):
    run("render", story, "--draft")
    story.write_text(story.read_text().replace('prompt = "a boat"', 'prompt = "a red boat"\nseed = 5'))
    planned = {s["name"]: s for s in json.loads(run("plan", story, "--draft", "--json").stdout)["scenes"]}
    assert planned["dock"]["state"] == "kept"
    assert planned["boat"]["state"] == "render"
    assert "prompt changed" in planned["boat"]["why"]
    assert re.search(r"seed \d+ -> 5", planned["boat"]["why"])
    assert planned["sea"] | {"state": "waits", "why": "waits for boat"} == planned["sea"]


def test_reroll_renders_one_clip_and_what_must_follow_and_writes_the_seed(story: Path):
    run("render", story, "--draft")
    before = story.read_text()
    ran = run("render", story, "--draft", "--scene", "boat", "--reroll", "--json")
    assert ran.returncode == 0, ran.stderr
    events = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [e["scene"] for e in events if e["event"] == "scene.done"] in (["boat"], ["boat", "sea"])
    assert any(e["event"] == "film.done" for e in events)
    seed = next(e["seed"] for e in events if e["event"] == "seed.written")
    after = story.read_text()
    assert after.replace(f"seed = {seed}\n", "") == before, "comments and layout are kept"
    assert read_story(story).scene("boat").seed == seed
    assert "nothing to do" in run("render", story, "--draft").stderr


def test_a_given_seed_replaces_the_scenes_own(story: Path):
    run("render", story, "--draft")
    story.write_text(story.read_text().replace('prompt = "a sea"', 'prompt = "a sea"\nseed = 3 # lucky'))
    assert run("render", story, "--draft", "--scene", "sea", "--seed", "44").returncode == 0
    assert "seed = 44 # lucky" in story.read_text()


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (["render", "{}", "--scene", "baot"], 2, 'no scene is named "baot" (did you mean "boat"?)'),
        (["render", "{}", "--reroll"], 2, "need exactly one --scene"),
        (["render", "{}", "--seed", "1", "--reroll", "--scene", "boat"], 2, "one of --seed and --reroll"),
        (["render", "{}", "--seed", "-1", "--scene", "boat"], 2, "0"),
        (["render", "{}", "--film", "x.mov", "--draft"], 2, "must end in .mp4"),
        (["render", "{}"], 4, "--draft draws without"),
        (["render", "{}", "--device", "cpu"], 4, "Looked in no weights folder"),
        (["render", "{}", "--device", "cpu"], 4, "`storyboard models pull wan2.2-i2v-a14b`"),
        (["render", "{}", "--device", "cpu"], 4, "recipe lightning-4 needs the Wan 2.2 I2V 4-step LoRAs"),
        (["render", "{}", "--vram", "lots"], 2, "--vram: lots is no size"),
        (["render", "{}", "--attention", "sagee"], 2, '--attention: there is no kernel "sagee" (did you mean "sage"?)'),
        (["plan", "{}", "--ram", "8"], 2, '--ram: 8 is 8 bytes: name the unit, as in "24GiB"'),
        (["render", "nowhere.toml"], 3, "there is no such file"),
        (["render"], 2, "Missing argument"),
        (["frobnicate"], 2, "No such command"),
        (["graph", "{}", "--svg", "--mermaid"], 2, "one of --mermaid and --svg"),
        (["verify", "{}"], 1, "nothing is rendered yet"),
        (["export", "{}", "--to", "hevcc"], 2, 'no format "hevcc" (did you mean "hevc"?)'),
        (["export", "{}", "--to", "hevc", "--draft"], 1, "not rendered yet: dock, boat, sea"),
    ],
)
def test_exit_codes_and_messages(story: Path, args: list[str], code: int, says: str):
    ran = run_here(*(a.format(story) for a in args), env={"COLUMNS": "100", **bare(story.parent)})
    assert ran.returncode == code, ran.stderr
    assert says in re.sub(r"[│\s]+", " ", ran.stderr)
    assert "Traceback" not in ran.stderr
    assert ran.stdout == ""


def bare(folder: Path) -> dict[str, str]:
    """A machine without weights, a GPU and settings."""
    homes = {name: str(folder / "home") for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "HF_HOME", "HF_HUB_CACHE")}
    return {**homes, "STORYBOARD_MODELS": "", "CUDA_VISIBLE_DEVICES": ""}


def test_a_film_without_weights_is_planned(story: Path):
    ran = run("plan", story, "--device", "cpu", "--json", env=bare(story.parent))
    assert ran.returncode == 0, ran.stderr
    planned = json.loads(ran.stdout)
    assert planned["mode"] == "real"
    assert [scene["drawn_by"] for scene in planned["scenes"]] == ["lightning-4 (2+2 steps euler)"] * 3
    assert [scene["state"] for scene in planned["scenes"]] == ["render", "waits", "waits"]
    assert (planned["weights"], planned["memory"]) == ([], None)
    assert len(planned["lacks"]) == 2


def test_a_broken_picture_is_the_storys_fault(story: Path):
    (story.parent / "a.png").write_bytes((story.parent / "a.png").read_bytes()[:120])
    ran = run("render", story, "--draft")
    assert ran.returncode == 3
    assert 'scene "dock"' in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_broken_config_file_is_named(story: Path, tmp_path: Path):
    config = tmp_path / "config" / "storyboard"
    config.mkdir(parents=True)
    (config / "config.toml").write_text('modles = ["/x"]\n')
    ran = run("plan", story, "--draft", env={"XDG_CONFIG_HOME": str(config.parent)})
    assert ran.returncode == 4
    assert 'unknown key "modles"' in ran.stderr


@pytest.mark.parametrize("asked", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_cleanly(tmp_path: Path, asked: signal.Signals):
    write_picture(tmp_path, "a.png", 1, (832, 480))
    story = write_story(
        tmp_path,
        scene("a", image="a.png", camera="push in"),
        scene("b", camera="pan left"),
        look='size = "832x480"\nframes = 161\n',
        finish='[finish]\nupscale = { model = "lanczos", scale = 2 }\n',
    )
    command = [sys.executable, "-m", "storyboard", "render", str(story), "--draft", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    for line in process.stdout:
        if "scene.progress" in line:
            break
    process.send_signal(asked)
    started = time.monotonic()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert time.monotonic() - started < 20
    assert "stopping after the step that is under way; once more leaves at once" in said
    assert "interrupted; what was finished is kept" in said
    assert "Traceback" not in said
    assert list((tmp_path / ".storyboard" / "making").iterdir()) == []
    assert list((tmp_path / ".storyboard" / "locks" / "users").iterdir()) == []


def test_doctor_says_what_works_and_the_remedy(tmp_path: Path):
    found = json.loads(run("doctor", "--json", env={"STORYBOARD_MODELS": str(tmp_path)}).stdout)
    parts = {finding["part"] for finding in found}
    assert {"python", "gpu", "encoder", "upscaler", "disk", "vulkan"} <= parts
    assert {f["says"].split(":")[0] for f in found if f["part"] == "encoder" and f["state"] == "ok"} >= {"h264", "ffv1"}
    assert all(f["remedy"] for f in found if f["state"] == "missing")
    assert run("doctor").returncode == 0


def test_variables_name_the_store(story: Path, tmp_path: Path):
    store = tmp_path / "kept"
    assert run("render", story, "--draft", env={"STORYBOARD_STORE": str(store)}).returncode == 0
    assert (store / "clips").is_dir()
    assert not (story.parent / ".storyboard").exists()


def test_graph_and_gc_and_presets(story: Path):
    assert run("graph", story).stdout.splitlines()[1].split()[:4] == ["chain", "boat", "after", "dock"]
    assert run("graph", story, "--mermaid").stdout.startswith("flowchart LR")
    assert run("graph", story, "--svg").stdout.startswith("<svg")
    assert "mouth-movement" in run("presets").stdout
    run("render", story, "--draft")
    assert run("gc", story, "--dry-run").stdout.startswith("would drop 0 clips, 0 segments")


def test_events_are_written_for_every_run(story: Path):
    run("render", story, "--draft")
    logs = list((story.parent / ".storyboard" / "runs").glob("*/events.jsonl"))
    assert len(logs) == 1
    events = [json.loads(line) for line in logs[0].read_text().splitlines()]
    assert [e["id"] for e in events] == list(range(1, len(events) + 1))
    assert events[0]["event"] == "run.started"
    assert events[-1]["event"] == "run.done"
    assert chart().shape == (48, 64, 3)


def test_the_example_is_valid_and_its_schema_is_ours():
    example = ROOT / "examples" / "lighthouse"
    assert run("validate", example / "story.toml").returncode == 0
    assert json.loads((example / "story.schema.json").read_text()) == json.loads(run("schema").stdout)


def test_a_broken_picture_is_planned_around(story: Path):
    write_picture(story.parent, "b.png", 2)
    (story.parent / "b.png").write_bytes((story.parent / "b.png").read_bytes()[:120])
    story.write_text(story.read_text().replace('name = "sea"', 'name = "sea"\nimage = "b.png"'))
    ran = run("plan", story, "--draft")
    assert ran.returncode == 3
    assert re.search(r"sea .* broken: scene \"sea\".*|sea .* broken: .*b.png cannot be decoded", ran.stdout)
    assert "never made" in ran.stdout
    kept_going = run("render", story, "--draft", "--keep-going")
    assert kept_going.returncode == 5
    assert "missing: sea" in kept_going.stderr


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (["render", "{}", "--draft", "--device", "cuda:7"], 4, "cuda:7 is not on this machine"),
        (["render", "{}", "--draft", "--device", "cdua"], 4, "is no device"),
        (["render", "{}", "--draft", "--film", "{out}/boat.mp4"], 2, 'where scene "boat" goes'),
        (["render", "{}", "--draft", "--film", "{out}"], 2, "must end in .mp4"),
        (["render", "{}", "--draft", "--store", "{}"], 4, "is a file"),
    ],
)
def test_what_would_fail_at_the_end_is_found_at_the_start(story: Path, args: list[str], code: int, says: str):
    ran = run_here(*(a.format(story, out=story.parent / "out") for a in args), env={"COLUMNS": "100"})
    assert ran.returncode == code, ran.stderr
    assert says in re.sub(r"\s+", " ", ran.stderr)
    assert not (story.parent / ".storyboard" / "clips").exists()


def test_drafts_need_no_torch_even_where_weights_are(story: Path, tmp_path: Path):
    weights = tmp_path / "models" / "upscale_models"
    weights.mkdir(parents=True)
    (weights / "realesr-animevideov3.pth").write_bytes(b"weights")
    story.write_text(story.read_text().replace('model = "none"', 'model = "realesr-animevideov3", scale = 2', 1))
    code = "import sys\nsys.modules['torch'] = None\nfrom storyboard.cli import main\nmain()\n"
    command = [sys.executable, "-c", code, "render", str(story), "--draft"]
    env = {**os.environ, "STORYBOARD_MODELS": str(tmp_path / "models")}
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=env)
    assert ran.returncode == 0, ran.stderr
    assert "lanczos stands in for realesr-animevideov3 (torch is not installed" in ran.stderr


def test_validate_reads_pictures_whole(story: Path):
    (story.parent / "a.png").write_bytes((story.parent / "a.png").read_bytes()[:120])
    ran = run("validate", story)
    assert ran.returncode == 3
    assert re.search(r"story.toml:\d+:1: scene \"dock\": image = \"a.png\" cannot be decoded", ran.stderr)
    assert "^" in ran.stderr
