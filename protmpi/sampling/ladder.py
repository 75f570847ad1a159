"""Where the temperatures of a ladder stand: equal rejection between all neighbours (METHOD section 6).

The rejection rates r_k of neighbouring pairs add up to the communication barrier Lambda = sum_k r_k. It hardly depends
on the number of slots, and so the barrier below T, Lambda(T), interpolated in ln T, tells where to put them: at equal
steps of it (Syed, Bouchard-Côté, Deligiannidis and Doucet 2022, JRSSB 84, 321).
"""

from __future__ import annotations

import numpy as np
from scipy.interpolate import PchipInterpolator

LEAST = 1e-3  # rejection that a pair is given at least, so that Lambda(T) rises everywhere


def respaced(temperatures: np.ndarray, rejections: np.ndarray) -> np.ndarray:
    """Temperatures (slots,) with equal rejection, from rejection rates (slots - 1,); both ends stay."""
    barrier = np.concatenate([[0.0], np.cumsum(np.maximum(rejections, LEAST))])
    # monotone, so that the new temperatures increase
    below = PchipInterpolator(barrier, np.log(temperatures))
    found = np.exp(below(np.linspace(0.0, barrier[-1], len(temperatures))))
    found[[0, -1]] = temperatures[[0, -1]]
    return np.asarray(found)
