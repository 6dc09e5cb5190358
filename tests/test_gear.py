"""What a real render needs of a machine: its GPU and packages, its memory of digests, its files; and the doctor."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from post.devices import Gpu
from scenes.wan.models import I2V_A14B
from storyboard import doctor, machine
from storyboard.machine import wan_problems
from storyboard.memory import Memory, weights_memory
from storyboard.model_files import ModelFiles
from storyboard.progress import sentence
from storyboard.room import parse_bytes
from storyboard.settings import ATTENTION
from storyboard.story import Finishing, Story
from tests.tiny_wan import lora, write_safetensors

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
        from scenes.files import file_digest

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
