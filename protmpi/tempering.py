"""Replica exchange over ranks: temperatures move between walkers, weights never leave their rank (METHOD section 6).

After the burn-in of the kernel (`sampler.adapt_until`) every draw may be followed by a sweep. One allgather of the
energies, then every rank computes the same swaps; a second one compares what came of it. Masses belong to the slots:
once adapted they are gathered once, and a walker that comes to a slot takes its mass and fresh momenta. Until
`tempering.burn_in` the ladder is spaced anew after 1, 2, 4, ... times FIRST_ROUND sweeps, then frozen.
"""

from __future__ import annotations

import hashlib

import numpy as np

from hpc.world import World
from protmpi.ensemble import Ensemble
from protmpi.errors import SamplingError
from protmpi.plan import Plan
from protmpi.sampling import exchange, ladder

FIRST_ROUND = 8  # sweeps: a rejection rate is known from the energies of every sweep, tried or not


class Tempering:
    """Slots of all walkers, the ladder, and what has been learned of it; the same on every rank."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.config = plan, plan.config.tempering
        self.temperatures = np.asarray(plan.config.sampler.temperatures, dtype=np.float64)
        shape = (plan.walkers // len(self.temperatures), len(self.temperatures))
        self.slot = np.broadcast_to(np.arange(shape[1]), shape).copy()
        self.rejections = np.zeros(shape[1] - 1)  # summed over the sweeps of this round and the ladders
        self.sweeps = 0  # of this round
        self.rounds = 0
        self._masses: np.ndarray | None = None  # (walkers as slots, P) at the present temperatures

    def due(self, step: int) -> bool:
        """Whether a sweep follows the draw at `step`."""
        started = step >= self.plan.config.sampler.adapt_until
        return self.config.kind == "exchange" and started and step % self.config.exchange_every == 0

    def sweep(self, ensemble: Ensemble, world: World) -> None:
        """Swap temperatures by the energies of the last draw. Collective."""
        if self._masses is None:
            self._gather_masses(world.allgather(ensemble.masses()))
        energies = np.concatenate(world.allgather(ensemble.energies)).reshape(self.slot.shape)
        number = ensemble.step // self.config.exchange_every
        swaps = exchange.swap(self.slot, energies, self.temperatures, self.plan.config.run.seed, number,
                              self.config.scheme)  # fmt: skip
        self._agree(world, number, swaps.slot)
        moved = swaps.slot != self.slot
        self.slot = swaps.slot
        if ensemble.step < self.config.burn_in:
            self.rejections += swaps.rejection.sum(0)
            self.sweeps += 1
            if self.sweeps == FIRST_ROUND * 2**self.rounds:
                self._respace()
                moved[:] = True
        self._move(ensemble, moved.ravel())

    def _agree(self, world: World, sweep: int, slot: np.ndarray) -> None:
        """Raise SamplingError, naming the ranks, unless all ranks came to the same permutation."""
        digest = hashlib.sha256(np.int64(sweep).tobytes() + np.ascontiguousarray(slot).tobytes()).hexdigest()
        digests = world.allgather(digest)
        if len(set(digests)) > 1:
            usual = max(set(digests), key=digests.count)
            others = [str(rank) for rank, each in enumerate(digests) if each != usual]
            raise SamplingError(
                f"sweep {sweep}: ranks {', '.join(others)} computed another permutation than the rest: their memory or "
                "their library is at fault; nothing after the last commit is kept"
            )

    def _respace(self) -> None:
        old = self.temperatures
        self.temperatures = ladder.respaced(old, self.rejections / (self.sweeps * len(self.slot)))
        assert self._masses is not None
        scale = np.tile(old / self.temperatures, len(self.slot)).astype(self._masses.dtype)
        self._masses = self._masses * scale[:, None]  # masses are proportional to 1/T
        self.rejections, self.sweeps, self.rounds = np.zeros_like(self.rejections), 0, self.rounds + 1

    def _gather_masses(self, parts: list[np.ndarray]) -> None:
        by_walker = np.concatenate(parts)
        self._masses = np.empty_like(by_walker)
        self._masses[self._home()] = by_walker

    def _home(self) -> np.ndarray:
        """Row of the table of masses that each walker has, (walkers,)."""
        ladders, slots = self.slot.shape
        return (np.arange(ladders)[:, None] * slots + self.slot).ravel()

    def _move(self, ensemble: Ensemble, moved: np.ndarray) -> None:
        assert self._masses is not None
        home, slot = self._home(), self.slot.ravel()
        for walker in ensemble.walkers:
            if moved[walker]:
                ensemble.move(walker, int(slot[walker]), self.temperatures[slot[walker]], self._masses[home[walker]])

    def checkpoint(self, walkers: range) -> dict[str, np.ndarray]:
        """What belongs to the walkers `walkers`, arrays (len(walkers), ...); the ladder is in every row."""
        slot = self.slot.ravel()[walkers.start : walkers.stop]
        learned = np.concatenate([self.temperatures, self.rejections, [self.sweeps, self.rounds]])
        return {"slot": slot, "ladder": np.tile(learned, (len(walkers), 1))}

    def restore(self, step: int, arrays: dict[str, np.ndarray]) -> None:
        """Go on from the `slot`, `ladder` and `mass` of all walkers, in a checkpoint taken at `step`."""
        self.slot = arrays["slot"].reshape(self.slot.shape).copy()
        slots, learned = len(self.temperatures), arrays["ladder"][0]
        self.temperatures, self.rejections = learned[:slots].copy(), learned[slots : 2 * slots - 1].copy()
        self.sweeps, self.rounds = (int(x) for x in learned[2 * slots - 1 :])
        if self.config.kind == "exchange" and step >= self.plan.config.sampler.adapt_until:
            self._gather_masses([arrays["mass"]])
