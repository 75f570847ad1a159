"""Correlated series: mean with its error, effective samples, R-hat, and the start of equilibrium.

A set of chains is an array (chain, draw) of one observable at one temperature; the chains are independent.

An error (`sem`, ±) is half of the interval that holds the true mean with 68.27 %: one standard error times the factor
of Student's t for its degrees of freedom. It is the larger of two estimates. Within chains it is the standard deviation
/ sqrt(n) with n/5 degrees (n effective samples). Between the means of R independent walkers it has R - 1 degrees. With
few walkers, the interval therefore holds the true mean more often than 68.27 %.
"""

from __future__ import annotations

import warnings
from types import ModuleType
from typing import NamedTuple

import numpy as np
from scipy import stats

COVERAGE = 0.6827
"""Fraction of the intervals mean ± error that hold the true mean, as for one standard error of a Gaussian."""

SAMPLES_PER_FREEDOM = 5.0
"""An autocorrelation time tau, summed up to lag M, has the relative variance 2 (2M + 1)/draws (Sokal, Monte Carlo
Methods in Statistical Mechanics, 1997, eq. 3.19), a variance from f degrees of freedom 2/f. Sums end near M = 5 tau,
where 2M + 1 is about 5 draws per effective sample. Against AR(1) series of 20 to 30 effective samples, some of
them with tau longer than the series, |z| > 4 then has a chance of 1 %; 6 % with as many degrees as samples."""

MINIMUM_DRAWS = 8
"""Fewest draws per chain with an autocorrelation of their own: two halves of four draws, the least arviz takes."""

FEW_SAMPLES = 20
"""Effective samples below which no error is given: that of a single chain would be a third too small, or worse."""

CANDIDATES = 20
"""Number of candidate starts of equilibrium, evenly spread over the first half of the chains."""

KEPT = 0.9
"""Fraction of the largest number of effective samples that must be left. Larger values would follow chance."""


class Estimate(NamedTuple):
    """A mean and its error, half of the interval of 68.27 %, in the unit of the observable; NaN where unknown."""

    mean: float
    sem: float


class StandardError(NamedTuple):
    """A standard error and its degrees of freedom."""

    size: float
    freedom: float

    @property
    def half_width(self) -> float:
        return self.size * t_factor(self.freedom)


def t_factor(freedom: float) -> float:
    """Half of the interval of 68.27 % over the standard error: Student's t, 1.84 for one degree of freedom, then 1."""
    return float(stats.t.ppf(0.5 + COVERAGE / 2.0, freedom))


def arviz() -> ModuleType:
    """Import arviz late and without its warnings, because the import takes seconds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=FutureWarning)
        import arviz as imported
    return imported


def whole_chains(chains: np.ndarray) -> np.ndarray:
    """Leave out the chains with missing draws (NaN).

    A lost walker has no draws from then on. It is left out while others remain at its
    temperature. If none remains, the longest chain counts up to its first missing draw.
    """
    finite = np.isfinite(chains)
    whole = finite.all(axis=1)
    if whole.any():
        return chains[whole]
    lengths = np.logical_and.accumulate(finite, axis=1).sum(axis=1)
    longest = int(np.argmax(lengths))
    return chains[longest : longest + 1, : lengths[longest]]


def visits(chains: np.ndarray) -> np.ndarray:
    """Join the draws (walker, draw) of visiting walkers, NaN while they are away, to one chain (1, draw).

    Walkers follow each other and gaps are closed. The states of a Markov chain at its visits to a set are a Markov
    chain with the law of the set, so the autocorrelation from visit to visit gives the error of the mean.
    """
    return chains[np.isfinite(chains)][np.newaxis]


def effective_samples(chains: np.ndarray) -> float:
    """Number of independent draws with the same error of the mean; NaN below `MINIMUM_DRAWS` per chain.

    Vehtari, Gelman, Simpson, Carpenter and Bürkner, Bayesian Analysis 16 (2021) 667, as in Stan and arviz: the
    autocorrelation is taken relative to the variance of all chains together, so chains (or halves of one chain)
    that disagree lower the number, down to about the number of chains.
    """
    if chains.shape[1] < MINIMUM_DRAWS:
        return np.nan
    return float(arviz().ess(chains, method="mean"))


def between_walkers(values: np.ndarray, walkers: np.ndarray) -> StandardError:
    """Standard error of the mean of `values` (any shape) between the walkers that drew them, given by `walkers`.

    Jackknife error over walkers (Efron and Stein, Ann. Stat. 9 (1981) 586). For equal numbers of draws it is the
    standard deviation of their means / sqrt(walkers). NaN draws are left out; NaN for fewer than two walkers.
    """
    known = np.isfinite(values)
    values, index = values[known], np.unique(walkers[known], return_inverse=True)[1]
    number = int(index.max(initial=-1)) + 1
    if number < 2:
        return StandardError(np.nan, np.nan)
    sums, counts = np.bincount(index, values - values.mean()), np.bincount(index)
    without = -sums / (values.size - counts)  # mean of the others minus the mean of all
    return StandardError(float(np.sqrt((number - 1) / number * np.sum((without - without.mean()) ** 2))), number - 1.0)


def samples_of_walkers(values: np.ndarray, walkers: np.ndarray) -> float:
    """Number of independent draws with the same error as `between_walkers`; NaN if there is none.

    Exchanged walkers alternate at a temperature. The series of the temperature forgets each walker within a round trip.
    But slow modes, which a walker keeps at all temperatures, return with it.
    """
    sem = between_walkers(values, walkers).size
    return float(np.nanvar(values) / sem**2) if sem > 0 else np.nan


def within_chains(chains: np.ndarray, independent: float = np.nan) -> StandardError:
    """Standard error of the mean of all draws from their autocorrelation, standard deviation / sqrt(n).

    Some chains are too short to show it (test errors are only known at the few snapshots). They count as at most
    `independent` independent draws: pass the effective samples of the energy over the same stretch. Without it, their
    error is unknown (NaN). There are at most as many effective samples as draws, because draws that alternate about
    their mean do so by chance.
    """
    samples = effective_samples(chains)
    samples = float(np.minimum(chains.size, independent if np.isnan(samples) else samples))  # keeps NaN
    if chains.size < 2 or np.isnan(samples):
        return StandardError(np.nan, np.nan)
    return StandardError(float(chains.std(ddof=1) / np.sqrt(samples)), samples / SAMPLES_PER_FREEDOM)


def estimate(chains: np.ndarray, independent: float = np.nan, walkers: np.ndarray | None = None) -> Estimate:
    """Mean of all draws and its error: within chains or between walkers, whichever is larger.

    `independent` as in `within_chains`, whose error must be known. `walkers` (chain, draw) gives the walker of each
    draw if it is not the chain: walkers that alternate at one temperature, or whose visits are joined to one chain.
    """
    if not chains.size:
        return Estimate(np.nan, np.nan)
    of_chain = np.broadcast_to(np.arange(len(chains))[:, np.newaxis], chains.shape)
    between = [between_walkers(chains, one) for one in (of_chain, walkers) if one is not None]
    errors = [within_chains(chains, independent).half_width, *(one.half_width for one in between)]
    return Estimate(float(chains.mean()), float(np.fmax.reduce(errors)) if np.isfinite(errors[0]) else np.nan)


def r_hat(chains: np.ndarray) -> float:
    """Split R-hat: 1 if chains agree; NaN below `MINIMUM_DRAWS` per chain, or if no chain moves.

    For several chains, the halves of all are compared by rank (Vehtari et al. 2021). For one chain, its two halves.
    """
    if chains.shape[1] < MINIMUM_DRAWS:
        return np.nan
    with np.errstate(divide="ignore", invalid="ignore"):
        if len(chains) > 1:
            return float(arviz().rhat(chains, method="rank"))
        half = chains.shape[1] // 2
        return float(arviz().rhat(np.stack([chains[0, :half], chains[0, -half:]]), method="identity"))


def equilibration(chains: np.ndarray) -> int:
    """Draws to drop from the start of every chain, at most half of them.

    After Chodera, J. Chem. Theory Comput. 12 (2016) 1799: a transient costs more effective samples than it has draws.
    Chodera maximises the effective samples of the rest. This favours stretches that look less correlated by chance: for
    AR(1) series with 30 effective samples, ± then holds the mean in 58 % of the series, compared with 65 % without a
    discard. So drop the fewest draws that leave the fraction `KEPT` of the maximum (62 %).
    """
    draws = chains.shape[1]
    if draws // 2 < MINIMUM_DRAWS:
        return 0
    starts = np.unique(np.linspace(0, draws // 2, CANDIDATES).astype(int))
    left = np.array([effective_samples(chains[:, start:]) for start in starts])
    return int(starts[np.argmax(left >= KEPT * left.max())])


def estimates(series: np.ndarray, independent: float) -> np.ndarray:
    """Mean and error (..., statistic) of every quantity of (chain, snapshot, ...); NaN where unknown."""
    result = np.full((*series.shape[2:], 2), np.nan)
    for index in np.ndindex(result.shape[:-1]):
        one = series[(..., *index)]
        if np.isfinite(one).all():
            result[index] = estimate(one, independent)
    return result
