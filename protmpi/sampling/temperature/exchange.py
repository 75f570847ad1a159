"""Replica exchange: which neighbouring slots of a ladder swap their walkers (docs/method/tempering.md section 1).

Slots k < k+1 with temperatures T_k < T_{k+1} hold walkers with energies U_k, U_{k+1}; they swap with probability

    min(1, exp[(1/T_k - 1/T_{k+1}) (U_k - U_{k+1})])

which leaves the product of the exp(-U/T_k) unchanged. Even and odd pairs alternate. This deterministic order is not
reversible, but a walker drifts through the ladder instead of diffusing (Okabe et al. 2001; Syed et al. 2022).
All functions depend on (seed, sweep, energies) alone, so every rank computes the same swaps without messages.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from protmpi.sampling.streams import uniforms
from protmpi.sampling.temperature import ladder

FIRST_ROUND = 8  # sweeps of the first round: the energies of a sweep give all rejection rates, of pairs tried or not


class Swaps(NamedTuple):
    """The result of a sweep."""

    slot: np.ndarray
    """New slot of every walker (ladder, walker of the ladder), int64."""
    rejection: np.ndarray
    """Rejection probability 1 - a of each pair (ladder, slots - 1), known for all pairs, tried or not."""


def acceptance(energies: np.ndarray, temperatures: np.ndarray) -> np.ndarray:
    """Probability of every neighbouring pair to swap; energies (..., slots) by slot, temperatures (slots,)."""
    beta = 1.0 / temperatures
    exponent = (beta[:-1] - beta[1:]) * (energies[..., :-1] - energies[..., 1:])
    # a lost walker has no energy and never swaps
    return np.nan_to_num(np.exp(np.minimum(exponent, 0.0)), nan=0.0)


def swap(slot: np.ndarray, energies: np.ndarray, temperatures: np.ndarray, seed: int, sweep: int, scheme: str) -> Swaps:
    """One sweep over ladders: slot and energies (ladder, walker of the ladder), temperatures (slots,).

    Scheme "even-odd": pairs (k, k+1) with k even in even sweeps, odd in odd ones. "random": a coin decides.
    """
    ladders, slots = slot.shape
    walker = np.argsort(slot, axis=1)  # the walker in each slot
    accept = acceptance(np.take_along_axis(energies, walker, axis=1), temperatures)
    draws = uniforms(seed, sweep, (ladders, slots))
    parity = np.full(ladders, sweep % 2) if scheme == "even-odd" else (draws[:, -1] < 0.5).astype(int)
    tried = np.arange(slots - 1) % 2 == parity[:, None]
    swapped = tried & (draws[:, :-1] < accept)
    new = slot.copy()
    which, k = np.nonzero(swapped)
    new[which, walker[which, k]], new[which, walker[which, k + 1]] = k + 1, k
    return Swaps(new, 1.0 - accept)


class Exchange:
    """Ladders whose walkers swap temperatures. While it learns, the spacing moves towards equal rejection.

    The temperatures are spaced again after 1, 2, 4, ... times FIRST_ROUND sweeps.
    """

    def __init__(self, temperatures: np.ndarray, slot: np.ndarray, seed: int, scheme: str) -> None:
        """Temperatures (slots,) and the first slot of each walker (walkers,), ladder by ladder."""
        self.temperatures, self.slot, self.seed, self.scheme = temperatures, slot, seed, scheme
        self._rejections = np.zeros(len(temperatures) - 1)  # summed over the sweeps of this round, mean over ladders
        self._sweeps = self._rounds = 0

    def sweep(self, number: int, energies: np.ndarray, learn: bool) -> None:
        """Swap walkers by their energies (walkers,) in sweep `number`."""
        shape = (-1, len(self.temperatures))
        swaps = swap(self.slot.reshape(shape), energies.reshape(shape), self.temperatures, self.seed, number,
                     self.scheme)  # fmt: skip
        self.slot = swaps.slot.ravel()
        if learn:
            self._rejections = self._rejections + swaps.rejection.mean(0)
            self._sweeps += 1
            if self._sweeps == FIRST_ROUND * 2**self._rounds:
                self.temperatures = ladder.respaced(self.temperatures, self._rejections / self._sweeps)
                self._rejections, self._sweeps, self._rounds = np.zeros_like(self._rejections), 0, self._rounds + 1

    def history(self) -> dict[str, np.ndarray]:
        """The learned quantities that a draw records beside the temperatures."""
        return {}

    def learned(self) -> np.ndarray:
        """The state without the slots, for a checkpoint, (numbers,)."""
        return np.concatenate([self.temperatures, self._rejections, [self._sweeps, self._rounds]])

    def restore(self, slot: np.ndarray, learned: np.ndarray) -> None:
        """Continue from the slots (walkers,) and the result of `learned`."""
        size = len(self.temperatures)
        self.slot, self.temperatures = slot.astype(np.int64), learned[:size].copy()
        self._rejections = learned[size : 2 * size - 1].copy()
        self._sweeps, self._rounds = (int(x) for x in learned[2 * size - 1 :])
