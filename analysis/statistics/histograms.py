"""Overlap of the energy histograms of two neighbouring temperatures, and the test of their ratio.

Reweighting uses draws that both temperatures visit. Their fraction is the swap acceptance that two histograms imply,
a = <min(1, exp(Δβ ΔU))> over all pairs of draws, whether or not the run swaps.

In the region of overlap, the ratio of two histograms is p'(U)/p(U) ∝ exp((β - β') U) if the energies follow exp(-U/T)
at the given temperatures. The logarithm is a straight line. Its slope, found by maximum likelihood, is the test of
Shirts, J. Chem. Theory Comput. 9 (2013) 909, which needs no model of the density of states.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from analysis.statistics.chains import Estimate

ENOUGH_OVERLAP = 0.05
"""Least swap acceptance a between neighbours for reweighting. Gaussian histograms of width σ then are 2.8 σ apart, and
their element of the overlap matrix is 0.06, twice the 0.03 below which free energies of MBAR are unreliable (Klimovich,
Shirts and Mobley, J. Comput.-Aided Mol. Des. 29 (2015) 397)."""
ENOUGH_SHARED = 10.0
"""Least number n a, n the effective samples of the poorer neighbour. At n a = 8 to 9 (a = 0.05 and 0.2) z-scores of
harmonic energies have a spread of 1.0 to 1.1."""
MOST_PAIRS = 500
"""Most draws per temperature that are paired, which gives 250 000 pairs."""


class Slot(NamedTuple):
    """The energies of one temperature that count."""

    temperature: float
    energies: np.ndarray
    """(draw,), thinned to about two draws per independent one."""
    samples: float
    """Effective samples among them."""
    widening: float = 1.0
    """Error of their mean (`chains.estimate`) over standard deviation / sqrt(samples). It is NaN out of
    equilibrium, so that results from these energies have no error."""

    @property
    def draws(self) -> int:
        return int(self.energies.size)


def overlap(lower: Slot, upper: Slot) -> float:
    """Swap acceptance that the energies of two temperatures imply, over all pairs of draws."""
    first, second = (s.energies[:: -(-s.draws // MOST_PAIRS)] for s in (lower, upper))
    exponent = (1.0 / lower.temperature - 1.0 / upper.temperature) * np.subtract.outer(first, second)
    return float(np.exp(np.minimum(exponent, 0.0)).mean())


def enough(fraction: float, lower: Slot, upper: Slot) -> bool:
    """Whether energies of two temperatures may be reweighted together, `fraction` their overlap."""
    return fraction >= ENOUGH_OVERLAP and fraction * min(lower.samples, upper.samples) >= ENOUGH_SHARED


def histogram_ratio(lower: Slot, upper: Slot) -> Estimate:
    """Slope of ln p'(U)/p(U) over β - β'. It is 1 if both follow the Boltzmann law at the given temperatures.

    Logistic regression of "from the upper temperature" on U; standard error within chains from the response of
    the slope to each draw, because that error can be tested.
    """
    energies = np.concatenate([lower.energies, upper.energies])
    unit = energies.std()
    x = np.stack([np.ones_like(energies), (energies - energies.mean()) / unit])
    side = np.repeat([-1.0, 1.0], [lower.draws, upper.draws])
    expected = (1.0 / lower.temperature - 1.0 / upper.temperature) * unit

    def slope(line: np.ndarray) -> np.ndarray:
        return np.asarray(-x @ (side * expit(-side * (line @ x))))

    def bend(line: np.ndarray) -> np.ndarray:
        odds = line @ x
        return np.asarray((x * expit(odds) * expit(-odds)) @ x.T)

    found = minimize(
        lambda line: np.logaddexp(0.0, -side * (line @ x)).sum(),
        np.array([0.0, expected]),
        jac=slope,
        hess=bend,
        method="trust-exact",
    ).x
    response = np.linalg.solve(bend(found), x * side * expit(-side * (found @ x)))[1]
    variance = sum(
        slot.draws**2 / slot.samples * part.var()
        for slot, part in zip((lower, upper), np.split(response, [lower.draws]), strict=True)
    )
    error = np.sqrt(variance) / expected if np.isfinite([lower.widening, upper.widening]).all() else np.nan
    return Estimate(float(found[1] / expected), float(error))
