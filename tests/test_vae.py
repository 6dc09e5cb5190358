"""The VAE under both namings, and frames that come latent by latent, equal to the bit to diffusers' whole decode."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLWan
from diffusers.loaders.single_file_utils import convert_wan_vae_to_diffusers
from diffusers.video_processor import VideoProcessor

from scenes.shot import Stopped
from scenes.wan.checkpoint import Checkpoint, CheckpointError, read_checkpoint
from scenes.wan.decode import decode, decoder_levels, middle, upper
from scenes.wan.strips import cut
from scenes.wan.vae import DEVIATIONS, MEANS, load_vae, scale_of, spare_copies
from scenes.wan.vae_memory import VAE_2_1, VAE_2_2
from scenes.wan.vae_shape import VaeShape, diffusers_names, vae_shape
from tests import tiny_wan as tiny

torch.set_num_threads(1)
CPU = torch.device("cpu")
BOTH = pytest.mark.parametrize("make", [tiny.vae21, tiny.vae22], ids=["2.1", "2.2"])
Make = Callable[..., Any]


def checkpoint(vae: Any, folder: Path, change: Callable[[tiny.State], tiny.State] = lambda state: state) -> Checkpoint:
    return read_checkpoint(tiny.write_safetensors(change(tiny.original_vae(vae)), folder / "vae" / "vae.safetensors"))


def loaded(vae: Any, folder: Path, dtype: torch.dtype = torch.float32) -> Any:
    return load_vae(checkpoint(vae, folder), CPU, dtype)


def full_size(shape: VaeShape) -> Any:
    with torch.device("meta"):
        return AutoencoderKLWan(**shape.config, latents_mean=[0.0] * shape.z, latents_std=[1.0] * shape.z)


def whole_decode(stock: Any, latents: torch.Tensor) -> torch.Tensor:
    """As WanImageToVideoPipeline calls diffusers' own module."""
    mean = torch.tensor(MEANS[stock.config.z_dim]).view(1, -1, 1, 1, 1)
    inverse = 1.0 / torch.tensor(DEVIATIONS[stock.config.z_dim]).view(1, -1, 1, 1, 1)
    return stock.decode(latents / inverse + mean, return_dict=False)[0]


def streamed(vae: Any, latents: torch.Tensor) -> Iterator[torch.Tensor]:
    side = 4 if latents.shape[4] >= latents.shape[3] else 3
    (strip,) = cut(decoder_levels(vae), latents.shape[side], 1)
    return upper(vae, middle(vae, latents), strip, side)


def latents_for(vae: Any, count: int = 3, height: int = 4, width: int = 6, seed: int = 0) -> torch.Tensor:
    return torch.randn(1, vae.config.z_dim, count, height, width, generator=torch.Generator().manual_seed(seed))


# Names


def test_names_of_the_full_size_vae_are_those_of_diffusers_own_conversion() -> None:
    vae = full_size(VAE_2_1)
    original = tiny.original_vae(vae)
    names = diffusers_names(original)
    assert len(names) == 194
    assert set(names.values()) == set(vae.state_dict())
    theirs = convert_wan_vae_to_diffusers({name: name for name in original})
    assert {ours: name for name, ours in names.items()} == theirs


def test_names_of_the_residual_vae() -> None:
    vae = full_size(VAE_2_2)
    original = tiny.original_vae(vae)
    names = diffusers_names(original)
    assert set(names.values()) == set(vae.state_dict())
    # As Wan-Video/Wan2.2's vae2_2.py has them: two residual blocks and a Resample down, three and a Resample up.
    known = {
        "conv1.weight": "quant_conv.weight",
        "conv2.bias": "post_quant_conv.bias",
        "encoder.conv1.weight": "encoder.conv_in.weight",
        "encoder.downsamples.1.downsamples.0.shortcut.weight": "encoder.down_blocks.1.resnets.0.conv_shortcut.weight",
        "encoder.downsamples.1.downsamples.2.time_conv.bias": "encoder.down_blocks.1.downsampler.time_conv.bias",
        "encoder.middle.1.to_qkv.weight": "encoder.mid_block.attentions.0.to_qkv.weight",
        "decoder.upsamples.0.upsamples.0.residual.2.weight": "decoder.up_blocks.0.resnets.0.conv1.weight",
        "decoder.upsamples.1.upsamples.3.resample.1.weight": "decoder.up_blocks.1.upsampler.resample.1.weight",
        "decoder.upsamples.3.upsamples.2.residual.6.bias": "decoder.up_blocks.3.resnets.2.conv2.bias",
        "decoder.head.2.weight": "decoder.conv_out.weight",
    }
    assert {name: names[name] for name in known} == known


def test_names_that_are_diffusers_already_stay_and_a_prefix_goes() -> None:
    for shape in (VAE_2_1, VAE_2_2):
        state = full_size(shape).state_dict()
        assert diffusers_names(state) == {name: name for name in state}
        original = tiny.original_vae(full_size(shape))
        assert set(diffusers_names([f"model.{name}" for name in original]).values()) == set(state)


@pytest.mark.parametrize("blocks", [1, 2, 3])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("multiples", [(1, 2, 2), (1, 1, 2, 2)])
def test_names_and_shape_of_other_depths(
    blocks: int, residual: bool, multiples: tuple[int, ...], tmp_path: Path
) -> None:
    temporal = (False, True, True)[: len(multiples) - 1]
    z, patch = (48, 2) if residual else (16, 1)
    shape = VaeShape(z, 8, 8 + 8 * residual, multiples, blocks, temporal, residual, patch)
    vae = full_size(shape)
    with torch.device("cpu"):
        state = {name: torch.zeros(1).expand(t.shape) for name, t in tiny.original_vae(vae).items()}
    assert set(diffusers_names(state).values()) == set(vae.state_dict())
    assert vae_shape(read_checkpoint(tiny.write_safetensors(state, tmp_path / "vae.safetensors"))) == shape


# Loading


def test_the_full_size_vaes_are_told_from_their_shapes() -> None:
    for shape, defaults in ((VAE_2_1, AutoencoderKLWan().config), (VAE_2_2, None)):
        names = {name: tuple(tensor.shape) for name, tensor in full_size(shape).state_dict().items()}
        tensors = {name: _Shaped(shape) for name, shape in names.items()}
        assert vae_shape(_Named(tensors)) == shape  # type: ignore[arg-type]
        if defaults is not None:
            told = {key: value for key, value in shape.config.items() if key != "decoder_base_dim"}
            assert told == {key: defaults[key] for key in told}
    assert (VAE_2_1.stride, VAE_2_2.stride) == (8, 16)


class _Shaped:
    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape


class _Named:
    path = Path("vae.safetensors")

    def __init__(self, tensors: dict[str, _Shaped]) -> None:
        self.tensors = tensors


def test_the_constants_of_the_latents() -> None:
    config = AutoencoderKLWan(base_dim=8, dim_mult=[1, 1, 1, 1], num_res_blocks=1).config
    assert list(MEANS[16]) == config.latents_mean
    assert list(DEVIATIONS[16]) == config.latents_std
    assert len(MEANS[48]) == len(DEVIATIONS[48]) == 48
    # Sums of the lists in Wan-Video/Wan2.2, wan/modules/vae2_2.py.
    assert (round(sum(MEANS[48]), 4), round(sum(DEVIATIONS[48]), 4)) == (-0.5589, 32.536)


@BOTH
@pytest.mark.parametrize("form", ["fp32", "fp16", "bf16"])
def test_weights_in_every_form_and_naming(make: Make, form: str, tmp_path: Path) -> None:
    vae = make(4)
    stored = tiny.FORMS[form](vae.state_dict())
    original = read_checkpoint(
        tiny.write_safetensors(tiny.FORMS[form](tiny.original_vae(vae)), tmp_path / "original.safetensors")
    )
    theirs = read_checkpoint(tiny.write_safetensors(stored, tmp_path / "theirs.safetensors"))
    for source in (original, theirs):
        weights = load_vae(source, CPU, torch.float32).state_dict()
        assert weights.keys() == stored.keys()
        assert all(torch.equal(weights[name], tensor.float()) for name, tensor in stored.items())


@BOTH
def test_a_folder_as_diffusers_saves_it(make: Make, tmp_path: Path) -> None:
    vae = make(4)
    vae.save_pretrained(tmp_path / "vae")
    weights = load_vae(read_checkpoint(tmp_path / "vae"), CPU, torch.float32).state_dict()
    assert all(torch.equal(weights[name], tensor) for name, tensor in vae.state_dict().items())


def test_what_is_loaded_is_ready_to_use(tmp_path: Path) -> None:
    vae = loaded(tiny.vae22(), tmp_path, torch.bfloat16)
    assert (vae.dtype, vae.device, vae.training) == (torch.bfloat16, CPU, False)
    assert not any(parameter.requires_grad for parameter in vae.parameters())
    assert vae.config.latents_mean == list(MEANS[48])
    assert vae.config.latents_std == list(DEVIATIONS[48])


def _without(part: str) -> Callable[[tiny.State], tiny.State]:
    return lambda state: {name: tensor for name, tensor in state.items() if part not in name}


WRONG: dict[str, tuple[Callable[[tiny.State], tiny.State], str]] = {
    "another model": (lambda state: {"blocks.0.weight": torch.zeros(2)}, "is not a VAE of WAN"),
    "no encoder": (_without("encoder."), "is not a VAE of WAN"),
    "a width": (
        lambda state: {**state, "encoder.downsamples.0.residual.2.weight": torch.zeros(5, 8, 3, 3, 3)},
        "do not fit together",
    ),
    "channels": (
        lambda state: {**state, "encoder.downsamples.0.residual.2.weight": torch.zeros(16, 8, 3, 3, 3)},
        "lacks encoder.down_blocks.0.conv_shortcut.bias and 3 more",
    ),
    "no convolution": (lambda state: {**state, "encoder.conv1.weight": torch.zeros(8)}, "is not a VAE of WAN"),
    "a tensor short": (_without("decoder.middle.0.residual.2.bias"), "lacks decoder.mid_block.resnets.0.conv1.bias:"),
    "tensors short": (_without("decoder.middle."), r"lacks decoder.mid_block.\S+ and \d+ more"),
    "a tensor more": (lambda state: {**state, "decoder.extra": torch.zeros(2)}, "unknown decoder.extra"),
    "a shape": (lambda state: {**state, "decoder.head.2.bias": torch.zeros(7)}, "decoder.head.2.bias has the shape"),
    "fp8": (lambda state: tiny.as_dtype(state, torch.float8_e4m3fn), "is stored as F8_E4M3"),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_wrong_files_are_told(mistake: str, tmp_path: Path) -> None:
    change, message = WRONG[mistake]
    wrong = checkpoint(tiny.vae21(), tmp_path, change)
    with pytest.raises(CheckpointError, match=message) as raised:
        load_vae(wrong, CPU, torch.float32)
    assert re.search(r"vae\.safetensors: .*: (take|download|the file)", str(raised.value))


def test_another_number_of_channels_is_told(tmp_path: Path) -> None:
    other = AutoencoderKLWan(base_dim=8, z_dim=32, dim_mult=[1, 1, 1, 1], num_res_blocks=1)
    with pytest.raises(CheckpointError, match="32 latent channels"):
        load_vae(checkpoint(other, tmp_path), CPU, torch.float32)


def test_telling_a_vae_and_its_memory_needs_no_torch() -> None:
    modules = "scenes.wan.vae_shape, scenes.wan.vae_memory, scenes.wan.strips"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules or 'diffusers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# Decoding


@BOTH
@pytest.mark.parametrize("size", [(4, 6), (6, 4), (5, 5)])
def test_latent_by_latent_is_the_whole_decode(make: Make, size: tuple[int, int], tmp_path: Path) -> None:
    vae = loaded(make(1), tmp_path)
    latents = latents_for(vae, 4, *size)
    chunks = list(streamed(vae, latents))
    assert [chunk.shape[2] for chunk in chunks] == [1, 4, 4, 4]
    whole = whole_decode(make(1), latents)
    assert torch.equal(torch.cat(chunks, 2), whole)
    assert whole.std() > 0.1


@BOTH
def test_frames_are_the_pictures_of_diffusers_processor(make: Make, tmp_path: Path) -> None:
    vae = loaded(make(2), tmp_path)
    latents = latents_for(vae)
    pictures = VideoProcessor().postprocess_video(whole_decode(make(2), latents), "pil")[0]
    frames = np.concatenate(list(decode(vae, latents)))
    assert frames.dtype == np.uint8
    assert np.array_equal(frames, np.stack([np.asarray(picture) for picture in pictures]))


def test_scale_is_the_pipelines() -> None:
    vae: Any = tiny.vae21()
    mean, inverse = scale_of(vae)
    assert mean.dtype == inverse.dtype == torch.float32
    assert torch.equal(inverse.flatten(), 1.0 / torch.tensor(vae.config.latents_std))


def test_decodes_do_not_disturb_one_another(tmp_path: Path) -> None:
    vae = loaded(tiny.vae21(), tmp_path)
    first, second = latents_for(vae, seed=1), latents_for(vae, seed=2)
    alone = [list(decode(vae, latents)) for latents in (first, second)]
    together = list(zip(decode(vae, first), decode(vae, second), strict=True))
    for index, side in enumerate(zip(*together, strict=True)):
        assert all(np.array_equal(a, b) for a, b in zip(side, alone[index], strict=True))


@pytest.mark.parametrize("strips", [1, 3])
def test_tell_hears_the_part_done_and_may_stop(strips: int, tmp_path: Path) -> None:
    vae = loaded(tiny.vae21(), tmp_path)
    latents = latents_for(vae)
    heard: list[float] = []
    frames = [chunk.shape[0] for chunk in decode(vae, latents, strips, heard.append)]
    assert frames == [1, 4, 4]
    assert heard == pytest.approx([(index + 1) / (3 * strips) for index in range(3 * strips)])

    def stop(part: float) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        list(decode(vae, latents, strips, stop))


def test_frames_come_while_the_rest_is_still_latents(tmp_path: Path) -> None:
    vae = loaded(tiny.vae21(), tmp_path)
    calls: list[int] = []
    vae.decoder.up_blocks[-1].register_forward_hook(lambda *_: calls.append(1))
    frames = decode(vae, latents_for(vae, 5))
    assert next(frames).shape == (1, 32, 48, 3)
    assert next(frames).shape == (4, 32, 48, 3)
    assert len(calls) == 2
    frames.close()  # type: ignore[attr-defined]
    assert len(calls) == 2


@BOTH
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_leaner_layers_give_the_same_numbers(make: Make, dtype: torch.dtype) -> None:
    stock, lean = (make(5).to(dtype) for _ in range(2))
    spare_copies(lean)
    latents = latents_for(stock).to(dtype)
    assert torch.equal(lean.decode(latents).sample, stock.decode(latents).sample)
    video = torch.rand(1, 3, 9, 32, 64, generator=torch.Generator().manual_seed(0)).to(dtype)
    assert torch.equal(lean.encode(video).latent_dist.mode(), stock.encode(video).latent_dist.mode())


def test_half_precision_is_near(tmp_path: Path) -> None:
    vae = loaded(tiny.vae21(), tmp_path)
    latents = latents_for(vae)
    want = np.concatenate(list(decode(vae, latents))).astype(int)
    for dtype in (torch.bfloat16, torch.float16):
        half = np.concatenate(list(decode(loaded(tiny.vae21(), tmp_path, dtype), latents)))
        assert np.abs(half - want).mean() < 2
