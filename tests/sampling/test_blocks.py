"""Blocks of every kind, with real mini-batches drawn from a training set, sample the law of a problem that is solved.

The cost is U(w) = mean over samples of h/2 |w - x_s|², so that the law is Gaussian, on the sphere von Mises-Fisher.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from problems import sampler
from scipy import special
from torch import Tensor

from protmpi.models.layout import Layout
from protmpi.sampling.walkers.block import Block
from protmpi.sampling.walkers.langevin import LangevinBlock
from protmpi.sampling.walkers.trajectories import TrajectoryBlock

P, WALKERS, TEMPERATURE, STIFFNESS, LIMIT = 10, 24, 0.02, 1.0, 4.0


class Springs:
    """h/2 |w - x_s|² for samples x_s, (N, P)."""

    def __init__(self, shift: float = 0.0) -> None:
        self.x = shift + np.random.default_rng(3).standard_normal((400, P))
        self.layout, self.train_size = Layout([("a", (4,)), ("b", (2, 3))]), 400

    def gradient(self, w: Tensor, indices: np.ndarray | None) -> tuple[Tensor, Tensor]:
        away = w.unsqueeze(1) - torch.from_numpy(self.x if indices is None else self.x[indices]).to(w)
        return 0.5 * STIFFNESS * (away**2).sum(2).mean(1), STIFFNESS * away.mean(1)

    def evaluate(self, w: Tensor, split: str) -> tuple[np.ndarray, np.ndarray]:
        energies, _ = self.gradient(w, None)
        return energies.numpy().astype(np.float64), np.zeros(len(w))


def sample(springs: Springs, steps: int, every: int, **keys: Any) -> tuple[Block, np.ndarray]:
    """The block at the end, and positions (draw, walker, P) after the burn-in."""
    keys = {"rho": 0.05, "batch": 16, "min_extractions": 200, "max_extractions": 400, "m1": 0.3, "min_adj_step": 100,
            "adapt_until": 400, "trajectory": 7, "temperatures": [TEMPERATURE], **keys}  # fmt: skip
    config = sampler(**keys)
    start = 0.3 * torch.randn(WALKERS, P, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    start = start / start.norm(dim=1, keepdim=True)
    kind = TrajectoryBlock if config.full_batch else LangevinBlock
    block = kind(range(WALKERS), start, np.full(WALKERS, TEMPERATURE), springs, config, 1)
    block.initialise()
    block.explore(config.adapt_until)
    draws = []
    for _ in range(steps // every):
        block.explore(every)
        draws.append(block.position.numpy().copy())
    return block, np.stack(draws)


def gaussian(springs: Springs, lamda: float, gamma: float, **keys: Any) -> float:
    """Largest z-score, over parameters, of mean and mean square against the exact Gaussian; draws independent."""
    block, w = sample(springs, **{"lamda": lamda, "gamma": gamma, **keys})
    stiffness = STIFFNESS + lamda + gamma
    centre = (STIFFNESS * springs.x.mean(0) + gamma * block.start.numpy()) / stiffness
    standard = ((w - centre) / np.sqrt(TEMPERATURE / stiffness)).reshape(-1, P)
    mean = standard.mean(0) * np.sqrt(len(standard))
    square = ((standard**2).mean(0) - 1.0) * np.sqrt(len(standard) / 2.0)
    return float(max(np.abs(mean).max(), np.abs(square).max()))


LANGEVIN = {"kind": "unconstrained", "steps": 5_000, "every": 500}
FULL = {"kind": "trajectories", "steps": 700, "every": 35, "adapt_until": 700, "min_adj_step": 140}


@pytest.mark.parametrize(("lamda", "gamma"), [(0.0, 0.0), (0.7, 0.0), (0.5, 1.5)])
@pytest.mark.parametrize("keys", [LANGEVIN, FULL], ids=["pseudo-Langevin", "trajectories"])
def test_regulariser_and_tether_are_part_of_the_law(keys: dict[str, Any], lamda: float, gamma: float) -> None:
    assert gaussian(Springs(), lamda, gamma, **keys) < LIMIT


def test_a_forgotten_tether_fails() -> None:
    block, w = sample(Springs(), **LANGEVIN)
    tethered = (block.start.numpy() + Springs().x.mean(0)) / 2.0
    assert np.abs((w - tethered).mean((0, 1)) / np.sqrt(TEMPERATURE / 2 / w[..., 0].size)).max() > 2 * LIMIT


def on_the_sphere(**keys: Any) -> float:
    """z-score of <w·x> / |x|, |w| = 1, against the Bessel ratio of the von Mises-Fisher law."""
    springs = Springs(shift=0.1)
    _, w = sample(springs, **keys)
    centre = springs.x.mean(0)
    concentration = STIFFNESS * np.linalg.norm(centre) / TEMPERATURE
    along = (w @ centre / np.linalg.norm(centre)).ravel()
    expected = special.ive(P / 2, concentration) / special.ive(P / 2 - 1, concentration)
    return float((along.mean() - expected) / (along.std(ddof=1) / np.sqrt(along.size)))


@pytest.mark.parametrize(
    "keys", [{**LANGEVIN, "kind": "constrained", "rho": 0.01}, {**FULL, "kind": "constrained-trajectories"}], ids=str
)
def test_on_the_sphere_every_kind_gives_the_von_mises_fisher_mean(keys: dict[str, Any]) -> None:
    assert abs(on_the_sphere(**keys)) < LIMIT


def test_the_kinetic_temperature_of_every_array_is_one() -> None:
    """The constraint takes its degree of freedom from each array by its share of w·w/M."""
    block, _ = sample(Springs(shift=0.1), **{**LANGEVIN, "kind": "constrained", "rho": 0.01})
    assert isinstance(block, LangevinBlock)
    ratios = []
    for _ in range(60):
        block.explore(40)
        ratios.append(block.observables()["kinetic_ratio_layer"])
    ratio = np.stack(ratios)
    error = np.sqrt(2.0 / np.array([4, 6]) / ratio[..., 0].size)
    assert (np.abs(ratio.mean((0, 1)) - 1.0) / error).max() < LIMIT + 1


@pytest.mark.parametrize("kind", ["unconstrained", "constrained", "trajectories", "constrained-trajectories"])
def test_a_checkpoint_goes_on_bit_for_bit(kind: str) -> None:
    keys = {**LANGEVIN, "kind": kind, "steps": 42, "every": 21, "adapt_until": 63, "min_adj_step": 21}
    block, _ = sample(Springs(), **keys)
    config = block.config
    other = type(block)(range(WALKERS), block.start, np.full(WALKERS, TEMPERATURE), Springs(), config, 1)
    other.restore(block.step, block.checkpoint(), np.full(WALKERS, TEMPERATURE))
    for each in (block, other):
        each.explore(70)
    for name, values in block.checkpoint().items():
        np.testing.assert_array_equal(values, other.checkpoint()[name], err_msg=name)


@pytest.mark.parametrize("acceptance", [0.6, 0.85])
def test_trajectories_reach_the_acceptance_they_are_asked_for(acceptance: float) -> None:
    block, _ = sample(Springs(), **{**FULL, "acceptance": acceptance, "adapt_until": 2_100})
    assert abs(block.observables()["acceptance"].mean() - acceptance) < 0.05
