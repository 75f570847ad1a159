"""Hybrid Monte Carlo samples its law exactly, whatever the step size, plain and on the sphere."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import special
from torch import Tensor

from protmpi.sampling import hmc

WALKERS = 2_000
LIMIT = 4.0


def run(
    energy_gradient: hmc.EnergyGradient,
    start: Tensor,
    mass: Tensor,
    dt: float,
    trajectories: int,
    leapfrog_steps: int = 5,
    norm2: float | None = None,
    fixman: bool = True,
    spoil: Callable[[Tensor], Tensor] = lambda u: u,
) -> tuple[Tensor, float]:
    """Last positions and the mean acceptance."""
    generator = torch.Generator().manual_seed(11)
    kernel = hmc.build(
        torch.ones(len(start), 1, dtype=start.dtype), dt, leapfrog_steps, energy_gradient,
        lambda like: torch.randn(like.shape, generator=generator, dtype=like.dtype),
        lambda: spoil(torch.rand((len(start), 1), generator=generator, dtype=torch.float64)),
        None if norm2 is None else torch.full((len(start), 1), norm2, dtype=torch.float64), fixman,
    )  # fmt: skip
    state = kernel.init(start, mass.expand_as(start).clone())
    accepted = 0.0
    for _ in range(trajectories):
        state = kernel.step(state)
        accepted += float(state.accepted.double().mean())
    return state.position, accepted / trajectories


def harmonic(w: Tensor) -> tuple[Tensor, Tensor]:
    curvature = torch.tensor([1.0, 4.0], dtype=w.dtype)
    return 0.5 * (curvature * w**2).sum(1, keepdim=True).double(), curvature * w


def z_of_variance(samples: np.ndarray, expected: float) -> float:
    squares = samples**2 / expected
    return float((squares.mean() - 1) / (squares.std(ddof=1) / np.sqrt(len(squares))))


def harmonic_z(spoil: Callable[[Tensor], Tensor] = lambda u: u) -> tuple[list[float], float]:
    """Steps so large that a fifth of the trajectories is refused: without the test the law would be wrong."""
    start = torch.zeros(WALKERS, 2, dtype=torch.float64)
    position, accepted = run(harmonic, start, torch.ones(2, dtype=torch.float64), 0.7, 60, spoil=spoil)
    return [z_of_variance(position[:, i].numpy(), expected) for i, expected in ((0, 1.0), (1, 0.25))], accepted


def test_harmonic_variances_are_exact_at_any_step_size() -> None:
    z, accepted = harmonic_z()
    assert max(map(abs, z)) < LIMIT
    assert 0.5 < accepted < 0.95


def test_without_the_metropolis_test_the_law_is_wrong() -> None:
    z, accepted = harmonic_z(spoil=lambda u: u * 0)
    assert accepted == 1.0
    assert max(map(abs, z)) > 2 * LIMIT


def linear(concentration: float) -> hmc.EnergyGradient:
    def energy_gradient(w: Tensor) -> tuple[Tensor, Tensor]:
        g = torch.zeros_like(w)
        g[:, 1] = -concentration
        return -concentration * w[:, 1:2].double(), g

    return energy_gradient


@pytest.mark.parametrize("dimension", [3, 20])
def test_linear_energy_on_the_sphere_gives_the_von_mises_fisher_mean(dimension: int) -> None:
    """Unequal masses with the Fixman potential: the Bessel ratio I_{n/2}(k) / I_{n/2-1}(k)."""
    concentration = 3.0
    start = torch.zeros(WALKERS, dimension, dtype=torch.float64)
    start[:, 0] = 1.0
    mass = torch.linspace(100.0, 300.0, dimension, dtype=torch.float64)
    position, accepted = run(linear(concentration), start, mass, 1.0, 120, norm2=1.0)
    samples = position[:, 1].numpy()
    expected = special.ive(dimension / 2, concentration) / special.ive(dimension / 2 - 1, concentration)
    z = (samples.mean() - expected) / (samples.std(ddof=1) / np.sqrt(WALKERS))
    assert abs(z) < LIMIT
    assert accepted > 0.8
    torch.testing.assert_close((position**2).sum(1), torch.ones(WALKERS, dtype=torch.float64))


def flat(w: Tensor) -> tuple[Tensor, Tensor]:
    return torch.zeros(len(w), 1, dtype=torch.float64), torch.zeros_like(w)


@pytest.mark.parametrize("fixman", [True, False])
def test_unequal_masses_need_the_fixman_potential(fixman: bool) -> None:
    """Masses 1 : 10 : 100 and U = 0: mean squares 1/3 each with it; 0.46, 0.28, 0.25 without."""
    start = torch.zeros(WALKERS, 3, dtype=torch.float64)
    start[:, 2] = 1.0
    mass = torch.tensor([1.0, 10.0, 100.0], dtype=torch.float64) / 0.05**2
    # 40 steps of 0.005 for the heaviest coordinate: 150 trajectories cross the sphere some ten times over
    squares = run(flat, start, mass, 1.0, 150, leapfrog_steps=40, norm2=1.0, fixman=fixman)[0].numpy() ** 2
    error = squares.std(0, ddof=1) / np.sqrt(WALKERS)
    if fixman:
        assert np.abs((squares.mean(0) - 1 / 3) / error).max() < LIMIT
    else:
        assert np.abs((squares.mean(0) - 1 / 3) / error).max() > 2 * LIMIT
        assert np.abs(squares.mean(0) - [0.46, 0.28, 0.25]).max() < LIMIT * error.max() + 0.005
