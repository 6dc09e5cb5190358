"""WAN's VAE: diffusers' module with a checkpoint's weights, and what its causal layers remember from chunk to chunk."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from diffusers.models.autoencoders import autoencoder_kl_wan
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan, WanCausalConv3d, WanUpsample
from torch import Tensor, nn
from torch.nn.functional import conv3d, pad

from scenes.wan.checkpoint import Checkpoint, CheckpointError, TensorInfo
from scenes.wan.vae_shape import AGAIN, TAKE, VaeShape, vae_shape, vae_tensors

# Mean and deviation of each channel of the latents. Source: Wan-Video/Wan2.2, wan/modules/vae2_1.py (WanVAE; diffusers'
# defaults) and vae2_2.py (Wan2_2_VAE; vae22_diffusers_config in diffusers' scripts/convert_wan_to_diffusers.py).
# fmt: off
MEANS: dict[int, tuple[float, ...]] = {
    16: (
        -0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508,
        0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921,
    ),
    48: (
        -0.2289, -0.0052, -0.1323, -0.2339, -0.2799, 0.0174, 0.1838, 0.1557,
        -0.1382, 0.0542, 0.2813, 0.0891, 0.1570, -0.0098, 0.0375, -0.1825,
        -0.2246, -0.1207, -0.0698, 0.5109, 0.2665, -0.2108, -0.2158, 0.2502,
        -0.2055, -0.0322, 0.1109, 0.1567, -0.0729, 0.0899, -0.2799, -0.1230,
        -0.0313, -0.1649, 0.0117, 0.0723, -0.2839, -0.2083, -0.0520, 0.3748,
        0.0152, 0.1957, 0.1433, -0.2944, 0.3573, -0.0548, -0.1681, -0.0667,
    ),
}
DEVIATIONS: dict[int, tuple[float, ...]] = {
    16: (
        2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743,
        3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160,
    ),
    48: (
        0.4765, 1.0364, 0.4514, 1.1677, 0.5313, 0.4990, 0.4818, 0.5013,
        0.8158, 1.0344, 0.5894, 1.0901, 0.6885, 0.6165, 0.8454, 0.4978,
        0.5759, 0.3523, 0.7135, 0.6804, 0.5833, 1.4146, 0.8986, 0.5659,
        0.7069, 0.5338, 0.4889, 0.4917, 0.4069, 0.4999, 0.6866, 0.4093,
        0.5709, 0.6065, 0.6415, 0.4944, 0.5726, 1.2042, 0.5458, 1.6887,
        0.3971, 1.0600, 0.3943, 0.5537, 0.5444, 0.4089, 0.7468, 0.7744,
    ),
}
# fmt: on
DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}

Memory = list[Any]
"""The last two frames that each causal convolution saw; None before the first chunk."""


def load_vae(checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype) -> AutoencoderKLWan:
    """The VAE of a checkpoint under either naming, its weights in fp32, fp16 or bf16.

    Raises:
        CheckpointError: it is another VAE, or a tensor is missing, unknown or of a wrong shape.
    """
    vae = _built(checkpoint, vae_shape(checkpoint))
    tensors = vae_tensors(checkpoint)
    _check(checkpoint, tensors, vae)
    weights = {name: _weight(info, device, dtype) for name, info in tensors.items()}
    vae.load_state_dict(weights, assign=True)
    spare_copies(vae)
    return vae.eval().requires_grad_(False)


def _built(checkpoint: Checkpoint, shape: VaeShape) -> AutoencoderKLWan:
    """The module, without weights."""
    if shape.z not in MEANS or shape.residual != (shape.z == 48):
        raise CheckpointError(
            f"{checkpoint.path}: is a VAE of {shape.z} latent channels that no WAN model uses: {TAKE}"
        )
    scale = {"latents_mean": list(MEANS[shape.z]), "latents_std": list(DEVIATIONS[shape.z])}
    try:
        with torch.device("meta"):
            return AutoencoderKLWan(**shape.config, **cast(Any, scale))
    except (ValueError, ArithmeticError, AssertionError, IndexError, RuntimeError) as error:
        raise CheckpointError(f"{checkpoint.path}: its weights do not fit together ({error}): {AGAIN}") from None


def _check(checkpoint: Checkpoint, tensors: dict[str, TensorInfo], vae: nn.Module) -> None:
    expected = {name: tuple(tensor.shape) for name, tensor in vae.state_dict().items()}
    lacks, unknown = expected.keys() - tensors.keys(), tensors.keys() - expected.keys()
    if lacks or unknown:
        names = sorted(lacks or unknown)
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        what = "lacks" if lacks else "has an unknown"
        raise CheckpointError(f"{checkpoint.path}: the VAE {what} {names[0]}{more}: {AGAIN}")
    for name, info in tensors.items():
        if tuple(info.shape) != expected[name]:
            raise CheckpointError(
                f"{checkpoint.path}: {info.name} has the shape {list(info.shape)} where the VAE's other weights need "
                f"{list(expected[name])}: {AGAIN}"
            )
        if info.dtype not in DTYPES:
            raise CheckpointError(
                f"{checkpoint.path}: {info.name} is stored as {info.dtype}: take a VAE in fp32, fp16 or bf16"
            )


def _weight(info: TensorInfo, device: torch.device, dtype: torch.dtype) -> Tensor:
    stored = np.fromfile(info.path, np.uint8, info.nbytes, offset=info.offset)
    if stored.size < info.nbytes:
        raise CheckpointError(f"{info.path} has been cut short since it was looked at: {AGAIN}")
    raw = torch.from_numpy(stored)
    weight = raw.view(DTYPES[info.dtype]).reshape(info.shape).to(device, dtype)
    if device.type == "cuda" and weight.ndim in CHANNELS_LAST:  # a tenth faster in bf16 on an H200
        weight = weight.to(memory_format=CHANNELS_LAST[weight.ndim])
    return weight


class CausalConv3d(WanCausalConv3d):
    """The same numbers without a padded copy of what comes in: the convolution pads the sides itself."""

    def forward(self, x: Tensor, cache_x: Tensor | None = None) -> Tensor:
        right, _, below, _, front, _ = cast("tuple[int, ...]", self._padding)
        if cache_x is not None and front > 0:
            x = torch.cat([cache_x, x], dim=2)
            front -= cache_x.shape[2]
        if front > 0:
            x = pad(x, (0, 0, 0, 0, front, 0))
        return conv3d(x, self.weight, self.bias, self.stride, (0, below, right))


class Upsample(WanUpsample):
    """The same pixels repeated, not by way of fp32, which older torches needed."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.Upsample.forward(self, x)


def spare_copies(vae: nn.Module) -> None:
    """Gives the layers of diffusers' VAE these leaner ways to the same numbers."""
    for layer in vae.modules():
        if isinstance(layer, WanCausalConv3d):
            layer.__class__ = CausalConv3d
        elif isinstance(layer, WanUpsample):
            layer.__class__ = Upsample


def scale_of(vae: AutoencoderKLWan) -> tuple[Tensor, Tensor]:
    """Mean and inverse deviation of the latents, fp32, as the reference computes them."""
    config = cast(Any, vae.config)
    mean = torch.tensor(config.latents_mean, device=vae.device).view(1, -1, 1, 1, 1)
    return mean, 1.0 / torch.tensor(config.latents_std, device=vae.device).view(1, -1, 1, 1, 1)


def memory_of(*parts: nn.Module) -> Memory:
    """What these parts remember, in the order in which they run: nothing yet."""
    return [None] * sum(isinstance(layer, WanCausalConv3d) for part in parts for layer in part.modules())


def remembering(conv: Any, chunk: Tensor, memory: Memory, at: list[int]) -> Tensor:
    """A causal convolution that stands alone, as diffusers' encoder and decoder run their first and last."""
    before = memory[at[0]]
    kept = chunk[:, :, -2:].clone()
    if kept.shape[2] < 2 and before is not None:
        kept = torch.cat([before[:, :, -1:], kept], dim=2)
    out: Tensor = conv(chunk, before)
    memory[at[0]] = kept
    at[0] += 1
    return out


def folded(vae: AutoencoderKLWan, frames: Tensor) -> Tensor:
    """Frames as the encoder takes them: the pixels of a patch as channels."""
    return cast(Any, autoencoder_kl_wan).patchify(frames, patch_size=cast(Any, vae.config).patch_size or 1)


def unfolded(vae: AutoencoderKLWan, frames: Tensor) -> Tensor:
    """What the decoder gives as frames."""
    return cast(Any, autoencoder_kl_wan).unpatchify(frames, patch_size=cast(Any, vae.config).patch_size or 1)


def longer_side(latents: Tensor) -> int:
    """The dimension that strips divide: along the longer side they have the least to share."""
    return 4 if latents.shape[4] >= latents.shape[3] else 3


def reach(resnet: Any) -> int:
    """Lines to either side that a residual block sees."""
    return resnet.conv1.kernel_size[1] // 2 + resnet.conv2.kernel_size[1] // 2
