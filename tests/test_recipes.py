"""Recipes: ComfyUI's tables of sigmas, the named recipes as published, LoRA families by their files' names."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from scenes.shot import Lora
from scenes.wan.families import FAMILIES, LIGHTNING, LIGHTNING_T2V, LIGHTX2V, LIGHTX2V_T2V, family_of, side_of
from scenes.wan.models import I2V_A14B, RECIPES, TI2V_5B
from scenes.wan.named import NAMED, ONE_EXPERT, find_loras, named_recipe
from scenes.wan.recipes import (
    BOUNDARY,
    LoraFile,
    Nag,
    Recipe,
    RecipeError,
    SamplingSpec,
    Step,
    divided,
    nag_for,
    recipe,
)
from scenes.wan.schedules import SCHEDULERS, beta_quantile, shifted, sigmas
from storyboard.identity import digest
from storyboard.identity import recipe as plain

HIGH = "wan2.2_i2v_lightx2v_4steps_lora_v1_high_noise.safetensors"
LOW = "wan2.2_i2v_lightx2v_4steps_lora_v1_low_noise.safetensors"
UNDIVIDED = "lightx2v_I2V_14B_480p_cfg_step_distill_rank64_bf16.safetensors"


def file_of(name: str) -> LoraFile:
    return LoraFile(f"digest of {name}", Path(name))


def made(name: str, nag: Nag | None = None) -> Recipe:
    """A named recipe with the LoRA it was made for."""
    named = NAMED[name]
    loras: tuple[Lora, ...] = ()
    if named.family is not None:
        high, low = (HIGH, LOW) if named.family.divided else (UNDIVIDED, UNDIVIDED)
        loras = divided(file_of(high), file_of(low), named.strengths)
    return recipe(named.spec, loras, I2V_A14B, nag)


def spec(**given: Any) -> SamplingSpec:
    usual = SamplingSpec("euler", "simple", 4, 5.0, None, (1.0, 1.0))
    return replace(usual, **given)


def rounded(levels: tuple[float, ...]) -> list[float]:
    return [round(sigma, 3) for sigma in levels]


class TestSchedules:
    def test_comfyui_publishes_these(self) -> None:
        assert rounded(sigmas("beta", 6, 8)) == [1, 0.988, 0.955, 0.889, 0.753, 0.448, 0]
        assert sigmas("simple", 4, 5) == pytest.approx((1, 0.9375, 5 / 6, 0.625, 0), abs=1e-12)
        # ComfyUI's normal shifts twice, which gives what diffusers' Euler does with shift=5.
        assert rounded(sigmas("normal", 4, 5)) == [1, 0.91, 0.717, 0.024, 0]
        assert rounded(sigmas("beta", 4, 8)) == [1, 0.974, 0.889, 0.632, 0]
        assert rounded(sigmas("simple", 6, 8)) == [1, 0.976, 0.941, 0.889, 0.8, 0.616, 0]

    @pytest.mark.parametrize("steps", [*range(1, 61), 98, 100, 138])
    @pytest.mark.parametrize("shift", [1.0, 8.0])
    def test_they_are_comfyuis_over_its_table(self, steps: int, shift: float) -> None:
        """ComfyUI's three schedulers, written anew over its table of float32 sigmas, with scipy's quantile."""
        table = shifted_table(np.arange(1, 1001, dtype=np.float32) / np.float32(1000), shift)
        simple = [table[-(1 + int(x * (len(table) / steps)))] for x in range(steps)]
        quantiles = stats.beta.ppf(1 - np.linspace(0, 1, steps, endpoint=False), 0.6, 0.6)
        beta = [table[int(index)] for index in np.rint(quantiles * 999)]
        normal = shifted_table(np.linspace(table[-1], table[0], steps), shift)
        for scheduler, expected in (("simple", simple), ("beta", beta), ("normal", normal)):
            assert sigmas(scheduler, steps, shift) == pytest.approx([*expected, 0], abs=1e-6), scheduler

    @pytest.mark.parametrize("steps", [4, 6, 20, 40])
    def test_simple_is_unipcs_own_within_a_table_row(self, steps: int) -> None:
        theirs = [shifted(1 + (0.001 - 1) * step / steps, 5) for step in range(steps)]
        assert sigmas("simple", steps, 5)[:-1] == pytest.approx(theirs, abs=5e-3)
        assert sigmas("simple", steps, 5)[: steps // 2] == pytest.approx(theirs[: steps // 2], abs=1e-3)

    @pytest.mark.parametrize("a", [0.6, 0.3, 1.0, 2.5])
    def test_the_beta_quantile_is_scipys(self, a: float) -> None:
        parts = np.concatenate([np.linspace(0, 1, 201), [1e-6, 1e-3, 0.999, 1 - 1e-6]])
        ours = [beta_quantile(float(p), a) for p in parts]
        assert ours == pytest.approx(stats.beta.ppf(parts, a, a), abs=1e-11)

    @pytest.mark.parametrize("scheduler", SCHEDULERS)
    def test_there_are_as_many_as_steps_and_they_fall_from_1_to_0(self, scheduler: str) -> None:
        for steps in (1, 2, 3, 5, 8, 17, 40, 90, 138):
            found = sigmas(scheduler, steps, 8)
            assert len(found) == steps + 1
            assert (found[0], found[-1]) == (1, 0)
            assert list(found) == sorted(set(found), reverse=True)

    def test_more_than_there_are_is_an_error(self) -> None:
        """ComfyUI's beta takes fewer steps than were asked for, without a word."""
        with pytest.raises(ValueError, match="beta has no 150 different sigmas at shift 8: use fewer steps"):
            sigmas("beta", 150, 8)
        with pytest.raises(RecipeError, match="use fewer steps"):
            recipe(spec(scheduler="beta", steps=150), (), I2V_A14B, None)


def shifted_table(t: np.ndarray, shift: float) -> np.ndarray:
    return shift * t / (1 + (shift - 1) * t)


class TestNamed:
    def test_they_are_the_ones_stories_name(self) -> None:
        assert tuple(NAMED) == RECIPES
        assert all(name == named.name for name, named in NAMED.items())
        assert set(ONE_EXPERT) <= set(RECIPES)

    @pytest.mark.parametrize(
        ("name", "sampler", "levels", "experts", "cfg", "strengths"),
        [
            ("lightning-4", "euler", [1, 0.938, 0.833, 0.625], "hhll", [1] * 4, [(1, 0), (1, 0), (0, 1), (0, 1)]),
            ("lcm-4", "lcm", [1, 0.974, 0.889, 0.632], "hhll", [1] * 4, [(1, 0), (1, 0), (0, 1), (0, 1)]),
            (
                "motion-6",
                "dpmpp_2m_sde",
                [1, 0.976, 0.941, 0.889, 0.8, 0.616],
                "hhhlll",
                [2, 1, 1, 1, 1, 1],
                [(3,)] * 3 + [(1,)] * 3,
            ),
            (
                "hybrid-12",
                "euler",
                [1, 0.989, 0.976, 0.96, 0.941, 0.918, 0.889, 0.851, 0.8, 0.727, 0.616, 0.423],
                "hhhhhhhhhhll",
                [3.5] * 10 + [1] * 2,
                [(0,)] * 10 + [(1,)] * 2,
            ),
        ],
    )
    def test_their_steps(
        self,
        name: str,
        sampler: str,
        levels: list[float],
        experts: str,
        cfg: list[float],
        strengths: list[tuple[float, ...]],
    ) -> None:
        found = made(name)
        assert found.sampler == sampler
        assert rounded(tuple(step.sigma for step in found.steps)) == levels
        assert "".join(step.expert[0] for step in found.steps) == experts
        assert [step.cfg for step in found.steps] == cfg
        assert [step.loras for step in found.steps] == strengths
        assert found.end == 0

    def test_quality_40_is_wan_ais(self) -> None:
        found = made("quality-40")
        assert (found.sampler, len(found.steps), found.loras) == ("uni_pc", 40, ())
        assert [step.sigma for step in found.steps] == list(sigmas("simple", 40, 5)[:-1])
        assert {step.cfg for step in found.steps} == {3.5}
        assert [step.expert for step in found.steps] == ["high"] * 15 + ["low"] * 25
        assert found.steps[14].sigma >= BOUNDARY > found.steps[15].sigma

    def test_what_each_was_made_for(self) -> None:
        families = {name: named.family.name if named.family else None for name, named in NAMED.items()}
        assert families == {
            "lightning-4": "lightning",
            "lcm-4": "lightning",
            "motion-6": "lightx2v",
            "hybrid-12": "lightx2v",
            "quality-40": None,
        }
        assert {name for name, named in NAMED.items() if named.nag} == {"lightning-4", "lcm-4", "motion-6"}

    def test_lora_files_are_listed_once_and_only_those_that_act(self) -> None:
        assert [str(lora.path) for lora in made("lightning-4").loras] == [HIGH, LOW]
        assert [str(lora.path) for lora in made("motion-6").loras] == [UNDIVIDED]
        apart = recipe(NAMED["hybrid-12"].spec, divided(file_of(HIGH), file_of(LOW), (0.0, 1.0)), I2V_A14B, None)
        assert [str(lora.path) for lora in apart.loras] == [LOW]

    def test_the_5b_has_quality_40_with_its_own_numbers(self) -> None:
        named = named_recipe("quality-40", TI2V_5B)
        found = recipe(named.spec, (), TI2V_5B, None)
        assert (found.sampler, len(found.steps)) == ("uni_pc", 40)
        assert {(step.expert, step.cfg) for step in found.steps} == {("high", 5.0)}

    @pytest.mark.parametrize("name", ["lightning-4", "lcm-4", "motion-6", "hybrid-12"])
    def test_the_5b_cannot_use_those_made_with_loras_of_the_a14b(self, name: str) -> None:
        message = f'recipe {name} is made with LoRAs .*do not fit wan2.2-ti2v-5b: write recipe = "quality-40"'
        with pytest.raises(RecipeError, match=message):
            named_recipe(name, TI2V_5B)
        assert named_recipe(name, I2V_A14B) is NAMED[name]


class TestRecipe:
    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"sampler": "ddim"}, 'there is no sampler "ddim"'),
            ({"scheduler": None}, "needs steps, a shift and a scheduler"),
            ({"scheduler": "karras"}, "needs steps, a shift and a scheduler"),
            ({"shift": None}, "needs steps, a shift and a scheduler"),
            ({"steps": 0}, "needs steps, a shift and a scheduler"),
            ({"sigmas": (1.0,)}, "two or more and fall"),
            ({"sigmas": (1.0, 0.5, 0.5, 0.0)}, "two or more and fall"),
            ({"sigmas": (1.2, 0.5, 0.0)}, "two or more and fall"),
            ({"high_steps": 5}, "high_steps = 5 is more than the 4 steps there are"),
            ({"cfg": (1.0, 1.0, 1.0)}, "cfg lists 3 numbers for 4 steps"),
            ({"cfg": (1.0, 2.0), "per_step": True}, "cfg lists 2 numbers for 4 steps"),
        ],
    )
    def test_contradictions_are_errors(self, given: dict[str, Any], message: str) -> None:
        with pytest.raises(RecipeError, match=message):
            recipe(spec(**given), (), I2V_A14B, None)

    @pytest.mark.parametrize("given", [{"boundary": 0.9}, {"high_steps": 2}])
    def test_one_expert_has_no_split(self, given: dict[str, Any]) -> None:
        with pytest.raises(RecipeError, match="one expert: drop boundary and high_steps"):
            recipe(spec(**given), (), TI2V_5B, None)

    def test_cfg_by_expert_or_by_step(self) -> None:
        def scales(**given: Any) -> list[float]:
            return [step.cfg for step in recipe(spec(high_steps=1, **given), (), I2V_A14B, None).steps]

        assert scales(cfg=(3.5, 1.0)) == [3.5, 1, 1, 1]
        assert scales(cfg=(4.0, 3.0, 2.0, 1.0)) == [4, 3, 2, 1]
        assert scales(cfg=(3.0, 2.0), sigmas=(1.0, 0.99, 0.0), per_step=True) == [3, 2]

    @pytest.mark.parametrize(
        ("given", "high"),
        [
            ({}, 2),
            ({"boundary": 0.8}, 3),
            ({"boundary": 0.99}, 1),
            ({"high_steps": 0}, 0),
            ({"high_steps": 4}, 4),
            ({"sigmas": (1.0, 0.9, 0.899, 0.0)}, 2),
            ({"sigmas": (1.0, 0.9 - 1e-9, 0.0)}, 2),  # the boundary but for rounding
            ({"sigmas": (1.0, float(np.float32(0.9)), 0.5, 0.0)}, 2),
        ],
    )
    def test_where_the_experts_change(self, given: dict[str, Any], high: int) -> None:
        experts = [step.expert for step in recipe(spec(**given), (), I2V_A14B, None).steps]
        assert experts == ["high"] * high + ["low"] * (len(experts) - high)

    def test_sigmas_of_ones_own_may_end_above_zero(self) -> None:
        found = recipe(spec(sigmas=(1.0, 0.8, 0.2)), (), I2V_A14B, None)
        assert ([step.sigma for step in found.steps], found.end) == ([1.0, 0.8], 0.2)

    def test_several_loras_and_none_that_does_nothing(self) -> None:
        loras = (Lora("a", 1.0, 0.5, Path("a")), Lora("b", 0.0, 0.0, Path("b")), Lora("c", 0.0, 2.0, Path("c")))
        found = recipe(spec(), loras, I2V_A14B, None)
        assert [lora.digest for lora in found.loras] == ["a", "c"]
        assert [step.loras for step in found.steps] == [(1, 0), (1, 0), (0.5, 2), (0.5, 2)]
        one = recipe(spec(), loras, TI2V_5B, None)
        assert ([lora.digest for lora in one.loras], one.steps[-1].loras) == (["a"], (1,))

    def test_guidance_in_attention_is_kept_where_it_acts(self) -> None:
        assert recipe(spec(), (), I2V_A14B, Nag()).nag == Nag(11.0, 2.5, 0.25)
        assert recipe(spec(cfg=(3.5, 1.0)), (), I2V_A14B, Nag()).nag == Nag()
        assert recipe(spec(cfg=(3.5, 3.5)), (), I2V_A14B, Nag()).nag is None
        assert recipe(spec(), (), I2V_A14B, Nag(scale=1.0)).nag is None
        assert recipe(spec(), (), I2V_A14B, Nag(alpha=0.0)).nag is None

    def test_where_a_negative_prompt_acts(self) -> None:
        acts = {name: made(name).negative_acts for name in NAMED}
        assert [name for name in acts if not acts[name]] == ["lightning-4", "lcm-4"]
        assert all(made(name, Nag()).negative_acts for name in NAMED)

    def test_guidance_as_asked_or_as_usual(self) -> None:
        own = Nag(5.0, 2.0, 0.5)
        assert nag_for(None, True, "blurry") == Nag()
        assert nag_for(None, False, "blurry") is None
        assert nag_for(True, False, "blurry") == Nag()
        assert nag_for(False, True, "blurry") is None
        assert nag_for(own, False, "blurry") == own
        assert nag_for(own, True, "") is nag_for(True, True, None) is None


class TestKeys:
    def test_a_recipe_has_a_plain_text_of_what_acts(self) -> None:
        assert plain(recipe(spec(steps=1), (Lora("a", 1.0, 0.0, Path("a")),), I2V_A14B, Nag())) == {
            "kind": "recipe/1",
            "sampler": "euler",
            "steps": [{"kind": "step/1", "sigma": 1.0, "expert": "high", "cfg": 1.0, "loras": [1.0]}],
            "end": 0.0,
            "loras": [{"kind": "lora-file/1", "digest": "a"}],
            "nag": {"kind": "nag/1", "scale": 11.0, "tau": 2.5, "alpha": 0.25},
        }

    def test_digests_stay(self) -> None:
        """A change here renders every film anew."""
        assert {name: digest(made(name))[:12] for name in NAMED} == {
            "lightning-4": "4a51ec195b68",
            "lcm-4": "c812a69f0000",
            "motion-6": "d17e13e62437",
            "hybrid-12": "68f9f65c64f5",
            "quality-40": "501ffe6f870e",
        }

    def test_where_a_file_lies_and_whole_numbers_make_no_difference(self) -> None:
        one = recipe(spec(), (Lora("a", 1, 1, Path("here")),), I2V_A14B, None)
        other = recipe(spec(cfg=(1, 1)), (Lora("a", 1.0, 1.0, Path("there")),), I2V_A14B, None)
        assert digest(one) == digest(other)
        assert one.steps[0] == Step(1.0, "high", 1.0, (1.0,))


class TestFamilies:
    @pytest.mark.parametrize(
        ("name", "family", "side"),
        [
            (HIGH, LIGHTNING, "high"),
            (LOW, LIGHTNING, "low"),
            ("Wan2.2-Lightning_I2V-A14B-4steps-lora_HIGH_fp16.safetensors", LIGHTNING, "high"),
            ("Wan22-Lightning/Wan2.2-Lightning_I2V-A14B-4steps-lora_LOW_fp16.safetensors", LIGHTNING, "low"),
            ("wan2.2_i2v_A14b_high_noise_lora_rank64_lightx2v_4step_1022.safetensors", LIGHTNING, "high"),
            ("Wan_2_2_I2V_A14B_HIGH_lightx2v_4step_lora_v1030_rank_64_bf16.safetensors", LIGHTNING, "high"),
            ("Wan_2_2_I2V_A14B_HIGH_lightx2v_MoE_distill_lora_rank_64_bf16.safetensors", LIGHTNING, "high"),
            ("Wan2.2-I2V-A14B-4steps-lora-rank64-Seko-V1/low_noise_model.safetensors", LIGHTNING, "low"),
            (r"Wan2.2-I2V-A14B-Moe-Distill-Lightx2v\loras\high_noise_model_rank64.safetensors", LIGHTNING, "high"),
            ("wan2.2_t2v_lightx2v_4steps_lora_v1.1_high_noise.safetensors", LIGHTNING_T2V, "high"),
            ("Wan2.2-T2V-A14B-4steps-lora-rank64-Seko-V1.1/low_noise_model.safetensors", LIGHTNING_T2V, "low"),
            (UNDIVIDED, LIGHTX2V, None),
            ("lightx2v_I2V_14B_720p_cfg_step_distill_rank128_bf16.safetensors", LIGHTX2V, None),
            ("wan2.2/Wan21_I2V_14B_lightx2v_cfg_step_distill_lora_rank64.safetensors", LIGHTX2V, None),
            ("lightx2v_T2V_14B_cfg_step_distill_v2_lora_rank64_bf16.safetensors", LIGHTX2V_T2V, None),
            ("high_noise_model.safetensors", None, "high"),
            ("storm.safetensors", None, None),
            ("i2v_flow_slider.safetensors", None, None),
            ("wan2.2_i2v_high_noise_14B_fp8_scaled.safetensors", None, "high"),
        ],
    )
    def test_files_as_they_are_published(self, name: str, family: object, side: str | None) -> None:
        assert family_of(name) is family
        assert side_of(name) == side

    @pytest.mark.parametrize("family", FAMILIES)
    def test_its_own_files_fit_it_and_no_other(self, family: Any) -> None:
        names = [Path(path).name for path in family.files]
        assert [[other.name for other in FAMILIES if other.fits(name)] for name in names] == [[family.name]] * len(
            names
        )
        assert family.pick(names) == (names[0], names[-1])

    def test_a_pair_is_of_one_release_and_the_published_one_first(self) -> None:
        other = ["wan2.2_i2v_A14b_high_noise_lora_rank64_lightx2v_4step_1022.safetensors"]
        other.append(other[0].replace("high", "low"))
        assert LIGHTNING.pick([*other, HIGH, LOW]) == (HIGH, LOW)
        assert LIGHTNING.pick([*reversed(other), HIGH]) == tuple(other)
        assert LIGHTNING.pick([other[0], LOW]) == (other[0], LOW)  # of two releases, where there is no other way
        assert LIGHTNING.pick([HIGH, "storm.safetensors"]) is None
        assert LIGHTX2V.pick(["loras/" + UNDIVIDED, HIGH]) == ("loras/" + UNDIVIDED,) * 2

    def test_a_recipe_takes_its_own_family(self) -> None:
        found = find_loras(NAMED["motion-6"], [HIGH, LOW, UNDIVIDED])
        assert found is not None
        assert (found.high, found.low, found.warning) == (UNDIVIDED, UNDIVIDED, None)
        assert find_loras(NAMED["quality-40"], []) is None

    def test_another_family_is_a_warning(self) -> None:
        found = find_loras(NAMED["lightning-4"], ["storm.safetensors", UNDIVIDED])
        assert found is not None
        assert (found.high, found.low) == (UNDIVIDED, UNDIVIDED)
        assert found.warning == (
            "recipe lightning-4 was made for the Wan 2.2 I2V 4-step LoRAs, not found here: with "
            f"{UNDIVIDED} (the undivided Wan 2.1 I2V step and cfg distillation LoRA) motion and colours come out "
            "differently"
        )

    def test_a_missing_one_is_an_error_with_the_remedy(self) -> None:
        with pytest.raises(RecipeError) as caught:
            find_loras(NAMED["lightning-4"], ["storm.safetensors", HIGH])
        assert str(caught.value) == (
            f"recipe lightning-4 needs the Wan 2.2 I2V 4-step LoRAs, {HIGH} and {LOW}: put them in a loras folder, or "
            "run `storyboard models pull lightning`"
        )


def test_planning_needs_neither_torch_nor_scipy() -> None:
    code = (
        "import sys, scenes.wan.named; from scenes.wan.schedules import sigmas; sigmas('beta', 4, 8); "
        "print([name for name in ('torch', 'scipy', 'diffusers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
