"""Named presets: texts for the prompt, negatives, camera moves and recipes."""

from __future__ import annotations

from scenes.camera import MOVES
from scenes.wan.models import RECIPES

# Wan's own guides (Wan 2.2: alidocs.dingtalk.com/i/nodes/jb9Y4gmKWrx9eo4dCql9LlbYJGXn6lpz; alibabacloud.com/blog,
# model-studio-wan-video-generation-prompts-recipe_602777): the picture gives subject, scene and style, so an
# image-to-video prompt is motion and camera; motion has an extent, a speed and an effect on what it touches, and a
# camera that is to stay is told so ("fixed shot"). Users' guides (wan27.org/blog/wan-2-2-image-to-video-workflow-guide)
# add: one action after another in the order of time, and name what keeps still, or the model finds it something to do.
# The words are ours.
POSITIVES = {
    # Without a motion of its own a face begins to talk and the shot to drift: small ones, for the whole length.
    "static-portrait": (
        "the person holds the pose, head and shoulders still, lips closed, the expression unchanged; from the first "
        "moment to the last only quiet breathing, a slow blink and a faint stir of hair; the background stays as it "
        "is; static camera, fixed shot, one continuous take"
    ),
    # Turning bodies lose limbs where nothing ties them to the ice and to their own momentum.
    "figure-skating": (
        "the skater glides in a long curve across the ice and gathers speed, then draws in both arms and turns into a "
        "fast upright spin that slows as the arms open again; one blade stays on the ice and throws up fine spray, "
        "clothes and hair swing outwards and settle; the camera tracks alongside at the same speed, full-body shot, "
        "one continuous take"
    ),
    # Blows without effect look like dancing: each has a target, an answer and a weight.
    "combat": (
        "the fighters circle for a moment, then one steps in and strikes, the other blocks and answers at once; quick, "
        "forceful movements, every blow has weight: bodies recoil, feet slide, cloth snaps and dust rises; the "
        "exchange grows faster towards the end; handheld camera follows the action, medium full shot, one continuous "
        "take"
    ),
    # A wave has a beginning and an end, or the hand is already up in the second frame and never comes down.
    "waving": (
        "the person looks into the camera, slowly raises one open hand to the height of the shoulder, waves it gently "
        "from side to side three times with a light smile, then lowers it and is at rest; shoulders and feet stay "
        "where they are; static camera, fixed shot, one continuous take"
    ),
}

NEGATIVES = {
    # Wan 2.2's own sample_neg_prompt (wan/configs/shared_config.py), the text its authors evaluate with.
    "wan-official": (
        "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，低质量，JPEG压缩残留，"
        "丑陋的，残缺的，多余的手指，画得不好的手部，画得不好的脸部，畸形的，毁容的，形态畸形的肢体，手指融合，"
        "静止不动的画面，杂乱的背景，三条腿，背景人很多，倒着走"
    ),
    "mouth-movement": "talking, speaking, moving lips, open mouth, chewing, lip sync",
    "blur": "blurry, out of focus, motion blur, soft details, low resolution, JPEG artifacts",
}

CAMERAS = tuple(MOVES)

__all__ = ["CAMERAS", "NEGATIVES", "POSITIVES", "RECIPES"]
