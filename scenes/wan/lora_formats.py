"""The key names of the LoRA files that people have, sorted by the module that they belong to. Free of torch.

Each is the name of a module, in WAN's own words or in diffusers', with dots or underscores between, after one of
several prefixes and before one of several endings. diffusers' converters are not used: they drop norms and
`patch_embedding.diff`, stumble over alphas outside of the blocks, and load nothing for several of these with a warning.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from scenes.wan.anatomy import original_module
from scenes.wan.checkpoint import Checkpoint, CheckpointError, TensorInfo
from scenes.wan.numbers import read_numbers
from scenes.wan.tensors import several

# Lightning, lightx2v, ComfyUI: diffusion_model. diffusers: transformer., transformer_2. PEFT: base_model.model.
# musubi-tuner: lora_unet_. DiffSynth: pipe.dit.
_PREFIX = re.compile(r"(?:model\.diffusion_model\.|diffusion_model\.|base_model\.model\.|pipe\.|dit\.|lora_unet__?)+")
_EXPERT = re.compile(r"(transformer|transformer_2)\.")
# PEFT writes the adapter's name between: lora_A.default.weight.
_ENDING = re.compile(
    r"(?P<module>.+?)\.(?:"
    r"(?P<down>(?:lora_A|lora_down)(?:\.\w+)?\.weight|lora\.down\.weight)"
    r"|(?P<up>(?:lora_B|lora_up)(?:\.\w+)?\.weight|lora\.up\.weight)"
    r"|(?P<up_bias>(?:lora_B|lora_up)(?:\.\w+)?\.bias)"
    r"|(?P<alpha>alpha)|(?P<diff>diff)|(?P<diff_bias>diff_b))"
)
# WAN 2.1's image branch (k_img, v_img, norm_k_img, img_emb), in diffusers' words too; and diff_m, which the files that
# have it bring along with them.
_IMAGE_BRANCH = re.compile(
    r"(?:^|[._])(?:norm_)?(?:k_img|v_img|add_k_proj|add_v_proj|norm_added_k|img_emb|image_embedder)[._]|\.diff_m$"
)


@dataclass(frozen=True, slots=True)
class Pieces:
    """What a file holds for one module. `scale`: alpha / rank where the file tells it for all of them at once."""

    down: TensorInfo | None = None
    up: TensorInfo | None = None
    up_bias: TensorInfo | None = None
    diff: TensorInfo | None = None
    diff_bias: TensorInfo | None = None
    alpha: float | None = None
    scale: float = 1.0


def sort_keys(
    checkpoint: Checkpoint, modules: Iterable[str], expert: Literal["high", "low"]
) -> tuple[dict[str, Pieces], tuple[str, ...]]:
    """What a LoRA file holds for each of an expert's modules, by diffusers' names, and the keys left out.

    Raises:
        CheckpointError: a key that belongs to no module.
    """
    called = _aliases(modules)
    found: dict[str, dict[str, Any]] = {}
    left_out: list[str] = []
    unknown: list[str] = []
    for key, bare in _of_expert(checkpoint, expert).items():
        if _IMAGE_BRANCH.search(bare):
            left_out.append(key)
            continue
        ending = _ENDING.fullmatch(bare)
        module = called.get(ending["module"]) if ending else None
        if ending is None or module is None:
            unknown.append(key)
            continue
        info = checkpoint.tensors[key]
        what = str(ending.lastgroup)
        found.setdefault(module, {})[what] = float(read_numbers(info).reshape(-1)[0]) if what == "alpha" else info
    if unknown:
        raise CheckpointError(_unknown(checkpoint, unknown))
    scales = _Scales(checkpoint.metadata)
    return {module: Pieces(**pieces, scale=scales.of(module)) for module, pieces in found.items()}, tuple(left_out)


def _aliases(modules: Iterable[str]) -> dict[str, str]:
    """Each module's names, to diffusers' one."""
    called: dict[str, str] = {}
    for module in modules:
        theirs = original_module(module)
        for name in (module, module.replace(".", "_"), theirs, theirs.replace(".", "_")):
            called[name] = module
    return called


def _of_expert(checkpoint: Checkpoint, expert: Literal["high", "low"]) -> dict[str, str]:
    """The keys meant for an expert, and each without its prefixes. One expert's file is for whichever it is put on."""
    named: dict[str, str] = {}
    halves: dict[str, str] = {}
    for key in checkpoint.tensors:
        bare = _PREFIX.sub("", key, count=1) if _PREFIX.match(key) else key
        half = _EXPERT.match(bare)
        named[key] = bare[half.end() :] if half else bare
        if half:
            halves[key] = half[1]
    if set(halves.values()) == {"transformer", "transformer_2"}:
        other = "transformer_2" if expert == "high" else "transformer"
        named = {key: bare for key, bare in named.items() if halves.get(key) != other}
    return named


def _unknown(checkpoint: Checkpoint, keys: list[str]) -> str:
    if any("dora_scale" in key or "lora_magnitude_vector" in key for key in keys):
        reason = "it is a DoRA, which is not supported"
    elif any("hada_" in key or "lokr_" in key for key in keys):
        reason = "it is a LoHa or LoKr, which are not supported"
    elif any(re.search(r"blocks[._]\d+[._]", key) for key in keys):
        reason = "the LoRA was made for another model"
    else:
        reason = "it is no LoRA for WAN 2.2"
    return f"{checkpoint.path}: {several(keys)} would not load: {reason}"


class _Scales:
    """alpha / rank where a file tells it in its metadata, as diffusers' save_lora_weights writes it."""

    def __init__(self, metadata: Mapping[str, str]) -> None:
        told = json.loads(metadata.get("lora_adapter_metadata", "{}"))
        self._told = {str(key).removeprefix("transformer."): value for key, value in told.items()}

    def of(self, module: str) -> float:
        rank = self._number("r", "rank_pattern", module)
        alpha = self._number("lora_alpha", "alpha_pattern", module)
        if rank is None or alpha is None:
            return 1.0
        return alpha / (rank**0.5 if self._told.get("use_rslora") else rank)

    def _number(self, default: str, pattern: str, module: str) -> float | None:
        patterns = cast("dict[str, float]", self._told.get(pattern) or {})
        for name, value in patterns.items():
            if module == name or module.endswith(f".{name}"):
                return float(value)
        value = self._told.get(default)
        return None if value is None else float(value)
