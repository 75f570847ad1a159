"""Simulated tempering: each walker jumps over the temperatures on its own, with learned weights.

Source: docs/method/tempering.md section 4.

The law of (w, k) is exp(-U(w)/T_k + g_k). At fixed w the slot is drawn from its exact conditional law

    P(k | U) = exp(-U/T_k + g_k) / sum_j exp(-U/T_j + g_j)

and all slots are visited equally often if g_k = F_k/T_k, the free energy up to a constant. g is learned from P, which
carries more information than the drawn jump (self-adjusted mixture sampling, Tan 2017, JCGS 26, 54):

    g_k -= a (K <P(k | U)> - 1),    a = 1/K until every slot was visited, 1/(K + n) in the n-th sweep after that

where the average is over all walkers. The law is exact once the weights are frozen. All functions depend on (seed,
sweep, energies) alone, so every rank computes the same jumps without messages.
"""

from __future__ import annotations

import numpy as np

from protmpi.sampling.streams import uniforms


def probabilities(energies: np.ndarray, temperatures: np.ndarray, log_weight: np.ndarray) -> np.ndarray:
    """P(k | U) for energies (walkers,), (walkers, slots); NaN for a walker without energy."""
    from scipy.special import softmax  # takes a third of a second, and few runs are tempered

    return np.asarray(softmax(log_weight - energies[:, None] / temperatures, axis=1))


def jump(slot: np.ndarray, probability: np.ndarray, seed: int, sweep: int) -> np.ndarray:
    """New slots (walkers,) drawn from P (walkers, slots). A lost walker, whose P is NaN, stays where it is."""
    below = np.cumsum(probability, axis=1) < uniforms(seed, sweep, (len(slot),))[:, None]
    drawn = np.minimum(below.sum(1), probability.shape[1] - 1)  # by rounding the sum of P may end below 1
    return np.where(np.isfinite(probability).all(1), drawn, slot)


class Simulated:
    """Walkers that jump over the temperatures, and their common weights."""

    def __init__(self, temperatures: np.ndarray, slot: np.ndarray, seed: int) -> None:
        """Temperatures (slots,) and the first slot of each walker (walkers,)."""
        self.temperatures, self.slot, self.seed = temperatures, slot, seed
        self.log_weight = np.zeros(len(temperatures))
        self._visited = np.zeros(len(temperatures), dtype=bool)
        self._since = 0  # sweeps since all slots were visited

    def sweep(self, number: int, energies: np.ndarray, learn: bool) -> None:
        """Move walkers by their energies (walkers,) in sweep `number`."""
        alive = np.isfinite(energies)
        learn = learn and bool(alive.any())
        if learn and not self._visited.any():  # as if <U> were the same at all temperatures
            self.log_weight = energies[alive].mean() / self.temperatures
        probability = probabilities(energies, self.temperatures, self.log_weight)
        self.slot = jump(self.slot, probability, self.seed, number)
        if learn:
            self._visited[self.slot] = True
            self._since += bool(self._visited.all())
            size = len(self.temperatures)
            gain = 1.0 / (size + self._since)
            self.log_weight = self.log_weight - gain * (size * probability[alive].mean(0) - 1.0)

    def history(self) -> dict[str, np.ndarray]:
        """The learned quantities that a draw records beside the temperatures."""
        return {"log_weight": self.log_weight}

    def learned(self) -> np.ndarray:
        """The state without the slots, for a checkpoint, (numbers,)."""
        return np.concatenate([self.log_weight, self._visited, [self._since]])

    def restore(self, slot: np.ndarray, learned: np.ndarray) -> None:
        """Continue from the slots (walkers,) and the result of `learned`."""
        size = len(self.temperatures)
        self.slot, self.log_weight = slot.astype(np.int64), learned[:size].copy()
        self._visited, self._since = learned[size : 2 * size].astype(bool), int(learned[-1])
