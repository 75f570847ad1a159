"""The run of a pilot (`protmpi.pilot`): 2 `adapt_until` steps, of which the second half is measured.

It uses at most as many ranks as walkers. Its result is the same on every rank and for every number of ranks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hpc.world import World, together
from protmpi.ensemble import Ensemble
from protmpi.errors import ConfigError, SamplingError
from protmpi.pilot import Pilot
from protmpi.plan import Plan
from protmpi.store.reader import Store

if TYPE_CHECKING:
    from hpc.stop import Stop
    from protmpi.config import Config
    from protmpi.tasks import Task

WALKERS = 4
DRAWS = 20  # energies of each walker, in each half


def find_pilot(config: Config, task: Task, device: str, world: World, stop: Stop) -> Pilot | None:
    """The pilot recorded in the store, or else a new one. Collective. None if a signal stopped it."""
    path = config.execution.store
    kept = together(world, lambda: Store(path).attributes.get("pilot") if path.exists() else None)
    if kept:
        return Pilot(np.array(kept["temperature"]), np.array(kept["energy"]))
    return measure(config, task, device, world, stop)


def measure(config: Config, task: Task, device: str, world: World, stop: Stop) -> Pilot | None:
    """Run the pilot. Collective. None if a signal stopped it.

    Raises ConfigError if an end of the ladder is missing, SamplingError if a walker of the pilot is lost.
    """
    ends = config.tempering.t_min, config.tempering.t_max
    if ends[0] is None or ends[1] is None:
        raise ConfigError("tempering.t_min: a pilot needs t_min and t_max, the ends of the ladder")
    # a seed of its own: the run that follows must not begin with the same random numbers
    plan = Plan.of(config.without_tempering(np.geomspace(ends[0], ends[1], WALKERS), config.run.seed + 1), task, 1)
    mine = range(WALKERS * world.rank // world.size, WALKERS * (world.rank + 1) // world.size)
    ensemble = Ensemble(plan, mine, device) if mine else None
    task.check = stop.check

    def energy(_: int) -> np.ndarray:
        if ensemble is None:
            return np.empty(0)
        ensemble.explore(max(1, config.sampler.adapt_until // DRAWS))
        return ensemble.draw()["energy"]

    energies = []
    for draw in range(2 * DRAWS):
        drawn = stop.attempt(energy)
        if stop.requested() or drawn is None:
            return None
        if draw >= DRAWS:
            energies.append(drawn)
    gathered = [energies for energies in world.allgather(np.array(energies)) if energies.size]
    # average after gathering: the order of numpy's sum depends on how many walkers an array holds
    mean = np.ascontiguousarray(np.concatenate(gathered, axis=1).T).mean(1)
    found = Pilot(np.asarray(plan.config.sampler.temperatures), mean)
    if not np.isfinite(found.energy).all():
        raise SamplingError("the pilot lost a walker: take a smaller sampler.rho")
    return found
