#!/usr/bin/env python3
"""What WAN costs on this GPU, with stock diffusers beside it in the same run.

    scripts/random_wan.py WEIGHTS --experts bf16 && scripts/random_wan.py WEIGHTS --experts fp8
    scripts/bench_wan.py WEIGHTS forward clip memory story

Every time is the median of five after a warm-up; a line of JSON each. docs/benchmarks.md keeps the results.
"""

import argparse
import gc
import itertools
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import median, told

from scenes.files import load_clip, write_clip, write_still
from scenes.footage import Still, frame_digest
from scenes.shot import Machine, Shot
from scenes.wan.attention import choose_kernel
from scenes.wan.budget import GIB, Placement
from scenes.wan.checkpoint import read_checkpoint
from scenes.wan.experts import Expert
from scenes.wan.models import I2V_A14B
from scenes.wan.named import NAMED
from scenes.wan.recipes import LoraFile, divided, recipe
from scenes.wan.renderer import Wan
from scenes.wan.weights import WeightFile, Weights

SIZES = {"480": (832, 480), "720": (1280, 720)}
PEAK = 790e12
"""FLOP/s of an 8192-cubed bf16 product on an H200."""
FLOPS = {"480": 1.678e15, "720": 6.523e15}
STEPS = 0.851
DEVICE = torch.device("cuda", 0)


def freed() -> None:
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()


def stock_transformer() -> Any:
    """diffusers' model at full size, its blocks compiled, with cuDNN attention."""
    from diffusers import WanTransformer3DModel

    torch.set_default_dtype(torch.bfloat16)
    with torch.device(DEVICE):
        model = WanTransformer3DModel(in_channels=36, out_channels=16, text_dim=4096)
    torch.set_default_dtype(torch.float32)
    model = model.to(DEVICE, torch.bfloat16).eval().requires_grad_(False)
    model.rope = type(model.rope)(128, (1, 2, 2), 1024).to(DEVICE)
    model.set_attention_backend("_native_cudnn")
    model.compile_repeated_blocks(fullgraph=True)
    return model


def inputs(size: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    width, height = SIZES[size]
    latents = torch.randn(1, 36, 21, height // 8, width // 8, device=DEVICE)
    return latents, torch.tensor([900.0], device=DEVICE), torch.randn(1, 512, 4096, device=DEVICE, dtype=torch.bfloat16)


def expert_files(weights: Path) -> dict[str, Path]:
    folder = weights / "diffusion_models"
    return {form: folder / f"wan2.2_i2v_high_noise_14B_{form}.safetensors" for form in ("bf16", "fp8_scaled")}


def stock_forward() -> None:
    stock = stock_transformer()
    for size in SIZES:
        x, t, text = inputs(size)
        bf16 = x.to(torch.bfloat16)

        def run(x: torch.Tensor = bf16, t: torch.Tensor = t, text: torch.Tensor = text) -> None:
            with torch.no_grad():
                stock(x, t, text, return_dict=False)

        taken, all_ = median(run)
        told(bench="forward", size=size, who="stock bf16", seconds=taken, all=all_, mfu=FLOPS[size] / taken / PEAK)


def forward(weights: Path, attention: str | None) -> None:
    """One forward: stock, ours in bf16, ours in fp8; resident."""
    stock_forward()
    freed()
    kernel = choose_kernel(attention, DEVICE)
    for form, precision in (("bf16", None), ("fp8_scaled", "fp8")):
        checkpoint = read_checkpoint(expert_files(weights)[form])
        place = Placement(True, "disk")
        expert = Expert(checkpoint, DEVICE, place, precision, compile=True, attention=kernel.backend)
        for size in SIZES:
            x, t, text = inputs(size)
            start = time.perf_counter()
            expert(x, t, text)
            torch.cuda.synchronize()
            first = time.perf_counter() - start
            taken, all_ = median(lambda: expert(x, t, text), warm=0)  # noqa: B023
            told(
                bench="forward", size=size, who=f"ours {form} {precision or 'bf16'}", attention=kernel.name,
                seconds=taken, all=all_, mfu=FLOPS[size] / taken / PEAK, first=round(first, 1),
                peak=round(torch.cuda.max_memory_allocated() / GIB, 2),
            )  # fmt: skip
        expert.close()
        freed()


def shot_of(
    weights: Path, form: str, size: str, opening: Still, vae: str = "bf16", precision: str | None = None
) -> Shot:
    def file(*parts: str) -> WeightFile:
        path = weights.joinpath(*parts)
        return WeightFile(str(path), path)

    high = file("diffusion_models", f"wan2.2_i2v_high_noise_14B_{form}.safetensors")
    low = file("diffusion_models", f"wan2.2_i2v_low_noise_14B_{form}.safetensors")
    loras = [
        weights / "loras" / f"wan2.2_i2v_lightx2v_4steps_lora_v1_{noise}_noise.safetensors" for noise in ("high", "low")
    ]
    pair = divided(LoraFile("high", loras[0]), LoraFile("low", loras[1]), (1.0, 1.0))
    sampled = recipe(NAMED["lightning-4"].spec, pair, I2V_A14B, None)
    text = file("text_encoders", "umt5_xxl_bf16.safetensors")
    files = Weights(high, low, file("vae", "wan_2.1_vae.safetensors"), text, None)
    renderer = Wan(Fraction(16), "wan2.2-i2v-a14b", files, sampled, precision, vae)
    return Shot("A rowing boat leaves the dock", None, 7, 81, SIZES[size], (opening,), None, (), renderer)


def picture(folder: Path, size: str) -> Still:
    width, height = SIZES[size]
    rows, columns = np.mgrid[0:height, 0:width]
    frame = np.stack([columns * 255 // width, rows * 255 // height, (rows + columns) % 256], -1).astype(np.uint8)
    folder.mkdir(parents=True, exist_ok=True)
    assert frame_digest(frame)
    return write_still(frame, folder / "opening.png")


@contextmanager
def studio(shot: Shot, **machine: Any) -> Iterator[Any]:
    opened = shot.renderer.open([shot], Machine(device="cuda:0", say=lambda text: told(said=text), **machine))
    try:
        yield opened
    finally:
        opened.close()
        freed()


def chain(opened: Any, shot: Shot, clips: int, folder: Path) -> tuple[list[float], dict[str, float]]:
    """Seconds of each clip of a chain, from its opening picture to the kept clip; and where the last one's went."""
    taken: list[float] = []
    marks: list[tuple[float, float]] = []

    def tell(part: float) -> None:
        # The steps' ends are told by the host, which runs ahead of the GPU: wait for it where it matters.
        if part <= STEPS:
            torch.cuda.synchronize()
        marks.append((part, time.perf_counter()))

    start = 0.0
    for number in range(clips):
        marks.clear()
        start = time.perf_counter()
        into = folder / f"clip{number}"
        into.mkdir(parents=True)
        write_clip(opened.render(shot, tell), into, Fraction(16), shot.frames, {})
        taken.append(time.perf_counter() - start)
        shot = replace(shot, opening=(load_clip(into).last,), seed=shot.seed + 1)
    steps = [at for part, at in marks if 0 < part <= STEPS]
    frames = [at for part, at in marks if part > STEPS]
    where = {
        "condition and first step": steps[0] - start,
        "a later step": statistics.median(b - a for a, b in itertools.pairwise(steps)),
        "decode to first frame": frames[0] - steps[-1],
        "decode": frames[-1] - steps[-1],
        "clip closed": start + taken[-1] - frames[-1],
    }
    return [round(t, 3) for t in taken], {name: round(t, 3) for name, t in where.items()}


def measured(shot: Shot, clips: int, what: str, **machine: Any) -> float:
    """The median of a chain's clips but the first, with peaks beside the plan."""
    torch.cuda.reset_peak_memory_stats()
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        with studio(shot, **machine) as opened:
            opening = time.perf_counter() - start
            taken, where = chain(opened, shot, clips, Path(folder))
            plan = opened._plan
            peak = torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    middle = statistics.median(taken[1:])
    told(
        bench=what, seconds=middle, all=taken, opening=round(opening, 1), foreseen=round(plan.vram / GIB, 2),
        allocated=round(peak[0] / GIB, 2), reserved=round(peak[1] / GIB, 2),
        ram_foreseen=round(plan.ram / GIB, 2), rss=round(rss / GIB, 2), where=where,
    )  # fmt: skip
    return middle


def stock_clip(size: str, vae_dtype: torch.dtype, times: int) -> float:
    """The stock pipeline, compiled, the prompt encoded beforehand; both experts one model, which costs it nothing."""
    from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanImageToVideoPipeline
    from PIL import Image

    model = stock_transformer()
    vae = AutoencoderKLWan().to(DEVICE, vae_dtype).eval().requires_grad_(False)
    scheduler = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=5.0)
    pipe = WanImageToVideoPipeline(
        tokenizer=None, text_encoder=None, vae=vae, scheduler=scheduler, transformer=model, transformer_2=model,
        boundary_ratio=0.9,
    )  # fmt: skip
    pipe.set_progress_bar_config(disable=True)
    width, height = SIZES[size]
    embeds = torch.randn(1, 512, 4096, device=DEVICE, dtype=torch.bfloat16)
    image = Image.effect_noise((width, height), 80).convert("RGB")

    def run() -> None:
        pipe(
            image=image, prompt_embeds=embeds, negative_prompt_embeds=embeds, height=height, width=width,
            num_frames=81, num_inference_steps=4, guidance_scale=1.0, output_type="np",
        )  # fmt: skip

    taken, all_ = median(run, times, 1)
    told(bench="clip", who=f"stock, VAE {vae_dtype}", size=size, seconds=taken, all=all_)
    freed()
    return taken


def clip(weights: Path, folder: Path, attention: str | None, clips: int) -> None:
    """A chained clip end to end, picture in, kept clip out; the second to sixth of a chain."""
    opening = picture(folder, "480")
    stock = stock_clip("480", torch.bfloat16, clips - 1)
    for form, precision, vae in (
        ("bf16", None, "bf16"), ("bf16", None, "fp32"), ("fp8_scaled", "fp8", "bf16"),
    ):  # fmt: skip
        shot = shot_of(weights, form, "480", opening, vae, precision)
        taken = measured(shot, clips, f"clip ours {form} {precision or 'bf16'}, VAE {vae}", attention=attention)
        told(bench="clip", ratio=round(taken / stock, 3))


def memory(weights: Path, folder: Path, attention: str | None, clips: int) -> None:
    """A smaller machine: 720p in bf16 under caps of GPU memory, and RAM."""
    opening = picture(folder, "720")
    shot = shot_of(weights, "bf16", "720", opening)
    whole = measured(shot, clips, "720p bf16, no cap", attention=attention)
    for cap in (24, 12):
        taken = measured(shot, clips, f"720p bf16, --vram {cap}GiB", vram=cap * GIB, attention=attention)
        told(bench="memory", cap=cap, ratio=round(taken / whole, 4))


def ram(weights: Path, folder: Path, form: str, gib: int) -> None:
    """In a process of its own: RSS only ever grows."""
    shot = shot_of(weights, form, "480", picture(folder, "480"))
    measured(shot, 3, f"480p {form}, --vram 24GiB --ram {gib}GiB", vram=24 * GIB, ram=gib * GIB)


STORY = """
[look]
recipe = "lightning-4"
vae = "bf16"
model = {{ high = "{high}", low = "{low}" }}

[[scene]]
name = "dock"
image = "opening.png"
prompt = "A wooden dock at dawn"

[[scene]]
name = "boat"
prompt = "A rowing boat leaves the dock"

[[scene]]
name = "storm"
prompt = "The sky darkens"

[finish]
upscale = {{ model = "none" }}
interpolate = {{ model = "none" }}
"""


def story(weights: Path, folder: Path, attention: str | None) -> None:
    """Three chained scenes as the command renders them: how long the GPU idles between the first and the last step."""
    from storyboard.events import Events
    from storyboard.options import Options
    from storyboard.production import produce
    from storyboard.rehearsal import rehearse
    from storyboard.store import Store
    from storyboard.story import read_story
    from storyboard.verify import verify

    picture(folder, "480")
    names = {n: f"wan2.2_i2v_{n}_noise_14B_fp8_scaled.safetensors" for n in ("high", "low")}
    path = folder / "story.toml"
    path.write_text(STORY.format(**names))
    options = Options(False, device="cuda:0", weights=(weights,), attention=attention)
    read, store = read_story(path), Store(folder / ".storyboard")
    said: list[str] = []
    started = time.perf_counter()
    with store.in_use(), torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        events = Events(None, (lambda event: said.append(f"{time.perf_counter() - started:.1f} {event['event']}"),))
        produce(read, store, options, events)
    findings = list(verify(rehearse(read, store, options), store))
    busy, span, steps = gpu_busy(profile)
    told(
        bench="story", seconds=round(time.perf_counter() - started, 1), span=round(span, 2), busy=round(busy, 2),
        idle=round(1 - busy / span, 4), attentions=steps, exact=all(finding.holds for finding in findings),
        seams=sum("opens on" in finding.what for finding in findings),
    )  # fmt: skip
    print("\n".join(line for line in said if "progress" not in line))


def gpu_busy(profile: Any) -> tuple[float, float, int]:
    """Seconds that some kernel ran, of those from the first to the last large attention; and how many of these."""
    kernels = sorted(
        (e.time_range.start, e.time_range.end, e.name) for e in profile.events() if e.device_type.name == "CUDA"
    )
    large = [(a, b) for a, b, name in kernels if b - a > 5_000 and ("sdpa" in name or "flash" in name.lower())]
    first, last = large[0][0], large[-1][1]
    busy, end = 0.0, first
    for a, b, _ in kernels:
        if b > end and a < last:
            busy += min(b, last) - max(a, end)
            end = b
    return busy / 1e6, (last - first) / 1e6, len(large)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("benches", nargs="+", choices=["forward", "clip", "memory", "story", "ram-fp8", "ram-bf16"])
    parser.add_argument("--attention")
    parser.add_argument("--clips", type=int, default=6, help="of each chain; the first is not counted")
    asked = parser.parse_args()
    torch.manual_seed(0)
    told(gpu=torch.cuda.get_device_name(), torch=torch.__version__)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for bench in asked.benches:
            match bench:
                case "forward":
                    forward(asked.weights, asked.attention)
                case "clip":
                    clip(asked.weights, folder, asked.attention, asked.clips)
                case "memory":
                    memory(asked.weights, folder, asked.attention, asked.clips)
                case "story":
                    story(asked.weights, folder, asked.attention)
                case "ram-fp8":
                    ram(asked.weights, folder, "fp8_scaled", 32)
                case _:
                    ram(asked.weights, folder, "bf16", 64)


if __name__ == "__main__":
    main()
