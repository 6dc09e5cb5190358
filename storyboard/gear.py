"""What a story is made with on this machine: renderer, upscaler, interpolator, and what stands in for what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from post.devices import device_problem, has_gpu, net_problem
from post.encode import Encode
from post.interpolate import Flow, Interpolate
from post.upscale import Lanczos, RealESRGAN, Upscale
from post.weights import Lacking, find_upscaler
from scenes.animatic import Animatic
from scenes.camera import choose_move
from scenes.shot import Renderer
from scenes.wan.renderer import NOT_YET, Wan
from storyboard.memory import Memory
from storyboard.story import Finishing, Scene, Story

UNMADE = "unmade:"
"""Begins the digest of what does not exist yet, so that no recipe ever matches it."""


@dataclass(frozen=True, slots=True)
class StandIn:
    """In a draft, what is used instead of what the story names, and why."""

    wanted: str
    used: str
    why: str

    def __str__(self) -> str:
        return f"{self.used} stands in for {self.wanted} ({self.why})"


@dataclass(frozen=True, slots=True)
class Gear:
    """`lacks`: what must be put right before anything can be rendered, each with its remedy."""

    draft: bool
    upscale: Upscale | None
    interpolate: Interpolate | None
    encode: Encode
    stand_ins: tuple[StandIn, ...]
    lacks: tuple[str, ...]

    def renderer(self, scene: Scene, story: Story) -> Renderer:
        if not self.draft:
            return Wan(story.fps, story.model.name, scene.recipe, story.precision, story.vae)
        caption = f"{scene.name}: {scene.prompt}" if scene.caption else None
        return Animatic(Fraction(story.fps), choose_move(scene.camera, scene.prompt, scene.seed), caption)


def gear_for(story: Story, draft: bool, folders: Sequence[Path], device: str | None, memory: Memory) -> Gear:
    """The gear of one mode; folders are where weights are looked for."""
    stand_ins: list[StandIn] = []
    lacks: list[str] = []
    if draft:
        stand_ins.append(StandIn(story.model.name, "animatic", "draft"))
    else:
        lacks.append(NOT_YET)
    if device is not None and (problem := device_problem(device)):
        lacks.append(problem)
    finishing = story.finishing
    search = [story.folder, *folders]
    upscale = _upscale(finishing, story, search, draft, device, memory, stand_ins, lacks)
    interpolate = _interpolate(finishing, draft, stand_ins, lacks)
    encode = Encode(finishing.codec, finishing.crf, finishing.preset)
    return Gear(draft, upscale, interpolate, encode, tuple(stand_ins), tuple(lacks))


def _upscale(
    finishing: Finishing,
    story: Story,
    folders: Sequence[Path],
    draft: bool,
    device: str | None,
    memory: Memory,
    stand_ins: list[StandIn],
    lacks: list[str],
) -> Upscale | None:
    name, size = finishing.upscaler, finishing.size
    if name == "none" or (name == "lanczos" and size == story.size):
        return None
    if name == "lanczos":
        return Upscale(Lanczos(), size)
    try:
        weights = find_upscaler(_located(name, folders), folders)
    except Lacking as error:
        if not draft:
            lacks.append(str(error))
            return Upscale(RealESRGAN(UNMADE + name, Path(name)), size)
        stand_ins.append(StandIn(name, "lanczos", "its weights are not here"))
        return Upscale(Lanczos(), size)
    problem = net_problem()
    if problem is not None:
        if not draft:
            lacks.append(f"{name}: {problem}")
        else:
            stand_ins.append(StandIn(name, "lanczos", problem))
            return Upscale(Lanczos(), size)
    if draft and weights.heavy and not has_gpu(device):
        # An RRDB net takes most of a minute a frame on a CPU: no draft.
        stand_ins.append(StandIn(name, "lanczos", "too slow without a GPU"))
        return Upscale(Lanczos(), size)
    return Upscale(RealESRGAN(memory.file_digest(weights.path), weights.path), size)


def _located(name: str, folders: Sequence[Path]) -> str:
    """A weights file named in a story: beside it, else in a weights folder; other names as they are."""
    places = [place / name for folder in folders for place in (folder, folder / "upscale_models")]
    return str(next((path for path in places if path.is_file()), name))


def _interpolate(finishing: Finishing, draft: bool, stand_ins: list[StandIn], lacks: list[str]) -> Interpolate | None:
    if finishing.factor == 1:
        return None
    if finishing.interpolator != "flow":
        if draft:
            stand_ins.append(StandIn(finishing.interpolator, "flow", "RIFE's weights are not here"))
        else:
            lacks.append(
                f"{finishing.interpolator}: this version has no RIFE yet; "
                'write interpolate = { model = "flow" } in [finish], or add --draft'
            )
    return Interpolate(Flow(), finishing.factor)
