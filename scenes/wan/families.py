"""Acceleration LoRAs that recipes are made for, told by their files' names. Free of torch."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

SIDE = re.compile(r"(?<![a-z])(high|low)(?![a-z])")
# Names that say nothing without the folder they were published in: all of lightx2v/Wan2.2-Lightning's are alike.
BARE = re.compile(r"^(high|low)_noise_model")


@dataclass(frozen=True, slots=True)
class LoraFamily:
    """LoRAs that do the same work. `divided`: a file for each expert, else one for both.

    `words`: regular expressions that a name must hold, all of them. `files`: as published in `repo` on the hub, the
    high-noise expert's first.
    """

    name: str
    title: str
    divided: bool
    words: tuple[str, ...]
    repo: str
    files: tuple[str, ...]

    def fits(self, file_name: str) -> bool:
        """Whether a file is one of these; folders count only where the name itself says nothing."""
        told = _told(file_name)
        return bool(SIDE.search(told)) == self.divided and all(re.search(word, told) for word in self.words)

    def pick(self, file_names: Iterable[str]) -> tuple[str, str] | None:
        """The files for the high and the low-noise expert, or None; the published names come first, then by name."""
        published = {PurePosixPath(path).name for path in self.files}
        fitting = sorted(
            filter(self.fits, file_names), key=lambda name: (PurePosixPath(name).name not in published, name)
        )
        if not self.divided:
            return (fitting[0], fitting[0]) if fitting else None
        pairs = [(high, low) for high in fitting for low in fitting if (side_of(high), side_of(low)) == ("high", "low")]
        return min(pairs, key=lambda pair: _unsided(pair[0]) != _unsided(pair[1]), default=None)


def side_of(file_name: str) -> str | None:
    """ "high" or "low" where a name says which expert it is for."""
    found = SIDE.search(_told(file_name))
    return found[1] if found else None


def _told(file_name: str) -> str:
    path = PurePosixPath(file_name.replace("\\", "/").lower())
    return "/".join(path.parts[-3:]) if BARE.match(path.name) else path.name


def _unsided(file_name: str) -> str:
    return SIDE.sub("", _told(file_name))


FEW = r"lightx2v|lightning|4[-_ ]?steps?"
LIGHTNING = LoraFamily(
    name="lightning",
    title="the Wan 2.2 I2V 4-step LoRAs",
    divided=True,
    words=("i2v", FEW),
    # lightx2v/Wan2.2-Lightning's Wan2.2-I2V-A14B-4steps-lora-rank64-Seko-V1, under names that say what they are
    repo="Comfy-Org/Wan_2.2_ComfyUI_Repackaged",
    files=(
        "split_files/loras/wan2.2_i2v_lightx2v_4steps_lora_v1_high_noise.safetensors",
        "split_files/loras/wan2.2_i2v_lightx2v_4steps_lora_v1_low_noise.safetensors",
    ),
)
LIGHTX2V = LoraFamily(
    name="lightx2v",
    title="the undivided Wan 2.1 I2V step and cfg distillation LoRA",
    divided=False,
    words=("i2v", "lightx2v"),
    repo="Kijai/WanVideo_comfy",
    files=("Lightx2v/lightx2v_I2V_14B_480p_cfg_step_distill_rank64_bf16.safetensors",),
)
# Made for text-to-video; people use them on I2V as well.
LIGHTNING_T2V = LoraFamily(
    name="lightning-t2v",
    title="the Wan 2.2 T2V 4-step LoRAs",
    divided=True,
    words=("t2v", FEW),
    repo="Comfy-Org/Wan_2.2_ComfyUI_Repackaged",
    files=(
        "split_files/loras/wan2.2_t2v_lightx2v_4steps_lora_v1.1_high_noise.safetensors",
        "split_files/loras/wan2.2_t2v_lightx2v_4steps_lora_v1.1_low_noise.safetensors",
    ),
)
LIGHTX2V_T2V = LoraFamily(
    name="lightx2v-t2v",
    title="the undivided Wan 2.1 T2V step and cfg distillation LoRA",
    divided=False,
    words=("t2v", "lightx2v"),
    repo="Kijai/WanVideo_comfy",
    files=("Lightx2v/lightx2v_T2V_14B_cfg_step_distill_v2_lora_rank64_bf16.safetensors",),
)
FAMILIES = (LIGHTNING, LIGHTX2V, LIGHTNING_T2V, LIGHTX2V_T2V)


def family_of(file_name: str) -> LoraFamily | None:
    """The family of acceleration LoRAs that a file belongs to, by its name."""
    return next((family for family in FAMILIES if family.fits(file_name)), None)
