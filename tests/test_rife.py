"""RIFE in torch: every version draws what its plain form draws, from every kind of file; and files that are no good."""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

from post.interpolate import Rife
from post.nets.ifnet import IFNet
from post.rife import RifeNet, open_rife
from post.rife_file import load_rife
from post.rife_versions import family_in
from post.weights import Lacking
from scenes.files import file_digest
from scenes.footage import DamagedFile
from tests import plain_ifnet
from tests.plain_ifnet import KINDS, Kind, State

torch.set_num_threads(1)

CPU = torch.device("cpu")
NOISE = torch.Generator().manual_seed(1)
BEFORE, AFTER = torch.rand(2, 3, 128, 256, generator=NOISE), torch.rand(2, 3, 128, 256, generator=NOISE)
TIMES = torch.tensor([1 / 3, 0.75])


def opened(state: State) -> RifeNet:
    return RifeNet(IFNet.of(state), CPU)


class TestNet:
    @pytest.mark.parametrize("name", KINDS)
    def test_draws_what_the_plain_form_draws(self, name: str):
        kind = KINDS[name]
        state = plain_ifnet.random(kind)
        net = IFNet.of(state)
        assert (net.version, net.multiple) == (kind.version, 4 * kind.scales[0])
        wanted = plain_ifnet.drawn(state, kind, BEFORE, AFTER, TIMES)
        assert (wanted - (BEFORE + AFTER) / 2).abs().max() > 0.3  # the flow moves things
        with torch.no_grad():
            torch.testing.assert_close(net(BEFORE, AFTER, TIMES), wanted, atol=5e-4, rtol=0)

    @pytest.mark.parametrize("name", ["4.6", "4.7", "4.26"])
    def test_a_batch_is_drawn_as_one_by_one(self, name: str):
        net = opened(plain_ifnet.random(KINDS[name]))
        alone = [net(BEFORE[at : at + 1], AFTER[at : at + 1], TIMES[at : at + 1]) for at in range(2)]
        torch.testing.assert_close(net(BEFORE, AFTER, TIMES), torch.cat(alone), atol=1e-4, rtol=0)

    @pytest.mark.parametrize(
        ("name", "size"), [("4.6", (50, 70)), ("4.6", (33, 64)), ("4.26", (96, 64)), ("4.7", (31, 31))]
    )
    def test_any_size_is_filled_up_with_zeros(self, name: str, size: tuple[int, int]):
        height, width = size
        net = IFNet.of(plain_ifnet.random(KINDS[name]))
        before, after = BEFORE[..., :height, :width], AFTER[..., :height, :width]
        full = [torch.zeros(2, 3, *(-(-side // net.multiple) * net.multiple for side in size)) for _ in range(2)]
        for whole, part in zip(full, (before, after), strict=True):
            whole[..., :height, :width] = part
        with torch.no_grad():
            wanted = net(*full, TIMES)[..., :height, :width]
        torch.testing.assert_close(RifeNet(net, CPU)(before, after, TIMES), wanted)

    def test_it_keeps_type_and_range(self):
        net = opened(plain_ifnet.random(KINDS["4.6"]))
        between = net(BEFORE.half(), AFTER.half(), TIMES)
        assert between.dtype == torch.float16
        assert 0 <= between.min() <= between.max() <= 1


def steered(kind: Kind, moves: Callable[[Tensor], Tensor], mask: float = 0.0) -> State:
    """A net whose flow is the same everywhere and linear in the time: half of it from the first block, half from the
    last. `moves`: time to flow (x and y to fetch from before, x and y from after)."""
    state = plain_ifnet.zeros(kind)
    base = moves(torch.tensor(0.0))
    slope = moves(torch.tensor(1.0)) - base
    last = len(kind.widths) - 1
    time = 6 + 2 * (kind.head[1] if kind.head else 0)  # the channel that it comes in by
    for at in (0, last):
        block, scale = f"block{at}", kind.scales[at]
        state[f"{block}.conv0.0.0.weight"][0, time, 1, 1] = 1
        state[f"{block}.conv0.1.0.weight"][0, 0, 1, 1] = 1
        # Of a turned convolution of side 4, these taps give every output exactly one input.
        for channel in range(4):
            group = slice(4 * channel, 4 * channel + 4)
            state[f"{block}.lastconv.0.weight"][0, group, 1:3, 1:3] = slope[channel] / 2 / scale
            state[f"{block}.lastconv.0.bias"][group] = base[channel] / 2 / scale
    state[f"block{last}.lastconv.0.bias"][16:20] = mask
    return state


def panning(right: float, down: float) -> Callable[[Tensor], Tensor]:
    """Flow where everything moves so many pixels from one frame to the other."""
    move = torch.tensor([right, down])
    return lambda time: torch.cat((-time * move, (1 - time) * move))


def scene(x: float, y: float, size: tuple[int, int] = (96, 128)) -> Tensor:
    """A smooth picture, seen from a camera that has moved so far to the left and up: things lie further right, down."""
    rows, columns = torch.meshgrid(torch.arange(size[0]) - y, torch.arange(size[1]) - x, indexing="ij")
    waves = [torch.sin(columns / 5 + at) * torch.cos(rows / 7 - at) for at in range(3)]
    return (torch.stack(waves)[None] + 1) / 2


NEARLY = 0.004  # a bilinear fetch from waves of thirty pixels: one level of 255


class TestMotion:
    @pytest.mark.parametrize("name", KINDS)
    @pytest.mark.parametrize("time", [1 / 3, 0.5, 2 / 3])
    def test_a_pan_is_where_it_should_be(self, name: str, time: float):
        net = opened(steered(KINDS[name], panning(6, -4)))
        between = net(scene(0, 0), scene(6, -4), torch.tensor([time]))
        inside = (..., slice(8, -8), slice(8, -8))  # where no edge comes in
        wanted = scene(6 * time, -4 * time)
        assert (between - wanted)[inside].abs().max() < NEARLY
        assert (between - scene(-6 * time, 4 * time))[inside].abs().max() > 0.1  # nor does it go the other way

    @pytest.mark.parametrize("name", ["4.6", "4.7", "4.26"])
    def test_each_pair_has_a_time_of_its_own(self, name: str):
        net = opened(steered(KINDS[name], panning(6, 2)))
        times = torch.tensor([0.25, 1 / 3, 2 / 3])
        between = net(scene(0, 0).repeat(3, 1, 1, 1), scene(6, 2).repeat(3, 1, 1, 1), times)
        for frame, time in zip(between, times.tolist(), strict=True):
            assert (frame - scene(6 * time, 2 * time)[0])[:, 8:-8, 8:-8].abs().max() < NEARLY

    @pytest.mark.parametrize("name", ["4.6", "4.7", "4.26"])
    @pytest.mark.parametrize(("mask", "wanted"), [(20.0, 0.2), (-20.0, 0.9), (0.0, 0.55)])
    def test_the_mask_is_the_share_of_the_frame_before(self, name: str, mask: float, wanted: float):
        net = opened(steered(KINDS[name], panning(0, 0), mask))
        between = net(torch.full((1, 3, 64, 64), 0.2), torch.full((1, 3, 64, 64), 0.9), TIMES[:1])
        torch.testing.assert_close(between, torch.full((1, 3, 64, 64), wanted), atol=1e-5, rtol=0)

    @pytest.mark.parametrize(("name", "wanted"), [("4.5", 0.2), ("4.6", 0.2), ("4.7", 0.9), ("4.26", 0.9)])
    def test_masks_add_up_to_4_6_and_are_replaced_from_4_7_on(self, name: str, wanted: float):
        state = steered(KINDS[name], panning(0, 0), mask=-10)
        state["block1.lastconv.0.bias"][16:20] = 30
        between = opened(state)(torch.full((1, 3, 64, 64), 0.2), torch.full((1, 3, 64, 64), 0.9), TIMES[:1])
        torch.testing.assert_close(between, torch.full((1, 3, 64, 64), wanted), atol=1e-4, rtol=0)

    @pytest.mark.parametrize("name", ["4.6", "4.26"])
    def test_flow_and_places_stay_fp32_where_convolutions_are_fp16(self, name: str):
        """Each half of the flow fits into fp16, and their sum of 100 + 1/32 does not; nor do places beyond 2048."""
        kind = KINDS[name]
        state = plain_ifnet.zeros(kind)
        last = f"block{len(kind.widths) - 1}"
        for channel in (0, 2):
            state["block0.lastconv.0.bias"][4 * channel : 4 * channel + 4] = 100 / kind.scales[0]
            state[f"{last}.lastconv.0.bias"][4 * channel : 4 * channel + 4] = 1 / 32
        frame = (torch.arange(4096) % 2).half().expand(1, 3, 64, 4096)
        with torch.no_grad():
            between = IFNet.of(state).half()(frame, frame, torch.tensor([0.5]))
        assert between.dtype == torch.float16
        wanted = torch.where(torch.arange(4096) % 2 == 0, 1 / 32, 31 / 32)[:3990]
        torch.testing.assert_close(between[0, 0, 5, :3990].float(), wanted, atol=2e-3, rtol=0)


def save(state: State, path: Path, prefix: str = "", zipped: bool = True) -> Path:
    named = {f"{prefix}{key}": value for key, value in state.items()}
    torch.save(named, path, _use_new_zipfile_serialization=zipped)
    return path


class TestFiles:
    @pytest.mark.parametrize("name", KINDS)
    def test_every_kind_of_file_holds_the_same_net(self, name: str, tmp_path: Path):
        kind = KINDS[name]
        state = {key: value.half().float() for key, value in plain_ifnet.random(kind).items()}  # as ncnn keeps it
        for key in state:
            if key.endswith(".beta"):
                state[key] = torch.ones_like(state[key]) / 2  # so that it is folded in exactly
        files = [
            save(state, tmp_path / "rife.pth"),
            save(state, tmp_path / "flownet.pkl", "module."),
            save(state, tmp_path / "old.pkl", "module.", zipped=False),
            tmp_path / "rife.safetensors",
            plain_ifnet.write_ncnn(state, kind, tmp_path / "folded", folded=True) / "flownet.bin",
            plain_ifnet.write_ncnn(state, kind, tmp_path / "not", folded=False) / "flownet.bin",
        ]
        comfy = {re.sub(r"^block(\d)", r"blocks.\1", key): value for key, value in state.items()}
        safetensors.torch.save_file(comfy, files[3], {"format": "pt"})
        nets = [load_rife(path) for path in files]
        assert {net.version for net in nets} == {kind.version}
        assert {family_in(path) for path in files} == {kind.version}
        for net in nets[1:]:
            assert net.design == nets[0].design
            for key, value in nets[0].state_dict().items():
                torch.testing.assert_close(net.state_dict()[key], value, atol=1e-7, rtol=0)

    def test_a_folder_stands_for_the_model_in_it(self, tmp_path: Path):
        folder = plain_ifnet.write_ncnn(plain_ifnet.random(KINDS["4.6"]), KINDS["4.6"], tmp_path / "rife-v4.6", True)
        for path in (folder, folder / "flownet.param", folder / "flownet.bin"):
            assert load_rife(path).version == "4.6"

    def test_weights_may_be_in_half_precision(self, tmp_path: Path):
        state = {key: value.half() for key, value in plain_ifnet.random(KINDS["4.26"]).items()}
        net = load_rife(save(state, tmp_path / "rife.pth"))
        assert {value.dtype for value in net.state_dict().values()} == {torch.float32}

    def test_what_only_training_used_is_left_out(self, tmp_path: Path):
        state = plain_ifnet.random(KINDS["4.26"])
        more = {"teacher.conv0.0.0.weight": torch.ones(3), "caltime.0.bias": torch.ones(1)}
        path = save({**state, **more}, tmp_path / "rife.pth", "module.")
        assert load_rife(path).state_dict().keys() == IFNet.of(state).state_dict().keys()
        assert family_in(path) == "4.26"

    def test_open_rife_opens_the_file_that_was_named(self, tmp_path: Path):
        path = save(plain_ifnet.random(KINDS["4.7"]), tmp_path / "rife47.pth")
        by = Rife(file_digest(path), path)
        assert open_rife(by, CPU)(BEFORE, AFTER, TIMES).shape == BEFORE.shape
        with pytest.raises(DamagedFile, match="replaced or damaged"):
            open_rife(replace(by, weights="0" * 64), CPU)
        path.unlink()
        with pytest.raises(Lacking, match="put it back"):
            open_rife(by, CPU)


GOOD = plain_ifnet.random(KINDS["4.6"])


def without(*keys: str) -> State:
    return {key: value for key, value in GOOD.items() if key not in keys}


def renamed(old: str, new: str) -> State:
    return {key.replace(old, new): value for key, value in GOOD.items()}


def earlier() -> State:
    """As 4.0 to 4.4 and 3.x name their layers."""
    return {re.sub(r"(convblock\.\d)\.conv", r"\1.0", key): value for key, value in without_betas().items()}


def without_betas() -> State:
    return {key: value for key, value in GOOD.items() if not key.endswith(".beta")}


def with_head(layer: str) -> State:
    return GOOD | {f"{layer}.weight": torch.ones(8, 3, 3, 3), "encode.2.weight": torch.ones(8, 8, 3, 3)}


STATES: dict[str, tuple[object, str]] = {
    "another net": ({"body.0.weight": torch.ones(3)}, "another net's (body.0.weight"),
    "nothing": ({}, "holds no weights"),
    "earlier": (earlier(), "a version before 4.5"),
    "4.10": (with_head("encode.0"), "RIFE 4.10 to 4.24"),
    "4.24": (with_head("encode.cnn0"), "RIFE 4.10 to 4.24"),
    "ensemble": (
        GOOD | {key.replace("block0", f"block{at}"): value for key, value in GOOD.items() for at in range(4, 8)},
        "a net of 8 blocks",
    ),
    "left over": (GOOD | {"block0.extra.weight": torch.ones(3)}, "also holds blocks.0.extra.weight"),
    "lacks a bias": (without("block2.convblock.3.conv.bias", "block2.convblock.3.beta"), "lacks blocks.2.convblock.3"),
    "lacks a layer": (without("block3.lastconv.0.weight"), "not whole: 'blocks.3.lastconv.0.weight'"),
    "lacks a convolution": (without("block1.convblock.2.conv.weight"), "beta belongs to no convolution"),
    "narrow": (GOOD | {"block1.conv0.0.0.weight": torch.ones(8, 11, 3, 3)}, "block 1 takes 11 channels"),
    "misshapen": (GOOD | {"block1.convblock.0.conv.bias": torch.ones(16, 1)}, "block"),
    "flat": (GOOD | {"block0.conv0.1.0.weight": torch.tensor(1.0)}, "not whole"),
    "a list": ([1, 2], "holds no dictionary"),
    "more than tensors": ({"epoch": 7}, "holds more than tensors"),
}


class TestBadFiles:
    @pytest.mark.parametrize("name", STATES)
    def test_weights_of_another_kind(self, name: str, tmp_path: Path):
        state, says = STATES[name]
        path = tmp_path / "rife.pth"
        torch.save(state, path)
        self.refused(path, says)

    def refused(self, path: Path, says: str) -> None:
        """Told with the file, what is wrong with it, and what would do."""
        with pytest.raises(ValueError, match=re.escape(says)) as bad:
            load_rife(path)
        assert str(path.parent) in str(bad.value)
        if path.is_file():
            with pytest.raises(Lacking, match=re.escape(says)) as lacking:
                open_rife(Rife(file_digest(path), path), CPU)
            assert "storyboard models pull rife-4.26" in str(lacking.value)

    @pytest.mark.parametrize(
        ("content", "says"),
        [
            (b"", "download it again"),
            (b"\n<!doctype html><title>Sign in</title>", "is a web page"),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "a pointer of Git LFS"),
            (bytes(range(256)) * 40, "does not open as torch's weights"),
        ],
    )
    @pytest.mark.parametrize("name", ["rife47.pth", "flownet.pkl", "rife_v4.26.safetensors"])
    def test_no_weights_at_all(self, content: bytes, says: str, name: str, tmp_path: Path):
        path = tmp_path / name
        path.write_bytes(content)
        told = "no safetensors file" if name.endswith("safetensors") and "open as" in says else says
        self.refused(path, told)
        with pytest.raises(ValueError, match=r"it is|it holds"):
            family_in(path)

    @pytest.mark.parametrize("part", [0.3, 0.9, 0.999])
    def test_a_file_that_was_cut_short(self, part: float, tmp_path: Path):
        whole = save(GOOD, tmp_path / "whole.pth").read_bytes()
        path = tmp_path / "rife46.pth"
        path.write_bytes(whole[: int(len(whole) * part)])
        self.refused(path, "does not open as torch's weights")
        with pytest.raises(ValueError, match="or damaged: download it again"):  # while planning, not only when opened
            family_in(path)
        safetensors.torch.save_file(GOOD, tmp_path / "whole.safetensors")
        whole = (tmp_path / "whole.safetensors").read_bytes()
        path = tmp_path / "rife46.safetensors"
        path.write_bytes(whole[: int(len(whole) * part)])
        self.refused(path, "cut short")
        with pytest.raises(ValueError, match="or damaged: download it again"):
            family_in(path)

    def test_a_pickle_runs_nothing(self, tmp_path: Path):
        class Trap:
            def __reduce__(self) -> tuple[object, ...]:
                return (Path.touch, (tmp_path / "ran",))

        path = tmp_path / "rife46.pkl"
        path.write_bytes(pickle.dumps({"block0.convblock.0.conv.weight": Trap()}))
        self.refused(path, "does not open as torch's weights")
        assert not (tmp_path / "ran").exists()

    def test_a_zip_of_something_else(self, tmp_path: Path):
        path = tmp_path / "rife46.pth"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("flownet.txt", "nothing")
        self.refused(path, "does not open as torch's weights")
        with pytest.raises(ValueError, match="no file of weights, or damaged"):
            family_in(path)

    def test_a_type_that_no_net_has(self, tmp_path: Path):
        path = tmp_path / "rife46.safetensors"
        safetensors.torch.save_file({key: value.to(torch.float8_e4m3fn) for key, value in GOOD.items()}, path)
        self.refused(path, "holds weights as F8_E4M3")


class TestBadModels:
    @pytest.fixture
    def model(self, tmp_path: Path) -> Path:
        return plain_ifnet.write_ncnn(GOOD, KINDS["4.6"], tmp_path / "rife-v4.6", folded=True)

    def test_half_of_it_is_not_there(self, model: Path):
        (model / "flownet.param").rename(model / "elsewhere")
        TestBadFiles().refused(model / "flownet.bin", "lacks flownet.param beside it")
        (model / "elsewhere").rename(model / "flownet.param")
        (model / "flownet.bin").unlink()
        TestBadFiles().refused(model / "flownet.bin", "lacks flownet.bin beside it")
        (model / "flownet.param").unlink()
        TestBadFiles().refused(model, "lacks flownet.param")

    @pytest.mark.parametrize(("change", "says"), [(-100, "inside a record"), (100, "bytes after its last record")])
    def test_its_weights_are_cut_short_or_too_long(self, model: Path, change: int, says: str):
        data = (model / "flownet.bin").read_bytes()
        (model / "flownet.bin").write_bytes(data[:change] if change < 0 else data + bytes(change))
        TestBadFiles().refused(model / "flownet.bin", says)

    @pytest.mark.parametrize(
        ("old", "new", "says"),
        [
            ("7767517", "<html>", "not an ncnn model in text form"),
            ("Sigmoid sigmoid", "LSTM sigmoid", "a layer LSTM, which neither"),
            ("0=12 1=3", "1=3", "lacks its number '0'"),
            ("0=12 1=3", "0=0 1=3", "a kernel of no size"),
        ],
    )
    def test_its_graph_is_another(self, model: Path, old: str, new: str, says: str):
        text = (model / "flownet.param").read_text()
        assert old in text
        (model / "flownet.param").write_text(text.replace(old, new, 1))
        TestBadFiles().refused(model / "flownet.bin", says)

    def test_it_is_an_upscalers(self, tmp_path: Path):
        (tmp_path / "flownet.param").write_text("7767517\n2 2\nInput in 0 1 in\nPReLU slope 1 1 in out 0=2\n")
        (tmp_path / "flownet.bin").write_bytes(bytes(8))
        TestBadFiles().refused(tmp_path / "flownet.bin", "its layers are another net's")
        with pytest.raises(ValueError, match="0 convolutions"):
            family_in(tmp_path / "flownet.bin")

    def test_its_blocks_are_doubled(self, tmp_path: Path):
        """As ensembles are exported: each block twice."""
        kind = KINDS["4.6"]
        doubled = replace(kind, widths=(24, 24, 16, 16, 16, 16, 8, 8))
        model = plain_ifnet.write_ncnn(plain_ifnet.random(doubled), doubled, tmp_path / "ensemble", folded=True)
        TestBadFiles().refused(model / "flownet.bin", "a net of 8 blocks")
