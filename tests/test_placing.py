"""Where clips are finished while others are drawn: on another GPU, beside the drawing, or in turns with it."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from post.budget import plan_finishing
from post.devices import Gpu
from post.encode import Encode
from post.interpolate import Flow, Interpolate, Rife
from post.nets import SRVGGNetCompact
from post.upscale import Lanczos, RealESRGAN, Upscale
from scenes.shot import MachineLacks
from scenes.wan.budget import GIB, HEADROOM, ExpertBytes, Needs, plan_memory
from scenes.wan.models import I2V_A14B
from scenes.wan.vae_memory import VAE_2_1
from storyboard import placing, production
from storyboard.film import SceneFailed
from storyboard.gear import Gear
from storyboard.options import Options
from storyboard.placing import Workplace, workplace
from tests.stories import render, scene, write_picture, write_story

LARGE, SMALL, OLD = Gpu("H200", 140 * GIB, 90), Gpu("RTX 4090", 24 * GIB, 89), Gpu("Old", GIB, 61)
BF16 = ExpertBytes(blocks=40, raw=28_100_000_000, block=702_600_000, rest=590_000_000, width=5120, calls=2)
NEEDS = Needs(I2V_A14B, (832, 480), 81, "bf16", VAE_2_1, (BF16, BF16))
SMALL_NET = Upscale(RealESRGAN("0" * 64, Path("x4v3.pth"), 4, False), (1664, 960))
GEAR = Gear(
    False, SMALL_NET, Interpolate(Rife("1" * 64, Path("rife46.pth")), 2), Encode("h264", 16.0, "medium"), (), ()
)
STORY: Any = SimpleNamespace(size=(832, 480), fps=Fraction(16))
DRAWN: Any = [(object(), object())]


@pytest.fixture(autouse=True)
def needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placing, "needs_of", lambda _: NEEDS)
    monkeypatch.setattr(placing, "free_ram", lambda: 128 * GIB)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    def of(*found: Gpu) -> None:
        monkeypatch.setattr(placing, "gpus", lambda: list(found))
        number = lambda device: int((device or "cuda:0").partition(":")[2] or 0)  # noqa: E731
        monkeypatch.setattr(placing, "gpu_of", lambda device: dict(enumerate(found)).get(number(device)))

    return of


def place(gear: Gear = GEAR, drawn: Any = DRAWN, **options: Any) -> Workplace:
    return workplace(STORY, gear, Options(False, **options), drawn)


def test_one_large_gpu_does_both_side_by_side(machine: Any):
    machine(LARGE)
    found = place()
    assert not found.turns
    assert found.vram == plan_finishing(SMALL_NET, GEAR.interpolate, (832, 480), None).bytes
    assert found.aside >= found.vram
    assert "beside the drawing" in found.says


def test_both_stay_within_the_cap_together(machine: Any):
    machine(LARGE)
    for cap in (16, 24, 48):
        found = place(vram=cap * GIB)
        assert found.vram is not None
        kept = plan_memory(NEEDS, cap * GIB - found.aside, 128 * GIB)
        drawing = kept.weights if found.turns else kept.vram
        assert drawing * HEADROOM + found.vram * HEADROOM <= cap * GIB


def test_they_take_turns_where_both_do_not_fit(machine: Any):
    machine(LARGE)
    cap = next(gib for gib in range(4, 24) if _draws(gib * GIB)) * GIB
    found = place(vram=cap)
    assert found.turns
    assert found.aside == 0
    assert found.vram is not None
    assert found.vram + plan_memory(NEEDS, cap, 128 * GIB).weights <= cap
    assert "take turns" in found.says


def _draws(vram: int) -> bool:
    try:
        return bool(plan_memory(NEEDS, vram, 128 * GIB))
    except MachineLacks:
        return False


def test_another_gpu_with_room_is_taken_by_itself(machine: Any):
    machine(LARGE, OLD, SMALL)
    assert place() == Workplace("cuda:2", None, says="clips are finished on cuda:2 (RTX 4090)")
    assert place(device="cuda:2").device == "cuda:0"
    machine(LARGE, OLD)
    assert "beside the drawing" in place().says


def test_the_device_asked_for_is_taken(machine: Any):
    machine(LARGE, SMALL, SMALL)
    assert place(finish_on="cuda:1").says == "clips are finished on cuda:1 (RTX 4090)"
    assert place(finish_on="cpu").device == "cpu"
    assert "beside the drawing" in place(finish_on="cuda:0").says


def test_where_nothing_is_drawn_or_no_net_works_there_is_no_choice(machine: Any):
    machine(SMALL)
    assert place(drawn=[], vram=8 * GIB) == Workplace(None, 8 * GIB)
    plain = replace(GEAR, upscale=Upscale(Lanczos(), (1664, 960)), interpolate=Interpolate(Flow(), 2))
    assert place(plain) == Workplace(None, None)
    machine()
    assert place(device="cpu") == Workplace("cpu", None)


def test_what_cannot_be_finished_in_any_way_says_so(machine: Any):
    machine(LARGE)
    huge = replace(GEAR, upscale=Upscale(RealESRGAN("0" * 64, Path("x4v3.pth"), 4, False), (16384, 9456)))
    with pytest.raises(MachineLacks, match=r"finishing needs .* --vram"):
        place(huge, vram=12 * GIB)


def test_in_turns_a_clip_is_finished_before_the_next_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    torch.set_num_threads(1)
    torch.save({"params": SRVGGNetCompact(8, 2, 2).state_dict()}, tmp_path / "small.pth")
    write_picture(tmp_path, "a.png")
    finish = '[finish]\nupscale = { model = "small.pth", scale = 2 }\n'
    scenes = [scene("a", image="a.png"), scene("b"), scene("c"), scene("d", image="a.png")]
    path = write_story(tmp_path, *scenes, finish=finish)
    monkeypatch.setattr(production, "workplace", lambda *_: Workplace("cpu", None, turns=True))
    run = render(path, device="cpu")
    assert run.outcome.film is not None
    told = [f"{event['event']} {event['scene']}" for event in run.events if "scene" in event]
    order = [told.index(f"segment.started {a}") < told.index(f"scene.started {b}") for a, b in ("ab", "bc", "cd")]
    assert all(order), told


def test_in_turns_a_failure_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    torch.set_num_threads(1)
    torch.save({"params": SRVGGNetCompact(8, 2, 2).state_dict()}, tmp_path / "small.pth")
    write_picture(tmp_path, "a.png")
    finish = '[finish]\nupscale = { model = "small.pth", scale = 2 }\n'
    path = write_story(tmp_path, scene("a", image="a.png"), scene("b"), scene("c"), finish=finish)
    monkeypatch.setattr(production, "workplace", lambda *_: Workplace("cpu", None, turns=True))
    monkeypatch.setattr("post.suite.Suite._torch_kit", _broken)
    with pytest.raises(SceneFailed, match="no such luck"):
        render(path, device="cpu")
    with pytest.raises(SceneFailed):
        render(path, device="cpu")
    run = render(path, device="cpu", keep_going=True)
    assert run.outcome.failed.keys() == {"a", "b", "c"}


def _broken(*_: Any) -> Any:
    raise ValueError("no such luck")
