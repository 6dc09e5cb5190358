"""Published weights are brought whole and right, or not at all: against a hub on loopback that can be made to fail."""

from __future__ import annotations

import errno
import io
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from scenes.wan.families import FAMILIES
from scenes.wan.models import MODELS
from storyboard.catalogue import CATALOGUE, Bundle
from storyboard.hub import Hub, HubError, Part
from storyboard.memory import Memory
from storyboard.pull import Places, PullError, pull
from storyboard.transfer import Lines
from tests.commands import run_here
from tests.imitation import Imitation, serving, sha256

ROOT = Path(__file__).parents[1]
LORAS = CATALOGUE["lightning"]
HIGH, LOW = (file.name for file in LORAS.files)


@pytest.fixture
def hub() -> Iterator[Imitation]:
    """One that has every file of the catalogue: 300 to 400 kB each, all different."""
    chance = random.Random(7)
    files = {file for bundle in CATALOGUE.values() for file in bundle.files}
    data = {(f.repo, f.path): chance.randbytes(chance.randrange(300_000, 400_000)) for f in sorted(files, key=str)}
    with serving(Imitation(data)) as imitation:
        yield imitation


def bytes_of(hub: Imitation, name: str) -> bytes:
    return next(data for (_, path), data in hub.files.items() if path.endswith(f"/{name}"))


def brought(
    hub: Imitation, tmp_path: Path, bundle: Bundle = LORAS, folders: tuple[Path, ...] = (), **keys: object
) -> tuple[list[Path], str]:
    """What a pull gives and what it says."""
    said = io.StringIO()
    places = Places(folders or (tmp_path / "models",), None, Memory(tmp_path / "weights.json"))
    client = replace(Hub(hub.url, pauses=(0, 0)), **keys)
    try:
        return pull(bundle, places, client, Lines(said)), said.getvalue()
    finally:
        sys.stderr.write(said.getvalue())


def parts(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file() and path.name.startswith(".")]


def run(hub: Imitation, tmp_path: Path, *args: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
    env = whole(around(hub, tmp_path, **env))
    return subprocess.run(command(*args), capture_output=True, text=True, check=False, timeout=60, cwd=ROOT, env=env)


def command(*args: str | Path) -> list[str]:
    return [sys.executable, "-W", "error", "-m", "storyboard", "models", *map(str, args)]


def around(hub: Imitation, tmp_path: Path, **env: str) -> dict[str, str]:
    """Variables that lead to the imitation, to folders of the test's own, and where it says."""
    home = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    here = {"HF_ENDPOINT": hub.url, "STORYBOARD_MODELS": str(tmp_path / "models"), "COLUMNS": "200"}
    return {"no_proxy": "127.0.0.1", **home, **here, **env}


def whole(env: dict[str, str]) -> dict[str, str]:
    rest = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "STORYBOARD_"))}
    return {**rest, **env}


def test_a_bundle_lands_in_comfyuis_folders(hub: Imitation, tmp_path: Path):
    ran = run(hub, tmp_path, "pull", "wan2.2-i2v-a14b")
    assert ran.returncode == 0, ran.stderr
    models = tmp_path / "models"
    assert [str(Path(line).relative_to(models)) for line in ran.stdout.splitlines()] == [
        "diffusion_models/wan2.2_i2v_high_noise_14B_fp8_scaled.safetensors",
        "diffusion_models/wan2.2_i2v_low_noise_14B_fp8_scaled.safetensors",
        "text_encoders/umt5_xxl_fp8_e4m3fn_scaled.safetensors",
        "vae/wan_2.1_vae.safetensors",
        "loras/wan2.2_i2v_lightx2v_4steps_lora_v1_high_noise.safetensors",
        "loras/wan2.2_i2v_lightx2v_4steps_lora_v1_low_noise.safetensors",
    ]
    for line in ran.stdout.splitlines():
        assert Path(line).read_bytes() == bytes_of(hub, Path(line).name)
    assert parts(models) == []
    said = ran.stderr.splitlines()
    assert said[1] == "licence: Apache-2.0"
    assert said.index(next(line for line in said if line.endswith("in all"))) < said.index(
        next(line for line in said if "100 % of" in line)
    )
    asked = len(hub.ranges_asked())
    again = run(hub, tmp_path, "pull", "wan2.2-i2v-a14b")
    assert (again.returncode, again.stdout) == (0, ran.stdout)
    assert again.stderr.count("is there already") == 6
    assert len(hub.ranges_asked()) == asked


def test_a_broken_connection_goes_on_where_it_broke(hub: Imitation, tmp_path: Path):
    hub.breaks += [100_000, 50_000]
    paths, _ = brought(hub, tmp_path)
    assert [path.read_bytes() for path in paths] == [bytes_of(hub, HIGH), bytes_of(hub, LOW)]
    assert hub.ranges_asked() == [None, "bytes=100000-", "bytes=150000-", None]


def test_the_next_pull_goes_on_where_one_gave_up(hub: Imitation, tmp_path: Path):
    hub.breaks += [100_000]
    with pytest.raises(HubError, match=r"broke off at 100000 of \d+ bytes .* run the same command again"):
        brought(hub, tmp_path, pauses=())
    assert not (tmp_path / "models" / "loras" / HIGH).exists()
    paths, said = brought(hub, tmp_path)
    assert "going on from 0.1 MB" in said
    assert hub.ranges_asked()[:2] == [None, "bytes=100000-"]
    assert paths[0].read_bytes() == bytes_of(hub, HIGH)
    assert parts(tmp_path / "models") == []


def test_interrupted_by_hand_and_gone_on_with(hub: Imitation, tmp_path: Path):
    hub.breaks, hub.gate = [200_000], threading.Event()
    process = subprocess.Popen(
        command("pull", "lightning"), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
        env=whole(around(hub, tmp_path)),
    )  # fmt: skip
    until = time.monotonic() + 30
    while not hub.ranges_asked() and time.monotonic() < until:
        time.sleep(0.02)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130, said
    assert "interrupted; what was finished is kept" in said
    assert "Traceback" not in said
    hub.gate.set()
    ran = run(hub, tmp_path, "pull", "lightning")
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "models" / "loras" / HIGH).read_bytes() == bytes_of(hub, HIGH)


def test_a_server_without_ranges_sends_it_whole(hub: Imitation, tmp_path: Path):
    hub.breaks, hub.ranges = [100_000], False
    paths, _ = brought(hub, tmp_path)
    assert hub.ranges_asked() == [None, "bytes=100000-", None]
    assert paths[0].read_bytes() == bytes_of(hub, HIGH)


def test_what_passes_is_tried_again(hub: Imitation, tmp_path: Path):
    hub.answers["/xet/"] = [503, 429]
    paths, _ = brought(hub, tmp_path)
    assert [path.name for path in paths] == [HIGH, LOW]
    hub.answers["/xet/"] = [500] * 9
    with pytest.raises(HubError, match=r"broke off at 0 of .*500"):
        brought(hub, tmp_path, CATALOGUE["wan2.2-vae"])


def test_wrong_bytes_are_deleted(hub: Imitation, tmp_path: Path):
    hub.rotten = True
    with pytest.raises(HubError, match=f"{HIGH} came with the SHA-256 .* it was deleted"):
        brought(hub, tmp_path)
    assert not (tmp_path / "models" / "loras" / HIGH).exists()
    assert [name for name in parts(tmp_path / "models") if name.endswith(".part")] == []
    hub.rotten = False
    assert brought(hub, tmp_path)[0][0].read_bytes() == bytes_of(hub, HIGH)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ({"/api/": [401]}, "does not give Comfy-Org/Wan_2.2_ComfyUI_Repackaged (401 Unauthorized): it wants a token"),
        ({"/api/": [403]}, "set HF_TOKEN"),
        ({"/api/": [404]}, "is not there (404): see http"),
        ({"/api/": [500]}, "cannot be reached (it answers 500 Internal Server Error): is HF_ENDPOINT=http"),
        ({"/api/": [400]}, "(400 Bad Request)"),
        ({"/resolve/": [404]}, "is not there (404)"),
        ({"/api/": [200]}, "answers as no hub does: is HF_ENDPOINT=http"),
    ],
)
def test_a_hub_that_refuses(hub: Imitation, tmp_path: Path, answer: dict[str, list[int]], says: str):
    hub.answers |= answer
    ran = run_here("models", "pull", "lightning", env=around(hub, tmp_path))
    assert ran.returncode == 4, ran.stderr
    assert says in ran.stderr
    assert "Traceback" not in ran.stderr
    assert ran.stdout == ""


@pytest.mark.parametrize(
    ("args", "env", "code", "says"),
    [
        ((), {"HF_ENDPOINT": "http://127.0.0.1:9"}, 4, "cannot be reached (Connection refused): is HF_ENDPOINT="),
        ((), {"HF_ENDPOINT": "nonsense"}, 4, "HF_ENDPOINT=nonsense is no address of a hub"),
        ((), {"HF_HUB_OFFLINE": "1"}, 4, "HF_HUB_OFFLINE is set"),
        ((), {"STORYBOARD_MODELS": ""}, 4, "no weights folder is named: set STORYBOARD_MODELS="),
        (("--into", "pyproject.toml"), {}, 4, "pyproject.toml"),
    ],
)
def test_a_machine_that_lacks_something(
    hub: Imitation,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    args: tuple[str, ...],
    env: dict[str, str],
    code: int,
    says: str,
):
    monkeypatch.chdir(ROOT)
    ran = run_here("models", "pull", "lightning", *args, env=around(hub, tmp_path, **env))
    assert ran.returncode == code, ran.stderr
    assert says in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_name_that_nothing_bears(hub: Imitation, tmp_path: Path):
    ran = run(hub, tmp_path, "pull", "lightnin")
    assert ran.returncode == 2
    assert 'nothing is published as "lightnin" (did you mean "lightning"?)' in ran.stderr
    assert hub.asked == []


def test_a_disk_too_small_is_found_before_the_start(hub: Imitation, tmp_path: Path):
    hub.sizes[LORAS.files[1].path] = 10**18
    with pytest.raises(PullError, match=r"1000000000\.0 GB are to be brought and .* are free in .* free some space"):
        brought(hub, tmp_path)
    assert hub.ranges_asked() == []


def test_a_disk_that_fills_is_not_taken_for_the_hubs_fault(hub: Imitation, tmp_path: Path):
    class Full(Part):
        def write(self, chunk: bytes) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    client = Hub(hub.url, pauses=())
    file = client.repo(LORAS.files[0].repo).files[LORAS.files[0].path]
    with Full(tmp_path / "part") as part, pytest.raises(OSError, match="No space left"):
        client.fetch(file, part, lambda done: None)


def test_a_file_gone_from_its_repository_is_told_of(hub: Imitation, tmp_path: Path):
    del hub.files[LORAS.files[1].repo, LORAS.files[1].path]
    with pytest.raises(HubError, match=f"has no .*{LOW} with a checksum at http.*: see http"):
        brought(hub, tmp_path)
    assert hub.ranges_asked() == []


def test_another_file_is_never_written_over(hub: Imitation, tmp_path: Path):
    mine = tmp_path / "models" / "loras" / LOW
    mine.parent.mkdir(parents=True)
    for content, why in ((b"mine", "4 bytes, not"), (bytes(len(bytes_of(hub, LOW))), "its SHA-256 differs")):
        mine.write_bytes(content)
        with pytest.raises(PullError, match=f"another file than .* publishes .{why}.*: move it away"):
            brought(hub, tmp_path)
        assert mine.read_bytes() == content
    assert hub.ranges_asked() == []
    assert parts(tmp_path) == []


def test_what_lies_elsewhere_is_not_brought_again(hub: Imitation, tmp_path: Path):
    comfy = tmp_path / "ComfyUI"
    deep = comfy / "models" / "clip" / "wan"
    deep.mkdir(parents=True)
    bundle = CATALOGUE["umt5-xxl-fp8"]
    name = bundle.files[0].name
    (deep / name).write_bytes(bytes_of(hub, name))
    paths, said = brought(hub, tmp_path, bundle, (tmp_path / "models", comfy))
    assert paths == [deep / name]
    assert f"{deep / name} is there already" in said
    assert hub.ranges_asked() == []


def test_comfyui_itself_may_be_named(hub: Imitation, tmp_path: Path):
    (tmp_path / "ComfyUI" / "models").mkdir(parents=True)
    paths, _ = brought(hub, tmp_path, folders=(tmp_path / "ComfyUI",))
    assert paths[0] == tmp_path / "ComfyUI" / "models" / "loras" / HIGH


def test_a_folder_may_be_named(hub: Imitation, tmp_path: Path):
    ran = run(hub, tmp_path, "pull", "wan2.2-vae", "--into", tmp_path / "here", STORYBOARD_MODELS="")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == str(tmp_path / "here" / "vae" / "wan2.2_vae.safetensors")


def test_a_token_goes_to_the_hub_alone(hub: Imitation, tmp_path: Path):
    ran = run(hub, tmp_path, "pull", "wan2.2-vae", HF_TOKEN="hf_secret")
    assert ran.returncode == 0, ran.stderr
    sent = {(host, headers.get("Authorization")) for host, _, headers in hub.asked}
    assert sent == {("hub", "Bearer hf_secret"), ("cdn", None)}
    assert "hf_secret" not in ran.stderr
    hub.answers["/api/"] = [401]
    assert "the token in HF_TOKEN does not open it" in run(hub, tmp_path, "pull", "lightx2v", HF_TOKEN="hf_x").stderr


def test_another_licence_on_the_hub_is_told(hub: Imitation, tmp_path: Path):
    hub.licence = "cc-by-nc-4.0"
    _, said = brought(hub, tmp_path)
    assert "Comfy-Org/Wan_2.2_ComfyUI_Repackaged says: cc-by-nc-4.0" in said
    hub.licence = None
    assert " says: " not in brought(hub, tmp_path)[1]


def test_a_render_need_not_read_what_was_brought(hub: Imitation, tmp_path: Path):
    paths, _ = brought(hub, tmp_path)
    memory = Memory(tmp_path / "weights.json")
    assert [memory.recall(path) for path in paths] == [sha256(bytes_of(hub, HIGH)), sha256(bytes_of(hub, LOW))]


def test_two_pulls_at_once_bring_it_once(hub: Imitation, tmp_path: Path):
    hub.breaks, hub.gate = [100_000], threading.Event()
    found: list[list[Path]] = []
    pulls = [
        threading.Thread(target=lambda: found.append(brought(hub, tmp_path, CATALOGUE["wan2.2-vae"])[0]))
        for _ in range(2)
    ]
    for each in pulls:
        each.start()
    time.sleep(0.5)
    hub.gate.set()
    for each in pulls:
        each.join(30)
    assert len(found) == 2
    assert found[0] == found[1]
    assert hub.ranges_asked() == [None, "bytes=100000-"]
    assert parts(tmp_path) == []


def test_the_imitation_is_a_hub_to_huggingface_hub(hub: Imitation, tmp_path: Path):
    """What our client reads and asks is what that library does: an imitation made to fit ours alone proves nothing."""
    library = pytest.importorskip("huggingface_hub")
    file = LORAS.files[0]
    facts = library.HfApi(endpoint=hub.url).model_info(file.repo, files_metadata=True)
    ours = Hub(hub.url).repo(file.repo)
    theirs = {each.rfilename: each.lfs for each in facts.siblings if each.lfs is not None}
    assert {path: (known.size, known.sha256) for path, known in ours.files.items()} == {
        path: (lfs.size, lfs.sha256) for path, lfs in theirs.items()
    }
    assert (facts.sha, facts.card_data.license) == (ours.files[file.path].commit, ours.licence)
    path = library.hf_hub_download(file.repo, file.path, endpoint=hub.url, cache_dir=tmp_path)
    assert Path(path).read_bytes() == bytes_of(hub, file.name)


def test_every_pull_that_a_message_names_is_there():
    assert {*MODELS, *(family.name for family in FAMILIES)} <= set(CATALOGUE)
    folders = {"diffusion_models", "loras", "text_encoders", "vae", "frame_interpolation"}
    for bundle in CATALOGUE.values():
        assert len({(file.folder, file.name) for file in bundle.files}) == len(bundle.files)
        assert {file.folder for file in bundle.files} <= folders
        # RIFE's are read with weights_only: nothing in them runs.
        assert all(file.name.endswith((".safetensors", ".gguf")) or bundle.name == "rife-4.7" for file in bundle.files)
