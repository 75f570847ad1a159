"""Burn-in of full-batch trajectories: annealing, masses from s², time step from the acceptance.

M = m/T, where m is the variance of the gradient of one sample, averaged over the estimates of the burn-in. m varies by
orders of magnitude over the sampled weights, and masses from a single estimate halve the stable time step. The average
restarts at half of the burn-in. The log of the time step follows the acceptance with gain n^-0.6 in the n-th trajectory
since then (Robbins and Monro 1951). The final time step is its average with weights n^-0.75, because the acceptance of
one trajectory is noisy (Hoffman and Gelman 2014).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from protmpi.models.layout import Layout
from protmpi.sampling.burn_in.masses import layer_means
from protmpi.sampling.sections import SamplerConfig

GAIN = 0.6  # exponent of Robbins and Monro: any number in (1/2, 1] converges; small ones are fast at first
MEMORY = 0.75  # exponent of the average: a larger one has a longer memory
FIRST = 0.01  # first time step of the search, in units of T^-1/2: a small one is accepted and grows


class Tuning:
    """The burn-in of walkers at `temperatures` (W,). Each walker first passes the temperatures of `anneal`.

    `like` (W, P) gives the type and the device.
    """

    def __init__(
        self, config: SamplerConfig, like: Tensor, temperatures: np.ndarray, anneal: Sequence[Sequence[float]]
    ) -> None:
        self.config, self._like = config, like
        self._stages = [[*stages, t] for stages, t in zip(anneal, temperatures.tolist(), strict=True)]
        self.time_step = FIRST / self.temperature(0).sqrt()
        self.average = self.time_step  # of the time step, geometric
        self.variance = torch.zeros_like(like)  # mean of the estimates of m since the average restarted
        self.estimates = 0

    @property
    def turn(self) -> int:
        """Half of the burn-in, in whole trajectories."""
        return self.config.adapt_until // 2 // self.config.trajectory * self.config.trajectory

    def temperature(self, step: int) -> Tensor:
        """Temperature (W, 1) of each walker at this step: of its annealing, then its own."""
        now = step // self.config.anneal_steps
        return self._like.new_tensor([[stages[min(now, len(stages) - 1)]] for stages in self._stages])

    def follow(self, step: int, probability: Tensor) -> None:
        """Change the time step by the acceptance probability (W, 1) of the trajectory that ends at `step`."""
        wanted, since = self.config.acceptance, self.turn if step > self.turn else 0
        number = max(1, (step - since) // self.config.trajectory)
        surplus = (probability - wanted) / (2.0 * wanted * (1.0 - wanted))
        self.time_step = self.time_step * (number**-GAIN * surplus).exp().to(self.time_step.dtype)
        self.average = (self.average.log().lerp(self.time_step.log(), number**-MEMORY)).exp()
        if step + self.config.trajectory > self.config.adapt_until:
            self.time_step = self.average

    def scale(self, ratio: Tensor) -> None:
        """Rescale the time step for temperatures that fell by `ratio` (W, 1). Frequencies scale with sqrt(T)."""
        self.time_step, self.average = self.time_step * ratio.sqrt(), self.average * ratio.sqrt()

    def wants_variance(self, step: int) -> bool:
        """Whether an estimate of m follows the trajectory that ends at `step`: a multiple of `min_adj_step`, or half of
        the burn-in, lies within it."""
        every = self.config.min_adj_step
        last = step - self.config.trajectory
        return step < self.config.adapt_until and (step // every > last // every or self._turns(step))

    def _turns(self, step: int) -> bool:
        return step - self.config.trajectory < self.turn <= step

    def mass(self, step: int, variance: Tensor, layout: Layout) -> Tensor:
        """M T (W, P) after one more estimate of m, `variance` (W, P), at `step`."""
        if step and self._turns(step):
            self.estimates = 0
        self.estimates += 1
        self.variance = self.variance.lerp(variance, 1.0 / self.estimates)
        means = layer_means(self.variance, layout)
        return means if self.config.layer_mean else torch.maximum(self.variance, self.config.mass_floor * means)

    def checkpoint(self) -> dict[str, np.ndarray]:
        """The state from which the burn-in continues: arrays (W, ...)."""
        tensors = {"average": self.average, "variance": self.variance}
        arrays = {name: tensor.cpu().numpy() for name, tensor in tensors.items()}
        return {**arrays, "estimates": np.full(len(self._stages), self.estimates)}

    def restore(self, time_step: Tensor, average: Tensor, variance: Tensor, estimates: int) -> None:
        """Continue from `checkpoint`."""
        self.time_step, self.average, self.variance, self.estimates = time_step, average, variance, estimates
