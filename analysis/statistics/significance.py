"""Significance of the deviation of a mean whose standard error is itself an estimate.

An error from n effective samples is as uncertain as one with n/5 degrees of freedom. So deviation / error follows
Student's t, and z is the normal deviate of the same two-sided probability. z of the most extreme of several numbers is
that of its probability among them (Šidák, J. Am. Stat. Assoc. 62 (1967) 626). Without both corrections healthy runs
would give false alarms.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import special, stats

from analysis.statistics.chains import MINIMUM_DRAWS, SAMPLES_PER_FREEDOM, effective_samples, within_chains

SIGNIFICANT = 4.0
"""|z| that healthy runs do not reach: a chance of 6e-5 for one number, of 0.3 % for a report with 50 of them."""

DIFFERENT = 3.0
"""|z| above which two parts of a series count as different. It is less than `SIGNIFICANT`, because a false alarm only
costs an error bar, but a miss shows a wrong error bar."""

SMALLEST_CHANCE = 1e-300
"""Least probability, so that |z| stays finite (below 38)."""


class Mean(NamedTuple):
    """A mean, its standard error, and the effective samples of this error; NaN if unknown."""

    value: float
    sem: float
    samples: float

    @classmethod
    def of(cls, chains: np.ndarray, independent: float = np.nan) -> Mean:
        """Mean of correlated draws (chain, draw), with the error within chains (`chains.within_chains`).

        The error between walkers is too uncertain for a test: two walkers are one degree of freedom.
        """
        error = within_chains(chains, independent)
        value = float(chains.mean()) if chains.size else np.nan
        return cls(value, error.size, SAMPLES_PER_FREEDOM * error.freedom)

    def at_most(self, samples: float) -> Mean:
        """The same with at most `samples` independent draws."""
        excess = float(np.fmax(1.0, self.samples / samples))
        return Mean(self.value, self.sem * math.sqrt(excess), self.samples / excess)

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

    Welch, Biometrika 34 (1947) 28: if one uncertain term dominates, there are fewer.
    """
    variances = np.square(sems)
    total = variances.sum()
    equivalent = total**2 / np.sum(variances**2 / samples) if total else samples.min()
    return float(np.sqrt(total)), float(equivalent)


def z_of_halves(series: Sequence[np.ndarray]) -> float:
    """|z| of the scatter between the means of the halves of all series (draw,) of any length, in units of their errors.

    F test with the effective samples within the halves, which are assumed to have one variance and one autocorrelation
    time. NaN if no half has `MINIMUM_DRAWS`; shorter halves are left out.
    """
    halves = [half for one in series for half in (one[: one.size // 2], one[one.size - one.size // 2 :])]
    halves = [half for half in halves if half.size >= MINIMUM_DRAWS]
    if len(halves) < 2:
        return np.nan
    sizes = np.array([half.size for half in halves])
    samples = sum(effective_samples(half[np.newaxis]) for half in halves)
    variance = np.average([half.var(ddof=1) for half in halves], weights=sizes) * sizes.sum() / samples
    with np.errstate(divide="ignore", invalid="ignore"):  # all series are constant, with different values
        scatter = np.var([half.mean() for half in halves], ddof=1) / (variance * np.mean(1.0 / sizes))
    return normal_deviate(float(stats.f.sf(scatter, len(halves) - 1, samples / SAMPLES_PER_FREEDOM)))


def mean_of(means: Sequence[Mean]) -> Mean:
    """Mean of independent means, each with the same weight; unknown ones are left out."""
    known = np.array([mean for mean in means if np.isfinite(mean.sem)])
    if not known.size:
        return Mean(np.nan, np.nan, np.nan)
    sem, samples = combined(known[:, 1], known[:, 2])
    return Mean(float(known[:, 0].mean()), sem / len(known), samples)


def drift(chain: np.ndarray) -> Mean:
    """Mean of the last third of a series (draw,) minus that of the first, with its error.

    The error is from the draws about a straight line in time. About their mean, a drift would widen its own error
    and hide itself. A third has a third of the effective samples.
    """
    if chain.size < MINIMUM_DRAWS:
        return Mean(np.nan, np.nan, np.nan)
    third = chain.size // 3
    time = np.arange(chain.size)
    rest = chain - np.polynomial.Polynomial.fit(time, chain, 1)(time)
    samples = min(effective_samples(rest[np.newaxis]), chain.size)
    sem = rest.std(ddof=2) * math.sqrt(2.0 / (samples / 3.0))
    return Mean(float(chain[-third:].mean() - chain[:third].mean()), float(sem), samples)
