"""What finishing takes of a GPU's memory, and how it works in less: what tests/gpu measures, in numbers."""

from __future__ import annotations

import re
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from post.budget import AT_ONCE, GIB, WIDEST, FinishPlan, plan_finishing
from post.conform import Conform
from post.interpolate import Flow, Interpolate, Rife
from post.upscale import Lanczos, RealESRGAN, Spandrel, Upscale
from post.weights import Lacking

SOURCE, FILM = (832, 480), (1664, 960)
LIGHT = RealESRGAN("light", Path("light.pth"), scale=4, heavy=False)
HEAVY = RealESRGAN("heavy", Path("heavy.pth"), scale=4, heavy=True)
OTHER = Spandrel("other", Path("other.pth"), scale=None)
RIFE = Interpolate(Rife("rife", Path("rife.pkl")), 2)
NETS = [LIGHT, HEAVY, OTHER]
RULES = [None, RIFE, Interpolate(Flow(), 2), Conform(RIFE.by, Fraction(24), Fraction(16), 0)]


@pytest.mark.parametrize("by", [None, Lanczos(), *NETS])
@pytest.mark.parametrize("rule", RULES)
def test_a_film_of_1664x960_takes_at_most_4_gib(by: RealESRGAN | None, rule: Interpolate | None):
    plan = plan_finishing(Upscale(by, FILM) if by else None, rule, SOURCE, None)
    assert plan.bytes <= 4 * GIB == WIDEST


def test_the_widest_works_on_whole_frames_many_at_once():
    small = Interpolate(Rife("rife", Path("rife46.pth"), "4.6"), 2)
    plan = plan_finishing(Upscale(LIGHT, FILM), small, SOURCE, None)
    assert (plan.frames_at_once, plan.pairs_at_once) == (AT_ONCE[0], AT_ONCE[0])
    assert plan.tile_pixels >= SOURCE[0] * SOURCE[1]
    assert plan == plan_finishing(Upscale(LIGHT, FILM), small, SOURCE, 80 * GIB)  # more wins nothing


def test_less_memory_makes_smaller_batches_and_then_tiles():
    plans = [plan_finishing(Upscale(HEAVY, FILM), RIFE, SOURCE, vram) for vram in (4 * GIB, 2 * GIB, GIB)]
    tiles = [plan.tile_pixels for plan in plans]
    assert tiles == sorted(tiles, reverse=True)
    assert tiles[0] >= SOURCE[0] * SOURCE[1] > tiles[-1]
    pairs = [plan.pairs_at_once for plan in plans]
    assert pairs == sorted(pairs, reverse=True)


sizes = st.sampled_from([(832, 480), (480, 832), (1280, 720), (320, 192)])


@given(sizes, st.sampled_from([1, 1.5, 2, 4]), st.sampled_from(NETS), st.sampled_from(RULES), st.floats(0.1, 12))
def test_a_plan_keeps_inside_what_it_may_take(
    source: tuple[int, int], scale: float, by: RealESRGAN, rule: Interpolate, gib: float
):
    upscale = Upscale(by, (round(source[0] * scale), round(source[1] * scale)))
    vram = int(gib * GIB)
    try:
        plan = plan_finishing(upscale, rule, source, vram)
    except Lacking as lacking:
        least = float(re.search(r"needs ([\d.]+) GiB", str(lacking))[1])  # type: ignore[index]
        assert least >= gib - 0.06
        assert plan_finishing(upscale, rule, source, int((least + 0.06) * GIB)).bytes >= vram
    else:
        assert plan.bytes <= vram
        assert plan.frames_at_once in AT_ONCE
        assert plan.frames_at_once == 1 or plan.tile_pixels >= source[0] * source[1]


def test_where_nothing_fits_the_remedy_is_named():
    with pytest.raises(Lacking, match=r"needs \d\.\d GiB .* may take 0\.5: name a larger --vram, a smaller size"):
        plan_finishing(Upscale(HEAVY, (3328, 1920)), RIFE, SOURCE, GIB // 2)


def test_a_film_too_large_for_the_widest_takes_what_it_needs():
    plan = plan_finishing(Upscale(LIGHT, (7680, 4320)), RIFE, (1920, 1080), None)
    assert plan.bytes > WIDEST
    assert (plan.frames_at_once, plan.pairs_at_once) == (1, 1)


def test_a_resample_takes_no_net():
    assert plan_finishing(Upscale(Lanczos(), FILM), None, SOURCE, GIB).bytes < GIB
    assert isinstance(plan_finishing(None, RIFE, SOURCE, None), FinishPlan)


@pytest.mark.parametrize("module", ["budget", "finish", "suite", "steps", "kit", "encode", "interpolate"])
def test_torch_is_loaded_only_where_a_net_draws(module: str):
    said = f"import sys, post.{module}; print([n for n in ('torch', 'platformdirs') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
