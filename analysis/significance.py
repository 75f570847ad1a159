"""How far a mean is from where it should be, when its standard error is itself only an estimate.

An error from n effective samples is as uncertain as one with n/5 degrees of freedom, so deviation / error is taken as
Student's t, and z is the normal deviate of the same two-sided probability. z of the most extreme of several numbers is
that of its probability among them (Šidák, J. Am. Stat. Assoc. 62 (1967) 626). Without both, healthy runs cry wolf.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy import special, stats

from analysis.chains import MINIMUM_DRAWS, effective_samples, estimate

SIGNIFICANT = 4.0
"""|z| that healthy runs do not reach: a chance of 6e-5 for one number, of 0.3 % for a report with 50 of them."""

SAMPLES_PER_FREEDOM = 5.0
"""An autocorrelation time tau, summed up to lag M, has the relative variance 2 (2M + 1)/draws (Sokal, Monte Carlo
Methods in Statistical Mechanics, 1997, eq. 3.19), a variance from f degrees of freedom 2/f. Sums end near M = 5 tau,
where 2M + 1 is about 5 draws per effective sample. Against AR(1) series of 20 to 30 effective samples, some of
them with tau longer than the series, |z| > 4 then has a chance of 1 %; 6 % with as many degrees as samples."""

SMALLEST_CHANCE = 1e-300
"""Chances are cut here, so that |z| stays finite (below 38)."""


class Mean(NamedTuple):
    """A mean, its standard error, and the effective samples behind that; NaN where unknown."""

    value: float
    sem: float
    samples: float

    @classmethod
    def of(cls, chains: np.ndarray) -> Mean:
        """Mean of correlated draws (chain, draw), never more effective samples than draws.

        More are possible where draws alternate about their mean, but in short series they are a fluke.
        """
        value, sem = estimate(chains)
        samples = effective_samples(chains)
        fluke = max(1.0, samples / max(1, chains.size))
        return cls(value, sem * math.sqrt(fluke), samples / fluke)

    def minus(self, other: Mean) -> Mean:
        """Difference of two independent means."""
        pair = np.array([self, other])
        return Mean(self.value - other.value, *combined(pair[:, 1], pair[:, 2]))

    def z(self, expected: float, tries: int = 1) -> float:
        """Deviation from `expected` in standard errors, as a normal deviate; the most extreme of `tries`."""
        deviation = self.value - expected
        ratio = abs(deviation) / self.sem if self.sem else math.inf if deviation else 0.0
        chance = 2.0 * float(stats.t.sf(ratio, self.samples / SAMPLES_PER_FREEDOM))
        return math.copysign(normal_deviate(chance, tries), deviation)

    def resolution(self, tries: int = 1) -> float:
        """The smallest deviation that is significant."""
        chance = -special.expm1(special.log1p(-2.0 * stats.norm.sf(SIGNIFICANT)) / tries)
        return float(self.sem * stats.t.isf(chance / 2.0, self.samples / SAMPLES_PER_FREEDOM))


def normal_deviate(chance: float, tries: int = 1) -> float:
    """|z| of a two-sided probability, the smallest of `tries`."""
    of_any = -special.expm1(tries * special.log1p(-chance))
    return float(stats.norm.isf(np.maximum(of_any, SMALLEST_CHANCE) / 2.0))  # unlike max, it keeps NaN


def combined(sems: np.ndarray, samples: np.ndarray) -> tuple[float, float]:
    """Standard error of a sum of independent terms, and the effective samples that make one as uncertain.

    Welch, Biometrika 34 (1947) 28: the more one uncertain term dominates, the fewer.
    """
    variances = np.square(sems)
    total = variances.sum()
    equivalent = total**2 / np.sum(variances**2 / samples) if total else samples.min()
    return float(np.sqrt(total)), float(equivalent)


def z_of_halves(chains: np.ndarray) -> float:
    """|z| of the scatter of the means of the halves of all chains (chain, draw), in units of their own errors.

    F test with the effective samples within the halves. NaN where the halves are shorter than `MINIMUM_DRAWS`.
    """
    half = chains.shape[1] // 2
    if half < MINIMUM_DRAWS:
        return np.nan
    halves = np.concatenate([chains[:, :half], chains[:, -half:]])
    samples = np.array([effective_samples(part[np.newaxis]) for part in halves])
    with np.errstate(divide="ignore"):  # all stand still, at different heights
        scatter = samples.mean() * halves.mean(axis=1).var(ddof=1) / halves.var(axis=1, ddof=1).mean()
    return normal_deviate(float(stats.f.sf(scatter, len(halves) - 1, samples.sum() / SAMPLES_PER_FREEDOM)))


def drift(chain: np.ndarray) -> Mean:
    """Mean of the last third of a series (draw,) minus that of the first, with its error.

    The error is that of the draws about a straight line in time: about their mean, a drift would widen its own error
    and hide. A third has a third of the effective samples.
    """
    if chain.size < MINIMUM_DRAWS:
        return Mean(np.nan, np.nan, np.nan)
    third = chain.size // 3
    time = np.arange(chain.size)
    rest = chain - np.polynomial.Polynomial.fit(time, chain, 1)(time)
    samples = min(effective_samples(rest[np.newaxis]), chain.size)
    sem = rest.std(ddof=2) * math.sqrt(2.0 / (samples / 3.0))
    return Mean(float(chain[-third:].mean() - chain[:third].mean()), float(sem), samples)
