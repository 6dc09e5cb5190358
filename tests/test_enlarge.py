"""Enlarging in batches, and the forms of the nets that GPUs run: all of them draw what the plain net draws."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn

from post.bicubic import Along
from post.enlarge import Enlarger, Fit
from post.nets import RRDBNet, SRVGGNetCompact
from post.nets.dense import GroupedBlock, regroup
from post.nets.prepared import Filled, prepared
from post.nets.rrdb import DenseBlock

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.inference_mode():
        yield
    torch.set_num_threads(threads)


def noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def filled(net: nn.Module, size: float = 0.1) -> nn.Module:
    for index, weights in enumerate(net.parameters()):
        weights.requires_grad_(False).copy_((noise(*weights.shape, seed=index) - 0.5) * 2 * size)
    return net.eval()


def frames(count: int, width: int, height: int) -> Tensor:
    return (noise(count, height, width, 3) * 255).to(torch.uint8)


# Batches


@pytest.mark.parametrize("size", [(52, 36), (39, 27), (40, 36), (10, 10)])
@pytest.mark.parametrize("scale", [2, 4])
def test_a_batch_is_its_frames_one_by_one(scale: int, size: tuple[int, int]):
    enlarger = Enlarger(filled(RRDBNet(8, 1, 4, scale)), size, CPU, 3)
    given = frames(3, 13, 9)
    made = enlarger(given)
    assert made.shape == (3, 3, size[1], size[0])
    assert made.dtype == torch.float32
    assert made.is_contiguous(memory_format=torch.channels_last)
    assert 0 <= made.min() <= made.max() <= 1
    for index in range(3):
        torch.testing.assert_close(enlarger(given[index : index + 1])[0], made[index], rtol=0, atol=1e-6)


def test_clips_of_several_sizes_go_through_one_enlarger():
    enlarger = Enlarger(filled(SRVGGNetCompact(8, 1, 2)), (40, 30), CPU, 2)
    for width, height in ((20, 15), (40, 30), (17, 23), (20, 15)):
        assert enlarger(frames(2, width, height)).shape == (2, 3, 30, 40)


def test_tiles_of_a_batch_are_the_whole():
    net = filled(SRVGGNetCompact(8, 2, 2))
    given = frames(2, 61, 44)
    whole = Enlarger(net, (122, 88), CPU, 2)(given)
    seen: list[tuple[int, ...]] = []
    tiled = Enlarger(net, (122, 88), CPU, 2, tile_pixels=700)
    drawn = tiled._draw
    tiled._draw = lambda image: (seen.append(tuple(image.shape)), drawn(image))[1]
    torch.testing.assert_close(tiled(given), whole, rtol=0, atol=1e-5)
    assert len(seen) > 4
    assert len(set(seen)) == 1, "a net is compiled for one shape"
    assert seen[0][2] * seen[0][3] <= 700


def test_what_is_compiled_for_a_number_is_always_given_it():
    shapes: list[tuple[int, ...]] = []

    def draw(image: Tensor) -> Tensor:
        shapes.append(tuple(image.shape))
        return image * 2

    three = Filled(draw, 3)
    given = noise(3, 3, 4, 5)
    for count in (3, 1, 2):
        assert torch.equal(three(given[:count]), given[:count] * 2)
    assert set(shapes) == {(3, 3, 4, 5)}


def test_on_a_cpu_the_plain_net_draws():
    net = filled(SRVGGNetCompact(8, 1, 2))
    assert prepared(net, CPU, 4, compile=True) is net


# The resample


@settings(max_examples=60, deadline=None)
@given(
    source=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    size=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    edges=st.tuples(*(st.floats(0, 0.3) for _ in range(4))),
)
def test_the_resample_of_any_part_is_pillows(source: tuple[int, int], size: tuple[int, int], edges: tuple[float, ...]):
    (width, height), (left, top, right, bottom) = source, edges
    box = width * left, height * top, width * (1 - right), height * (1 - bottom)
    with torch.inference_mode():
        image = noise(1, 1, height, width)
        made = Fit(source, box, size, CPU)(image)[0, 0]
    wanted = Image.fromarray(image[0, 0].numpy()).resize(size, Image.Resampling.BICUBIC, box)
    np.testing.assert_allclose(made, np.clip(np.array(wanted), 0, 1), rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [(2, 2), (13, 90), (40, 31), (80, 62), (160, 124)])
def test_the_resample_of_a_whole_picture_is_torchs(size: tuple[int, int]):
    image = noise(2, 3, 62, 80) * 1.4 - 0.2
    made = Fit((80, 62), (0.0, 0.0, 80.0, 62.0), size, CPU)(image)
    wanted = F.interpolate(image.clamp(0, 1), size=size[::-1], mode="bicubic", antialias=True).clamp(0, 1)
    torch.testing.assert_close(made, wanted, rtol=0, atol=2e-6)


def test_what_gpus_sum_up_is_what_cpus_gather():
    image = noise(2, 3, 21, 34)
    for axis, length in ((2, 21), (3, 34)):
        along = Along(length, 1.2, length - 3.0, 11, axis, CPU)
        torch.testing.assert_close(along._shifted(image), along._gathered(image), rtol=0, atol=1e-6)


def test_a_resample_to_the_same_size_changes_nothing():
    image = noise(1, 3, 9, 7)
    assert torch.equal(Along(9, 0.0, 9.0, 9, 2, CPU)(image), image)


def test_a_part_between_pixels_of_a_ramp_is_where_it_should_be():
    ramp = (torch.arange(40.0) / 40).expand(1, 3, 8, 40)
    made = Along(40, 10.3, 30.3, 10, 3, CPU)(ramp)[0, 0, 0]
    torch.testing.assert_close(made, (10.3 + 2 * torch.arange(10.0) + 0.5) / 40, rtol=0, atol=1e-6)


# Wider convolutions for the same sums


def test_a_regrouped_block_is_the_block():
    block, image = filled(DenseBlock(12, 8)), noise(2, 12, 9, 11) - 0.5
    torch.testing.assert_close(GroupedBlock(block)(image), block(image), rtol=0, atol=1e-6)


def test_a_regrouped_net_is_the_net():
    net, image = filled(RRDBNet(8, 2, 4)), noise(1, 3, 9, 7)
    wanted = net(image)
    regroup(net)
    torch.testing.assert_close(net(image), wanted, rtol=0, atol=1e-6)


def test_a_frame_taken_apart_is_left_alone():
    enlarger = Enlarger(filled(SRVGGNetCompact(8, 1, 2)), (24, 16), CPU, 2)
    first = enlarger(frames(1, 12, 8))
    copy = first.clone()
    enlarger(torch.from_numpy(np.zeros((2, 8, 12, 3), np.uint8)))
    assert torch.equal(first, copy), "new memory at every call"
