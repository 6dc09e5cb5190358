"""Weights that `storyboard models pull` brings: where they are published and where ComfyUI keeps them.

Sizes and checksums are not written here: the hub tells them when a file is pulled.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from scenes.wan.families import FAMILIES, LIGHTNING
from scenes.wan.models import I2V_A14B, TI2V_5B

# Files and folders as ComfyUI's own tutorial names them: docs.comfy.org/tutorials/video/wan/wan2_2.
COMFY_22 = "Comfy-Org/Wan_2.2_ComfyUI_Repackaged"
COMFY_21 = "Comfy-Org/Wan_2.1_ComfyUI_repackaged"
GGUF = "QuantStack/Wan2.2-I2V-A14B-GGUF"
# Wan2.2's README and its models' cards (Wan-AI/Wan2.2-I2V-A14B, Wan-AI/Wan2.2-TI2V-5B); google/umt5-xxl; the cards of
# lightx2v/Wan2.2-Lightning and lightx2v/Wan2.1-I2V-14B-480P-StepDistill-CfgDistill-Lightx2v. What is repackaged keeps
# the licence of what it was made from; what the hub says of its own repository is shown as well.
APACHE = "Apache-2.0"
# "Under the same MIT license as this project": README of github.com/hzwer/Practical-RIFE, whose own files are on Google
# Drive. 4.26 comes as ComfyUI repackages it for its own node, 4.7 as its packages of nodes load it.
MIT = "MIT"
COMFY_RIFE, RIFE_47 = "Comfy-Org/frame_interpolation", "wavespeed/misc"
EXPERTS, LORAS, ENCODERS, VAES = "diffusion_models", "loras", "text_encoders", "vae"
FRAMES = "frame_interpolation"


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """A file in a repository of the hub, and the folder of ComfyUI's `models` that it belongs in."""

    repo: str
    path: str
    folder: str

    @property
    def name(self) -> str:
        return PurePosixPath(self.path).name


@dataclass(frozen=True, slots=True)
class Bundle:
    """What one name brings."""

    name: str
    says: str
    licence: str
    files: tuple[PublishedFile, ...]


def _comfy(path: str, repo: str = COMFY_22) -> PublishedFile:
    return PublishedFile(repo, f"split_files/{path}", path.partition("/")[0])


def _pair(pattern: str) -> tuple[PublishedFile, ...]:
    return tuple(_comfy(f"{EXPERTS}/{pattern.format(side)}") for side in ("high", "low"))


def _gguf(quantisation: str) -> tuple[PublishedFile, ...]:
    sides = ("HighNoise", "LowNoise")
    return tuple(PublishedFile(GGUF, f"{side}/Wan2.2-I2V-A14B-{side}-{quantisation}.gguf", EXPERTS) for side in sides)


UMT5_FP8 = _comfy(f"{ENCODERS}/umt5_xxl_fp8_e4m3fn_scaled.safetensors", COMFY_21)
UMT5_FP16 = _comfy(f"{ENCODERS}/umt5_xxl_fp16.safetensors", COMFY_21)
VAE_21 = _comfy(f"{VAES}/wan_2.1_vae.safetensors")
VAE_22 = _comfy(f"{VAES}/wan2.2_vae.safetensors")
ACCELERATION = tuple(PublishedFile(LIGHTNING.repo, path, LORAS) for path in LIGHTNING.files)
FP8 = _pair("wan2.2_i2v_{}_noise_14B_fp8_scaled.safetensors")
FP16 = _pair("wan2.2_i2v_{}_noise_14B_fp16.safetensors")
ONE = _comfy(f"{EXPERTS}/wan2.2_ti2v_5B_fp16.safetensors")

A14B, B5 = I2V_A14B.name, TI2V_5B.name
BESIDE = (UMT5_FP8, VAE_21, *ACCELERATION)  # all that the first recipe needs next to the experts

CATALOGUE = {
    bundle.name: bundle
    for bundle in (
        Bundle(A14B, "I2V-A14B, experts in fp8, with all it needs for lightning-4", APACHE, (*FP8, *BESIDE)),
        Bundle(
            f"{A14B}-fp16",
            "I2V-A14B, experts and text encoder in fp16, with all it needs for lightning-4",
            APACHE,
            (*FP16, UMT5_FP16, VAE_21, *ACCELERATION),
        ),
        Bundle(f"{A14B}-q8", "I2V-A14B, experts as GGUF Q8_0, with all it needs", APACHE, (*_gguf("Q8_0"), *BESIDE)),
        Bundle(
            f"{A14B}-q4", "I2V-A14B, experts as GGUF Q4_K_M, with all it needs", APACHE, (*_gguf("Q4_K_M"), *BESIDE)
        ),
        Bundle(B5, "TI2V-5B in fp16, with its VAE and text encoder", APACHE, (ONE, UMT5_FP8, VAE_22)),
        Bundle("umt5-xxl-fp8", "the text encoder of both models, in fp8", APACHE, (UMT5_FP8,)),
        Bundle("umt5-xxl-fp16", "the text encoder of both models, in fp16", APACHE, (UMT5_FP16,)),
        Bundle("wan-2.1-vae", "the VAE of I2V-A14B", APACHE, (VAE_21,)),
        Bundle("wan2.2-vae", "the VAE of TI2V-5B", APACHE, (VAE_22,)),
        Bundle(
            "rife-4.26",
            "RIFE 4.26, frames between frames, advised for video from diffusion models",
            MIT,
            (PublishedFile(COMFY_RIFE, f"{FRAMES}/rife_v4.26.safetensors", FRAMES),),
        ),
        Bundle(
            "rife-4.7", "RIFE 4.7, frames between frames", MIT, (PublishedFile(RIFE_47, "rife/rife47.pth", FRAMES),)
        ),
        *(
            Bundle(
                family.name,
                family.title,
                APACHE,
                tuple(PublishedFile(family.repo, path, LORAS) for path in family.files),
            )
            for family in FAMILIES
        ),
    )
}
