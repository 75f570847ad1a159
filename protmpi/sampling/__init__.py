"""How it is sampled: one kernel per file in the order build / State / init / step. Knows no task, no MPI, no file.

streams          random numbers, one stream per (seed, walker, purpose)
noise            variance s² of the mini-batch gradient and the heat of its correlation, masses, white noise
pseudo_langevin  the thermostat whose noise is partly the mini-batch's (docs/method/pseudo-langevin.md)
constrained      the same on the sphere |w|² = Q (docs/method/sphere.md)
replay           its steps recorded once and replayed, a CUDA graph on a GPU
adaptation       when s² is estimated anew and what becomes of the masses (docs/method/noise.md section 3)
step_size        the search behind `rho = "auto"`
trajectories     full-batch trajectories with a Metropolis test, plain and on the sphere (docs/method/trajectories.md)
energy           what is sampled, as a sampler sees it
exchange, ladder which neighbours swap temperatures, and where the temperatures stand (docs/method/tempering.md)
simulated        walkers that jump over the temperatures alone, by learned weights
block            walkers that are advanced together: langevin, trajectory_block
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from protmpi.sampling.block import Block
    from protmpi.sampling.energy import Energy
    from protmpi.sampling.sections import SamplerConfig


def build(
    walkers: Sequence[int],
    start: Tensor,
    temperatures: np.ndarray,
    energy: Energy,
    config: SamplerConfig,
    seed: int,
    anneal: Sequence[Sequence[float]] = (),
) -> Block[Any]:
    """Walkers of global indices `walkers` at `start` (W, P) and `temperatures` (W,), by the kernel of `config.kind`.

    Trajectories lead each walker through its temperatures of `anneal` first.
    """
    from protmpi.sampling.langevin import LangevinBlock
    from protmpi.sampling.trajectory_block import TrajectoryBlock

    if config.full_batch:
        return TrajectoryBlock(walkers, start, temperatures, energy, config, seed, anneal=anneal)
    return LangevinBlock(walkers, start, temperatures, energy, config, seed)
