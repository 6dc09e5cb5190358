"""How sigmas are spaced: ComfyUI's schedulers over its table of 1000 flow sigmas. Free of numpy and torch.

Source: comfy/samplers.py (simple_scheduler, beta_scheduler, normal_scheduler) and comfy/model_sampling.py
(ModelSamplingDiscreteFlow), read 2026. ComfyUI computes in float32, this in float64: they agree within 1e-6.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

SCHEDULERS = ("simple", "beta", "normal")
TABLE = 1000
ALPHA = 0.6  # both of ComfyUI's parameters of its `beta`, arXiv 2407.12173


def shifted(t: float, shift: float) -> float:
    """The sigma at time `t`, 0 to 1; a larger shift spends longer at high noise."""
    return shift * t / (1 + (shift - 1) * t)


def sigmas(scheduler: str, steps: int, shift: float) -> tuple[float, ...]:
    """`steps` + 1 sigmas, falling from 1 to 0.

    Raises:
        ValueError: there are not that many different ones.
    """
    spaced = {"simple": _simple, "beta": _beta, "normal": _normal}[scheduler](steps, shift)
    found = (*spaced, 0.0)
    if any(after >= before for before, after in pairwise(found)):
        raise ValueError(f"{scheduler} has no {steps} different sigmas at shift {shift:g}: use fewer steps")
    return found


def _simple(steps: int, shift: float) -> Iterator[float]:
    for step in range(steps):
        yield shifted((TABLE - int(step * (TABLE / steps))) / TABLE, shift)


def _normal(steps: int, shift: float) -> Iterator[float]:
    # ComfyUI spaces shifted times evenly, down to the smallest sigma, and shifts them once more.
    least = shifted(1 / TABLE, shift)
    for step in range(steps):
        yield shifted(1 + (least - 1) * step / max(1, steps - 1), shift)


def _beta(steps: int, shift: float) -> Iterator[float]:
    for step in range(steps):
        # Half of the way lies between two rows: which one it is depends on numpy.linspace's rounding, and rint's.
        index = round(beta_quantile(1 - step * (1 / steps), ALPHA) * (TABLE - 1))
        yield shifted((index + 1) / TABLE, shift)


def beta_quantile(p: float, a: float) -> float:
    """Where the distribution function of Beta(a, a) is `p`, within 1e-12; by bisection."""
    if p == 0.5:
        return p
    if p > 0.5:
        return 1 - beta_quantile(1 - p, a)
    low, high = 0.0, 0.5  # it is symmetric, so the half below the median will do
    while high - low > 1e-13:
        middle = (low + high) / 2
        low, high = (middle, high) if _beta_cdf(middle, a) < p else (low, middle)
    return (low + high) / 2


def _beta_cdf(x: float, a: float) -> float:
    """The regularised incomplete beta function I_x(a, a) for x up to a half: its continued fraction, from the end.

    Source: NIST Digital Library of Mathematical Functions, 8.17.22 and 8.17.23.
    """
    if x == 0:
        return 0.0
    fraction = 1.0
    for n in range(60, 0, -1):
        m = n // 2
        top = m * (a - m) if n % 2 == 0 else -(a + m) * (2 * a + m)
        fraction = 1 + top * x / ((a + n - 1) * (a + n)) / fraction
    log_beta = 2 * math.lgamma(a) - math.lgamma(2 * a)
    return math.exp(a * math.log(x) + a * math.log1p(-x) - log_beta) / (a * fraction)
