"""The positions and the number of the temperatures of a ladder with equal rejection.

Source: docs/method/tempering.md section 3.

The rejection rates r_k of neighbouring pairs add up to the communication barrier Lambda = sum_k r_k. It hardly depends
on the number of slots. So the slots belong at equal steps of Lambda(T), the barrier below T, interpolated in ln T
(Syed, Bouchard-Côté, Deligiannidis and Doucet 2022, JRSSB 84, 321). The barrier can be predicted without swaps. Two
Gaussian energies of width T sqrt(C) at neighbouring temperatures reject sqrt(C/pi) d ln T of the swaps, so that

    Lambda = integral of sqrt(C/pi) d ln T,   C = d<U>/dT

The rate of round trips is 1/(2 + 2 sum r/(1-r)) per sweep. About 2 Lambda slots make the best use of the walkers.
"""

from __future__ import annotations

import math

import numpy as np

LEAST = 1e-3  # least rejection of a pair, so that Lambda(T) rises everywhere


def _placed(temperatures: np.ndarray, rejections: np.ndarray, slots: int) -> np.ndarray:
    """Temperatures (slots,) at equal steps of the barrier that rises by `rejections` between `temperatures`."""
    from scipy.interpolate import PchipInterpolator  # takes a second, and few runs have a ladder

    barrier = np.concatenate([[0.0], np.cumsum(np.maximum(rejections, LEAST))])
    # monotone, so that the new temperatures increase
    below = PchipInterpolator(barrier, np.log(temperatures))
    found = np.exp(below(np.linspace(0.0, barrier[-1], slots)))
    found[[0, -1]] = temperatures[[0, -1]]
    return np.asarray(found)


def respaced(temperatures: np.ndarray, rejections: np.ndarray) -> np.ndarray:
    """Temperatures (slots,) with equal rejection, from rejection rates (slots - 1,); both ends stay."""
    return _placed(temperatures, rejections, len(temperatures))


def _predicted_rejections(temperatures: np.ndarray, energies: np.ndarray) -> np.ndarray:
    capacity = np.diff(energies) / np.diff(temperatures)
    return np.asarray(np.sqrt(np.maximum(capacity, 0.0) / np.pi) * np.diff(np.log(temperatures)))


def predicted_barrier(temperatures: np.ndarray, energies: np.ndarray) -> float:
    """Lambda from mean energies <U> at some temperatures, (n,) each."""
    return float(_predicted_rejections(temperatures, energies).sum())


def spaced(temperatures: np.ndarray, energies: np.ndarray, slots: int) -> np.ndarray:
    """Temperatures (slots,) of equal predicted rejection, from mean energies <U> at some temperatures, (n,) each."""
    return _placed(temperatures, _predicted_rejections(temperatures, energies), slots)


def enough_slots(barrier: float) -> int:
    """The number of slots that is enough."""
    return max(2, math.ceil(2.0 * barrier))


def bearable_capacity(temperatures: np.ndarray) -> float:
    """The largest mean heat capacity for which these slots are enough."""
    return math.pi * (len(temperatures) / (2.0 * math.log(temperatures[-1] / temperatures[0]))) ** 2
