"""The sampled energy as a sampler sees it: the energy of a task and the terms added to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor

from protmpi.models.layout import Layout
from protmpi.sampling.kernels.sphere import dot


class Energy(Protocol):
    """The cost U(w) of W walkers at once, w (W, P): a mean over `train_size` samples."""

    layout: Layout
    train_size: int
    on_device: bool
    """Whether `gradient` also takes indices on the device of w, and then works without the host."""

    check: Callable[[], None]
    """Function called before every pass. It may raise to interrupt the work."""

    def gradient(self, w: Tensor, indices: np.ndarray | Tensor | None) -> tuple[Tensor, Tensor]:
        """Energies (W,) and gradients (W, P), means over the samples `indices` (W, B), or over all samples if None.

        Over all samples, energies are float64 sums, because the Metropolis test needs small differences of them.
        """

    def evaluate(self, w: Tensor, split: str) -> tuple[np.ndarray, np.ndarray]:
        """Full-batch energy and error (W,), float64, on the split "train"."""


@dataclass(frozen=True)
class Regulariser:
    """lamda/2 |w|² + gamma/2 |w - w0|² with the start w0 (W, P), a term of U (docs/method/energy.md section 3)."""

    lamda: float
    gamma: float
    start: Tensor

    def __bool__(self) -> bool:
        return self.lamda > 0 or self.gamma > 0

    def energy(self, w: Tensor) -> Tensor:
        """(W, 1), float64."""
        away = w - self.start
        return 0.5 * self.lamda * dot(w, w) + 0.5 * self.gamma * dot(away, away)

    def add_gradient(self, g: Tensor, w: Tensor) -> Tensor:
        """g plus the gradient at w, (W, P)."""
        if not self:
            return g
        return g.add(w, alpha=self.lamda + self.gamma).sub_(self.start, alpha=self.gamma)


def full_gradient(energy: Energy, regulariser: Regulariser, w: Tensor) -> tuple[Tensor, Tensor]:
    """Energies (W, 1), float64, and gradients (W, P) at w of the mean over all samples, the regulariser included."""
    cost, gradient = energy.gradient(w, None)
    return cost.double().unsqueeze(1) + regulariser.energy(w), regulariser.add_gradient(gradient, w)
