"""When s² is estimated anew, and what becomes of masses and momenta (docs/method/noise.md section 3).

Every `due` steps of a walker s² is estimated at its present weights. In the first half of the burn-in the masses stay,
so that rho_i follows s²; where it would pass rho_max the mass grows instead and p_i is drawn anew; with probability
p_reset all masses follow s² again and all momenta are drawn anew. Then all masses are made anew, and in the second half
they only grow, where s² asks for it: at the weights that the walker visits the share of the noise is rho at most. The
interval is streak x min_adj_step, the streak counting how often in a row s² agreed with the estimate before. After
burn-in masses and momenta are left alone: only the white noise follows s², so that the measured draws come from one
fixed dynamics.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from protmpi.models.layout import Layout
from protmpi.sampling.noise import Thermostat, masses, noise_share
from protmpi.sampling.sections import SamplerConfig


@dataclass
class Schedule:
    """Per walker: how often in a row s² agreed, and the step of the next estimate. int64 arrays (W,)."""

    streak: np.ndarray
    due: np.ndarray

    @classmethod
    def start(cls, walkers: int, config: SamplerConfig) -> Schedule:
        return cls(np.ones(walkers, dtype=np.int64), np.full(walkers, config.min_adj_step, dtype=np.int64))

    def arrays(self) -> dict[str, np.ndarray]:
        """For a checkpoint."""
        return {"streak": self.streak.copy(), "due": self.due.copy()}

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


def fresh_masses(
    noise_variance: Tensor, rho: Tensor, thermostat: Thermostat, config: SamplerConfig, layout: Layout
) -> Tensor:
    """Masses (W, P) for the share rho (W, 1) of the noise, no smaller than a floor relative to each array.

    A parameter of tiny s², say of a hidden unit that is off, would get a tiny mass and a step that its curvature
    cannot bear once the unit is on. So masses take s² from `mass_floor` times its mean over the array upwards (or
    that mean for all, `layer_mean`), while the white noise follows the true s²: the thermostat stays exact.
    """
    means = layer_means(noise_variance, layout)
    chosen = means if config.layer_mean else torch.maximum(noise_variance, config.mass_floor * means)
    return torch.maximum(masses(chosen, rho, thermostat), masses(noise_variance, config.rho_max, thermostat))


def new_masses(
    mass: Tensor, fresh: Tensor, noise_variance: Tensor, thermostat: Thermostat, rho_max: float, reset: Sequence[bool]
) -> tuple[Tensor, Tensor]:
    """Masses after an estimate of s², and which momenta must be drawn anew: (W, P) each; `fresh` of `fresh_masses`."""
    too_noisy = noise_share(noise_variance, mass, thermostat) > rho_max
    grown = torch.where(too_noisy, masses(noise_variance, rho_max, thermostat), mass)
    everything = torch.tensor(list(reset), device=mass.device).unsqueeze(1)
    return torch.where(everything, fresh, grown), too_noisy | everything


def settled_masses(mass: Tensor, fresh: Tensor) -> tuple[Tensor, Tensor]:
    """The same in the second half of the burn-in: masses only grow.

    s² of a parameter differs by orders of magnitude between weights that are sampled alike, as hidden units go on and
    off. A mass made at the wrong moment takes most of its thermal noise from mini-batches later.
    """
    return torch.maximum(mass, fresh), fresh > mass
