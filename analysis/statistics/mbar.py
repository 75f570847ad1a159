"""Reweighting of energies from several temperatures to any temperature in between (MBAR).

Shirts and Chodera, J. Chem. Phys. 129 (2008) 124105. Draws n of slots k, N_k of them at β_k, have the mixture density

    D_n = Σ_k N_k exp(f_k - β_k U_n),     f_k = -ln Σ_n exp(-β_k U_n) / D_n     (pymbar solves this; f_k = β_k F_k)

and at any β  exp(-f) = Σ_n exp(-β U_n) / D_n,  <A> = Σ_n A_n exp(f - β U_n) / D_n.

Errors: every result is expanded to first order in the weight of every draw. One more draw like n changes Σ_n B_n by B_n
and, through the f_k in D, by Σ_k (B W)_k N_k df_k/dn, with W_nk = exp(f_k - β_k U_n)/D_n and df/dn from the equations
above, (1 - W^T W N) df = -W^T. A result is then an array [value, response to each draw]. Linear combinations of results
are linear combinations of arrays. All correlations, also with plain means of the same draws, are kept.
"""

from __future__ import annotations

import logging
from types import ModuleType

import numpy as np
from scipy.special import logsumexp

from protmpi.errors import ProtmpiError

UNSOLVED = 1e-4
"""Largest numerical error of an f_k, far below every statistical error."""


def _pymbar() -> ModuleType:
    """Import pymbar late and without its messages, because the import takes a second and advertises JAX."""
    logging.getLogger("pymbar").setLevel(logging.ERROR)
    import pymbar  # type: ignore[import-untyped]

    return pymbar


class Mbar:
    """The free energies of neighbouring slots, solved from their energies."""

    def __init__(self, beta: np.ndarray, energies: list[np.ndarray]) -> None:
        """Inverse temperatures (slot,) and the energies (draw,) of each slot."""
        counts = np.array([e.size for e in energies])
        together = np.concatenate(energies)
        self._origin = together.min()  # exp(-βU) is of the order exp(-1e5) at the cold end
        self._beta, self._energy = beta, together - self._origin
        mean = np.array([e.mean() for e in energies]) - self._origin
        guess = np.concatenate([[0.0], np.cumsum(np.diff(beta) * (mean[1:] + mean[:-1]) / 2.0)])
        reduced = beta[:, None] * self._energy
        self.free = np.asarray(_pymbar().MBAR(reduced, counts, initial_f_k=guess).f_k)
        """β F of each slot relative to the first (slot,), of energies counted from the lowest."""
        self._log_density = logsumexp(np.log(counts)[:, None] + self.free[:, None] - reduced, axis=0)
        weight = np.exp(self.free[:, None] - reduced - self._log_density)
        if np.abs(weight.sum(axis=1) - 1.0).max() > UNSOLVED:
            raise ProtmpiError(f"MBAR: pymbar found no free energies for 1/T = {beta.tolist()}; integrate instead")
        self._pull = (weight * counts[:, None]).T
        """W N (draw, slot): response of Σ_n B_n to the f_k."""
        self._answer = np.linalg.pinv(np.eye(counts.size) - weight @ self._pull) @ weight
        """-df_k/dn (slot, draw), up to a common shift that cancels in differences."""

    def _response(self, terms: np.ndarray) -> np.ndarray:
        """Response of the sum of `terms` (draw,) to the weight of each draw, directly and through the f_k."""
        return np.asarray(terms + (terms @ self._pull) @ self._answer)

    def at(self, beta: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """β F relative to the first slot, <U> and var(U) at β, each [value, response to each draw] (1 + draw,)."""
        exponent = -beta * self._energy - self._log_density
        free = -logsumexp(exponent)
        weight = np.exp(exponent + free)
        first = np.exp(self.free[0] - self._beta[0] * self._energy - self._log_density)
        mean = float(weight @ self._energy)
        deviation = self._energy - mean
        variance = float(weight @ deviation**2)
        shift = (beta - self._beta[0]) * self._origin
        return (
            np.append(free - self.free[0] + shift, -self._response(weight - first)),
            np.append(mean + self._origin, self._response(weight * deviation)),
            np.append(variance, self._response(weight * (deviation**2 - variance))),
        )
