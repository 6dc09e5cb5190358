"""What a story is made with on this machine: renderer, upscaler, interpolator, and what stands in for what."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from post.damage import damage
from post.devices import device_problem, has_gpu, net_problem
from post.encode import Encode, encoder_problem
from post.interpolate import Flow, Interpolate, Rife, RifeNcnn
from post.rife_ncnn import ncnn_problem
from post.rife_weights import find_ncnn_model, find_rife
from post.upscale import Lanczos, RealESRGAN, Upscale, upscaler_of
from post.weights import Lacking, find_upscaler, upscaler_places
from scenes.animatic import Animatic
from scenes.camera import choose_move
from scenes.shot import Renderer, unheard
from storyboard.drawing import Drawing, Drawings, drawings_of
from storyboard.identity import UNMADE
from storyboard.machine import wan_problems
from storyboard.memory import Memory, weights_memory
from storyboard.story import Finishing, Scene, Story

TOO_SLOW = "too slow without a GPU"
OTHERWISE = (
    'Or take flow, in a story by interpolate = { model = "flow" } in [finish], for a clip by --interpolate flow; '
    "or add --draft"
)


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
    finish_on: str | None = None,
) -> Gear:
    """The gear of one mode; folders are where weights are looked for.

    scenes: those that may be drawn, None for all. say: hears that big files are read for the first time. finish_on:
    where clips are finished, if not on `device`.
    """
    choice = _Choice(story, [story.folder, *folders], draft, finish_on or device, memory)
    wrong = device_problem(device) if device is not None else None
    astray = _astray(finish_on, device, story.finishing)
    choice.lacks.extend(problem for problem in (wrong, astray) if problem is not None)
    drawings: Drawings | None = None
    to_draw: tuple[str, ...] = ()
    if draft:
        choice.stand_ins.append(StandIn(story.model.name, "animatic", "draft"))
    else:
        names = {scene.name for scene in story.scenes} if scenes is None else scenes
        drawings = drawings_of(story, names, folders, weights_memory(), say)
        to_draw = (*([] if wrong else wan_problems(story, device)), *drawings.lacks)
    upscale, interpolate, encode = choice.upscale(), choice.interpolate(), choice.encode()
    return Gear(draft, upscale, interpolate, encode, tuple(choice.stand_ins), tuple(choice.lacks), to_draw, drawings)


def _astray(finish_on: str | None, device: str | None, finishing: Finishing) -> str | None:
    """What is wrong with the device that finishes, where it is another than the one that draws."""
    if finish_on is None or finish_on == device:
        return None
    if finish_on.startswith("vulkan") and finishing.backend == "ncnn" and finishing.upscaler in ("lanczos", "none"):
        return None  # nets of torch do not run there; RIFE does, and is asked for it where it is chosen
    return device_problem(finish_on, "--finish-on")


@dataclass(frozen=True, slots=True)
class _Choice:
    """Chooses one after another, and notes what stands in for what, and what lacks. `device`: the one that finishes."""

    story: Story
    folders: Sequence[Path]
    draft: bool
    device: str | None
    memory: Memory
    stand_ins: list[StandIn] = field(default_factory=list[StandIn])
    lacks: list[str] = field(default_factory=list[str])

    def upscale(self) -> Upscale | None:
        finishing = self.story.finishing
        name, size = finishing.upscaler, finishing.size
        if name == "none" or (name == "lanczos" and size == self.story.size):
            return None
        if name == "lanczos":
            return Upscale(Lanczos(), size)
        try:
            weights = find_upscaler(_located(name, self.folders), self.folders)
        except Lacking as error:
            if not self.lacking(name, "lanczos", str(error), "its weights are not here"):
                return Upscale(RealESRGAN(UNMADE + name, Path(name)), size)
            return Upscale(Lanczos(), size)
        wrong = damage(weights.path)
        if wrong is not None:
            if not self.lacking(name, "lanczos", f"upscaler {name}: {wrong}", "its file is damaged"):
                return Upscale(RealESRGAN(UNMADE + name, weights.path), size)
            return Upscale(Lanczos(), size)
        problem = net_problem()
        if problem is not None and self.lacking(name, "lanczos", f"{name}: {problem}", problem):
            return Upscale(Lanczos(), size)
        if self.draft and weights.heavy and not has_gpu(self.device):
            # An RRDB net takes most of a minute a frame on a CPU: no draft.
            self.stand_ins.append(StandIn(name, "lanczos", TOO_SLOW))
            return Upscale(Lanczos(), size)
        return Upscale(upscaler_of(weights, self.memory.file_digest(weights.path)), size)

    def interpolate(self) -> Interpolate | None:
        finishing = self.story.finishing
        if finishing.factor == 1:
            return None
        by: Flow | Rife | RifeNcnn | None = None
        if finishing.interpolator != "flow":
            by = self._rife_ncnn() if finishing.backend == "ncnn" else self._rife()
        return Interpolate(by or Flow(), finishing.factor)

    def _rife(self) -> Rife | None:
        """None where flow stands in."""
        name = self.story.finishing.interpolator
        try:
            weights = find_rife(name, self.folders)
        except Lacking as error:
            lacks = self.lacking(name, "flow", f"{error}. {OTHERWISE}", "its weights are not here")
            return None if lacks else Rife(UNMADE + name, Path(name))
        problem = net_problem()
        if problem is not None and self.lacking(name, "flow", f"{name}: {problem}", problem):
            return None
        if self.draft and not has_gpu(self.device):
            # A frame of 1664×960 takes two cores of a CPU about 5 s, flow 0.6.
            self.stand_ins.append(StandIn(name, "flow", TOO_SLOW))
            return None
        return Rife(self.memory.file_digest(weights.path), weights.path, weights.version)

    def _rife_ncnn(self) -> RifeNcnn | None:
        """None where flow stands in: in a draft for the package's own CPU path too, which takes 2 to 4 s a frame."""
        name = self.story.finishing.interpolator
        problem = ncnn_problem(self.device)
        if problem is None and self.draft and self.device == "cpu":
            problem = TOO_SLOW
        try:
            weights = find_ncnn_model(name, self.folders)
        except Lacking as error:
            lacks = self.lacking(
                name, "flow", f"{problem or error}. {OTHERWISE}", problem or "its weights are not here"
            )
            return None if lacks else RifeNcnn(name, UNMADE + name, Path(name))
        if problem is not None and self.lacking(name, "flow", f"{name}: {problem}. {OTHERWISE}", problem):
            return None
        folder = weights.path.parent
        return RifeNcnn(folder.name, self.memory.file_digest(weights.path), folder)

    def encode(self) -> Encode:
        finishing = self.story.finishing
        codec = finishing.codec
        problem = encoder_problem(codec) if codec.endswith("_nvenc") else None
        if problem is not None:
            family = codec.removesuffix("_nvenc")
            if self.lacking(codec, family, problem, "no NVENC here"):
                codec = family
        return Encode(codec, finishing.crf, finishing.preset)

    def lacking(self, wanted: str, used: str, lacks: str, why: str) -> bool:
        """Whether something stands in for what is not here, as in a draft; otherwise it is noted as lacking."""
        if self.draft:
            self.stand_ins.append(StandIn(wanted, used, why))
        else:
            self.lacks.append(lacks)
        return self.draft


def _located(name: str, folders: Sequence[Path]) -> str:
    """A weights file named in a story: beside it, else in a weights folder; other names as they are."""
    paths = [place / name for place in upscaler_places(folders, [])]
    return str(next((path for path in paths if path.is_file()), name))
