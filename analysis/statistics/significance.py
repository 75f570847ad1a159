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

ALARM = 0.05
"""Chance that any of some healthy numbers is significant."""

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

    def within(self) -> float:
        """The margin about 0 that holds the true value, by two one-sided tests at `ALARM` (Schuirmann 1987)."""
        return abs(self.value) + float(self.sem * stats.t.isf(ALARM, self.samples / SAMPLES_PER_FREEDOM))

    def resolution(self, chance: float, tries: int = 1) -> float:
        """The smallest deviation that is significant at a two-sided chance, as the most extreme of `tries`."""
        of_each = -special.expm1(special.log1p(-chance) / tries)
        return float(self.sem * stats.t.isf(of_each / 2.0, self.samples / SAMPLES_PER_FREEDOM))


def significant(chances: Sequence[float]) -> list[bool]:
    """Which of some two-sided probabilities are too small, all of them healthy with a chance of at least 1 - `ALARM`.

    They are compared in their order (Holm, Scand. J. Stat. 6 (1979) 65). NaN is unknown.
    """
    known = [index for index, chance in enumerate(chances) if math.isfinite(chance)]
    found = [False] * len(chances)
    for rank, index in enumerate(sorted(known, key=lambda i: chances[i])):
        if chances[index] > ALARM / (len(known) - rank):
            break
        found[index] = True
    return found


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


class Halves(NamedTuple):
    """Scatter between the means of the halves of some series (draw,) of any length.

    F test with the effective samples within the halves, which are assumed to have one variance and one autocorrelation
    time. NaN if no half has `MINIMUM_DRAWS`; shorter halves are left out.
    """

    spread: float
    """Standard deviation between the means."""
    error: float
    """The one that is expected from the draws within the halves."""
    freedom: tuple[float, float]

    @classmethod
    def of(cls, series: Sequence[np.ndarray]) -> Halves:
        halves = [half for one in series for half in (one[: one.size // 2], one[one.size - one.size // 2 :])]
        halves = [half for half in halves if half.size >= MINIMUM_DRAWS]
        if len(halves) < 2:
            return cls(np.nan, np.nan, (np.nan, np.nan))
        sizes = np.array([half.size for half in halves])
        samples = sum(effective_samples(half[np.newaxis]) for half in halves)
        variance = np.average([half.var(ddof=1) for half in halves], weights=sizes) * sizes.sum() / samples
        spread = np.std([half.mean() for half in halves], ddof=1)
        freedom = (len(halves) - 1.0, samples / SAMPLES_PER_FREEDOM)
        return cls(float(spread), float(np.sqrt(variance * np.mean(1.0 / sizes))), freedom)

    @property
    def z(self) -> float:
        """|z| of the scatter."""
        with np.errstate(divide="ignore", invalid="ignore"):  # all series are constant, with different values
            ratio = np.float64(self.spread) ** 2 / np.float64(self.error) ** 2
        return normal_deviate(float(stats.f.sf(ratio, *self.freedom)))

    def resolution(self, chance: float) -> float:
        """The smallest spread that is significant at a two-sided chance of its z."""
        return self.error * math.sqrt(stats.f.isf(chance, *self.freedom))


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
