"""Where the temperatures of a ladder stand: equal rejection between all neighbours (METHOD section 6).

The rejection rates r_k of neighbouring pairs add up to the communication barrier Lambda = sum_k r_k. It hardly depends
on the number of slots, and so the barrier below T, Lambda(T), interpolated in ln T, tells where to put them: at equal
steps of it (Syed, Bouchard-Côté, Deligiannidis and Doucet 2022, JRSSB 84, 321).
"""

from __future__ import annotations

import math

import numpy as np
from scipy.interpolate import PchipInterpolator

LEAST = 1e-3  # rejection that a pair is given at least, so that Lambda(T) rises everywhere
SEEN = 500.0  # heat capacity of `transformer-1-26` between 1e-5 and 6e-4, for the cost before a run


def respaced(temperatures: np.ndarray, rejections: np.ndarray) -> np.ndarray:
    """Temperatures (slots,) with equal rejection, from rejection rates (slots - 1,); both ends stay."""
    barrier = np.concatenate([[0.0], np.cumsum(np.maximum(rejections, LEAST))])
    # monotone, so that the new temperatures increase
    below = PchipInterpolator(barrier, np.log(temperatures))
    found = np.exp(below(np.linspace(0.0, barrier[-1], len(temperatures))))
    found[[0, -1]] = temperatures[[0, -1]]
    return np.asarray(found)


def round_trips(barrier: float) -> float:
    """Round trips of all walkers of a ladder per sweep that even-odd swaps give, 1/(2 + 2 Lambda)."""
    return 1.0 / (2.0 + 2.0 * barrier)


def expected_barrier(lowest: float, highest: float, heat_capacity: float = SEEN) -> float:
    """Lambda, about the integral of sqrt(C/pi) d ln T, for a heat capacity C that does not depend on T."""
    return math.sqrt(heat_capacity / math.pi) * math.log(highest / lowest)
