"""Upscalers of other architectures: told from their names, read by spandrel, and refused where they are none."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from post.damage import damage
from post.nets import SRVGGNetCompact
from post.spandrel_net import SpandrelNet, open_spandrel
from post.upscale import RealESRGAN, Spandrel, Upscale, open_enlarger, open_net, upscaler_of
from post.weight_names import is_ours, tensor_names
from post.weights import Lacking, SpandrelMissing, UpscalerWeights, find_upscaler, known_upscalers
from scenes.access import REMEDY
from scenes.files import file_digest
from storyboard.gear import gear_for
from storyboard.memory import Memory
from storyboard.story import read_story
from tests.stories import scene, write_picture, write_story

CPU = torch.device("cpu")
FOREIGN = {"model.0.weight": torch.zeros(64, 3, 3, 3), "model.0.bias": torch.zeros(64)}


class Described:
    """What spandrel gives for a file, as far as it is used: a model that repeats pixels."""

    def __init__(self, **facts: Any) -> None:
        self.scale, self.purpose, self.input_channels, self.output_channels = 2, "SR", 3, 3
        self.supports_half, self.supports_bfloat16 = False, True
        self.architecture = SimpleNamespace(name="DAT")
        self.size_requirements = SimpleNamespace(minimum=0, multiple_of=4, square=False)
        self.calls: list[tuple[int, ...]] = []
        self.moved: list[Any] = []
        self.__dict__.update(facts)

    def to(self, device: torch.device, dtype: torch.dtype) -> Described:
        self.moved.append((device, dtype))
        return self

    def eval(self) -> Described:
        return self

    def __call__(self, image: Tensor) -> Tensor:
        self.calls.append(tuple(image.shape))
        return image.repeat_interleave(self.scale, 2).repeat_interleave(self.scale, 3)


def installed(monkeypatch: pytest.MonkeyPatch, load: Callable[[Path], Any]) -> None:
    """A spandrel that loads so, in the place of the package."""
    package = ModuleType("spandrel")
    package.ModelLoader = lambda device: SimpleNamespace(load_from_file=load)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "spandrel", package)


def foreign(folder: Path, suffix: str = ".pth") -> Path:
    path = folder / f"4xCommunity{suffix}"
    if suffix == ".pth":
        torch.save({"params_ema": FOREIGN}, path)
    else:
        save_file(FOREIGN, path)
    return path


def named(path: Path) -> Spandrel:
    return Spandrel(file_digest(path), path)


# Whose weights a file holds


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_the_names_in_a_file_tell_whose_it_is(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("post.weights.find_spec", lambda name: object())
    path = foreign(tmp_path, suffix)
    assert set(FOREIGN) <= tensor_names(path)
    found = find_upscaler(str(path), [])
    assert (found.community, found.heavy, found.scale, found.format) == (True, True, None, "torch")
    assert upscaler_of(found, "digest") == Spandrel("digest", path)


def test_our_nets_are_told_in_every_way_of_keeping_them(tmp_path: Path):
    state = SRVGGNetCompact(8, 1, 2).state_dict()
    paths = [tmp_path / name for name in ("new.pth", "old.pth", "bare.pth", "x2.safetensors")]
    torch.save({"params": state}, paths[0])
    torch.save({"params_ema": state}, paths[1], _use_new_zipfile_serialization=False)
    torch.save(state, paths[2])
    save_file(state, paths[3], metadata={"format": "pt"})
    for path in paths:
        assert is_ours(path), path
        found = find_upscaler(str(path), [])
        assert (found.community, found.heavy) == (False, False)
        assert isinstance(upscaler_of(found, "digest"), RealESRGAN)
        opened = open_net(RealESRGAN(file_digest(path), path), CPU)
        assert isinstance(opened, SRVGGNetCompact)
        assert all(torch.equal(one, other) for one, other in zip(opened.parameters(), state.values(), strict=True))


def test_an_old_file_of_another_architecture_is_told_too(tmp_path: Path):
    path = tmp_path / "old.pth"
    torch.save(FOREIGN, path, _use_new_zipfile_serialization=False)
    assert not is_ours(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a zip", b"<html>404</html>", b"\x80\x02cut"])
def test_a_file_that_says_nothing_is_left_for_opening_to_refuse(content: bytes, tmp_path: Path):
    for suffix in (".pth", ".safetensors"):
        path = tmp_path / f"broken{suffix}"
        path.write_bytes(content)
        assert is_ours(path)
        with pytest.raises(Lacking, match="not an upscaler that can be used"):
            open_net(RealESRGAN(file_digest(path), path), CPU)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_that_is_cut_off_is_told_while_planning(suffix: str, tmp_path: Path):
    path = tmp_path / f"RealESRGAN_x2plus{suffix}"
    state = SRVGGNetCompact(8, 1, 2).state_dict()
    if suffix == ".pth":
        torch.save({"params": state}, path)
    else:
        save_file(state, path)
    assert damage(path) is None
    name = "realesrgan-x2plus"
    assert isinstance(known_upscalers([tmp_path])[name], UpscalerWeights)
    path.write_bytes(path.read_bytes()[:-300])
    said = f"{path} is damaged or was cut short: download it again"
    assert damage(path) == said
    assert str(known_upscalers([tmp_path])[name]) == f"{name}: {said}"
    write_picture(tmp_path, "dock.png")
    story = write_story(
        tmp_path,
        scene("dock", image="dock.png"),
        finish=f'[finish]\nupscale = {{ model = "{name}", scale = 2 }}\ninterpolate = {{ model = "none" }}\n',
    )
    read = read_story(story)
    gear = gear_for(read, False, [tmp_path], "cpu", Memory(tmp_path / "seen.json"), ())
    assert gear.lacks == (f"upscaler {name}: {said}",)
    assert gear.upscale is not None
    assert gear.upscale.by.weights == f"unmade:{name}"
    draft = gear_for(read, True, [tmp_path], "cpu", Memory(tmp_path / "seen.json"), ())
    assert [str(each) for each in draft.stand_ins if each.used == "lanczos"] == [
        f"lanczos stands in for {name} (its file is damaged)"
    ]


@pytest.mark.parametrize(
    ("content", "said"), [(b"", "is empty"), (b"<html>404", "is a web page"), (b"version https://git-lfs", "Git LFS")]
)
def test_what_a_failed_download_leaves_is_told(content: bytes, said: str, tmp_path: Path):
    path = tmp_path / "mine.pth"
    path.write_bytes(content)
    assert said in (damage(path) or "")


def test_an_ncnn_model_of_another_size_than_its_param_tells(tmp_path: Path):
    path, param = tmp_path / "mine.bin", tmp_path / "mine.param"
    param.write_text("7767517\n2 2\nInput in 0 1 in\nConvolution c 1 1 in out 0=2 1=1 5=1 6=6\n")
    path.write_bytes(bytes(4 + 4 * 6 + 4 * 2))
    assert damage(path) is None
    path.write_bytes(bytes(4 + 4 * 6))
    assert damage(path) == f"{path} holds 28 bytes where mine.param tells of 36: download both files anew"
    param.write_text("7767517\n2 2\nConvolution c 1 1\n")
    assert (damage(path) or "").startswith(f"{param} makes no sense")
    param.write_text("<html>")
    assert damage(path) == f"{param} is no ncnn model in text form: download both files anew"


def test_a_file_that_may_not_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "mine.pth"
    path.write_bytes(b"PK")

    def open_(path: Path, mode: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", open_)
    assert damage(path) == f"{path} cannot be read (Permission denied): {REMEDY}"


def test_looking_at_names_loads_no_torch_and_runs_nothing(tmp_path: Path):
    path = tmp_path / "trap.pth"
    # A pickle that would print when it is loaded: os.system('...').
    path.write_bytes(b"cos\nsystem\n(Vtouch " + str(tmp_path / "ran").encode() + b"\ntR.")
    is_ours(path)
    assert not (tmp_path / "ran").exists()


def test_published_names_are_found_as_safetensors(tmp_path: Path):
    path = tmp_path / "realesr-general-x4v3.safetensors"
    path.touch()
    assert find_upscaler("realesr-general-x4v3", [tmp_path]).path == path
    assert find_upscaler(str(path), []).scale == 4


# Without spandrel


def test_without_the_package_its_installation_is_offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("post.weights.find_spec", lambda name: None)
    path = foreign(tmp_path)
    with pytest.raises(SpandrelMissing, match=r"spandrel and torchvision .*storyboard\[community\]") as raised:
        find_upscaler(str(path), [])
    assert str(path) in str(raised.value)
    monkeypatch.setitem(sys.modules, "spandrel", None)
    with pytest.raises(SpandrelMissing, match=r'pip install "storyboard\[community\]"'):
        open_net(named(path), CPU)


# With it


def test_a_community_model_upscales_frame_by_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    described = Described()
    asked: list[Path] = []
    installed(monkeypatch, lambda path: (asked.append(path), described)[1])
    path = foreign(tmp_path)
    enlarger = open_enlarger(Upscale(named(path), (24, 16)), CPU, 2)
    frames = torch.randint(0, 256, (2, 8, 12, 3), dtype=torch.uint8)
    made = enlarger(frames)
    wanted = (frames.permute(0, 3, 1, 2) / 255).repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(made, wanted, rtol=0, atol=1e-6)
    assert asked == [path]
    assert described.calls == [(1, 3, 8, 12)] * 2, "one at a time, as spandrel documents"
    assert described.moved == [(CPU, torch.float32)]


def test_what_a_model_says_of_itself_is_heeded():
    net = SpandrelNet(Described(scale=4, size_requirements=SimpleNamespace(multiple_of=48, square=False)), CPU)
    assert (net.scale, net.multiple, net.overlap) == (4, 48, 96)


@pytest.mark.parametrize(
    ("half", "bf16", "dtype"),
    [(True, True, torch.float16), (False, True, torch.bfloat16), (False, False, torch.float32)],
)
def test_on_a_gpu_a_model_runs_as_small_as_it_can(half: bool, bf16: bool, dtype: torch.dtype):
    net = SpandrelNet(Described(supports_half=half, supports_bfloat16=bf16), torch.device("cuda"))
    assert net.dtype == dtype
    assert net(torch.rand(2, 3, 4, 4)).dtype == dtype


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"purpose": "Restoration", "scale": 1}, r"a model for Restoration \(DAT\), not for super-resolution"),
        ({"purpose": "Inpainting"}, "a model for Inpainting"),
        ({"purpose": "FaceSR"}, "a model for FaceSR"),
        ({"input_channels": 1}, r"takes 1 channels and gives 3 \(DAT\): frames have three"),
        ({"output_channels": 1}, "takes 3 channels and gives 1"),
        ({"size_requirements": SimpleNamespace(multiple_of=1, square=True)}, "square pictures only"),
    ],
)
def test_models_of_another_kind_are_refused(
    facts: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    installed(monkeypatch, lambda path: Described(**facts))
    path = foreign(tmp_path)
    with pytest.raises(Lacking, match=message) as raised:
        open_net(named(path), CPU)
    assert str(path) in str(raised.value)


def test_a_file_that_spandrel_does_not_know_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def load(path: Path) -> Any:
        raise RuntimeError("Unsupported model\nkeys: ...")

    installed(monkeypatch, load)
    with pytest.raises(ValueError, match=r"does not know what it is \(RuntimeError: Unsupported model\)"):
        open_spandrel(foreign(tmp_path), CPU)


def test_a_torchvision_for_another_torch_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fails(name: str) -> Any:
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr("post.spandrel_net.import_module", fails)
    with pytest.raises(SpandrelMissing, match="torchvision::nms does not exist"):
        open_spandrel(foreign(tmp_path), CPU)
