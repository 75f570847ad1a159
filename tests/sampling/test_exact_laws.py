"""The kernels sample the laws they claim. Thousands of independent walkers, stored seeds, z-scores below 4.

Every check has a twin that is deliberately wrong and must fail it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from scipy import special, stats
from torch import Tensor

from protmpi.sampling.kernels import constrained, pseudo_langevin
from protmpi.sampling.kernels.noise import Thermostat, white_noise
from protmpi.sampling.kernels.pseudo_langevin import PseudoLangevin, State

WALKERS = 2_000
LIMIT = 4.0  # standard errors; a test has at most some dozens of comparisons
SCHEMES = ("double", "single")
F32, F64 = torch.float32, torch.float64


Spoil = Callable[[State, Thermostat], State]
"""Makes a broken twin of a healthy state."""


def healthy(state: State, thermostat: Thermostat) -> State:
    return state


def too_hot(state: State, thermostat: Thermostat) -> State:
    """White noise off by a tenth."""
    return replace(state, first_amplitude=1.1 * state.first_amplitude, second_amplitude=1.1 * state.second_amplitude)


def uncorrected(state: State, thermostat: Thermostat) -> State:
    """The first half kick takes k, as if its mini-batch were not used twice."""
    double = replace(thermostat, scheme="double")
    return replace(state, first_amplitude=white_noise(state.noise_variance, state.mass, double)[0])


@dataclass
class Experiment:
    """A kernel on synthetic mini-batches: gradient = exact(w) + s N(0, 1), with s such that rho is as asked."""

    exact: Callable[[Tensor], Tensor]
    mass: Tensor
    temperature: float
    rho: float
    scheme: str
    m1: float = 0.3
    norm2: float | None = None  # None: unconstrained
    fixman: bool = False
    spoil: Spoil = healthy
    seed: int = 1

    def run(self, start: Tensor, steps: int, every: int = 0) -> list[State]:
        """States every `every` steps (default: only the last one)."""
        generator = torch.Generator().manual_seed(self.seed)
        thermostat = Thermostat(
            torch.full((len(start), 1), self.temperature, dtype=start.dtype), self.m1, 1.0, self.scheme
        )
        noise_variance = (4.0 * self.rho * self.temperature * self.m1**2 * self.mass).expand_as(start)
        noise = noise_variance.sqrt()

        def normals(like: Tensor) -> Tensor:
            return torch.randn(like.shape, generator=generator, dtype=like.dtype)

        def gradient(w: Tensor) -> Tensor:
            return self.exact(w) + noise * normals(w)

        kernel: PseudoLangevin
        if self.norm2 is None:
            kernel = pseudo_langevin.build(thermostat, gradient, normals)
        else:
            norm2 = torch.full((len(start), 1), self.norm2, dtype=torch.float64)
            kernel = constrained.build(thermostat, gradient, normals, norm2, self.fixman)
        state = kernel.init(start, self.mass.expand_as(start).clone(), noise_variance)
        state = self.spoil(state, thermostat)
        kept = []
        for step in range(1, steps + 1):
            state = kernel.step(state)
            if every and step % every == 0:
                kept.append(state)
        return kept or [state]


def z_of_mean(samples: np.ndarray, expected: float) -> float:
    """z-score of the mean of independent samples."""
    return float((samples.mean() - expected) / (samples.std(ddof=1) / np.sqrt(len(samples))))


def harmonic(scheme: str, rho: float, spoil: Spoil = healthy) -> list[float]:
    """z-scores of momenta against N(0, M T) and positions against N(mean, T/curvature)."""
    mass = torch.tensor([1.0, 4.0, 0.5], dtype=torch.float64)
    # omega dt = 0.04: the leapfrog bias of the position's variance, (omega dt)²/4, is a tenth of its standard error
    curvature, centre = mass * 0.04**2, torch.tensor([0.3, -2.0, 5.0], dtype=torch.float64)
    temperature = 0.7
    trial = Experiment(lambda w: curvature * (w - centre), mass, temperature, rho, scheme, spoil=spoil)
    spread = (temperature / curvature).sqrt()
    start = centre + spread * torch.randn(WALKERS, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(7))
    # independent looks: after 400 steps a walker has forgotten where it was (gamma/omega² = 60 steps)
    states = trial.run(start, 2_000, every=400)
    z = []
    for i in range(3):
        p = np.concatenate([s.momentum[:, i].numpy() for s in states])
        w = np.concatenate([s.position[:, i].numpy() for s in states])
        z.append(z_of_mean(p**2 / (float(mass[i]) * temperature), 1.0))
        z.append(z_of_mean((w - float(centre[i])) ** 2 / float(spread[i]) ** 2, 1.0))
        z.append(z_of_mean(w, float(centre[i])))
    return z


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("rho", [1e-8, 0.05, 0.3])
def test_harmonic_energy_gives_its_gaussians(scheme: str, rho: float) -> None:
    assert np.abs(harmonic(scheme, rho)).max() < LIMIT


@pytest.mark.parametrize("scheme", SCHEMES)
def test_noise_off_by_a_tenth_fails_the_harmonic_test(scheme: str) -> None:
    assert np.abs(harmonic(scheme, 0.05, spoil=too_hot)).max() > 2 * LIMIT


def test_single_scheme_without_its_correction_fails_the_harmonic_test() -> None:
    """The first half kick of the single scheme takes sqrt(k² - 2 c1² v); with k the momenta are too hot."""
    assert np.abs(harmonic("single", 0.3, spoil=uncorrected)).max() > 2 * LIMIT


def on_the_sphere(dimension: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Walkers that all start at one pole of the unit sphere."""
    start = torch.zeros(WALKERS, dimension, dtype=dtype)
    start[:, seed % dimension] = 1.0
    return start


def flat_law(dimension: int, scheme: str, dtype: torch.dtype, step: float, spoil: Spoil = healthy) -> list[float]:
    """p-values of |component|² against Beta(1/2, (n-1)/2), and the z-score of the kinetic temperature as a p-value."""
    temperature = 0.4
    mass = torch.full((dimension,), temperature / step**2, dtype=dtype)
    trial = Experiment(torch.zeros_like, mass, temperature, 0.1, scheme, norm2=1.0, spoil=spoil, m1=0.5)
    state = trial.run(on_the_sphere(dimension, 0, dtype), 600)[0]
    squares = state.position.double().numpy() ** 2
    p_values = [
        stats.kstest(squares[:, i], stats.beta(0.5, (dimension - 1) / 2).cdf).pvalue for i in (0, dimension - 1)
    ]
    kinetic = (state.momentum.double() ** 2 / mass.double()).sum(1).numpy() / temperature
    return [*p_values, 2 * stats.norm.sf(abs(z_of_mean(kinetic, dimension - 1)))]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(("dimension", "dtype"), [(3, torch.float32), (10, torch.float64), (100, torch.float32)])
def test_without_energy_the_sphere_is_covered_uniformly(dimension: int, dtype: torch.dtype, scheme: str) -> None:
    assert min(flat_law(dimension, scheme, dtype, step=0.06)) > 1e-4


def test_momenta_too_hot_fail_on_the_sphere() -> None:
    assert min(flat_law(10, "double", torch.float64, step=0.06, spoil=too_hot)) < 1e-8


def masses_of(dimension: int, ratio: float, temperature: float, step: float) -> Tensor:
    """Masses from 1 to `ratio`, so heavy that the lightest coordinate moves by `step`."""
    return torch.linspace(1.0, ratio, dimension, dtype=torch.float64) * temperature / step**2


def von_mises_fisher(
    dimension: int, scheme: str, concentration: float, ratio: float, fixman: bool = True, dtype: torch.dtype = F64
) -> float:
    """z-score of <w·h> against the Bessel ratio I_{n/2} / I_{n/2-1}."""
    temperature = 0.2
    h = torch.zeros(dimension, dtype=dtype)
    h[1] = concentration * temperature
    # a tenth of the spread 1/√n of a coordinate: the bias of the leapfrog step, (0.1)²/4, is well below the error
    mass = masses_of(dimension, ratio, temperature, 0.1 / dimension**0.5).to(dtype)
    trial = Experiment(lambda w: -h.expand_as(w), mass, temperature, 0.1, scheme, norm2=1.0, m1=0.3, fixman=fixman)
    position = trial.run(on_the_sphere(dimension, 0, dtype), 800)[0].position.double()
    expected = special.ive(dimension / 2, concentration) / special.ive(dimension / 2 - 1, concentration)
    return z_of_mean(position[:, 1].numpy(), float(expected))


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(
    ("dimension", "concentration", "ratio", "dtype"),
    [(3, 2.0, 1.0, F64), (20, 15.0, 1.0, F32), (5, 4.0, 8.0, F32), (100, 60.0, 3.0, F64)],
)
def test_linear_energy_gives_the_von_mises_fisher_mean(
    dimension: int, concentration: float, ratio: float, dtype: torch.dtype, scheme: str
) -> None:
    assert abs(von_mises_fisher(dimension, scheme, concentration, ratio, dtype=dtype)) < LIMIT


def test_linear_energy_without_fixman_fails_for_unequal_masses() -> None:
    assert abs(von_mises_fisher(3, "double", 2.0, 20.0, fixman=False)) > 1.5 * LIMIT


def bingham_moments(strengths: np.ndarray) -> np.ndarray:
    """<w_i²> of the density exp(-sum_i k_i w_i²) on the 2-sphere, by quadrature."""
    z, weight = np.polynomial.legendre.leggauss(80)
    angle = (np.arange(160) + 0.5) * np.pi / 80
    across = np.sqrt(1 - z[:, None] ** 2)
    squares = np.stack([(across * np.cos(angle)) ** 2, (across * np.sin(angle)) ** 2, z[:, None] ** 2 + 0 * angle])
    density = weight[:, None] * np.exp(-np.tensordot(strengths, squares, 1))
    return (squares * density).sum((1, 2)) / density.sum()


def bingham(scheme: str, fixman: bool) -> float:
    """Largest z-score of the mean squares for masses 1 : 4.5 : 8 and a quadratic energy."""
    temperature, strengths = 0.3, np.array([3.0, 1.0, 0.0])
    stiffness = torch.from_numpy(2 * temperature * strengths)
    mass = masses_of(3, 8.0, temperature, 0.05)
    trial = Experiment(lambda w: stiffness * w, mass, temperature, 0.1, scheme, norm2=1.0, m1=0.3, fixman=fixman)
    states = trial.run(on_the_sphere(3, 0), 1_600, every=400)[1:]
    squares = np.concatenate([state.position.numpy() ** 2 for state in states])
    expected = bingham_moments(strengths)
    return max(abs(z_of_mean(squares[:, i], float(expected[i]))) for i in range(3))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_quadratic_energy_gives_the_bingham_moments(scheme: str) -> None:
    assert bingham(scheme, fixman=True) < LIMIT


def test_quadratic_energy_without_fixman_fails_for_unequal_masses() -> None:
    assert bingham("double", fixman=False) > 2 * LIMIT


def mean_squares(scheme: str, fixman: bool) -> np.ndarray:
    """Mean squares of the coordinates on a 2-sphere with masses 1 : 10 : 100 and U = 0, and their standard errors."""
    temperature = 1.0
    # The sphere's reach is least where (w·w/M)² / |w/M|² = 0.04: steps of 0.03 stay within it by more than 6 sigma.
    mass = torch.tensor([1.0, 10.0, 100.0], dtype=torch.float64) * temperature / 0.03**2
    trial = Experiment(torch.zeros_like, mass, temperature, 0.1, scheme, norm2=1.0, fixman=fixman, m1=0.05)
    squares = trial.run(on_the_sphere(3, 0), 3_000)[0].position.numpy() ** 2
    return np.stack([squares.mean(0), squares.std(0, ddof=1) / np.sqrt(WALKERS)])


@pytest.mark.parametrize("scheme", SCHEMES)
def test_fixman_potential_makes_unequal_masses_uniform(scheme: str) -> None:
    mean, error = mean_squares(scheme, fixman=True)
    assert np.abs((mean - 1 / 3) / error).max() < LIMIT


@pytest.mark.parametrize("scheme", SCHEMES)
def test_without_fixman_the_measure_is_weighted_by_the_masses(scheme: str) -> None:
    """The uncorrected marginals of docs/method/sphere.md section 3, 0.46, 0.28, 0.25: known to two digits."""
    mean, error = mean_squares(scheme, fixman=False)
    assert np.abs(mean - [0.46, 0.28, 0.25]).max() < LIMIT * error.max() + 0.005
    assert np.abs((mean - 1 / 3) / error).max() > 2 * LIMIT


def drift(steps: int, forgetful: bool = False) -> float:
    """Largest | |w|²/Q - 1 | of four walkers of 100 parameters in float32 after many steps; U = h·w pulls to one side.

    `forgetful`: each step holds the norm that it finds, so that roundings add up.
    """
    generator = torch.Generator().manual_seed(5)
    start = 3.0 * torch.randn(4, 100, generator=generator)
    mass = torch.logspace(0, 1, 100).expand(4, -1) * 1e3
    thermostat = Thermostat(torch.ones(4, 1), 0.1, 1.0, "single")
    noise_variance = 4.0 * 0.05 * 0.1**2 * mass
    slope, noise = torch.linspace(-1, 1, 100), noise_variance.sqrt()

    def normals(like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=generator)

    norm2 = constrained.dot(start, start)
    kernel = constrained.build(thermostat, lambda w: slope + noise * normals(w), normals, norm2, fixman=True)
    state = kernel.init(start, mass, noise_variance)
    for _ in range(steps):
        if forgetful:
            kernel.norm2 = constrained.dot(state.position, state.position)
        state = kernel.step(state)
    return float((constrained.dot(state.position, state.position) / norm2 - 1.0).abs().max())


@pytest.mark.slow
def test_the_norm_does_not_drift() -> None:
    """`make laws` takes a million steps. In a fifth of them the broken twin below is off by more."""
    assert drift(1_000_000 if "PROTMPI_LONG" in os.environ else 200_000) < 1e-6


@pytest.mark.slow
def test_a_norm_that_is_not_remembered_drifts() -> None:
    assert drift(200_000, forgetful=True) > 2e-6
