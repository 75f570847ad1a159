"""Observables of pseudo-Langevin walkers: their temperature and the noise that drives them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from protmpi.models.layout import Layout
from protmpi.sampling.burn_in.step_size import STAGES
from protmpi.sampling.kernels.noise import Thermostat, noise_share
from protmpi.sampling.kernels.pseudo_langevin import State
from protmpi.variables import Variable

QUANTILES = (0.1, 0.5, 0.9)
"""Quantiles of s² over each array and of rho over all parameters that the history of the adaptation records."""


def variables(layout: Layout) -> list[Variable]:
    """The variables that a block of such walkers records beside its geometry."""
    arrays, of_arrays = (len(layout.entries),), "each array of `parameter_layout`"
    return [
        Variable("kinetic_ratio", "draw", "kinetic temperature over T, exact mean 1"),
        Variable("kinetic_ratio_layer", "draw", f"the same for {of_arrays}", dims=("layer",), shape=arrays),
        Variable("noise_variance", "draw", f"quantiles {QUANTILES} of s² over {of_arrays}", role="way",
                 dims=("layer", "quantile"), shape=(*arrays, len(QUANTILES))),
        Variable("noise_share", "draw", f"quantiles {QUANTILES} over all parameters of the fraction of the noise",
                 role="way", dims=("quantile",), shape=(len(QUANTILES),)),
        Variable("rho", "draw", "fraction of the thermal noise that sets the masses", role="way"),
        Variable("collective_excess", "draw", "excess temperature, over T, where mini-batch noise is strongest",
                 role="way", shown=False),
        Variable("rho_search", "draw", f"stage of the search for rho: -1 no search, {dict(enumerate(STAGES))}",
                 role="way", dtype="int32"),
        Variable("streak", "draw", "how often in a row s² agreed with the last estimate", role="way", dtype="int64"),
        Variable("next_estimate", "draw", "step of the next estimate of s²", "steps", role="way", dtype="int64"),
    ]  # fmt: skip


def kinetic_ratio(state: State, temperature: Tensor, on_sphere: bool) -> np.ndarray:
    """Kinetic temperature over T, (W,): p²/M over (degrees of freedom T), for temperatures (W, 1)."""
    freedom = state.position.shape[1] - on_sphere
    ratio = _kinetic_energies(state).sum(1) / (freedom * temperature.squeeze(1).double())
    return np.asarray(ratio.cpu().numpy())


def kinetic_ratio_of_arrays(state: State, temperature: Tensor, on_sphere: bool, layout: Layout) -> np.ndarray:
    """The same for each array of the network, (W, arrays).

    The constraint removes one degree of freedom from all arrays together. Each array loses its fraction of w·w/M.
    """
    w, energies = state.position.double(), _kinetic_energies(state)
    metric = w * w / state.mass if on_sphere else torch.zeros_like(w)
    total = metric.sum(1).clamp(min=torch.finfo(torch.float64).tiny)
    columns = [energies[:, e.slice].sum(1) / (e.size - metric[:, e.slice].sum(1) / total) for e in layout.entries]
    return np.asarray((torch.stack(columns, 1) / temperature.double()).cpu().numpy())


def _kinetic_energies(state: State) -> Tensor:
    """p²/M of every parameter, (W, P) float64."""
    p = state.momentum.double()
    return p * p / state.mass


def noise(state: State, thermostat: Thermostat, layout: Layout) -> dict[str, np.ndarray]:
    """Quantiles of s² over each array (W, arrays, 3) and of the fraction of the noise over all parameters (W, 3)."""
    variance = [_quantiles(state.noise_variance[:, e.slice]) for e in layout.entries]
    share = _quantiles(noise_share(state.noise_variance, state.mass, thermostat))
    return {"noise_variance": np.asarray(torch.stack(variance, 1).cpu().numpy()),
            "noise_share": np.asarray(share.cpu().numpy())}  # fmt: skip


def _quantiles(x: Tensor) -> Tensor:
    """QUANTILES (W, 3) of the rows of x (W, n), float64. Row by row, because torch accepts 2^24 numbers at most."""
    at = torch.tensor(QUANTILES, dtype=torch.float64, device=x.device)
    return torch.stack([row.double().quantile(at) for row in x])
