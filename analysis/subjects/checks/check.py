"""A self-check: a number of a run, its expected value, and the verdict.

All checks of a run are judged together, over kinds and temperatures (`analysis.statistics.significance.significant`). A
check passes only if the deviation that matters would have been significant among all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from scipy import stats

from analysis.statistics.significance import ALARM, significant

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
    sees: float = math.nan
    """Smallest deviation that would have been significant, as a fraction of the expected value (of U for a difference
    of two U)."""
    verdict: Verdict = "weak"
    advice: str = ""


class Question(NamedTuple):
    """A number whose deviation has an error, and what decides the verdict."""

    check: Check
    """The number, before its verdict."""
    resolution: Callable[[float], float]
    """Smallest deviation that is significant at a two-sided chance, NaN if unknown."""
    matters: float
    """Smallest deviation that matters, in the unit of the value."""
    whole: float
    """What 100 % of a deviation is."""
    remedy: str
    harmful: bool = True
    """Whether this deviation would do harm if it is real."""


def judged(found: Sequence[Question | Check]) -> list[Check]:
    """The verdicts, in the same order."""
    asked = [one for one in found if isinstance(one, Question)]
    fails = significant([2.0 * float(stats.norm.sf(abs(one.check.z))) for one in asked])
    numbers = max(1, sum(math.isfinite(one.check.z) for one in asked))
    verdicts = iter([_verdict(*pair, ALARM / numbers) for pair in zip(asked, fails, strict=True)])
    return [next(verdicts) if isinstance(one, Question) else one for one in found]


def _verdict(asked: Question, deviates: bool, chance: float) -> Check:
    resolution = asked.resolution(chance)
    verdict: Verdict = "fail" if deviates and asked.harmful else "pass" if resolution <= asked.matters else "weak"
    sees = resolution / asked.whole if asked.whole else math.nan
    advice = {"pass": "", "weak": TOO_FEW, "fail": asked.remedy}[verdict]
    return asked.check._replace(sees=sees, verdict=verdict, advice=advice)


def severity(check: Check) -> tuple[int, float]:
    """Sort key, larger is worse: the verdict, then |z|, then the missing amount."""
    excess = check.value - check.expected
    missing = -excess if check.name in (SAMPLES, ACCEPTANCE, REVERSIBLE) else excess
    size = abs(check.z) if math.isfinite(check.z) else missing
    return VERDICTS.index(check.verdict), math.inf if math.isnan(size) else size


def in_equilibrium(run: Run, data: xarray.Dataset, name: str) -> Iterator[tuple[float, np.ndarray]]:
    """Each temperature with the draws (replica, draw, ...) of a variable that count there."""
    rows = run.by_temperature(name)
    first = np.searchsorted(run.steps("draw"), data["equilibrium_step"].values)
    for slot, temperature in enumerate(run.temperature):
        yield float(temperature), rows[:, slot, first[slot] :]
