"""Which attention kernel is chosen: told on a CPU by stand-ins for the kernels' trials."""

from __future__ import annotations

import pytest
import torch

from scenes.shot import MachineLacks
from scenes.wan import attention
from scenes.wan.attention import KERNELS, choose_kernel, why_not
from scenes.wan.recipes import Recipe, Step

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


@pytest.fixture
def hopper(monkeypatch: pytest.MonkeyPatch) -> dict[str, str | None]:
    """A GPU on which kernels work unless a problem is noted here."""
    problems: dict[str, str | None] = {}
    monkeypatch.setattr(attention, "why_not", lambda name, device: problems.get(name))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    return problems


def test_the_fastest_exact_one_that_works(hopper: dict[str, str | None]) -> None:
    assert choose_kernel(None, GPU).name == "flash-4"
    hopper["flash-4"] = hopper["flash-3"] = "the package is not installed"
    assert choose_kernel(None, GPU).name == "cudnn"
    hopper["cudnn"] = "it does not run here"
    assert choose_kernel(None, GPU).name == "native"


def test_before_hopper_torchs_own(hopper: dict[str, str | None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 6))
    assert choose_kernel(None, GPU).name == "native"


def test_one_that_quantises_only_by_name(hopper: dict[str, str | None]) -> None:
    assert all(KERNELS[name].exact for name in attention.BEST_FIRST)
    assert choose_kernel("sage", GPU).backend == "sage"
    hopper["sage"] = "the package sageattention is not installed"
    with pytest.raises(MachineLacks, match="--attention sage: the package sageattention is not installed"):
        choose_kernel("sage", GPU)


def test_names_that_are_none_and_cpus() -> None:
    with pytest.raises(MachineLacks, match="--attention fast is none of native, cudnn"):
        choose_kernel("fast", GPU)
    assert choose_kernel(None, CPU).name == "native"
    with pytest.raises(MachineLacks, match="needs a CUDA device"):
        choose_kernel("cudnn", CPU)


def test_the_trial_measures_the_error() -> None:
    assert why_not("native", CPU) is None


def test_a_kernel_that_is_off_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "_error", lambda kernel, device: 0.5)
    assert why_not.__wrapped__("native", CPU) == "it is off by 50.0% on this device"


def test_flash_4_leaves_no_trace_where_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    changes: list[tuple[str, ...]] = []
    for change in ("activate_flash_attention_impl", "restore_flash_attention_impl"):
        monkeypatch.setattr(
            torch.nn.attention, change, lambda *of, name=change: changes.append((name, *of)), raising=False
        )
    monkeypatch.setattr(attention, "_installed", lambda package: True)
    monkeypatch.setattr(attention, "_error", lambda kernel, device: 1.0)
    assert why_not.__wrapped__("flash-4", CPU) == "it is off by 100.0% on this device"
    assert changes == [("activate_flash_attention_impl", "FA4"), ("restore_flash_attention_impl",)]


def test_calls_of_a_recipe_in_order() -> None:
    high, low = Step(0.9, "high", 3.5), Step(0.5, "low", 1.0)
    assert Recipe("euler", (high, low)).calls == (high, high, low)
    assert Recipe("dpmpp_sde", (high, low)).calls == (high, high, high, high, low)
    assert Recipe("dpmpp_sde", (low, high)).calls == (low, low, high, high)
