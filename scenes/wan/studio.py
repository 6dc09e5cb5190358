"""WAN 2.2 with its weights loaded: prompts encoded together, experts and VAE shared by every shot of a run."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import torch

from scenes.files import read_still
from scenes.footage import Frame, Frames
from scenes.shot import Machine, MachineLacks, Shot, Tell
from scenes.wan.budget import GIB, leaner
from scenes.wan.cast import Cast, load_cast, planned
from scenes.wan.condition import condition, image_latent
from scenes.wan.decode import decode
from scenes.wan.denoise import denoise
from scenes.wan.models import MODELS
from scenes.wan.needs import free_ram
from scenes.wan.prompts import Prompts, encode_story
from scenes.wan.renderer import wan_of

T = TypeVar("T")
DENOISING = 0.85
"""The share of a shot's time that its steps take; the rest is the VAE's."""
RAN_OUT = ("out of memory", "STATUS_ALLOC_FAILED")
"""What CUDA itself, cuBLAS and cuDNN say; torch has a class for what its own allocator says."""


class WanStudio:
    """Draws shots one after another; all are of one model, its weights loaded once."""

    def __init__(self, shots: Sequence[Shot], machine: Machine) -> None:
        self._machine = machine
        self._ram = machine.ram or free_ram()  # before anything is loaded
        self._wan = wan_of(shots[0])
        self._plan, self._needs = planned(shots, machine)
        machine.say(f"memory: {self._plan.says()}")
        self._cast: Cast = load_cast(self._wan, self._plan, machine)
        try:
            self._prompts: Prompts = encode_story(shots, self._wan, self._cast.device)
        except BaseException:
            self.close()
            raise

    @property
    def made(self) -> dict[str, Any]:
        return {"renderer": "wan", **self._cast.made, "memory": self._plan.says()}

    def render(self, shot: Shot, tell: Tell) -> Frames:
        """The shot's frames, as the decoder gives them; the last one is the frame handed on."""
        tell(0.0)  # who asked to stop meanwhile need not wait for a step
        latents = self._spared(lambda: self._denoised(shot, tell))
        yield from self._decoded(latents, tell)

    @torch.no_grad()
    def _denoised(self, shot: Shot, tell: Tell) -> torch.Tensor:
        wan, cast = wan_of(shot), self._cast
        steps, count = len(wan.recipe.steps), (shot.frames - 1) // 4 + 1
        takes_end = MODELS[wan.model].takes_end_image
        cast.take(wan.recipe, shot.loras)
        cast.set_nag(wan.recipe)
        given = self._condition(shot)

        def told(done: int) -> None:
            self._within_ram()
            tell(DENOISING * (done + 1) / steps)

        latents = denoise(
            wan.recipe,
            condition=given,
            text=self._prompts.text(shot.prompt),
            negative=self._prompts.negative(shot),
            predict=cast.predict,
            seed=shot.seed,
            shape=(1, given.shape[1] - 4 if takes_end else given.shape[1], count, *given.shape[3:]),
            device=cast.device,
            told=told,
        )
        # Else black frames would be kept, and handed on.
        if not bool(torch.isfinite(latents).all()):
            raise FloatingPointError(
                "the latents are not finite numbers (NaN): a LoRA or a weights file is damaged, or a strength, "
                'precision = "fp16-accumulate" or a kernel asked for by --attention is beyond its range'
            )
        return latents

    def _condition(self, shot: Shot) -> torch.Tensor:
        opening = read_still(shot.opening[-1])
        if not MODELS[self._wan.model].takes_end_image:
            return image_latent(self._cast.vae, opening)
        last = read_still(shot.last) if shot.last is not None else None
        return condition(self._cast.vae, opening, last, shot.frames, self._plan.strips)

    def _decoded(self, latents: torch.Tensor, tell: Tell) -> Iterator[Frame]:
        given = 0
        for attempt in (1, 2):
            try:
                for index, frame in enumerate(self._frames(latents, tell)):
                    if index >= given:
                        yield frame
                        given += 1
                return
            except RuntimeError as error:
                told = _said_of_memory(error)
            self._lean(told, attempt)

    def _frames(self, latents: torch.Tensor, tell: Tell) -> Iterator[Frame]:
        def told(part: float) -> None:
            tell(DENOISING + (1 - DENOISING) * part)

        for batch in decode(self._cast.vae, latents, self._plan.strips, told):
            yield from batch

    def _spared(self, work: Callable[[], T]) -> T:
        """The work done; where the device's memory runs out, once more with the next leaner plan."""
        for attempt in (1, 2):
            try:
                return work()
            except RuntimeError as error:
                told = _said_of_memory(error)
            self._lean(told, attempt)
        raise AssertionError("the second attempt returns or raises")

    def _lean(self, told: str, attempt: int) -> None:
        """Go on with the next leaner plan, or raise MachineLacks. Outside of the handler, whose frames hold tensors."""
        leanest = leaner(self._plan, self._needs, self._ram)
        if leanest is None or attempt > 1:
            raise MachineLacks(
                f"the GPU's memory ran out ({told.partition('.')[0]}) with the plan: {self._plan.says()}. "
                'Use fewer frames, a smaller size or vae = "bf16", or close what else uses the GPU'
            )
        self._machine.say(f"the GPU's memory ran out: once more, leaner: {leanest.says()}")
        self._cast.close()
        _free()
        self._plan = leanest
        self._cast = load_cast(self._wan, leanest, self._machine)

    def _within_ram(self) -> None:
        """What --ram allows is kept to: a machine that swaps is worse than one that stops."""
        if self._machine.ram is None:
            return
        import psutil

        used = psutil.Process().memory_info().rss
        if used > self._machine.ram:
            raise MachineLacks(
                f"{used / GIB:.1f} GiB of RAM are used and --ram allows {self._machine.ram / GIB:.1f} GiB: raise it"
            )

    def close(self) -> None:
        self._cast.close()
        _free()


def _said_of_memory(error: RuntimeError) -> str:
    """What ran out, in torch's words; any other error is raised again."""
    if isinstance(error, torch.OutOfMemoryError) or any(said in str(error) for said in RAN_OUT):
        return str(error)
    raise error


def _free() -> None:
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
