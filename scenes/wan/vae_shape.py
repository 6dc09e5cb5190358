"""What VAE a checkpoint holds, told from its names and shapes. Free of torch.

Two ways of naming are in use: WAN's own (ComfyUI's wan_2.1_vae.safetensors, wan2.2_vae.safetensors) and diffusers'.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from scenes.wan.checkpoint import Checkpoint, CheckpointError, TensorInfo


@dataclass(frozen=True, slots=True)
class VaeShape:
    """WAN 2.1's VAE, which the A14B uses, or the residual one of TI2V-5B.

    Channels are `base` (encoder) and `decoder_base` times `multiples`; `blocks` residual blocks a resolution in the
    encoder and one more in the decoder; `temporal` says where the encoder halves the frame rate; `patch` squared pixels
    go to channels first.
    """

    z: int
    base: int
    decoder_base: int
    multiples: tuple[int, ...]
    blocks: int
    temporal: tuple[bool, ...]
    residual: bool
    patch: int

    @property
    def stride(self) -> int:
        """Pixels to a latent, in each direction."""
        return self.patch * 2 ** (len(self.multiples) - 1)

    @property
    def config(self) -> dict[str, Any]:
        """What diffusers' AutoencoderKLWan is made of, but for its latents_mean and latents_std."""
        return {
            "base_dim": self.base,
            "decoder_base_dim": self.decoder_base,
            "z_dim": self.z,
            "dim_mult": list(self.multiples),
            "num_res_blocks": self.blocks,
            "temperal_downsample": list(self.temporal),
            "is_residual": self.residual,
            "in_channels": 3 * self.patch**2,
            "out_channels": 3 * self.patch**2,
            "patch_size": None if self.patch == 1 else self.patch,
            "scale_factor_spatial": self.stride,
        }


# WAN's own names, and diffusers'. Source: Wan-Video/Wan2.2, wan/modules/vae2_1.py and vae2_2.py. The residual VAE's
# stages are lists in a list.
RENAMES = (
    (r"^conv1\.", "quant_conv."),
    (r"^conv2\.", "post_quant_conv."),
    (r"^(encoder|decoder)\.conv1\.", r"\1.conv_in."),
    (r"\.head\.0\.", ".norm_out."),
    (r"\.head\.2\.", ".conv_out."),
    (r"\.middle\.0\.", ".mid_block.resnets.0."),
    (r"\.middle\.1\.", ".mid_block.attentions.0."),
    (r"\.middle\.2\.", ".mid_block.resnets.1."),
    (r"^(encoder\.down|decoder\.up)samples\.(\d+)\.\w+\.(\d+)\.(?=residual|shortcut)", r"\1_blocks.\2.resnets.\3."),
    (r"^encoder\.downsamples\.(\d+)\.downsamples\.\d+\.", r"encoder.down_blocks.\1.downsampler."),
    (r"^decoder\.upsamples\.(\d+)\.upsamples\.\d+\.", r"decoder.up_blocks.\1.upsampler."),
    (r"^encoder\.downsamples\.", "encoder.down_blocks."),
    (r"\.residual\.0\.", ".norm1."),
    (r"\.residual\.2\.", ".conv1."),
    (r"\.residual\.3\.", ".norm2."),
    (r"\.residual\.6\.", ".conv2."),
    (r"\.shortcut\.", ".conv_shortcut."),
)
TAKE = "take wan_2.1_vae.safetensors for the A14B, wan2.2_vae.safetensors for TI2V-5B"
AGAIN = "the file is damaged or for another program: download it again"
FLAT = re.compile(r"^decoder\.upsamples\.(\d+)\.(residual|shortcut|resample|time_conv)\.")


def diffusers_names(names: Iterable[str]) -> dict[str, str]:
    """Each name as diffusers has it; those that already are, or that no VAE has, stay."""
    names = list(names)
    ours = {name: name.removeprefix("model.") for name in names} if all(n.startswith("model.") for n in names) else {}
    flat = [found for name in names if (found := FLAT.match(ours.get(name, name)))]
    # The decoder of 2.1 is one list: each stage's residual blocks and, but for the last stage, what doubles its size.
    stage = 1 + min((int(found[1]) for found in flat if found[2] == "resample"), default=len(names))
    renamed: dict[str, str] = {}
    for name in names:
        other = FLAT.sub(lambda found: _in_stage(int(found[1]), stage, found[2]), ours.get(name, name))
        for pattern, theirs in RENAMES:
            other = re.sub(pattern, theirs, other)
        renamed[name] = other
    return renamed


def _in_stage(index: int, stage: int, part: str) -> str:
    inner = "upsamplers.0" if part in ("resample", "time_conv") else f"resnets.{index % stage}"
    return f"decoder.up_blocks.{index // stage}.{inner}.{part}."


def vae_tensors(checkpoint: Checkpoint) -> dict[str, TensorInfo]:
    """Its tensors by diffusers' names."""
    renamed = diffusers_names(checkpoint.tensors)
    return {renamed[name]: info for name, info in checkpoint.tensors.items()}


def vae_shape(checkpoint: Checkpoint) -> VaeShape:
    """Raises CheckpointError where it is no VAE of WAN."""
    shapes = {name: info.shape for name, info in vae_tensors(checkpoint).items()}
    try:
        shape = _shape(shapes)
    except KeyError as error:
        raise CheckpointError(f"{checkpoint.path}: is not a VAE of WAN ({error} is not in it): {TAKE}") from None
    except (ValueError, IndexError, ZeroDivisionError):
        raise CheckpointError(f"{checkpoint.path}: is not a VAE of WAN (its shapes are others): {TAKE}") from None
    if min(shape.multiples) < 1 or shape.decoder_base < 1:
        raise CheckpointError(f"{checkpoint.path}: its weights do not fit together: {AGAIN}")
    return shape


def _shape(shapes: Mapping[str, tuple[int, ...]]) -> VaeShape:
    base, channels, *_ = shapes["encoder.conv_in.weight"]
    stages = _stages(shapes)
    widths = [shapes[f"{stage[0]}.conv1.weight"][0] for stage, _ in stages]
    return VaeShape(
        z=shapes["post_quant_conv.weight"][0],
        base=base,
        decoder_base=shapes["decoder.conv_out.weight"][1] * base // widths[0],
        multiples=tuple(width // base for width in widths),
        blocks=len(stages[0][0]),
        temporal=tuple(f"{down}.time_conv.weight" in shapes for _, down in stages[:-1]),
        residual="encoder.down_blocks.0.resnets.0.conv1.weight" in shapes,
        patch=2 if channels == 12 else 1,
    )


def _stages(shapes: Mapping[str, tuple[int, ...]]) -> list[tuple[list[str], str]]:
    """The encoder's residual blocks a resolution, and what halves it ("" after the last)."""
    names = dict.fromkeys(re.sub(r"\.(conv|norm|resample|time_conv).*$", "", name) for name in shapes)
    inner = [name for name in names if name.startswith("encoder.down_blocks.")]
    stages: list[tuple[list[str], str]] = [([], "")]
    for name in sorted(inner, key=_order):
        if f"{name}.conv1.weight" in shapes:
            stages[-1][0].append(name)
        else:
            stages[-1] = (stages[-1][0], name)
            stages.append(([], ""))
    return stages


def _order(name: str) -> tuple[int, int, int]:
    """Blocks in the order of their numbers; in one block, what halves the size after the residual blocks."""
    numbers = [int(part) for part in name.split(".") if part.isdigit()]
    return numbers[0], int(name.endswith("downsampler")), numbers[-1]
