"""An expert of WAN 2.2, wherever its weights lie: on the device, in RAM, or on disk.

The model is diffusers'. Its blocks run in slots: with a slot for each of them the weights are resident, with two they
are streamed, and nothing else differs. Weights are widened and LoRAs merged as a block arrives, so what computes is the
same in every format and at every strength.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import nn

from scenes.shot import MachineLacks
from scenes.wan.arrive import Addition, Target, arrive
from scenes.wan.blocks import AHEAD, Ring
from scenes.wan.budget import Placement
from scenes.wan.checkpoint import Checkpoint
from scenes.wan.feed import Factors, Feed, Reading, arrivals, joined
from scenes.wan.fp8 import check_fp8
from scenes.wan.loras import Lora
from scenes.wan.parts import take_apart
from scenes.wan.recipes import Nag
from scenes.wan.shell import model_shell
from scenes.wan.slots import Load, Slot, Slots
from scenes.wan.stored import Files, Stored

STREAMED = 2
"""Slots of a streamed expert."""
GRAPHS = 64
"""Graphs that one process may compile: sizes, guided or not. torch's own limit of 8 would end a long story."""


class Expert:
    """One WAN 2.2 expert, ready to predict.

    precision: None (bf16 arithmetic on a CUDA device, fp32 on a CPU), "fp8" or "fp16-accumulate".
    attention: a backend of diffusers' dispatch_attention_fn.
    beside: an expert that takes turns with this one; they share slots and read-ahead buffers.
    held: of an expert on disk, how many blocks are kept in RAM all the same.

    Raises:
        CheckpointError: the file is not a whole expert.
        MachineLacks: the device cannot do the precision, or RAM cannot be locked.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        device: torch.device,
        placement: Placement,
        precision: str | None = None,
        compile: bool = False,
        attention: str = "native",
        beside: Expert | None = None,
        held: int = 0,
    ) -> None:
        self.device = device
        self.dtype = _dtype(device, precision)
        self._accumulate_in_half = precision == "fp16-accumulate"
        self._compiles = compile
        self._parts = take_apart(checkpoint)
        self.shape = self._parts.shape
        self._files = Files(checkpoint.files)
        self._following = self
        self._merging: tuple[tuple[Factors, float], ...] = ()
        count = self.shape.layers
        with torch.inference_mode(False):  # such tensors could not be filled anew outside of it
            self._model, self._rest = model_shell(self.shape, device, self.dtype)
            self._model.blocks = nn.ModuleList(_Turn(self._run, index) for index in range(count))
            self._fill_rest()
            self.slots = self._slots_of(beside, placement, precision == "fp8", attention)
        self.reading = beside.reading if beside is not None else Reading(Ring(0, device, placement.resident))
        self.reading.users += 1
        stored = [Stored(self._files, part.layout) for part in self._parts.blocks]
        self.feed = Feed(stored, count if placement.source == "ram" else held, self.reading, device)

    def __call__(
        self, hidden_states: torch.Tensor, timestep: torch.Tensor, text: torch.Tensor, then: Expert | None = None
    ) -> torch.Tensor:
        """The velocity, in the expert's dtype.

        then: the expert whose call follows, if it is another one; its first blocks are brought meanwhile, merged with
            the LoRAs that it has now.

        Raises:
            CheckpointError: weights could not be read.
        """
        self._following = then or self
        forward = cast(Any, self._model)
        with torch.inference_mode(False), torch.no_grad(), self._arithmetic():
            hidden_states, text = hidden_states.to(self.dtype), text.to(self.dtype)
            out: torch.Tensor = forward(hidden_states, timestep, text, return_dict=False)[0]
        return out

    def set_loras(self, loras: Sequence[tuple[Lora, float]]) -> None:
        """From the next call on, run with these LoRAs at these strengths; the same ones again cost nothing."""
        if [(factors.lora, strength) for factors, strength in self._merging] == list(loras):
            return
        before = {factors.lora: factors for factors, _ in self._merging}
        kept: dict[Lora, Factors] = {}
        for lora, _ in loras:
            if lora not in kept:
                kept[lora] = before.get(lora) or Factors(lora, self.shape.layers, self.reading, self.device)
        dropped = [factors for lora, factors in before.items() if lora not in kept]
        had_rest = self._rest_merging()
        self._merging = tuple((kept[lora], strength) for lora, strength in loras)
        if had_rest != self._rest_merging():
            with torch.inference_mode(False):
                self._fill_rest()
        if dropped:
            self.slots.settle()
        for factors in dropped:
            factors.close()

    def set_nag(self, nag: Nag | None) -> None:
        """Guide by the negative prompt within attention, or not; experts that share slots share this."""
        self.slots.set_nag(nag)

    def close(self) -> None:
        """Give back what is not shared with an expert that is still open."""
        if not hasattr(self, "_model"):
            return
        self.slots.settle()
        for factors, _ in self._merging:
            factors.close()
        self.feed.close()
        self.reading.leave()
        self.slots.leave()
        self._files.close()
        self._merging = ()
        del self._model, self._rest, self._following

    def _slots_of(self, beside: Expert | None, placement: Placement, fp8: bool, attention: str) -> Slots:
        count = self.shape.layers if placement.resident else min(STREAMED, self.shape.layers)
        spec = (self.shape.dim, self.shape.ffn, count, self.device, self.dtype, fp8, self._compiles, attention)
        if beside is not None and not placement.resident and beside.slots.spec == spec:
            beside.slots.users += 1
            return beside.slots
        return Slots(*spec)

    def _run(self, index: int, *inputs: Any) -> torch.Tensor:
        out = self.slots.run(self._hold(index), *inputs)
        # While the device computes this one, the next one is brought: after the last the first one of the next call.
        # Not before there is something to compute: the host may have to wait for a disk.
        if index + 1 < self.shape.layers:
            self._hold(index + 1)
        else:
            self._follower()._hold(0)
        return out

    def _follower(self) -> Expert:
        return self._following if self._following.slots is self.slots else self

    def _hold(self, index: int) -> Slot:
        merging = [(f, strength) for f, strength in self._merging if strength and f.touches(index)]
        load = Load(self, index, tuple(merging))

        def fill(targets: Mapping[str, Target]) -> None:
            additions = joined([factors.of_block(index, strength) for factors, strength in merging])
            with self.feed.block(index, self._after(index)) as raw:
                _fill(targets, arrivals(self._parts.blocks[index], raw), additions)

        return self.slots.hold(load, fill)

    def _after(self, index: int) -> list[Stored]:
        """What is read from disk after a block, in order."""
        follower = self._follower()
        first = follower.feed if follower.reading is self.reading else self.feed
        return [*self.feed.on_disk(index + 1), *first.on_disk()][:AHEAD]

    def _rest_merging(self) -> list[tuple[Factors, float]]:
        return [(factors, strength) for factors, strength in self._merging if strength and factors.touches_rest()]

    def _fill_rest(self) -> None:
        """Fill what is no block; in the current stream, and done when this returns."""
        layout = self._parts.rest.layout
        buffer = bytearray(layout.nbytes)
        Stored(self._files, layout).read(memoryview(buffer))
        raw = torch.frombuffer(buffer, dtype=torch.uint8)
        additions = joined([factors.of_rest(strength) for factors, strength in self._rest_merging()])
        _fill(self._rest, arrivals(self._parts.rest, raw), additions)
        if self.device.type == "cuda":
            torch.cuda.current_stream(self.device).synchronize()

    @contextmanager
    def _arithmetic(self) -> Generator[None]:
        """The settings of torch that a call is computed with, for its duration."""
        if self._accumulate_in_half:
            matmul = torch.backends.cuda.matmul
            before = matmul.allow_fp16_accumulation
            matmul.allow_fp16_accumulation = True
            try:
                with self._many_graphs():
                    yield
            finally:
                matmul.allow_fp16_accumulation = before
            return
        with self._many_graphs():
            yield

    @contextmanager
    def _many_graphs(self) -> Generator[None]:
        if not self._compiles:
            yield
            return
        from torch._dynamo import config

        with cast(Any, config).patch(recompile_limit=GRAPHS), warnings.catch_warnings():
            # The compiler recommends TF32, for the sake of products in fp32, of which a block has none.
            warnings.filterwarnings("ignore", "TensorFloat32 tensor cores", UserWarning)
            yield


class _Turn(nn.Module):
    """A block of the model: it runs in whichever slot holds its weights."""

    def __init__(self, run: Callable[..., torch.Tensor], index: int) -> None:
        super().__init__()
        self._run_block = run
        self._index = index

    def forward(self, *inputs: Any) -> torch.Tensor:
        return self._run_block(self._index, *inputs)


def _dtype(device: torch.device, precision: str | None) -> torch.dtype:
    if precision not in (None, "fp8", "fp16-accumulate"):
        raise ValueError(f"there is no precision {precision!r}")
    if precision == "fp8":
        check_fp8(device)
    if precision == "fp16-accumulate":
        if device.type != "cuda":
            raise MachineLacks(
                f'precision "fp16-accumulate" needs a CUDA GPU, and this renders on {device}: take it out'
            )
        return torch.float16
    return torch.bfloat16 if device.type == "cuda" else torch.float32


def _fill(targets: Mapping[str, Target], arriving: Mapping[str, Any], additions: Mapping[str, list[Addition]]) -> None:
    for name, target in targets.items():
        arrive(target, arriving[name], additions.get(name, ()))
