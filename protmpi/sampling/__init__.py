"""The samplers. They know no task, no MPI and no file.

kernels      one step each, in the order build / State / init / step: `pseudo_langevin`, the thermostat whose noise is
             partly mini-batch noise; `constrained`, the same on the sphere; `trajectories` of the full gradient with a
             Metropolis test; `sphere`, its geometry; `noise`, s² and the white noise; `energy`, the sampled energy
burn_in      policies that end when the burn-in ends: `pace` (rho, with the search `step_size`) and `masses` of
             pseudo-Langevin, `tuning` of trajectories
walkers      blocks of walkers that advance together, with their state, checkpoint, observables and recorded steps
temperature  walkers that move in temperature: `exchange` and `simulated`; `ladder` places the temperatures
streams      random numbers, one stream per (seed, walker, purpose)
kinds        the one table of samplers
sections     [sampler] and [tempering] of a configuration
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from protmpi.importing import named
from protmpi.sampling.kinds import SAMPLERS

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from protmpi.models.layout import Layout
    from protmpi.sampling.kernels.energy import Energy
    from protmpi.sampling.sections import SamplerConfig
    from protmpi.sampling.walkers.block import Block
    from protmpi.variables import Variable


def variables(config: SamplerConfig, layout: Layout, unit: str) -> list[Variable]:
    """The variables that walkers of `config.kind` record. `unit` is the unit of the energy."""
    from protmpi.sampling.walkers import block

    own: list[Variable] = named(SAMPLERS[config.kind].block).variables(layout)
    return [*block.cost(config, unit), *own, *block.geometry(config)]


def build(
    walkers: Sequence[int],
    start: Tensor,
    temperatures: np.ndarray,
    energy: Energy,
    config: SamplerConfig,
    seed: int,
    anneal: Sequence[Sequence[float]] = (),
) -> Block[Any]:
    """Walkers `walkers` (global indices) at `start` (W, P) and `temperatures` (W,), with the kernel of `config.kind`.

    `anneal`: temperatures that each walker passes first (trajectories only).
    """
    block = named(SAMPLERS[config.kind].block)
    made: Block[Any] = block(walkers, start, temperatures, energy, config, seed, anneal)
    return made
