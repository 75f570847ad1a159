"""When s² is estimated anew, and what becomes of masses and momenta (METHOD section 4).

Every `due` steps of a walker s² is estimated at its present weights. The masses stay, so that rho_i follows s²; where
it would pass rho_max the mass grows instead and p_i is drawn anew; with probability p_reset all masses follow s²
again and all momenta are drawn anew. The interval is streak x min_adj_step, the streak counting how often in a row
s² agreed with the estimate before. After burn-in masses and momenta are left alone: only the white noise
follows s², so that the measured draws come from one fixed dynamics.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from protmpi.config import SamplerConfig
from protmpi.models.layout import Layout
from protmpi.sampling.noise import Thermostat, masses, noise_share


@dataclass
class Schedule:
    """Per walker: how often in a row s² agreed, and the step of the next estimate. int64 arrays (W,)."""

    streak: np.ndarray
    due: np.ndarray

    @classmethod
    def start(cls, walkers: int, config: SamplerConfig) -> Schedule:
        return cls(np.ones(walkers, dtype=np.int64), np.full(walkers, config.min_adj_step, dtype=np.int64))

    def advance(self, row: int, agrees: bool, step: int, config: SamplerConfig) -> None:
        """Set the next estimate of the walker in `row`."""
        self.streak[row] = self.streak[row] + 1 if agrees else 1
        self.due[row] = step + min(int(self.streak[row]) * config.min_adj_step, config.max_adj_step)


def layer_means(noise_variance: Tensor, layout: Layout) -> Tensor:
    """s² averaged over each array of the network, (W, P)."""
    means = [noise_variance[:, e.slice].mean(1, keepdim=True).expand(-1, e.size) for e in layout.entries]
    return torch.cat(means, dim=1)


def agrees(new: Tensor, old: Tensor, layout: Layout, threshold: float) -> list[bool]:
    """Whether the mean s² of every array is within `threshold` of the last estimate, per walker.

    Means, because the estimate of a single s_i² from 100 mini-batches has an error of 14 % of its own.
    """
    ratios = torch.stack([new[:, e.slice].mean(1) / old[:, e.slice].mean(1) for e in layout.entries], dim=1)
    return ((ratios - 1.0).abs() <= threshold).all(1).tolist()


def new_masses(
    mass: Tensor, noise_variance: Tensor, thermostat: Thermostat, config: SamplerConfig, reset: Sequence[bool]
) -> tuple[Tensor, Tensor]:
    """Masses after an estimate of s², and which momenta must be drawn anew: (W, P) each."""
    share = noise_share(noise_variance, mass, thermostat)
    too_noisy = share > config.rho_max
    grown = torch.where(too_noisy, masses(noise_variance, config.rho_max, thermostat), mass)
    everything = torch.tensor(list(reset), device=mass.device).unsqueeze(1)
    fresh = masses(noise_variance, config.rho, thermostat)
    return torch.where(everything, fresh, grown), too_noisy | everything
