"""Finishing on a GPU: the same frames as on the CPU, and a film made with its help."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from skimage import data

from post.devices import gpus, has_gpu
from post.upscale import RealESRGAN, Upscale, open_upscaler
from post.weights import DeviceMissing, Lacking, find_upscaler
from scenes.files import file_digest
from tests.stories import render, scene, write_picture, write_story

pytestmark = pytest.mark.gpu


def upscale_by(name: str, size: tuple[int, int]) -> Upscale:
    try:
        weights = find_upscaler(name, [])
    except Lacking as missing:
        pytest.skip(str(missing))
    return Upscale(RealESRGAN(file_digest(weights.path), weights.path), size)


def test_the_driver_tells_what_torch_sees():
    torch = pytest.importorskip("torch")
    found = gpus()
    assert [gpu.name for gpu in found] == [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    assert abs(found[0].bytes - torch.cuda.get_device_properties(0).total_memory) < 2**30
    assert has_gpu(None)
    assert not has_gpu("cpu")


@pytest.mark.parametrize("name", ["realesr-animevideov3", "realesrgan-x4plus-anime"])
@pytest.mark.parametrize("scale", [4, 2])
def test_upscaled_as_on_the_cpu(name: str, scale: int):
    frame = np.ascontiguousarray(data.chelsea()[40:136, 100:228])
    upscale = upscale_by(name, (128 * scale, 96 * scale))
    there, here = open_upscaler(upscale, "cuda:0")(frame), open_upscaler(upscale, "cpu")(frame)
    apart = np.abs(there.astype(int) - here)
    # cuDNN's convolutions may run in TF32 (10 bits of mantissa): a level or two, in few places.
    assert apart.max() <= 3
    assert apart.mean() < 0.1


def test_a_device_that_is_not_there_is_named():
    with pytest.raises(DeviceMissing, match="cuda:99"):
        open_upscaler(upscale_by("realesr-animevideov3", (256, 192)), "cuda:99")


def test_a_draft_finished_on_the_gpu(tmp_path: Path):
    upscale_by("realesr-animevideov3", (128, 96))
    write_picture(tmp_path, "a.png", 1)
    finish = '[finish]\nupscale = { model = "realesr-animevideov3", scale = 2 }\n'
    path = write_story(tmp_path, scene("a", image="a.png"), scene("b"), finish=finish)
    run = render(path, device="cuda:0")
    assert run.outcome.film is not None
    assert render(path, device="cpu").finished == [], "where it ran is not part of a key"
