"""Named presets: negatives, camera moves and recipes."""

from __future__ import annotations

from scenes.camera import MOVES
from scenes.wan.models import RECIPES

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

__all__ = ["CAMERAS", "NEGATIVES", "RECIPES"]
