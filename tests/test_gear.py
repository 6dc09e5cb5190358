"""What a real render needs of a machine: its GPU and packages, its memory of digests, its files; and the doctor."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
import torch

from post import rife_weights
from post.devices import Gpu
from post.interpolate import Flow, Interpolate, Rife, RifeNcnn
from scenes.files import file_digest
from scenes.wan.models import I2V_A14B
from storyboard import doctor, machine
from storyboard.gear import Gear, gear_for
from storyboard.machine import wan_problems
from storyboard.memory import Memory, weights_memory
from storyboard.model_files import ModelFiles
from storyboard.progress import sentence
from storyboard.room import parse_bytes
from storyboard.settings import ATTENTION
from storyboard.story import Finishing, Story
from tests import plain_ifnet
from tests.tiny_rife import write_rife46
from tests.tiny_wan import lora, write_safetensors

torch.set_num_threads(1)

STORY = Story(
    path=Path("story.toml"),
    title="",
    model=I2V_A14B,
    weights=I2V_A14B.name,
    precision=None,
    vae="fp32",
    size=(64, 48),
    fps=Fraction(16),
    scenes=(),
    recipes=(),
    finishing=Finishing("none", (64, 48), "none", 1, "h264", 16, "medium", None),
    film=Path("film.mp4"),
)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("24GiB", 24 * 2**30),
        ("24gib", 24 * 2**30),
        ("24 GB", 24 * 10**9),
        ("24g", 24 * 2**30),
        ("1.5TiB", 3 * 2**39),
        ("512MiB", 2**29),
        ("512 MB", 512 * 10**6),
        ("25769803776", 24 * 2**30),
        ("25769803776B", 24 * 2**30),
    ],
)
def test_sizes_as_people_write_them(text: str, count: int):
    assert parse_bytes(text) == count


@pytest.mark.parametrize("text", ["", "GiB", "24", "0GiB", "-1GiB", "24GiBs", "1e9", "twenty", "24,5GiB", "24 Gi B"])
def test_no_sizes(text: str):
    with pytest.raises(ValueError, match="24GiB"):
        parse_bytes(text)


class TestMachine:
    @pytest.fixture(autouse=True)
    def every_package(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(machine, "installed", lambda name: "1.0")

    def gpu(self, monkeypatch: pytest.MonkeyPatch, *found: Gpu, torch: bool = True) -> None:
        monkeypatch.setattr(machine, "gpus", lambda: list(found))
        monkeypatch.setattr(machine, "has_gpu", lambda device: bool(found) and torch and device != "cpu")

    def test_a_gpu_is_enough(self, monkeypatch: pytest.MonkeyPatch):
        self.gpu(monkeypatch, Gpu("RTX 3090", 24 * 2**30, 86))
        assert wan_problems(STORY, None) == []
        assert wan_problems(STORY, "cuda:0") == []

    def test_a_cpu_must_be_asked_for(self, monkeypatch: pytest.MonkeyPatch):
        self.gpu(monkeypatch)
        assert wan_problems(STORY, "cpu") == []
        (problem,) = wan_problems(STORY, None)
        assert "this machine has none (--draft draws without; --device cpu takes hours a clip)" in problem

    def test_a_gpu_without_a_torch_for_it(self, monkeypatch: pytest.MonkeyPatch):
        self.gpu(monkeypatch, Gpu("RTX 3090", 24 * 2**30, 86), torch=False)
        (problem,) = wan_problems(STORY, None)
        assert "CPU build: install one with CUDA" in problem

    def test_not_on_mps(self):
        (problem,) = wan_problems(STORY, "mps")
        assert problem.endswith("not on mps")

    @pytest.mark.parametrize(
        ("sm", "device", "says"),
        [
            (86, None, "RTX is sm 8.6"),
            (86, "cuda:0", "RTX is sm 8.6"),
            (89, None, ""),
            (0, None, ""),
            (86, "cpu", "cpu"),
        ],
    )
    def test_fp8_needs_hardware_for_it(self, monkeypatch: pytest.MonkeyPatch, sm: int, device: str | None, says: str):
        self.gpu(monkeypatch, Gpu("RTX", 24 * 2**30, sm))
        problems = wan_problems(replace(STORY, precision="fp8"), device)
        assert len(problems) == bool(says)
        assert says in "".join(problems)

    def test_packages(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(machine, "installed", lambda name: "" if name in ("torch", "ftfy") else "1.0")
        assert wan_problems(STORY, "cpu") == ['WAN needs the packages torch, ftfy: pip install "storyboard[wan]"']


class TestDigests:
    @pytest.fixture
    def weights(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        monkeypatch.setattr("storyboard.memory.TOLD_BYTES", 100)
        path = tmp_path / "expert.safetensors"
        path.write_bytes(bytes(1000))
        return path

    def test_of_weights_are_the_users_and_told_of_once(self, weights: Path):
        said: list[str] = []
        first = weights_memory().told_digest(weights, said.append)
        assert said == ["reading expert.safetensors (0.1 MB) once, to know it by its digest from then on"]
        assert weights_memory().told_digest(weights, said.append) == first
        assert len(said) == 1
        weights.write_bytes(bytes(1001))
        assert weights_memory().told_digest(weights, said.append) != first
        assert len(said) == 2

    def test_of_small_files_are_not_told(self, weights: Path):
        weights.write_bytes(bytes(10))
        weights_memory().told_digest(weights, lambda text: pytest.fail(text))

    def test_of_a_file_that_changes_meanwhile_are_read_again(self, weights: Path, monkeypatch: pytest.MonkeyPatch):
        def changing(path: Path) -> str:
            found = file_digest(path)
            path.write_bytes(bytes(2000))
            return found

        memory = weights_memory()
        monkeypatch.setattr("storyboard.memory.file_digest", changing)
        memory.told_digest(weights, lambda text: None)
        monkeypatch.undo()
        assert memory.recall(weights) is None
        assert memory.file_digest(weights) == file_digest(weights)

    @pytest.mark.parametrize("written", ["", "[]", "{", '{"x": 3}', '{"x": [1, 2]}'])
    def test_a_damaged_memory_costs_time_only(self, weights: Path, tmp_path: Path, written: str):
        path = tmp_path / "seen.json"
        path.write_text(written.replace('"x"', json.dumps(str(weights))))
        memory = Memory(path)
        assert memory.recall(weights) is None
        digest = memory.told_digest(weights, lambda text: None)
        assert Memory(path).recall(weights) == digest

    def test_a_closed_cache_costs_time_only(self, weights: Path, monkeypatch: pytest.MonkeyPatch):
        memory = weights_memory()

        def closed(path: Path) -> bool:
            raise PermissionError(13, "Permission denied", str(path))

        monkeypatch.setattr(Path, "is_dir", closed)
        assert len(memory.told_digest(weights, lambda text: None)) == 64

    def test_without_a_cache_folder_they_are_read(self, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        (tmp_path / "file").touch()
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
        assert len(weights_memory().told_digest(weights, lambda text: None)) == 64


class TestFinishing:
    """What a story is finished with: as it asks, or in a draft with what is here."""

    @pytest.fixture(autouse=True)
    def cache(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        monkeypatch.setattr(rife_weights, "_package_models", lambda: None)

    @pytest.fixture
    def models(self, tmp_path: Path) -> Path:
        """Weights of RIFE 4.6 and 4.26, by their names only, and an ncnn model."""
        folder = tmp_path / "models"
        write_rife46(folder / "rife-v4.6")
        (folder / "frame_interpolation").mkdir()
        for name, kind in (("rife46.pth", "4.6"), ("rife426.pth", "4.26")):
            torch.save(plain_ifnet.zeros(plain_ifnet.KINDS[kind]), folder / "frame_interpolation" / name)
        return folder

    def gear(
        self, models: Path, draft: bool, device: str | None = None, finish_on: str | None = None, **asked: str
    ) -> Gear:
        story = replace(STORY, finishing=replace(STORY.finishing, factor=2, **{"interpolator": "rife", **asked}))
        return gear_for(story, draft, [models], device, Memory(models / "seen.json"), (), finish_on=finish_on)

    def by(self, gear: Gear) -> Flow | Rife | RifeNcnn:
        assert gear.interpolate is not None
        return gear.interpolate.by

    def with_gpu(self, monkeypatch: pytest.MonkeyPatch, there: bool) -> None:
        monkeypatch.setattr("storyboard.gear.has_gpu", lambda device: there and device != "cpu")

    @pytest.mark.parametrize(("name", "file"), [("rife", "rife426.pth"), ("rife-4.6", "rife46.pth")])
    def test_rife_by_its_weights(self, models: Path, name: str, file: str):
        gear = self.gear(models, draft=False, device="cpu", interpolator=name)
        path = models / "frame_interpolation" / file
        assert gear.interpolate == Interpolate(Rife(file_digest(path), path), 2)
        by = self.by(gear)
        assert isinstance(by, Rife)
        assert (by.path, by.version) == (path, file.removeprefix("rife").removesuffix(".pth").replace("4", "4.", 1))
        assert (gear.lacks, gear.stand_ins) == ((), ())

    def test_flow_and_none_ask_for_nothing(self, tmp_path: Path):
        assert self.by(self.gear(tmp_path, draft=False, device="cpu", interpolator="flow")) == Flow()
        finishing = replace(STORY.finishing, interpolator="none", factor=1)
        gear = gear_for(replace(STORY, finishing=finishing), False, [], "cpu", Memory(tmp_path / "seen.json"), ())
        assert gear.interpolate is None

    def test_missing_weights_are_told_with_the_remedy(self, tmp_path: Path):
        gear = self.gear(tmp_path, draft=False, device="cpu", interpolator="rife-4.26")
        (lack,) = gear.lacks
        assert lack.startswith(f"rife-4.26: its weights are not in {STORY.folder}, {tmp_path}: ")
        for remedy in ("storyboard models pull rife-4.26", 'model = "flow"', "--interpolate flow", "--draft"):
            assert remedy in lack
        by = self.by(gear)
        assert isinstance(by, Rife)
        assert by.weights == "unmade:rife-4.26"  # so that the plan differs from what it would be with flow

    def test_a_draft_takes_flow_where_weights_are_missing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        self.with_gpu(monkeypatch, there=True)
        gear = self.gear(tmp_path, draft=True)
        assert self.by(gear) == Flow()
        assert str(gear.stand_ins[1]) == "flow stands in for rife (its weights are not here)"
        assert gear.lacks == ()

    def test_a_draft_takes_rife_where_a_gpu_is(self, models: Path, monkeypatch: pytest.MonkeyPatch):
        self.with_gpu(monkeypatch, there=True)
        gear = self.gear(models, draft=True)
        assert isinstance(self.by(gear), Rife)
        assert [stand_in.used for stand_in in gear.stand_ins] == ["animatic"]
        slow = self.gear(models, draft=True, device="cpu")
        assert self.by(slow) == Flow()
        assert str(slow.stand_ins[1]) == "flow stands in for rife (too slow without a GPU)"

    @pytest.mark.parametrize(
        ("finish_on", "says"),
        [
            ("cuda:7", "--finish-on cuda:7 is not on this machine (CUDA devices here: none)"),
            ("gpu1", '--finish-on gpu1 is no device: write "cuda:0" or "cpu"'),
            ("vulkan:1", "--finish-on vulkan:1 is no device"),
        ],
    )
    def test_the_device_that_finishes_is_asked_for_at_once(
        self, models: Path, monkeypatch: pytest.MonkeyPatch, finish_on: str, says: str
    ):
        monkeypatch.setattr("post.devices.gpus", list)
        for draft in (False, True):
            (lack,) = self.gear(models, draft, finish_on=finish_on).lacks
            assert lack.startswith(says)
        assert len(self.gear(models, True, "cuda:7", "cuda:7").lacks) == 1  # said once

    def test_a_draft_asks_for_the_device_that_finishes(self, models: Path, monkeypatch: pytest.MonkeyPatch):
        self.with_gpu(monkeypatch, there=True)
        assert self.by(self.gear(models, draft=True, finish_on="cpu")) == Flow()
        monkeypatch.setattr("storyboard.gear.device_problem", lambda device, flag="": None)
        assert isinstance(self.by(self.gear(models, draft=True, device="cpu", finish_on="cuda:0")), Rife)

    def test_ncnn_is_asked_of_the_device_that_finishes(self, models: Path, monkeypatch: pytest.MonkeyPatch):
        asked: list[str | None] = []
        monkeypatch.setattr("storyboard.gear.ncnn_problem", lambda device: asked.append(device))
        gear = self.gear(models, draft=True, finish_on="vulkan:1", backend="ncnn")
        assert (asked, gear.lacks) == (["vulkan:1"], ())
        net = self.gear(models, draft=True, finish_on="vulkan:1", backend="ncnn", upscaler="realesr-animevideov3")
        assert net.lacks == ('--finish-on vulkan:1 is no device: write "cuda:0" or "cpu"',)

    def test_torch_is_needed(self, models: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr("storyboard.gear.net_problem", lambda: "torch is not installed: pip")
        assert self.gear(models, draft=False, device="cpu").lacks == ("rife: torch is not installed: pip",)
        assert self.gear(models, draft=True).stand_ins[1].why == "torch is not installed: pip"

    def test_ncnn_runs_a_model_of_its_own(self, models: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr("storyboard.gear.ncnn_problem", lambda device: None)
        folder = models / "rife-v4.6"
        for draft in (False, True):
            gear = self.gear(models, draft, backend="ncnn")
            assert self.by(gear) == RifeNcnn("rife-v4.6", file_digest(folder / "flownet.bin"), folder)
        slow = self.gear(models, draft=True, device="cpu", backend="ncnn")
        assert slow.stand_ins[1].why == "too slow without a GPU"

    def test_ncnn_lacks_its_package_or_a_model(self, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr("storyboard.gear.ncnn_problem", lambda device: "its package is not installed")
        (lack,) = self.gear(models, draft=False, device="cpu", backend="ncnn").lacks
        assert lack.startswith("rife: its package is not installed. Or take flow")
        assert self.gear(models, draft=True, backend="ncnn").stand_ins[1].why == "its package is not installed"
        monkeypatch.setattr("storyboard.gear.ncnn_problem", lambda device: None)
        gear = self.gear(tmp_path / "none", draft=False, device="cpu", backend="ncnn", interpolator="rife-4.6")
        assert gear.lacks[0].startswith("rife-4.6 on ncnn: no folder rife-v4.6")
        assert isinstance(self.by(gear), RifeNcnn)
        assert self.by(self.gear(tmp_path / "none", draft=True, backend="ncnn")) == Flow()

    def test_nvenc_where_it_works(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        asked = {"interpolator": "flow", "codec": "hevc_nvenc"}
        monkeypatch.setattr("post.encode.works", lambda codec: False)
        real = self.gear(tmp_path, draft=False, device="cpu", **asked)
        assert real.encode.format == "hevc_nvenc"
        assert "take hevc instead" in real.lacks[0]
        draft = self.gear(tmp_path, draft=True, **asked)
        assert draft.encode.format == "hevc"
        assert str(draft.stand_ins[1]) == "hevc stands in for hevc_nvenc (no NVENC here)"
        monkeypatch.setattr("post.encode.works", lambda codec: True)
        assert self.gear(tmp_path, draft=False, device="cpu", **asked).lacks == ()


class TestFiles:
    @pytest.fixture
    def files(self, tmp_path: Path) -> ModelFiles:
        story = replace(STORY, path=tmp_path / "story.toml")
        return ModelFiles(story, [tmp_path / "models"], Memory(tmp_path / "seen.json"), lambda text: None)

    @pytest.mark.parametrize(
        ("scenes", "who"),
        [
            ((), ""),
            (("a",), 'scene "a": '),
            (("a", "b", "a"), 'scenes "a" and "b": '),
            (("a", "b", "c"), 'scenes "a", "b" and "c": '),
            (("a", "b", "c", "d", "e"), 'scenes "a", "b", "c" and 2 more: '),
        ],
    )
    def test_what_is_lacking_names_its_scenes(self, files: ModelFiles, scenes: tuple[str, ...], who: str):
        for scene in scenes or (None,):
            files.lack("a net is missing", scene)
        assert files.lacks() == (f"{who}a net is missing",)

    def test_a_lora_that_is_no_lora(self, files: ModelFiles, tmp_path: Path):
        (tmp_path / "storm.safetensors").write_bytes(b"<!doctype html>")
        found = files.lora("storm.safetensors", "boat")
        assert found.digest == "unmade:storm.safetensors"
        (lack,) = files.lacks()
        assert lack.startswith('scene "boat": ')
        assert "is a web page" in lack

    def test_a_folder_where_a_lora_should_be(self, files: ModelFiles, tmp_path: Path):
        (tmp_path / "loras").mkdir()
        write_safetensors(lora(), tmp_path / "loras" / "model.safetensors")
        files.lora("loras", "boat")
        assert files.lacks() == (f'scene "boat": {tmp_path / "loras"} is a folder: name the LoRA\'s file in it',)

    def test_what_the_system_refuses_is_said_in_words(self, files: ModelFiles, monkeypatch: pytest.MonkeyPatch):
        def refused(*args: object) -> Path:
            raise PermissionError(13, "Permission denied", "/weights/storm.safetensors")

        monkeypatch.setattr("storyboard.model_files.find_lora", refused)
        files.lora("storm.safetensors", "boat")
        assert files.lacks() == ('scene "boat": /weights/storm.safetensors cannot be read (Permission denied)',)

    def test_a_file_that_is_gone_between(self, files: ModelFiles, tmp_path: Path):
        assert files.lora_at(tmp_path / "gone.safetensors", "boat").digest.startswith("unmade:")
        assert len(files.lacks()) == 1


class TestDoctor:
    def found(self, part: str, models: tuple[Path, ...] = ()) -> dict[str, tuple[str, str | None]]:
        checks = {"gpu": doctor._gpu, "attention": doctor._attention, "wan": lambda: doctor._wan(models)}
        findings = [finding for finding in checks[part]() if finding.part == part]
        return {finding.says: (finding.state, finding.remedy) for finding in findings}

    def test_names_the_gpus_generation(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(doctor, "gpus", lambda: [Gpu("RTX 4090", 24 * 10**9, 89), Gpu("Old", 8 * 10**9)])
        assert list(self.found("gpu")) == ["cuda:0 RTX 4090, 24.0 GB, sm 8.9", "cuda:1 Old, 8.0 GB"]

    def test_names_attention_kernels_by_their_option(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(doctor, "installed", lambda package, module: "2.2" if package == "sageattention" else "")
        assert list(self.found("attention")) == ["sageattention 2.2: --attention sage"]
        monkeypatch.setattr(doctor, "installed", lambda package, module: "")
        (said,) = self.found("attention")
        assert said.startswith("torch's own kernels")

    def test_names_the_file_that_serves_or_the_remedy(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        from tests.tiny_wan import write_comfy_folder

        monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
        found = self.found("wan", (write_comfy_folder(tmp_path / "models", "Q8_0"),))
        (serves, lacks) = found
        assert serves.startswith("wan2.2-i2v-a14b: high: wan2.2_i2v_high_noise_14B_Q8_0.gguf (GGUF Q8_0); low: ")
        assert found[serves] == ("ok", None)
        assert lacks.startswith("wan2.2-ti2v-5b lacks ")
        assert "Looked in" not in lacks
        assert found[lacks] == ("note", "storyboard models pull wan2.2-ti2v-5b")


def test_attention_kernels_are_those_that_wan_knows():
    from scenes.wan.attention import KERNELS

    assert tuple(KERNELS) == ATTENTION


def test_notes_are_shown():
    assert sentence({"event": "note", "text": "memory: streamed"}) == "memory: streamed"
