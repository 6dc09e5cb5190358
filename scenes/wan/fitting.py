"""Whether files are what a story takes them for, and fit one another. Free of torch."""

from __future__ import annotations

from scenes.wan.anatomy import ExpertShape
from scenes.wan.candidates import Candidate
from scenes.wan.checkpoint import CheckpointError
from scenes.wan.identify import width
from scenes.wan.models import WanModel
from scenes.wan.refusals import I2V_FILES, ONE_FILE, UMT5_FILES

VAES = {"wan2.2-i2v-a14b": "wan_2.1_vae.safetensors", "wan2.2-ti2v-5b": "wan2.2_vae.safetensors"}
EXPERTS = {"wan2.2-i2v-a14b": I2V_FILES, "wan2.2-ti2v-5b": ONE_FILE}
WHATS = {"expert": "an expert", "vae": "a VAE", "text-encoder": "a text encoder", "lora": "a LoRA"}
PARTS = {"high": "expert", "low": "expert", "vae": "vae", "text_encoder": "text-encoder"}


def wanted(part: str, candidate: Candidate, model: WanModel) -> str | None:
    """Why a sound file is not this part of this model, as a sentence that names it; None if it is."""
    identity = candidate.identity
    if identity is None:
        return candidate.refusal
    if identity.part != PARTS[part]:
        place = "LoRAs go into a scene or recipe" if identity.part == "lora" else f"{WHATS[PARTS[part]]} is wanted here"
        return f"{candidate.path} is {WHATS[identity.part]}: {place}"
    if identity.model in (None, model):
        return None
    if identity.part == "vae":
        return f"{candidate.path} is the VAE of {identity.model.name}: {model.name} takes {VAES[model.name]}"
    return (
        f"{candidate.path} is {identity.model.name}'s, and the model here is {model.name}: "
        f'take {EXPERTS[model.name]}, or write model = "{identity.model.name}"'
    )


def check_part(part: str, candidate: Candidate, model: WanModel) -> None:
    """Raises CheckpointError where a named file is not this part of this model."""
    reason = wanted(part, candidate, model)
    if reason is not None:
        raise CheckpointError(f"{part}: {reason}")
    if model.experts == 1 and part == "low":
        raise CheckpointError(f"low: {model.name} has one expert: leave low out")
    if model.experts > 1 and part in ("high", "low") and candidate.side not in (None, part):
        raise CheckpointError(
            f"{part}: {candidate.path} is the {candidate.side}-noise expert by its name: are high and low swapped?"
        )


def check_pair(high: Candidate, low: Candidate) -> None:
    """Raises CheckpointError where two named experts do not belong together."""
    if high.path.samefile(low.path):
        raise CheckpointError(
            f"{high.path} is named as high and as low: the model has a file for each, take {I2V_FILES}"
        )
    if high.shape != low.shape:
        raise CheckpointError(
            f"{high.path} and {low.path} are of different models ({_sizes(high)}, {_sizes(low)}): take {I2V_FILES}"
        )


def check_width(encoder: Candidate, shape: ExpertShape) -> None:
    """Raises CheckpointError where a text encoder does not give what the experts read."""
    wide = width(encoder.checkpoint) if encoder.checkpoint else None
    if wide != shape.text_dim:
        raise CheckpointError(
            f"{encoder.path} is {wide} wide, and the experts read {shape.text_dim}: "
            f"it is a smaller UMT5 than UMT5-XXL, take {UMT5_FILES}"
        )


def _sizes(candidate: Candidate) -> str:
    shape = candidate.shape
    return f"{shape.layers} layers of {shape.dim}" if shape else "unknown"
