"""Autocorrelation times: of a series, and from the decay of the overlap of weights.

Times are in draws. A set of chains is a sequence of series, one per walker; their lengths may differ.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

WINDOW = 3.0
"""Lags of the window in autocorrelation times 1 + 2 sum(rho). It is six of Sokal's times, which are half as long."""

FEW_SAMPLES = 20
"""Least number of effective samples for which the autocorrelation time of a chain is known."""

TENFOLD = 0.1  # least decay -ln q that is extrapolated to a whole e-fold

T = TypeVar("T")


@dataclass(frozen=True)
class Correlation:
    """Mean of a series, its standard error, its integrated autocorrelation time in draws and the error of this time."""

    mean: float
    sem: float
    time: float
    time_error: float
    draws: int
    resolved: bool
    """Whether the window of the sum closed within the longest chain."""

    @property
    def effective(self) -> float:
        """Number of effective samples. It is an upper bound unless `known`."""
        return self.draws / self.time

    @property
    def known(self) -> bool:
        """Whether there are enough effective samples for an error bar."""
        return self.resolved and self.effective >= FEW_SAMPLES


@dataclass(frozen=True)
class Decay:
    """Draws in which the overlap q falls to 1/e, with the standard error between walkers, and how it was found.

    It is "measured" within the chain, "extrapolated" from at least a tenth of an e-fold, or else a lower "bound". A
    mixture of exponentials with positive weights falls ever more slowly on a logarithmic scale.
    """

    time: float
    error: float
    seen: float
    kind: Literal["measured", "extrapolated", "bound"]


def correlation(chains: Sequence[np.ndarray]) -> Correlation:
    """Integrated autocorrelation time 1 + 2 sum(rho) of all chains together.

    rho is relative to the mean and the variance of all draws, so walkers that disagree count as slow, not as fast. The
    window is the first one that is WINDOW times as long as the time that it gives. The error is the larger of the error
    of the window (Madras and Sokal, J. Stat. Phys. 50 (1988) 109, app. C) and the jackknife error over walkers.
    """
    time, window, closed = _time(chains)
    draws = sum(map(len, chains))
    everything = np.concatenate(chains)
    error = time * math.sqrt(2.0 * (2 * window + 1) / draws)
    if len(chains) > 1:
        error = max(error, _jackknife(chains, lambda kept: _time(kept)[0]))
    sem = math.sqrt(everything.var() * (1.0 + time / draws) * time / draws) if math.isfinite(time) else math.inf
    return Correlation(float(everything.mean()), sem, time, error, draws, closed)


def _time(chains: Sequence[np.ndarray]) -> tuple[float, int, bool]:
    """Integrated autocorrelation time, the lags of its window, and whether the window closed.

    It is infinite if nothing moves. If the window does not close, it is at least as long as the longest chain.
    """
    mean = float(np.concatenate(chains).mean())
    longest = max(map(len, chains))
    sums, pairs = np.zeros(longest), np.zeros(longest)
    for chain in chains:
        n, away = len(chain), chain - mean
        power = np.abs(np.fft.rfft(away, 2 * n)) ** 2
        sums[:n] += np.fft.irfft(power, 2 * n)[:n]
        pairs[:n] += np.arange(n, 0, -1)
    covariance = sums / pairs
    if not covariance[0] > 0:
        return math.inf, 0, False
    times = 2.0 * np.cumsum(covariance / covariance[0]) - 1.0
    lags = np.arange(longest)
    closed = lags >= WINDOW * np.maximum(times, 1.0)  # anticorrelated draws close it no sooner than independent ones
    window = int(np.argmax(closed)) if closed.any() else longest - 1
    time = max(float(times[window]), 1.0 / WINDOW)
    return (time, window, True) if closed.any() else (max(time, float(longest)), window, False)


def drift(chains: Sequence[np.ndarray], sem: float) -> float:
    """Shift of the second halves of the chains from the first, in standard errors. `sem` is the error of the mean."""
    halves = [(chain[: len(chain) // 2], chain[-(len(chain) // 2) :]) for chain in chains if len(chain) > 1]
    if not halves or not 0.0 < sem < math.inf:
        return math.nan
    first, second = (np.concatenate(parts).mean() for parts in zip(*halves, strict=True))
    return float((second - first) / (2.0 * sem))


def decay(positions: Sequence[np.ndarray]) -> Decay:
    """e-fold of q(t) = w(t0)·w(t0 + t)/(|w(t0)| |w(t0 + t)|), a mean over origins t0 and walkers.

    Weights (draw, P) of each walker, its start included. Longer chains weigh more. Lags go to two thirds of the
    longest chain. Beyond them, -ln q is extrapolated as a line through the second half of the lags.
    """
    overlaps = [_overlaps(each) for each in positions]
    time, seen = _efold(overlaps)
    error = _jackknife(overlaps, lambda kept: _efold(kept)[0]) if len(overlaps) > 1 else math.nan
    kind: Literal["measured", "extrapolated", "bound"] = (
        "measured" if seen >= 1.0 else "extrapolated" if seen >= TENFOLD else "bound"
    )
    return Decay(time, error, seen, kind)


def _overlaps(w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums of q over origins and their numbers at lags 0, 1, ... of one walker with weights w (draw, P)."""
    unit = w / np.linalg.norm(w.astype(np.float64), axis=1, keepdims=True)
    cosines = unit @ unit.T
    lags = range(len(w))
    return np.array([np.trace(cosines, lag) for lag in lags]), np.array([len(w) - lag for lag in lags], dtype=float)


def _efold(overlaps: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[float, float]:
    """Draws in which q falls to 1/e, and -ln q at the longest lag, at most 1."""
    longest = max(1, 2 * (max(len(sums) for sums, _ in overlaps) - 1) // 3)
    q, pairs = np.zeros(longest + 1), np.zeros(longest + 1)
    for sums, origins in overlaps:
        n = min(len(sums), longest + 1)
        q[:n] += sums[:n]
        pairs[:n] += origins[:n]
    if not pairs[1]:
        return math.nan, 0.0
    fallen = -np.log(np.maximum(q / pairs, np.finfo(float).tiny))
    fallen[0] = 0.0  # up to rounding
    lags, seen = np.arange(longest + 1), float(fallen.max())
    if seen >= 1.0:
        after = int(np.argmax(fallen >= 1.0))
        return float(np.interp(1.0, fallen[after - 1 : after + 1], lags[after - 1 : after + 1])), 1.0
    seen = max(float(fallen[-1]), 0.0)
    half = slice(longest // 2, None) if longest >= 4 else slice(0, None, longest)
    slope, at_zero = np.polyfit(lags[half], fallen[half], 1)
    # if the line does not rise, q does not fall within the chain and nothing can be extrapolated
    return (float((1.0 - at_zero) / slope) if slope > 0 else float(longest)), seen


def _jackknife(chains: Sequence[T], estimate: Callable[[Sequence[T]], float]) -> float:
    """Standard error of `estimate` from leaving out each chain in turn (Efron and Stein, Ann. Stat. 9 (1981) 586)."""
    without = np.array([estimate([*chains[:i], *chains[i + 1 :]]) for i in range(len(chains))])
    if not np.isfinite(without).all():
        return math.inf
    return float(np.sqrt((len(chains) - 1) * without.var()))
