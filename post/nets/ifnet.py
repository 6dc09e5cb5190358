"""IFNet: RIFE's net (arXiv:2011.06294) as of versions 4.5 to 4.9, 4.25 and 4.26.

Sources: IFNet_HDv3.py of github.com/hzwer/Practical-RIFE, and github.com/HolyWu/vs-rife, which keeps one for each
version; both MIT.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from post.nets.ifnet_design import Design, design_of, plain

# Layers whose channels are filled up to a multiple of eight, as tensor cores take fp16.
WIDENED = ("conv0.0.0.weight", "lastconv.0.weight", "lastconv.0.bias")

Lines = tuple[Tensor, Tensor]
"""Where columns and rows lie, from -1 to 1."""


class Residual(nn.Module):
    """Upstream scales the convolution by a learned `beta`, which is folded into the weights here."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(self.conv(x) + x, 0.2, inplace=True)


class Block(nn.Module):
    """Sees the frames at one scale; gives at that size what is to be added to the flow, a mask, and features."""

    def __init__(self, inputs: int, width: int, outputs: int) -> None:
        super().__init__()
        self.inputs = _eights(inputs)
        halve = nn.Conv2d(self.inputs, width // 2, 3, 2, 1), nn.Conv2d(width // 2, width, 3, 2, 1)
        self.conv0 = nn.Sequential(*(nn.Sequential(conv) for conv in halve))
        self.convblock = nn.Sequential(*(Residual(width) for _ in range(8)))
        self.lastconv = nn.Sequential(nn.ConvTranspose2d(width, _eights(4 * outputs), 4, 2, 1))

    def forward(self, x: Tensor) -> Tensor:
        for conv in self.conv0:
            x = F.leaky_relu(conv(x), 0.2, inplace=True)
        return F.pixel_shuffle(self.lastconv(self.convblock(x)), 2)


class Head(nn.Module):
    """Features of one frame, at its size."""

    def __init__(self, width: int, features: int) -> None:
        super().__init__()
        self.cnn0 = nn.Conv2d(3, width, 3, 2, 1)
        self.cnn1 = nn.Conv2d(width, width, 3, 1, 1)
        self.cnn2 = nn.Conv2d(width, width, 3, 1, 1)
        self.cnn3 = nn.ConvTranspose2d(width, features, 4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        for conv in (self.cnn0, self.cnn1, self.cnn2):
            x = F.leaky_relu(conv(x), 0.2, inplace=True)
        return self.cnn3(x)


class IFNet(nn.Module):
    """The frame between two: block after block corrects the flow along which both are fetched, from coarse to fine.

    The convolutions work in the type of the weights; flow, mask and the places to fetch from are always fp32, as fp16
    tells no two pixels apart beyond the 2048th.
    """

    def __init__(self, design: Design) -> None:
        super().__init__()
        self.design = design
        self.version, self.multiple = design.version, design.multiple
        self.encode = _head(design)
        widths = enumerate(design.widths)
        self.blocks = nn.ModuleList([Block(design.inputs(at), width, design.outputs) for at, width in widths])

    @classmethod
    def of(cls, state: Mapping[str, Tensor]) -> IFNet:
        """The net that weights under upstream's names are of, in fp32. Raises ValueError."""
        weights = plain(state)
        design = design_of(weights)
        with torch.device("meta"):  # no memory and no random numbers for weights that are replaced at once
            net = cls(design)
        wanted = net.state_dict()
        for said, keys in (("lacks", wanted.keys() - weights.keys()), ("also holds", weights.keys() - wanted.keys())):
            if keys:
                raise ValueError(f"it is RIFE {design.version}'s and {said} {', '.join(sorted(keys)[:3])}")
        net.load_state_dict({key: _fitted(key, weights[key], like) for key, like in wanted.items()}, assign=True)
        return net.eval().requires_grad_(False)

    def forward(self, before: Tensor, after: Tensor, times: Tensor) -> Tensor:
        """Frames (n, 3, height, width) of values 0 to 1, sides multiples of `multiple`; times (n): 0 is `before`."""
        time = times.to(self._kind()).view(-1, 1, 1, 1)
        height, width = (torch.linspace(-1, 1, side, device=before.device) for side in before.shape[-2:])
        one, other = self._sources(before, after)
        scales, adds_mask = self.design.scales, self.design.adds_mask
        raw = self._block(0, [pooled(taps(source, scales[0]), scales[0]) for source in (one, other)], [time])
        total = self._step(raw, scales[0])
        for at, (coarser, scale) in enumerate(itertools.pairwise(scales), 1):
            near, lines = taps(total, scale), (_taps_of_line(width, scale), _taps_of_line(height, scale))
            seen = [pooled(fetched(one, near[:, :2], lines), scale), pooled(fetched(other, near[:, 2:4], lines), scale)]
            lower = pooled(near, scale)
            # Grown to full size and reduced again, mask and features would be this very thing.
            carried = lower[:, 4:] if adds_mask else grown(raw[:, 4 : 4 + self.design.carried], coarser // scale)
            raw = self._block(at, seen, [time, carried, lower[:, :4] / scale])
            total = total + self._step(raw, scale)
        mask = torch.sigmoid(total[:, 4:] if adds_mask else raw[:, 4:5].float())
        first = fetched(one[:, :3], total[:, :2], (width, height))
        second = fetched(other[:, :3], total[:, 2:4], (width, height))
        return torch.lerp(second, first, mask).clamp_(0, 1).to(before.dtype)

    def _kind(self) -> torch.dtype:
        return cast(Tensor, cast(Block, self.blocks[0]).lastconv[0].weight).dtype

    def _sources(self, before: Tensor, after: Tensor) -> tuple[Tensor, ...]:
        """Both frames, each with its features: what flow fetches from."""
        frames = torch.cat((before, after)).to(self._kind(), memory_format=torch.channels_last)
        source = frames if self.encode is None else torch.cat((frames, self.encode(frames)), 1)
        return source.float().chunk(2)  # fetching is done in fp32

    def _block(self, index: int, seen: list[Tensor], more: list[Tensor]) -> Tensor:
        """What a block says of both frames as they are seen, and of what more is known."""
        block = cast(Block, self.blocks[index])
        n, _, height, width = seen[0].shape
        x = torch.empty(
            (n, block.inputs, height, width),
            dtype=more[0].dtype,
            device=more[0].device,
            memory_format=torch.channels_last,
        )
        at = 0
        for piece in [frame[:, :3] for frame in seen] + [frame[:, 3:] for frame in seen] + more:
            x[:, at : at + piece.shape[1]] = piece  # narrowed as it is written: no copies in between
            at += piece.shape[1]
        x[:, at:] = 0
        return block(x)

    def _step(self, raw: Tensor, scale: int) -> Tensor:
        """What a block adds to the flow, in pixels of the whole frame, and to the mask where masks add up."""
        flow = raw[:, :4].float() * scale
        return grown(torch.cat((flow, raw[:, 4:5].float()), 1) if self.design.adds_mask else flow, scale)


def fetched(source: Tensor, flow: Tensor, lines: Lines) -> Tensor:
    """(n, c, h, w) in fp32: what lies where the flow points from the places that `lines` give; beyond the edge, the
    edge. Flow: (n, 2, h, w), fp32, pixels to the right and down."""
    height, width = source.shape[-2:]
    x = flow[:, 0] * (2 / (width - 1)) + lines[0]
    y = flow[:, 1] * (2 / (height - 1)) + lines[1][:, None]
    grid = torch.stack((x, y), -1)
    return F.grid_sample(source, grid, mode="bilinear", padding_mode="border", align_corners=True)


def taps(x: Tensor, scale: int) -> Tensor:
    """The pixels that a bilinear reduction by `scale` looks at: the middle two by two of every cell.

    Where frames are reduced anyway, nothing else need be fetched: a sixteenth of them by 8, a quarter by 4.
    """
    if scale <= 2:
        return x
    cells = x.reshape(*x.shape[:-2], -1, scale, x.shape[-1])
    return _taps_of_line(cells[..., _middle(scale), :].flatten(-3, -2), scale)


def _taps_of_line(x: Tensor, scale: int) -> Tensor:
    return x if scale <= 2 else x.reshape(*x.shape[:-1], -1, scale)[..., _middle(scale)].flatten(-2)


def _middle(scale: int) -> slice:
    return slice(scale // 2 - 1, scale // 2 + 1)


def pooled(tapped: Tensor, scale: int) -> Tensor:
    """A bilinear reduction by `scale`, from its taps."""
    return F.avg_pool2d(tapped, 2) if scale > 1 else tapped


def grown(x: Tensor, scale: int) -> Tensor:
    return F.interpolate(x, scale_factor=scale, mode="bilinear") if scale > 1 else x


def _head(design: Design) -> nn.Module | None:
    if design.version == "4.6":
        return None
    if design.version == "4.26":
        return Head(design.head_width, design.features)
    halve = nn.Conv2d(3, design.head_width, 3, 2, 1)
    return nn.Sequential(halve, nn.ConvTranspose2d(design.head_width, design.features, 4, 2, 1))


def _eights(channels: int) -> int:
    return -(-channels // 8) * 8


def _fitted(key: str, weights: Tensor, like: Tensor) -> Tensor:
    """Weights of the shape that the net has: filled up with zeros where it is wider than upstream's."""
    if weights.shape == like.shape:
        return weights
    larger = weights.ndim != like.ndim or any(a > b for a, b in zip(weights.shape, like.shape, strict=True))
    if larger or not key.endswith(WIDENED):
        raise ValueError(f"{key} is {tuple(weights.shape)}, not {tuple(like.shape)}")
    wide = torch.zeros(like.shape)
    wide[tuple(slice(0, side) for side in weights.shape)] = weights
    return wide
