"""The models that draw: experts and VAE on their device, the LoRAs of each shot, who is called next."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
from platformdirs import user_cache_path

from scenes.shot import Lora, Machine, MachineLacks, Shot
from scenes.wan.attention import Kernel, choose_kernel
from scenes.wan.budget import MemoryPlan, Needs, plan_memory
from scenes.wan.checkpoint import read_checkpoint
from scenes.wan.compiling import UNCOMPILED, compile_lacks
from scenes.wan.experts import Expert
from scenes.wan.loras import Lora as LoraWeights
from scenes.wan.loras import load_lora
from scenes.wan.needs import free_ram, needs_of
from scenes.wan.recipes import Recipe, Step
from scenes.wan.renderer import Wan, wan_of
from scenes.wan.vae import load_vae

VAE_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def device_of(machine: Machine) -> torch.device:
    """The device asked for, else the first GPU. Raises MachineLacks where there is none: a CPU must be asked for."""
    if machine.device is None and not torch.cuda.is_available():
        raise MachineLacks(
            "WAN needs a CUDA GPU, and torch finds none here: use --draft, or --device cpu (hours a clip)"
        )
    device = torch.device(machine.device or "cuda:0")
    return torch.device("cuda", 0) if device == torch.device("cuda") else device


def planned(shots: Sequence[Shot], machine: Machine) -> tuple[MemoryPlan, Needs]:
    """The memory plan of these shots on this machine as it is now. Raises MachineLacks where nothing fits."""
    needs = needs_of([(shot, wan_of(shot)) for shot in shots])
    device = device_of(machine)
    if device.type != "cuda":
        return plan_memory(needs, None, machine.ram, gpu=False), needs
    free, total = torch.cuda.mem_get_info(device)
    # The cap holds for the whole process: finishing on the same GPU counts too.
    torch.cuda.set_per_process_memory_fraction(min(1.0, (machine.vram or total) / total), device)
    usable = min(machine.vram or free, free) - machine.aside
    return plan_memory(needs, usable, machine.ram or free_ram()), needs


@dataclass
class Cast:
    """Experts and VAE, shared by every shot of a run. `low` is `high` itself where there is one expert."""

    device: torch.device
    kernel: Kernel
    compiled: bool
    vae: AutoencoderKLWan
    high: Expert
    low: Expert
    machine: Machine

    def __post_init__(self) -> None:
        self._loras: dict[tuple[str, str], LoraWeights] = {}
        self._recipe: Recipe | None = None
        self._shot: tuple[Lora, ...] = ()
        self._order: list[Expert] = []
        self._calls = 0
        self._told: set[str] = set()

    @property
    def made(self) -> dict[str, Any]:
        """For the record beside a clip."""
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "cpu"
        libraries = {package: version(package) for package in ("torch", "diffusers", "transformers")}
        return {"device": name, "attention": self.kernel.name, "compiled": self.compiled, **libraries}

    def take(self, recipe: Recipe, loras: tuple[Lora, ...]) -> None:
        """Make ready for a shot: its recipe's LoRAs and its own. Raises CheckpointError where one does not load."""
        self._recipe, self._shot = recipe, loras
        self._order = [self._expert(step) for step in recipe.calls]
        self._calls = 0
        for expert in {id(e): e for e in self._order}.values():
            self._merge(expert, next(s for s in recipe.steps if self._expert(s) is expert))

    def predict(self, latents: torch.Tensor, timestep: torch.Tensor, text: torch.Tensor, step: Step) -> torch.Tensor:
        """One evaluation of the step's expert; the one that is called next brings its first blocks meanwhile."""
        expert = self._expert(step)
        self._merge(expert, step)
        self._calls += 1
        # After a shot's last call comes the next shot's first.
        follower = self._order[self._calls] if self._calls < len(self._order) else self._order[0]
        return expert(latents, timestep, text, then=follower)

    def set_nag(self, recipe: Recipe) -> None:
        """Experts that share slots share this."""
        for expert in (self.high, self.low):
            expert.set_nag(recipe.nag)

    def close(self) -> None:
        self.high.close()
        if self.low is not self.high:
            self.low.close()
        cast(Any, self.vae).to("meta")

    def _expert(self, step: Step) -> Expert:
        return self.high if step.expert == "high" else self.low

    def _merge(self, expert: Expert, step: Step) -> None:
        assert self._recipe is not None
        files = [(file.digest, file.path) for file in (*self._recipe.loras, *self._shot)]
        its_steps = [self._strengths(each) for each in self._recipe.steps if each.expert == step.expert]
        # Those at strength 0 in this step too: one that leaves the list is unloaded. But not those at 0 in all of the
        # expert's steps: their file may have nothing for it.
        acting = [any(strengths) for strengths in zip(*its_steps, strict=True)]
        expert.set_loras(
            [
                (self._lora(digest, path, step, expert), strength)
                for (digest, path), strength, acts in zip(files, self._strengths(step), acting, strict=True)
                if acts
            ]
        )

    def _strengths(self, step: Step) -> tuple[float, ...]:
        """Of the recipe's LoRAs and the shot's own."""
        return (*step.loras, *(lora.high if step.expert == "high" else lora.low for lora in self._shot))

    def _lora(self, digest: str, path: Path, step: Step, expert: Expert) -> LoraWeights:
        key = (digest, step.expert)
        if key not in self._loras:
            # A file may hold a half for each expert.
            self._loras[key] = load_lora(path, expert.shape, step.expert)
            left_out = self._loras[key].left_out
            if left_out and digest not in self._told:
                self._told.add(digest)
                self.machine.say(f"{path.name}: {len(left_out)} keys have no place in WAN 2.2 and are left out")
        return self._loras[key]


def load_cast(wan: Wan, plan: MemoryPlan, machine: Machine) -> Cast:
    """Load what draws. Raises CheckpointError and MachineLacks."""
    device = device_of(machine)
    kernel = choose_kernel(machine.attention, device)
    compiled = _compiles(machine, device)
    vae = load_vae(read_checkpoint(wan.weights.vae.path), device, VAE_DTYPES[wan.vae])
    facts: Mapping[str, Any] = {"precision": wan.precision, "compile": compiled, "attention": kernel.backend}
    high = Expert(read_checkpoint(wan.weights.high.path), device, plan.placements[0], **facts, held=plan.held[0])
    try:
        low = high
        if wan.weights.low is not None:
            checkpoint = read_checkpoint(wan.weights.low.path)
            low = Expert(checkpoint, device, plan.placements[1], **facts, beside=high, held=plan.held[1])
    except BaseException:
        high.close()  # its threads are reading
        raise
    return Cast(device, kernel, compiled, vae, high, low, machine)


def _compiles(machine: Machine, device: torch.device) -> bool:
    """Whether blocks are compiled; where they could not be, what is missing is told."""
    if not machine.compile or device.type != "cuda":
        return False
    lacking = compile_lacks()
    if lacking is not None:
        machine.say(f"{UNCOMPILED}: {lacking[0]} ({lacking[1]})")
        return False
    # Beside other caches of the user: torch's own default is a folder that a restart empties.
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(user_cache_path("storyboard") / "compiled"))
    return True
