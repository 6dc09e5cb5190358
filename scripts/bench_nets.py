#!/usr/bin/env python3
"""Frames a second of each way to run the upscalers' nets, on a CUDA device. A line of JSON each.

    scripts/bench_nets.py                      every form of both nets, at 832x480
    scripts/bench_nets.py --only pairs         those whose names hold the word
    scripts/bench_nets.py --enlarger           the whole of post.enlarge, uint8 to 1664x960

Times are CUDA events', the median of five after two warm-ups; weights are random, of a size that keeps values in
range. `apart` is the largest difference from the plain net in fp32 on a small crop, in levels of 255.
"""

import argparse
import copy
import itertools
import statistics
import time
from collections.abc import Callable, Iterator

import torch
from measure import told
from net_forms import formed
from random_nets import random_rrdb, random_srvgg

from post.enlarge import Enlarger
from post.nets import RRDBNet, SRVGGNetCompact

DEVICE = torch.device("cuda", 0)
SIZE = (832, 480)
Draw = Callable[[torch.Tensor], torch.Tensor]


def milliseconds(work: Callable[[], object], runs: int = 5, warm: int = 2) -> tuple[float, list[float]]:
    for _ in range(warm):
        work()
    taken: list[float] = []
    for _ in range(runs):
        start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        work()
        stop.record()
        stop.synchronize()
        taken.append(start.elapsed_time(stop))
    return statistics.median(taken), [round(each, 3) for each in taken]


def images(count: int, width: int, height: int) -> torch.Tensor:
    noise = torch.Generator("cpu").manual_seed(1)
    small = torch.rand((count, 3, height // 8, width // 8), generator=noise)
    image = torch.nn.functional.interpolate(small, size=(height, width), mode="bicubic").clamp_(0, 1)
    return image.to(DEVICE, torch.float16).contiguous(memory_format=torch.channels_last)


def halved(net: torch.nn.Module) -> torch.nn.Module:
    for weights in net.half().parameters():
        if weights.ndim == 4:
            weights.data = weights.data.contiguous(memory_format=torch.channels_last)
    return net


def compiled(net: torch.nn.Module, mode: str | None = None) -> Draw:
    return torch.compile(halved(net), dynamic=False, mode=mode)


def rrdb_forms(net: RRDBNet) -> Iterator[tuple[str, Callable[[], Draw]]]:
    for block in ("pairs", "push", "cat", "zeros", "slices"):
        yield f"rrdb {block} compiled", lambda block=block: compiled(formed(net, block))
    yield "rrdb cat eager", lambda: halved(formed(net, "cat"))
    yield "rrdb pairs eager", lambda: halved(formed(net, "pairs"))


def srvgg_forms(net: SRVGGNetCompact) -> Iterator[tuple[str, Callable[[], Draw]]]:
    yield "srvgg compiled", lambda: compiled(copy.deepcopy(net))
    yield "srvgg compiled, autotuned", lambda: compiled(copy.deepcopy(net), "max-autotune-no-cudagraphs")
    yield "srvgg eager", lambda: halved(copy.deepcopy(net))


def bench(name: str, net: RRDBNet | SRVGGNetCompact, make: Callable[[], Draw], batches: list[int]) -> None:
    crop = images(1, 96, 64)
    wanted = net(crop.float())
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    draw = make()
    for count in batches:
        image = images(count, *SIZE)
        torch._dynamo.reset()
        torch.cuda.reset_peak_memory_stats()
        start = time.perf_counter()
        draw(image)
        torch.cuda.synchronize()
        first = time.perf_counter() - start
        taken, all_taken = milliseconds(lambda: draw(image))  # noqa: B023
        peak = (torch.cuda.max_memory_allocated() - before) / (count * SIZE[0] * SIZE[1])
        told(form=name, batch=count, fps=round(1000 * count / taken, 1), ms=all_taken, first_s=round(first, 1),
             peak_bytes_a_pixel=round(peak))  # fmt: skip
    apart = (draw(crop).float() - wanted).abs().max().item() * 255
    told(form=name, apart=round(apart, 3), largest=round(wanted.abs().max().item(), 3),
         spread=round(wanted.std().item(), 4))  # fmt: skip


def enlargers(nets: dict[str, Callable[[], RRDBNet | SRVGGNetCompact]], counts: list[int]) -> None:
    """uint8 on the device to finished frames there."""
    for (name, make), count in itertools.product(nets.items(), counts):
        frames = (images(count, *SIZE).permute(0, 2, 3, 1) * 255).to(torch.uint8).contiguous()
        torch.cuda.empty_cache()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        enlarger = Enlarger(make(), (2 * SIZE[0], 2 * SIZE[1]), DEVICE, count, 1 << 20, True)
        taken, all_taken = milliseconds(lambda: enlarger(frames))  # noqa: B023
        peak = torch.cuda.max_memory_allocated() - before
        told(enlarger=name, batch=count, fps=round(1000 * count / taken, 1), ms=all_taken, peak=peak,
             peak_bytes_a_pixel=round(peak / (count * SIZE[0] * SIZE[1])))  # fmt: skip
        short = frames[:1]
        start = time.perf_counter()
        enlarger(short)
        torch.cuda.synchronize()
        told(enlarger=name, batch=count, short_batch_s=round(time.perf_counter() - start, 3))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="forms whose names hold this")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--enlarger", action="store_true")
    parser.add_argument("--cudnn-benchmark", action="store_true", help="let cuDNN try its ways first")
    asked = parser.parse_args()
    torch.backends.cudnn.benchmark = asked.cudnn_benchmark
    torch.backends.cudnn.allow_tf32 = False
    torch.set_grad_enabled(False)
    told(device=torch.cuda.get_device_name(DEVICE), torch=torch.__version__, cudnn=torch.backends.cudnn.version(),
         cudnn_benchmark=asked.cudnn_benchmark)  # fmt: skip
    heavy, light = random_rrdb().to(DEVICE), random_srvgg().to(DEVICE)
    if asked.enlarger:
        nets = {"realesr-animevideov3": lambda: random_srvgg().to(DEVICE),
                "realesrgan-x4plus": lambda: random_rrdb().to(DEVICE)}  # fmt: skip
        return enlargers(nets, asked.batches)
    for net, forms in ((light, srvgg_forms(light)), (heavy, rrdb_forms(heavy))):
        for name, make in forms:
            if asked.only in name:
                try:
                    bench(name, net, make, asked.batches)
                except Exception as error:  # the others are to be told of still
                    told(form=name, failed=f"{type(error).__name__}: {str(error)[:300]}")
    return None


if __name__ == "__main__":
    main()
