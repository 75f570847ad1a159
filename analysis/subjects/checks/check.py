"""A self-check: a number of a run, its expected value, and the verdict."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from analysis.statistics.significance import SIGNIFICANT

if TYPE_CHECKING:
    import xarray

    from analysis.reading.run import Run

Verdict = Literal["pass", "weak", "fail"]
VERDICTS: tuple[Verdict, ...] = ("pass", "weak", "fail")
SAMPLES = "effective samples of U"
ACCEPTANCE = "acceptance, worst walker"
REVERSIBLE = "reversible trajectories"
TOO_FEW = "too few effective samples for a deviation to show"


class Check(NamedTuple):
    """A number of the run and its expected value, in the same unit; NaN if unknown."""

    name: str
    temperature: float
    detail: str
    """The worst case at this temperature (a layer, a replica, a pair of starts), or the next temperature."""
    value: float
    expected: float
    sem: float
    """Standard error of value - expected."""
    z: float
    verdict: Verdict
    advice: str


def severity(check: Check) -> tuple[int, float]:
    """Sort key, larger is worse: the verdict, then |z|, then the missing amount."""
    excess = check.value - check.expected
    missing = -excess if check.name in (SAMPLES, ACCEPTANCE, REVERSIBLE) else excess
    size = abs(check.z) if math.isfinite(check.z) else missing
    return VERDICTS.index(check.verdict), math.inf if math.isnan(size) else size


def verdict_of(z: float, shows: bool, harmful: bool = True) -> Verdict:
    """`shows`: a relevant deviation would have been significant. `harmful`: this deviation is above its tolerance."""
    return "fail" if abs(z) > SIGNIFICANT and harmful else "pass" if shows else "weak"


def advice_for(verdict: Verdict, remedy: str, weak: str = TOO_FEW) -> str:
    return {"pass": "", "weak": weak, "fail": remedy}[verdict]


def in_equilibrium(run: Run, data: xarray.Dataset, name: str) -> Iterator[tuple[float, np.ndarray]]:
    """Each temperature with the draws (replica, draw, ...) of a variable that count there."""
    rows = run.by_temperature(name)
    first = np.searchsorted(run.steps("draw"), data["equilibrium_step"].values)
    for slot, temperature in enumerate(run.temperature):
        yield float(temperature), rows[:, slot, first[slot] :]
