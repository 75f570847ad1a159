"""Walkers on several ranks that move in temperature. Weights and momenta never leave their rank.

Source: docs/method/tempering.md sections 1 to 5.

After the burn-in of the kernel (`sampler.adapt_until`) a sweep follows each draw, or every few draws. Trajectories
begin at half of their burn-in, because their time step is tuned with the common masses. A sweep gathers energies only.
Every rank computes the same moves from them (`sampling.temperature`), and the ranks compare a digest of the outcome.
Before the first sweep all walkers adopt one M T: for each parameter the largest that any walker found. The momenta
N(0, M T) then have the same law at every temperature, and a move changes only T and M.
"""

from __future__ import annotations

import hashlib
from typing import Protocol

import numpy as np

from hpc.world import World
from protmpi.ensemble import Ensemble
from protmpi.errors import SamplingError
from protmpi.plan import Plan
from protmpi.sampling.temperature.exchange import Exchange
from protmpi.sampling.temperature.simulated import Simulated


class Walk(Protocol):
    """Moves of walkers over the temperatures (slots,). `slot` (walkers,) is their place. The same on every rank."""

    temperatures: np.ndarray
    slot: np.ndarray

    def sweep(self, number: int, energies: np.ndarray, learn: bool) -> None: ...
    def history(self) -> dict[str, np.ndarray]: ...
    def learned(self) -> np.ndarray: ...
    def restore(self, slot: np.ndarray, learned: np.ndarray) -> None: ...


class Tempering:
    """The moves of all walkers of a run in temperature."""

    def __init__(self, plan: Plan) -> None:
        self.config, sampler = plan.config.tempering, plan.config.sampler
        self._begin = sampler.adapt_until // 2 if sampler.full_batch else sampler.adapt_until
        temperatures = np.asarray(plan.config.sampler.temperatures, dtype=np.float64)
        slot, seed = np.array([plan.config.slot_of(walker) for walker in range(plan.walkers)]), plan.config.run.seed
        self.walk: Walk = (
            Simulated(temperatures, slot, seed)
            if self.config.kind == "simulated"
            else Exchange(temperatures, slot, seed, self.config.scheme)
        )

    @property
    def temperature(self) -> np.ndarray:
        """Temperature of every walker of the run, (walkers,)."""
        return np.asarray(self.walk.temperatures[self.walk.slot])

    def due(self, step: int) -> bool:
        """Whether a sweep follows the draw at `step`."""
        return self.config.kind != "none" and step >= self._begin and step % self.config.exchange_every == 0

    def sweep(self, ensemble: Ensemble, world: World) -> None:
        """Move walkers by the energies of the last draw. Collective."""
        if not ensemble.shares_masses:
            ensemble.share_masses(world.maximum(ensemble.thermal_mass()))
        number = ensemble.step // self.config.exchange_every
        energies = np.concatenate(world.allgather(ensemble.energies))
        self.walk.sweep(number, energies, learn=ensemble.step < self.config.burn_in)
        self._agree(number, world)
        ensemble.move(self.temperature[ensemble.walkers])

    def _agree(self, sweep: int, world: World) -> None:
        """Raise SamplingError, naming the ranks, unless all ranks computed the same slots and temperatures."""
        digest = hashlib.sha256(np.int64(sweep).tobytes() + self.walk.slot.tobytes() + self.walk.learned().tobytes())
        digests = world.allgather(digest.digest())
        if len(set(digests)) > 1:
            usual = max(set(digests), key=digests.count)
            others = [str(rank) for rank, each in enumerate(digests) if each != usual]
            raise SamplingError(
                f"sweep {sweep}: ranks {', '.join(others)} computed another permutation than the rest: their memory or "
                "their library is at fault; nothing after the last commit is kept"
            )

    def draw(self, walkers: range) -> dict[str, np.ndarray]:
        """Slots of the walkers `walkers` and the learned quantities, (len(walkers), ...) each."""
        mine = slice(walkers.start, walkers.stop)
        kept = {name: np.tile(values, (len(walkers), 1)) for name, values in self.walk.history().items()}
        return {"slot": self.walk.slot[mine], "slot_temperature": self.temperature[mine], **kept}

    def checkpoint(self, walkers: range) -> dict[str, np.ndarray]:
        """State of the walkers `walkers`: arrays (len(walkers), ...). Every row repeats the learned quantities."""
        slot = self.walk.slot[walkers.start : walkers.stop]
        return {"slot": slot, "learned": np.tile(self.walk.learned(), (len(walkers), 1))}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Continue from the `slot` and `learned` of all walkers."""
        self.walk.restore(arrays["slot"], arrays["learned"][0])
