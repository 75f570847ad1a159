"""Whether the draws of a temperature are in equilibrium. Every error bar requires this verdict.

A temperature is in equilibrium if its energies

    have at least `FEW_SAMPLES` effective samples, and `FEW_OF_WALKER` for each walker (walkers that jump over the
    temperatures alone pool theirs),
    do not drift: the means of the last and the first third agree, for all chains together and for each,
    agree between walkers, in pairs and in halves (split R-hat),

each up to `DIFFERENT` errors. Out of equilibrium no observable of the temperature has an error. Its mean is shown alone
and describes the chains, not the ensemble (`analysis.reading.stretches`).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from analysis.statistics.chains import FEW_SAMPLES, r_hat
from analysis.statistics.significance import DIFFERENT, Halves, Mean, drift, mean_of

NO_DRAWS = "no draws"
STILL = "a walker stands still"
DRIFTS = "U drifts"
DISAGREE = "walkers disagree"

FEW_OF_WALKER = 10
"""Least mean number of effective samples of several walkers. With fewer, their agreement cannot be tested."""

R_HAT_GOOD = 1.01
"""Recommended limit of split R-hat (Vehtari et al. 2021). Below it walkers agree, even if differences show."""


class Stretch(NamedTuple):
    """The part of the chains at one temperature that counts."""

    energies: np.ndarray
    """(chain, draw), without missing draws."""
    walkers: np.ndarray | None
    """The walker of each draw (chain, draw), if it is not the chain; see `Run.walkers_of`."""
    samples: float
    """Effective samples of these energies."""
    needed: int
    """Least number of effective samples for an error."""
    missing: int
    """Number of measured draws that do not count because their chain has missing draws."""
    discarded: int
    """Number of draws per chain between the burn-in and equilibrium."""
    step: int
    """First step that counts."""
    reason: str
    """The reason why the energies are not in equilibrium; empty in equilibrium."""


def samples_needed(walkers: int) -> int:
    """Least number of effective samples that decides on the equilibrium of some walkers at one temperature."""
    return max(FEW_SAMPLES, FEW_OF_WALKER * walkers)


def disequilibrium(series: Sequence[np.ndarray], samples: float, needed: int) -> str:
    """Why series (draw,) of independent walkers at one temperature are not in equilibrium; empty if they are.

    `samples`: effective samples of all series, and the number needed.
    """
    if not any(one.size for one in series):
        return NO_DRAWS
    if not samples >= needed:
        return f"fewer than {needed} effective samples"
    if any(stands_still(one) for one in series):
        return STILL
    drifts = [drift(one) for one in series]
    together = mean_of(drifts)
    if abs(together.value) > DIFFERENT * together.sem or _any_different(drifts):
        return DRIFTS
    if len(series) > 1 and samples >= samples_needed(len(series)) and _disagree(series):
        return DISAGREE
    return ""


def _disagree(series: Sequence[np.ndarray]) -> bool:
    means = [Mean.of(one[np.newaxis]) for one in series]
    if _any_different([one.minus(other) for one, other in itertools.combinations(means, 2)]):
        return True
    shortest = min(one.size for one in series)
    mixed = r_hat(np.array([one[:shortest] for one in series])) < R_HAT_GOOD
    return not mixed and Halves.of(series).z > DIFFERENT


def _any_different(differences: Sequence[Mean]) -> bool:
    return any(abs(one.z(0.0, len(differences))) > DIFFERENT for one in differences)


def stands_still(series: np.ndarray) -> bool:
    """Whether a series (draw,) has one value only, to rounding."""
    return series.size > 1 and bool(np.isclose(series, series[0], rtol=1e-12, atol=0.0).all())
