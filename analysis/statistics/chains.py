"""Correlated series: mean with its error, effective samples, R-hat, and where equilibrium begins.

A set of chains is an array (chain, draw) of one observable at one temperature; the chains are independent.

An error (`sem`, ±) is half of the interval that holds the true mean with 68.27 %: one standard error times the factor
of Student's t for its degrees of freedom. It is the larger of two, so that with few walkers the interval holds it more
often: within chains, standard deviation / sqrt(n) with n/5 degrees (n effective samples); between the means of R
independent walkers, R - 1 degrees.
"""

from __future__ import annotations

import warnings
from types import ModuleType
from typing import NamedTuple

import numpy as np
from scipy import stats

COVERAGE = 0.6827
"""Fraction of the intervals mean ± error that hold the true mean: that of one standard error of a Gaussian."""

SAMPLES_PER_FREEDOM = 5.0
"""An autocorrelation time tau, summed up to lag M, has the relative variance 2 (2M + 1)/draws (Sokal, Monte Carlo
Methods in Statistical Mechanics, 1997, eq. 3.19), a variance from f degrees of freedom 2/f. Sums end near M = 5 tau,
where 2M + 1 is about 5 draws per effective sample. Against AR(1) series of 20 to 30 effective samples, some of
them with tau longer than the series, |z| > 4 then has a chance of 1 %; 6 % with as many degrees as samples."""

MINIMUM_DRAWS = 8
"""Fewest draws per chain with an autocorrelation of their own: two halves of four draws, the least arviz takes."""

FEW_SAMPLES = 20
"""Below this no error is given: those of a single chain come out a third too small, or worse (AR(1) of 60 draws)."""

CANDIDATES = 20
"""Places at which equilibrium may begin, evenly spread over the first half of the chains."""

KEPT = 0.9
"""Fraction of the most effective samples that the place must leave; above, `equilibration` chases chance."""


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


def _arviz() -> ModuleType:
    """arviz takes seconds to import and announces its own future each time."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=FutureWarning)
        import arviz
    return arviz


def whole_chains(chains: np.ndarray) -> np.ndarray:
    """Leave out the chains with missing draws (NaN).

    A walker that was taken out of the run has no draws from then on. It is left out while others remain at its
    temperature; where none remains, the longest chain counts up to its first missing draw.
    """
    finite = np.isfinite(chains)
    whole = finite.all(axis=1)
    if whole.any():
        return chains[whole]
    lengths = np.logical_and.accumulate(finite, axis=1).sum(axis=1)
    longest = int(np.argmax(lengths))
    return chains[longest : longest + 1, : lengths[longest]]


def visits(chains: np.ndarray) -> np.ndarray:
    """Join the draws (walker, draw) of walkers that come and go, NaN while they are away, to one chain (1, draw).

    Walker after walker, gaps closed: the states of a Markov chain at its visits to a set are a Markov chain too, with
    the law of the set, so the autocorrelation from visit to visit is the one that tells the error of the mean.
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
    return float(_arviz().ess(chains, method="mean"))


def between_walkers(values: np.ndarray, walkers: np.ndarray) -> StandardError:
    """Standard error of the mean of `values`, any shape, that the walkers show which drew them, as `walkers` says.

    The jackknife's over walkers (Efron and Stein, Ann. Stat. 9 (1981) 586); for equal numbers of draws it is the
    standard deviation of their means / sqrt(walkers). NaN draws are left out; NaN for fewer than two walkers.
    """
    known = np.isfinite(values)
    values, index = values[known], np.unique(walkers[known], return_inverse=True)[1]
    number = int(index.max(initial=-1)) + 1
    if number < 2:
        return StandardError(np.nan, np.nan)
    sums, counts = np.bincount(index, values - values.mean()), np.bincount(index)
    without = -sums / (values.size - counts)  # mean of the others, less the mean of all
    return StandardError(float(np.sqrt((number - 1) / number * np.sum((without - without.mean()) ** 2))), number - 1.0)


def samples_of_walkers(values: np.ndarray, walkers: np.ndarray) -> float:
    """Independent draws with the error that the walkers show, see `between_walkers`; NaN where there is none.

    Exchanged walkers take turns at a temperature: its series forgets each of them within a round trip, but what one
    keeps for longer, in modes that are slow at all temperatures, comes back with it.
    """
    sem = between_walkers(values, walkers).size
    return float(np.nanvar(values) / sem**2) if sem > 0 else np.nan


def within_chains(chains: np.ndarray, independent: float = np.nan) -> StandardError:
    """Standard error of the mean of all draws that their autocorrelation shows, standard deviation / sqrt(n).

    Chains too short to show it (test errors are only known at the few snapshots) are taken to hold at most
    `independent` independent draws: pass the effective samples of the energy over the same stretch. Without it their
    error is unknown (NaN). No more effective samples than draws: where these alternate about their mean, it is a fluke.
    """
    samples = effective_samples(chains)
    samples = float(np.minimum(chains.size, independent if np.isnan(samples) else samples))  # which keeps NaN
    if chains.size < 2 or np.isnan(samples):
        return StandardError(np.nan, np.nan)
    return StandardError(float(chains.std(ddof=1) / np.sqrt(samples)), samples / SAMPLES_PER_FREEDOM)


def estimate(chains: np.ndarray, independent: float = np.nan, walkers: np.ndarray | None = None) -> Estimate:
    """Mean of all draws and its error: within chains or between walkers, whichever is larger.

    `independent` as in `within_chains`, whose error must be known. `walkers` (chain, draw) says who made each draw
    where that is not the chain: walkers that take turns at one temperature, or whose visits are joined to one chain.
    """
    if not chains.size:
        return Estimate(np.nan, np.nan)
    of_chain = np.broadcast_to(np.arange(len(chains))[:, np.newaxis], chains.shape)
    between = [between_walkers(chains, one) for one in (of_chain, walkers) if one is not None]
    errors = [within_chains(chains, independent).half_width, *(one.half_width for one in between)]
    return Estimate(float(chains.mean()), float(np.fmax.reduce(errors)) if np.isfinite(errors[0]) else np.nan)


def r_hat(chains: np.ndarray) -> float:
    """Split R-hat: 1 when chains agree; NaN below `MINIMUM_DRAWS` per chain, and where none of them moves.

    Several chains: halves of all of them compared by rank (Vehtari et al. 2021). One chain: its two halves.
    """
    if chains.shape[1] < MINIMUM_DRAWS:
        return np.nan
    with np.errstate(divide="ignore", invalid="ignore"):
        if len(chains) > 1:
            return float(_arviz().rhat(chains, method="rank"))
        half = chains.shape[1] // 2
        return float(_arviz().rhat(np.stack([chains[0, :half], chains[0, -half:]]), method="identity"))


def equilibration(chains: np.ndarray) -> int:
    """Draws to drop from the start of every chain, at most half of them.

    After Chodera, J. Chem. Theory Comput. 12 (2016) 1799: a transient costs more effective samples than the draws it
    lasts. He drops as many draws as maximise the effective samples of the rest, which favours stretches that happen to
    look less correlated: ± then holds the mean of 58 % of the AR(1) series with 30 effective samples, against 65 % when
    all is kept. So drop the fewest that leave the fraction `KEPT` of that maximum (62 %).
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
