"""What a story is made with on this machine: renderer, upscaler, interpolator, and what stands in for what."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
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
from scenes.shot import Renderer, unheard
from storyboard.drawing import Drawing, Drawings, drawings_of
from storyboard.identity import UNMADE
from storyboard.machine import wan_problems
from storyboard.memory import Memory, weights_memory
from storyboard.story import Finishing, Scene, Story


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
    """`lacks`: what must be put right before anything can be finished, each with its remedy; `lacks_to_draw`: before
    any clip can be drawn, too. `drawings`: None in a draft."""

    draft: bool
    upscale: Upscale | None
    interpolate: Interpolate | None
    encode: Encode
    stand_ins: tuple[StandIn, ...]
    lacks: tuple[str, ...]
    lacks_to_draw: tuple[str, ...] = ()
    drawings: Drawings | None = None

    def drawing(self, scene: Scene) -> Drawing | None:
        """How WAN draws a scene; None in a draft."""
        return self.drawings.scenes[scene.name] if self.drawings is not None else None

    def renderer(self, scene: Scene, story: Story) -> Renderer:
        drawing = self.drawing(scene)
        if drawing is not None:
            return drawing.renderer
        caption = f"{scene.name}: {scene.prompt}" if scene.caption else None
        return Animatic(Fraction(story.fps), choose_move(scene.camera, scene.prompt, scene.seed), caption)


def gear_for(
    story: Story,
    draft: bool,
    folders: Sequence[Path],
    device: str | None,
    memory: Memory,
    scenes: Collection[str] | None = None,
    say: Callable[[str], None] = unheard,
) -> Gear:
    """The gear of one mode; folders are where weights are looked for.

    scenes: those that may be drawn, None for all. say: hears that big files are read for the first time.
    """
    stand_ins: list[StandIn] = []
    wrong = device_problem(device) if device is not None else None
    lacks: list[str] = [wrong] if wrong else []
    drawings: Drawings | None = None
    to_draw: tuple[str, ...] = ()
    if draft:
        stand_ins.append(StandIn(story.model.name, "animatic", "draft"))
    else:
        names = {scene.name for scene in story.scenes} if scenes is None else scenes
        drawings = drawings_of(story, names, folders, weights_memory(), say)
        to_draw = (*([] if wrong else wan_problems(story, device)), *drawings.lacks)
    finishing = story.finishing
    search = [story.folder, *folders]
    upscale = _upscale(finishing, story, search, draft, device, memory, stand_ins, lacks)
    interpolate = _interpolate(finishing, draft, stand_ins, lacks)
    encode = Encode(finishing.codec, finishing.crf, finishing.preset)
    return Gear(draft, upscale, interpolate, encode, tuple(stand_ins), tuple(lacks), to_draw, drawings)


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
                f"{finishing.interpolator}: this version has no RIFE yet: take flow, in a story by "
                'interpolate = { model = "flow" } in [finish], for a clip by --interpolate flow; or add --draft'
            )
    return Interpolate(Flow(), finishing.factor)
