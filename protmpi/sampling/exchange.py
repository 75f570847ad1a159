"""Replica exchange: which neighbouring slots of a ladder swap their walkers (METHOD section 6).

Slots k < k+1 with temperatures T_k < T_{k+1} hold walkers with energies U_k, U_{k+1}; they swap with probability

    min(1, exp[(1/T_k - 1/T_{k+1}) (U_k - U_{k+1})])

which leaves the product of the exp(-U/T_k) unchanged. Even and odd pairs take turns: the deterministic turn is not
reversible, but a walker drifts through the ladder instead of diffusing (Okabe et al. 2001; Syed et al. 2022).
Pure functions of (seed, sweep, energies): every rank computes the same swaps without a message.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

EXCHANGE = 0x45584348  # key of the counter-based stream, apart from every SeedSequence stream


class Swaps(NamedTuple):
    """What a sweep does."""

    slot: np.ndarray
    """New slot of every walker (ladder, walker of the ladder), int64."""
    rejection: np.ndarray
    """Probability 1 - a of each pair to stay as it is (ladder, slots - 1), known for all pairs, tried or not."""


def uniforms(seed: int, sweep: int, shape: tuple[int, ...]) -> np.ndarray:
    """Uniform numbers in [0, 1) of a sweep, from a counter: no state to store, the same on every rank."""
    return np.random.Generator(np.random.Philox(key=[seed, EXCHANGE], counter=[0, 0, 0, sweep])).random(shape)


def acceptance(energies: np.ndarray, temperatures: np.ndarray) -> np.ndarray:
    """Probability of every neighbouring pair to swap; energies (..., slots) by slot, temperatures (slots,)."""
    beta = 1.0 / temperatures
    exponent = (beta[:-1] - beta[1:]) * (energies[..., :-1] - energies[..., 1:])
    # a walker that was lost has no energy: it swaps with nobody
    return np.nan_to_num(np.exp(np.minimum(exponent, 0.0)), nan=0.0)


def swap(slot: np.ndarray, energies: np.ndarray, temperatures: np.ndarray, seed: int, sweep: int, scheme: str) -> Swaps:
    """One sweep over ladders: slot and energies (ladder, walker of the ladder), temperatures (slots,).

    Scheme "even-odd": pairs (k, k+1) with k even in even sweeps, odd in odd ones. "random": a coin decides.
    """
    ladders, slots = slot.shape
    walker = np.argsort(slot, axis=1)  # who is in each slot
    accept = acceptance(np.take_along_axis(energies, walker, axis=1), temperatures)
    draws = uniforms(seed, sweep, (ladders, slots))
    parity = np.full(ladders, sweep % 2) if scheme == "even-odd" else (draws[:, -1] < 0.5).astype(int)
    tried = np.arange(slots - 1) % 2 == parity[:, None]
    swapped = tried & (draws[:, :-1] < accept)
    new = slot.copy()
    for ladder, k in np.argwhere(swapped):
        lower, upper = walker[ladder, k], walker[ladder, k + 1]
        new[ladder, lower], new[ladder, upper] = k + 1, k
    return Swaps(new, 1.0 - accept)
