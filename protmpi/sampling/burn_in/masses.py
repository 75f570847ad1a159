"""Masses from s², the variance of the mini-batch gradient, while they adapt (docs/method/noise.md section 3).

In the first half of the burn-in masses stay, so that rho_i follows s²; where it would pass rho_max the mass grows
instead and p_i is drawn anew; with probability p_reset all masses follow s² again and all momenta are drawn anew. Then
all masses are made anew, and in the second half they only grow, where s² asks for it: at the weights that the walker
visits the fraction of the noise is rho at most.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from protmpi.models.layout import Layout
from protmpi.sampling.kernels.noise import Thermostat, masses, noise_share
from protmpi.sampling.sections import SamplerConfig


def layer_means(noise_variance: Tensor, layout: Layout) -> Tensor:
    """s² averaged over each array of the network, (W, P)."""
    means = [noise_variance[:, e.slice].mean(1, keepdim=True).expand(-1, e.size) for e in layout.entries]
    return torch.cat(means, dim=1)


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
