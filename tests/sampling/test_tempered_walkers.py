"""Exchange and simulated tempering through whole blocks: the law of every slot, momenta included, by quadrature.

Walkers are pseudo-Langevin blocks with drawn mini-batches that move over the temperatures by their energies. Each check
has a twin that is deliberately wrong and must fail it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pytest
import torch
from problems import sampler
from torch import Tensor

from protmpi.models.layout import Layout
from protmpi.sampling.temperature.exchange import Exchange
from protmpi.sampling.temperature.simulated import Simulated
from protmpi.sampling.walkers.langevin import LangevinBlock
from protmpi.sampling.walkers.trajectories import TrajectoryBlock

LIMIT = 3.5  # of some 60 comparisons in all
GROUPS = 40  # ladders, or groups of walkers, that never meet
SAMPLES = 200


@dataclass
class Wells:
    """height (w_0² - 1)² + tilt w_0 + stiffness/2 (|w_1|² + ...), and a mini-batch noise that averages to nothing."""

    height: float
    tilt: float
    stiffness: float
    size: int
    train_size: int = SAMPLES

    def __post_init__(self) -> None:
        push = np.random.default_rng(3).standard_normal((SAMPLES, self.size))
        self.push = torch.from_numpy(3.0 * (push - push.mean(0)))
        self.layout = Layout([("well", (1,)), ("springs", (self.size - 1,))])

    def exact(self, w: Tensor) -> Tensor:
        well, springs = w[:, 0], w[:, 1:]
        return self.height * (well**2 - 1) ** 2 + self.tilt * well + 0.5 * self.stiffness * (springs**2).sum(1)

    def gradient(self, w: Tensor, indices: np.ndarray | None) -> tuple[Tensor, Tensor]:
        push = torch.zeros_like(w) if indices is None else self.push[indices].mean(1)
        slope = self.stiffness * w
        slope[:, 0] = 4 * self.height * w[:, 0] * (w[:, 0] ** 2 - 1) + self.tilt
        return self.exact(w) + (w * push).sum(1), slope + push

    def evaluate(self, w: Tensor, split: str) -> tuple[np.ndarray, np.ndarray]:
        return self.exact(w).numpy(), np.zeros(len(w))

    def moments(self, temperature: float) -> tuple[float, float, float]:
        """Exact <U>, <w_0> and ln Z at a temperature, by quadrature over the well."""
        x = np.linspace(-2.5, 2.5, 20_001)
        energy = self.height * (x**2 - 1) ** 2 + self.tilt * x
        boltzmann = np.exp(-energy / temperature)
        z, springs = boltzmann.sum() * (x[1] - x[0]), self.size - 1
        log_z = np.log(z) + 0.5 * springs * np.log(2 * np.pi * temperature / self.stiffness)
        mean = (energy * boltzmann).sum() / boltzmann.sum() + 0.5 * springs * temperature
        return float(mean), float((x * boltzmann).sum() / boltzmann.sum()), float(log_z)


TWO_WELLS = Wells(height=1.0, tilt=0.25, stiffness=2.0, size=3)
HARMONIC = Wells(height=0.0, tilt=0.0, stiffness=2.0, size=5)
LADDER = np.geomspace(0.15, 0.6, 4)


class Series(NamedTuple):
    """What walkers did after the burn-in, (draw, walker) each; momenta as p²/(M T) per parameter."""

    slot: np.ndarray
    energy: np.ndarray
    well: np.ndarray
    kinetic: np.ndarray


def sample(task: Wells, walk: Exchange | Simulated, kind: str, draws: int, every: int, spoil: str = "") -> Series:
    """Let walkers move after every `every` steps; the first quarter of the draws is burn-in."""
    walkers = len(walk.slot)
    config = sampler(kind=kind, rho=0.005, m1=0.3, batch=16, min_extractions=100, max_extractions=200,
                           adapt_until=105, min_adj_step=1_000, trajectory=7,
                           temperatures=walk.temperatures.tolist())  # fmt: skip
    start = torch.randn(walkers, task.size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    arguments = (range(walkers), start, walk.temperatures[walk.slot], task, config, 7)
    block = TrajectoryBlock(*arguments) if config.full_batch else LangevinBlock(*arguments)
    block.initialise()
    block.explore(config.adapt_until)
    thermal = (block.mass * block.temperature).amax(0)
    block.share_masses(thermal.numpy())
    kept = []
    for draw in range(draws):
        block.explore(every)
        energy = task.exact(block.position).numpy()
        kinetic = (block.state.momentum**2 / thermal).mean(1).numpy() if isinstance(block, LangevinBlock) else energy
        measured = draw >= draws // 4
        if measured:
            kept.append((walk.slot.copy(), energy, block.position[:, 0].numpy().copy(), kinetic))
        walk.sweep(draw, energy[::-1].copy() if spoil == "energies" else energy, learn=not measured)
        mass = block.mass
        block.move(walk.temperatures[walk.slot])
        if spoil == "masses" and isinstance(block, LangevinBlock):  # masses that stay behind
            block._state = block.kernel.with_noise(replace(block.state, mass=mass))
    return Series(*(np.stack(column) for column in zip(*kept, strict=True)))


def z_of(parts: np.ndarray, expected: float) -> float:
    """z-score of the mean of independent parts."""
    return float((parts.mean() - expected) / (parts.std(ddof=1) / np.sqrt(parts.size)))


def by_group(series: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Means of the chosen entries (draw, walker), one for each of GROUPS groups of walkers that never meet."""
    groups = zip(np.array_split(series, GROUPS, 1), np.array_split(chosen, GROUPS, 1), strict=True)
    return np.array([part[here].mean() for part, here in groups])


def worst(found: Series, task: Wells) -> dict[str, float]:
    """Largest |z| over slots of <U>, <w_0>, the kinetic temperature, <exp(-(b' - b) U)> = Z'/Z for the slot below."""
    scores: dict[str, list[float]] = {"energy": [], "well": [], "kinetic": [], "free energy": []}
    for k, temperature in enumerate(LADDER):
        energy, well, log_z = task.moments(temperature)
        here = found.slot == k
        scores["energy"].append(z_of(by_group(found.energy, here), energy))
        scores["well"].append(z_of(by_group(found.well, here), well))
        scores["kinetic"].append(z_of(by_group(found.kinetic, here), 1.0))
        if k:
            colder = LADDER[k - 1]
            factor = np.exp(-(1 / colder - 1 / temperature) * found.energy)
            scores["free energy"].append(z_of(by_group(factor, here), np.exp(task.moments(colder)[2] - log_z)))
    return {name: float(np.abs(z).max()) for name, z in scores.items()}


def exchange(task: Wells, kind: str = "unconstrained", spoil: str = "") -> dict[str, float]:
    slot = np.tile(np.arange(len(LADDER)), GROUPS)
    walk = Exchange(LADDER.copy(), slot, 5, "even-odd")
    walk._rounds = 60  # the ladder stays where the quadrature is
    found = worst(sample(task, walk, kind, draws=600, every=7 if kind == "trajectories" else 10, spoil=spoil), task)
    if kind == "trajectories":  # momenta are drawn anew for every trajectory
        del found["kinetic"]
    return found


@pytest.mark.parametrize("task", [TWO_WELLS, HARMONIC], ids=["two wells", "harmonic"])
@pytest.mark.parametrize("kind", ["unconstrained", "trajectories"])
def test_exchange_through_blocks_gives_the_law_of_every_slot(task: Wells, kind: str) -> None:
    found = exchange(task, kind)
    assert max(found.values()) < LIMIT, found


def test_exchange_by_the_energies_of_others_fails() -> None:
    assert exchange(TWO_WELLS, spoil="energies")["energy"] > 2 * LIMIT


def test_masses_that_stay_behind_fail() -> None:
    assert exchange(HARMONIC, spoil="masses")["kinetic"] > 2 * LIMIT


def simulated(task: Wells, spoil: str = "") -> tuple[dict[str, float], np.ndarray, np.ndarray]:
    """Worst scores; shares of the slots that the learned weights give, Z_k exp(g_k), and z-scores of the visits."""
    walk = Simulated(LADDER.copy(), np.arange(GROUPS * 3) % len(LADDER), 5)
    series = sample(task, walk, "unconstrained", draws=800, every=10, spoil=spoil)
    share = np.exp(np.array([task.moments(t)[2] for t in LADDER]) + walk.log_weight)
    share /= share.sum()
    everywhere = np.ones(series.slot.shape, dtype=bool)
    visits = [by_group((series.slot == k).astype(float), everywhere) for k in range(len(LADDER))]
    return worst(series, task), share, np.array([z_of(v, p) for v, p in zip(visits, share, strict=True)])


def test_simulated_tempering_through_blocks_gives_the_law_of_every_slot_and_the_free_energies() -> None:
    found, share, z = simulated(TWO_WELLS)
    assert max(found.values()) < LIMIT, found
    assert np.abs(z).max() < LIMIT, z
    assert np.abs(share * len(LADDER) - 1.0).max() < 0.3, "the weights were learned: slots are visited alike"


def test_jumps_by_the_energies_of_others_fail() -> None:
    found, share, _ = simulated(TWO_WELLS, spoil="energies")
    assert found["energy"] > 2 * LIMIT
    assert np.abs(share * len(LADDER) - 1.0).max() > 0.3
