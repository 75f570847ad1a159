"""A thousand ranks in one process: what a sweep gathers does not depend on the network, and ranks need no root."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from hpc.world import OneRank
from protmpi.config import Config
from protmpi.errors import SamplingError
from protmpi.plan import Plan
from protmpi.tempering import Tempering

RANKS, SLOTS = 1_024, 512


class Crowd(OneRank):
    """Rank `rank` of many, each of which says what `everyone` says in this round; counts the bytes of its own words."""

    def __init__(self, rank: int, everyone: list[np.ndarray]) -> None:
        self.rank, self.size, self.everyone = rank, RANKS, everyone
        self.sent: list[int] = []
        self.digests: list[bytes] = []

    def allgather(self, item: Any) -> list[Any]:
        self.sent.append(len(pickle.dumps(item)))
        if isinstance(item, bytes):
            return self.digests + [item] * (RANKS - len(self.digests))
        return self.everyone


class OneWalker:
    """The ensemble of a rank with one walker of many parameters."""

    def __init__(self, rank: int, energy: np.ndarray, parameters: int) -> None:
        self.walkers, self.energies, self.step = range(rank, rank + 1), energy, 1_000
        self.shares_masses, self.temperatures = False, np.empty(0)
        self._parameters = parameters

    def thermal_mass(self) -> np.ndarray:
        return np.ones(self._parameters, dtype=np.float32)

    def share_masses(self, thermal_mass: np.ndarray) -> None:
        self.shares_masses = True

    def move(self, temperatures: np.ndarray) -> None:
        self.temperatures = temperatures


def sweep(rank: int, parameters: int = 10, digests: int = 0) -> tuple[Crowd, OneWalker, Tempering]:
    """A sweep as rank `rank` sees it; `digests` ranks before it say something else of the outcome."""
    config = Config.model_validate({
        "sampler": {"adapt_until": 1_000, "walkers_per_temperature": RANKS // SLOTS},
        "tempering": {"kind": "exchange", "t_min": 1e-4, "t_max": 2e-4, "slots": SLOTS, "burn_in": 2_000},
    })  # fmt: skip
    energies = 1.0 + 1e-3 * np.random.default_rng(1).standard_normal((RANKS, 1))
    world, ensemble = Crowd(rank, list(energies)), OneWalker(rank, energies[rank], parameters)
    world.digests = [b"another"] * digests
    tempering = Tempering(Plan(config, None, None, 1))  # type: ignore[arg-type]
    tempering.sweep(ensemble, world)  # type: ignore[arg-type]
    return world, ensemble, tempering


def test_a_sweep_of_a_thousand_ranks_gathers_energies_and_a_digest_whatever_the_network() -> None:
    small, large = (sweep(7, parameters)[0] for parameters in (10, 1_000_000))
    assert small.sent == large.sent
    assert len(small.sent) == 2
    assert sum(small.sent) < 400, "bytes that a rank says in a sweep"


def test_every_rank_comes_to_the_same_slots() -> None:
    found = [sweep(rank) for rank in (0, 511, 1_023)]
    for _, ensemble, tempering in found:
        np.testing.assert_array_equal(tempering.walk.slot, found[0][2].walk.slot)
        assert ensemble.temperatures == tempering.temperature[ensemble.walkers]
    slot = found[0][2].walk.slot.reshape(-1, SLOTS)
    assert (slot != np.arange(SLOTS)).any()
    np.testing.assert_array_equal(np.sort(slot, axis=1), np.broadcast_to(np.arange(SLOTS), slot.shape))


def test_a_few_of_a_thousand_ranks_that_disagree_are_named() -> None:
    with pytest.raises(SamplingError, match="ranks 0, 1, 2 computed another permutation"):
        sweep(7, digests=3)
