"""Whether the draws of a temperature are in equilibrium: the verdict that every error bar waits for.

A temperature is in equilibrium when its energies

    have at least `FEW_SAMPLES` effective samples, and `FEW_OF_WALKER` for each walker (those that jump over the
    temperatures alone share theirs),
    do not drift: the last third of all chains together, and of each, is where the first is,
    agree between walkers: two by two, and their halves (split R-hat),

each up to `DIFFERENT` errors. Where they are not, no observable of that temperature has an error: the mean is shown
alone and says where the chains were, not what the ensemble is (`analysis.reading.stretches`).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from analysis.statistics.chains import FEW_SAMPLES, r_hat
from analysis.statistics.significance import DIFFERENT, Mean, drift, mean_of, z_of_halves

NO_DRAWS = "no draws"
STILL = "a walker stands still"
DRIFTS = "U drifts"
DISAGREE = "walkers disagree"

FEW_OF_WALKER = 10
"""Effective samples that each of several walkers must have on average: with fewer, whether they agree is not known."""

R_HAT_GOOD = 1.01
"""Split R-hat that good practice asks for (Vehtari et al. 2021): below, walkers agree however significant the rest."""


class Stretch(NamedTuple):
    """The part of the chains at one temperature that counts."""

    energies: np.ndarray
    """(chain, draw), none missing."""
    walkers: np.ndarray | None
    """Who made each draw (chain, draw), where that is not the chain; see `Run.walkers_of`."""
    samples: float
    """Effective samples of these energies."""
    needed: int
    """How many there must be for an error."""
    missing: int
    """Measured draws that do not count because their chain has missing ones."""
    discarded: int
    """Draws per chain between the burn-in and equilibrium."""
    step: int
    """First step that counts."""
    reason: str
    """Why the energies are not in equilibrium; empty where they are."""


def samples_needed(walkers: int) -> int:
    """Effective samples without which nothing is said of the equilibrium of some walkers at one temperature."""
    return max(FEW_SAMPLES, FEW_OF_WALKER * walkers)


def disequilibrium(series: Sequence[np.ndarray], samples: float, needed: int) -> str:
    """Why some series (draw,) of independent walkers at one temperature are not in equilibrium; empty where they are.

    `samples`: effective samples of all of them, and how many are needed.
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
    return not mixed and z_of_halves(series) > DIFFERENT


def _any_different(differences: Sequence[Mean]) -> bool:
    return any(abs(one.z(0.0, len(differences))) > DIFFERENT for one in differences)


def stands_still(series: np.ndarray) -> bool:
    """Whether a series (draw,) has one value only, to rounding."""
    return series.size > 1 and bool(np.isclose(series, series[0], rtol=1e-12, atol=0.0).all())
