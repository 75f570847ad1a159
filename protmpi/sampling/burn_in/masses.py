"""Masses from s², the variance of the mini-batch gradient, while they adapt (docs/method/noise.md section 3).

In the first half of the burn-in masses stay and rho_i follows s². Where rho_i would pass rho_max, the mass grows and
p_i is drawn anew. With probability p_reset all masses are computed again from s² and all momenta are drawn anew. At
half of the burn-in all masses are computed again. In the second half they only grow, where s² requires it, so that the
fraction of the noise is at most rho at the weights that the walker visits.
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
    """Masses (W, P) for the fraction rho (W, 1) of the noise, with a floor relative to each array.

    A parameter of tiny s², for example of a hidden unit that is off, would get a tiny mass. Its step would be unstable
    once the unit is on. So masses use an s² of at least `mass_floor` times its mean over the array (or that mean for
    all parameters, `layer_mean`). The white noise follows the true s², so the thermostat stays exact.
    """
    means = layer_means(noise_variance, layout)
    chosen = means if config.layer_mean else torch.maximum(noise_variance, config.mass_floor * means)
    return torch.maximum(masses(chosen, rho, thermostat), masses(noise_variance, config.rho_max, thermostat))


def new_masses(
    mass: Tensor, fresh: Tensor, noise_variance: Tensor, thermostat: Thermostat, rho_max: float, reset: Sequence[bool]
) -> tuple[Tensor, Tensor]:
    """Masses after an estimate of s², and which momenta are drawn anew: (W, P) each. `fresh` is from `fresh_masses`."""
    too_noisy = noise_share(noise_variance, mass, thermostat) > rho_max
    grown = torch.where(too_noisy, masses(noise_variance, rho_max, thermostat), mass)
    everything = torch.tensor(list(reset), device=mass.device).unsqueeze(1)
    return torch.where(everything, fresh, grown), too_noisy | everything


def settled_masses(mass: Tensor, fresh: Tensor) -> tuple[Tensor, Tensor]:
    """Like `new_masses`, in the second half of the burn-in: masses only grow.

    s² of a parameter varies by orders of magnitude over the sampled weights, because hidden units go on and off. A mass
    that was computed while s² is small would later take most of its thermal noise from mini-batches.
    """
    return torch.maximum(mass, fresh), fresh > mass
