"""How wide RIFE's net is, told from the shapes of its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from post.rife_versions import TRAINING, family_of, plain_name

# From coarse to fine: how much smaller each block sees the frames.
SCALES = {4: (8, 4, 2, 1), 5: (16, 8, 4, 2, 1)}
LITE_SCALES = (32, 16, 8, 4, 1)
LITE_WIDTH = 24
"""Of the last block of 4.25.lite, which has 4.25's keys and skips a scale. Source: github.com/HolyWu/vs-rife."""

# The head's last layer, which is turned round: channels in, channels out.
LAST_OF_HEAD = {"4.6": None, "4.7": "encode.1.weight", "4.26": "encode.cnn3.weight"}


@dataclass(frozen=True, slots=True)
class Design:
    """`version`: 4.6 (4.5 too), 4.7 (to 4.9) or 4.26 (4.25 too). `widths`: channels of each block; `outputs`: those
    that it gives. The head is `head_width` wide and gives `features` of each frame; 4.6 has none."""

    version: str
    widths: tuple[int, ...]
    outputs: int
    head_width: int
    features: int
    scales: tuple[int, ...]

    @property
    def adds_mask(self) -> bool:
        """Its masks add up, where later versions replace them."""
        return self.version == "4.6"

    @property
    def multiple(self) -> int:
        """Both sides of a frame: a block's two halvings at the coarsest scale must come out even."""
        return 4 * self.scales[0]

    def inputs(self, index: int) -> int:
        """Channels that a block takes: two frames and their features, the time; then what the block before gave."""
        first = 7 + 2 * self.features
        return first if index == 0 else first + 4 + self.carried

    @property
    def carried(self) -> int:
        """Channels that a block hands on beside the flow: the mask, and in 4.25 and 4.26 features of its own."""
        return self.outputs - 4 if self.version == "4.26" else 1


def plain(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights in fp32 under the names of our net: without what only training uses, `beta` folded in."""
    named = {plain_name(key): tensor for key, tensor in state.items()}
    found = {key: tensor.float() for key, tensor in named.items() if not key.startswith(TRAINING)}
    for key in [key for key in found if key.endswith(".beta")]:
        beta, conv = found.pop(key).flatten(), key.removesuffix("beta") + "conv"
        for part, shape in ((f"{conv}.weight", (-1, 1, 1, 1)), (f"{conv}.bias", (-1,))):
            if part not in found or found[part].shape[0] != len(beta):
                raise ValueError(f"{key} belongs to no convolution of its size")
            found[part] = found[part] * beta.view(shape)
    return found


def design_of(weights: Mapping[str, Tensor]) -> Design:
    """The net whose weights these are, as `plain` gives them. Raises ValueError, which says whose they are instead."""
    version = family_of(weights)
    blocks = len({key.split(".")[1] for key in weights if key.startswith("blocks.")})
    head = LAST_OF_HEAD[version]
    try:
        widths = tuple(weights[f"blocks.{at}.conv0.1.0.weight"].shape[0] for at in range(blocks))
        head_width, features = weights[head].shape[:2] if head else (0, 0)
        outputs = weights["blocks.0.lastconv.0.weight"].shape[1] // 4
        design = Design(version, widths, outputs, head_width, features, _scales(widths))
        _check(design, weights)
    except (KeyError, IndexError, ValueError) as error:
        raise ValueError(f"it is RIFE {version}'s and not whole: {error}") from None
    return design


def _scales(widths: tuple[int, ...]) -> tuple[int, ...]:
    return LITE_SCALES if len(widths) == len(LITE_SCALES) and widths[-1] == LITE_WIDTH else SCALES[len(widths)]


def _check(design: Design, weights: Mapping[str, Tensor]) -> None:
    """Those shapes that our net fills up, and so cannot compare itself. Raises KeyError, IndexError, ValueError."""
    if design.outputs < 5:
        raise ValueError(f"its blocks give {design.outputs} channels")
    for at in range(len(design.widths)):
        channels = weights[f"blocks.{at}.conv0.0.0.weight"].shape[1], weights[f"blocks.{at}.lastconv.0.weight"].shape[1]
        if channels != (design.inputs(at), 4 * design.outputs):
            raise ValueError(f"block {at} takes {channels[0]} channels and gives {channels[1]}")
