"""The memory plan: what it chooses within which bytes, what it foresees, and what it says."""

from __future__ import annotations

from itertools import pairwise

import pytest

from scenes.shot import MachineLacks
from scenes.wan.budget import GIB, ExpertBytes, MemoryPlan, Needs, leaner, plan_memory
from scenes.wan.models import I2V_A14B
from scenes.wan.vae_memory import VAE_2_1

BF16 = ExpertBytes(blocks=40, raw=28_100_000_000, block=702_600_000, rest=590_000_000, width=5120, calls=2)
FP8 = ExpertBytes(blocks=40, raw=14_050_000_000, block=702_600_000, rest=590_000_000, width=5120, calls=2)


def needs(expert: ExpertBytes = BF16, size: tuple[int, int] = (832, 480), vae: str = "fp32") -> Needs:
    return Needs(I2V_A14B, size, 81, vae, VAE_2_1, (expert, expert), 600_000_000)


def test_tokens_are_those_of_the_published_figures() -> None:
    assert needs().tokens == 32_760
    assert needs(size=(1280, 720)).tokens == 75_600


def test_a_large_gpu_holds_the_weights_and_a_smaller_one_streams_them() -> None:
    large = plan_memory(needs(), 140 * GIB, 256 * GIB)
    assert all(place.resident for place in large.placements)
    assert large.vram <= 140 * GIB
    small = plan_memory(needs(), 24 * GIB, 256 * GIB)
    assert [(place.resident, place.source) for place in small.placements] == [(False, "ram")] * 2
    assert small.strips == 1
    assert "streamed from RAM" in small.says()


@pytest.mark.parametrize("vram", [10, 12, 16, 24, 48])
@pytest.mark.parametrize("size", [(832, 480), (1280, 720)])
@pytest.mark.parametrize("vae", ["fp32", "bf16"])
def test_what_is_foreseen_is_within_what_is_given(vram: int, size: tuple[int, int], vae: str) -> None:
    plan = plan_memory(needs(size=size, vae=vae), vram * GIB, 64 * GIB)
    assert max(plan.denoise, plan.decode) <= vram * GIB
    assert plan.ram <= 64 * GIB


def test_ram_holds_what_fits_of_the_expert_that_runs_most_often_first() -> None:
    busy = ExpertBytes(40, BF16.raw, BF16.block, BF16.rest, 5120, calls=10)
    asked = Needs(I2V_A14B, (832, 480), 81, "fp32", VAE_2_1, (BF16, busy))
    plan = plan_memory(asked, 24 * GIB, 48 * GIB)
    assert plan.placements[1].source == "ram"
    assert plan.placements[0].source == "disk"
    assert 0 < plan.held[0] < 40
    assert plan.ram <= 48 * GIB
    assert f"read ahead from disk ({plan.held[0]} blocks in RAM)" in plan.says()


def test_fp8_files_of_both_experts_lie_in_32_gib_of_ram() -> None:
    plan = plan_memory(needs(FP8), 24 * GIB, 32 * GIB)
    assert plan.ram <= 32 * GIB
    assert "streamed" in plan.says() or "blocks in RAM" in plan.says()


def test_what_cannot_fit_says_what_would() -> None:
    with pytest.raises(MachineLacks, match=r'at the leanest .* use fewer frames, a smaller size, vae = "bf16"'):
        plan_memory(needs(size=(1280, 720)), 4 * GIB, 64 * GIB)
    with pytest.raises(MachineLacks, match=r"of RAM .* raise --ram"):
        plan_memory(needs(), 24 * GIB, 2 * GIB)


def test_each_leaner_plan_asks_for_less_until_there_is_none() -> None:
    asked = needs(size=(1280, 720))
    plan: MemoryPlan | None = plan_memory(asked, None, 128 * GIB)
    seen: list[tuple[int, int]] = []
    while plan is not None:
        seen.append((plan.denoise, plan.decode))
        plan = leaner(plan, asked, 128 * GIB)
    assert len(seen) >= 4
    for before, after in pairwise(seen):
        assert after[0] <= before[0]
        assert after[1] < before[1]


def test_on_a_cpu_all_of_it_is_ram() -> None:
    plan = plan_memory(needs(), None, None, gpu=False)
    assert plan.says().startswith("on the CPU")
    assert plan.ram > BF16.raw * 2


@pytest.mark.parametrize("gib", range(12, 70))
def test_every_size_of_ram_from_12_gib_on_has_a_plan(gib: int) -> None:
    plan = plan_memory(needs(), 24 * GIB, gib * GIB)
    assert plan.ram <= gib * GIB


def test_a_leaner_plan_of_a_cpu_is_a_cpus() -> None:
    plan = leaner(plan_memory(needs(), None, None, gpu=False), needs(), None)
    assert plan is not None
    assert plan.says().startswith("on the CPU")
