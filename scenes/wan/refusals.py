"""Checkpoints that are something else: what they are, told by their keys, and what to use instead. Free of torch.

Sources: ComfyUI's model_detection.py, and the configurations that these models are published with.
"""

from __future__ import annotations

import re

from scenes.wan.checkpoint import Checkpoint

REPO = "Comfy-Org/Wan_2.2_ComfyUI_Repackaged"
I2V_FILES = "wan2.2_i2v_high_noise_14B_fp8_scaled.safetensors and wan2.2_i2v_low_noise_14B_fp8_scaled.safetensors"
ONE_FILE = "wan2.2_ti2v_5B_fp16.safetensors"
UMT5_FILES = "umt5_xxl_fp8_e4m3fn_scaled.safetensors or umt5_xxl_fp16.safetensors"
VAE_FILES = "wan_2.1_vae.safetensors for I2V-A14B, wan2.2_vae.safetensors for TI2V-5B"
INSTEAD = f"use {I2V_FILES}, or {ONE_FILE} ({REPO})"

# Keys, after the prefix, that only these models have; the first that is found tells.
KINDS = (
    ("vace_blocks.", "VACE, which edits videos"),
    ("vace_patch_embedding.", "VACE, which edits videos"),
    ("face_adapter.", "Animate, which moves a character after a video"),
    ("motion_encoder.", "Animate, which moves a character after a video"),
    ("casual_audio_encoder.", "S2V, which draws after speech"),
    ("audio_injector.", "S2V, which draws after speech"),
    ("trainable_cond_mask.", "S2V, which draws after speech"),
    ("audio_proj.", "HuMo or another model that draws after speech"),
    ("patch_embedding_pose.", "SCAIL, which draws after poses"),
    ("control_adapter.", "Fun Camera, which takes a camera's path"),
    ("ref_conv.", "Fun Control, which takes control videos"),
    ("add_conv_in.", "a model that takes a camera's path"),
    ("ip_adapter.", "a model with an image adapter"),
)
FLF = ("img_emb.emb_pos", "condition_embedder.image_embedder.pos_embed")
IMAGE_BRANCH = ("img_emb.", "condition_embedder.image_embedder.")
# Parts that an all-in-one file holds beside the transformer, as ComfyUI's SaveCheckpoint names them.
OTHER_PARTS = ("text_encoders.", "cond_stage_model.", "conditioner.", "first_stage_model.", "vae.")
RAPID = re.compile(r"rapid|all[-_ .]?in[-_ .]?one|(?<![a-z])aio(?![a-z])", re.IGNORECASE)
# One of these within a key: quantised by a program whose files ComfyUI's core does not open either.
QUANTISED = (
    (".qweight", "Nunchaku's (SVDQuant)"),
    (".wscales", "Nunchaku's (SVDQuant)"),
    (".quant_state.", "bitsandbytes'"),
    (".absmax", "bitsandbytes'"),
)


def not_an_expert(checkpoint: Checkpoint, prefix: str, inputs: int, outputs: int, dim: int) -> str | None:
    """Why a transformer of WAN, with these channels, is none of WAN 2.2's image-to-video experts; None if it is one."""
    keys = [key.removeprefix(prefix) for key in checkpoint.tensors]
    if any(key.startswith(OTHER_PARTS) for key in keys) or _named_rapid(checkpoint):
        return (
            'is a "rapid" all-in-one merge, in which both experts and an acceleration LoRA are mixed into one model: '
            f"its steps cannot be told apart; {INSTEAD}"
        )
    for start, kind in KINDS:
        if any(key.startswith(start) for key in keys):
            return f"is {kind}: storyboard draws image-to-video; {INSTEAD}"
    for part, program in QUANTISED:
        if any(part in key for key in keys):
            return f"is quantised in {program} way, which is not supported: take fp8 scaled, GGUF or bf16; {INSTEAD}"
    if any(key in FLF for key in keys):
        return f"is WAN 2.1's first-last-frame model, and WAN 2.2 is wanted: {INSTEAD}"
    if any(key.startswith(IMAGE_BRANCH) or ".k_img." in key or ".add_k_proj." in key for key in keys):
        return f"is WAN 2.1's image-to-video model (it has a branch for CLIP), and WAN 2.2 is wanted: {INSTEAD}"
    return _by_channels(inputs, outputs, dim)


def _by_channels(inputs: int, outputs: int, dim: int) -> str | None:
    if (inputs, outputs) in ((36, 16), (48, 48)):
        return None
    if (inputs, outputs) == (16, 16):
        which = "WAN 2.1's 1.3B, " if dim == 1536 else ""
        return f"is {which}text-to-video; storyboard needs image-to-video: {INSTEAD}"
    return (
        f"takes {inputs} channels and gives {outputs}: it is a control, camera or inpainting model of WAN, "
        f"and storyboard draws image-to-video; {INSTEAD}"
    )


def _named_rapid(checkpoint: Checkpoint) -> bool:
    # Converted to GGUF such a merge holds the transformer alone, and only its name is left to tell.
    told = (checkpoint.metadata.get("modelspec.title", ""), checkpoint.metadata.get("general.name", ""))
    return any(RAPID.search(name) for name in (checkpoint.path.name, *told))


def not_the_vae(checkpoint: Checkpoint) -> str | None:
    """Why a VAE is none of WAN's; None if it is one."""
    keys = {key.removeprefix("model."): info for key, info in checkpoint.tensors.items()}
    if "qwen" in checkpoint.path.name.lower():
        return f"is Qwen-Image's VAE, of the same shape as WAN's and with other weights: take {VAE_FILES}"
    first = keys.get("encoder.conv1.weight") or keys.get("encoder.conv_in.weight")
    last = keys.get("decoder.head.2.weight") or keys.get("decoder.conv_out.weight")
    inner = keys.get("conv2.weight") or keys.get("post_quant_conv.weight")
    if first is None or last is None or inner is None:
        return f"is a VAE that lacks an encoder or another part: take {VAE_FILES}"
    if len(first.shape) != 5:
        return f"is the VAE of an image model: take {VAE_FILES}"
    latent, colours = inner.shape[0], last.shape[0]
    if (latent, first.shape[1], colours) not in ((16, 3, 3), (48, 12, 12)):
        return f"is a VAE of {latent} latent channels that gives {colours} a pixel, not WAN's: take {VAE_FILES}"
    return None


BIASES = re.compile(
    r"(?:encoder\.block|enc\.blk|blocks)\.(\d+)\."
    r"(?:layer\.0\.SelfAttention\.relative_attention_bias|attn_rel_b|pos_embedding\.embedding)\.weight"
)
BLOCKS = re.compile(r"(?:encoder\.block|enc\.blk|blocks)\.(\d+)\.")


def not_the_text_encoder(checkpoint: Checkpoint) -> str | None:
    """Why a model that reads text is not WAN's; None if it is UMT5."""
    blocks = {found[1] for key in checkpoint.tensors if (found := BLOCKS.match(key))}
    biases = {found[1] for key in checkpoint.tensors if (found := BIASES.match(key))}
    if not blocks:
        return f"is a language model, not WAN's text encoder, UMT5-XXL: take {UMT5_FILES}"
    if not biases:
        return f"is a text encoder, not UMT5-XXL, which WAN reads prompts with: take {UMT5_FILES}"
    if blocks != biases:  # T5 has its position bias in the first layer only
        return f"is T5, the text encoder of other models; WAN reads prompts with UMT5-XXL: take {UMT5_FILES}"
    return None


# Keys that tell what a file is that has no place here at all.
OTHERS = (
    ("vision_model.", "CLIP's image encoder, which WAN 2.1 used; WAN 2.2 needs none"),
    ("visual.", "an image encoder, which WAN 2.2 does not use"),
    ("text_model.", f"CLIP, the text encoder of other models; WAN reads prompts with UMT5-XXL: take {UMT5_FILES}"),
    ("model.layers.", f"a language model, not WAN's text encoder, UMT5-XXL: take {UMT5_FILES}"),
    ("model.language_model.", f"a language model, not WAN's text encoder, UMT5-XXL: take {UMT5_FILES}"),
    ("model.diffusion_model.input_blocks.", f"an image model (Stable Diffusion), not WAN: {INSTEAD}"),
    ("double_blocks.", f"another model (Flux, Hunyuan), not WAN: {INSTEAD}"),
    ("model.diffusion_model.", f"another model, not WAN: {INSTEAD}"),
    ("transformer_blocks.", f"another model, not WAN: {INSTEAD}"),
    ("encoder.", f"an autoencoder or encoder of another model: take {VAE_FILES}"),
    ("decoder.", f"an autoencoder of another model: take {VAE_FILES}"),
)


def unknown_kind(checkpoint: Checkpoint) -> str:
    """What a checkpoint is that is no part of WAN, as the end of a sentence."""
    for start, kind in OTHERS:
        if any(key.startswith(start) for key in checkpoint.tensors):
            return f"is {kind}"
    if not checkpoint.tensors:
        return f"holds no tensor: {INSTEAD}"
    return f"is no part of WAN 2.2 (it holds {next(iter(checkpoint.tensors))}): {INSTEAD}"
