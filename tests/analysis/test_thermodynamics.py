"""Harmonic energies, planted peaks and swapped temperatures: thermodynamics whose answer is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from synthetic import BURN_IN_DRAWS, DRAWS_PER_SNAPSHOT, LADDER, RECORD_EVERY, ar1, write_store

from analysis import open_run
from analysis.thermodynamics import heat_capacity, heat_capacity_derivative, t_star

MODES = 80
"""Harmonic modes: U - U0 is Gamma(MODES/2) times T, so <U> = U0 + MODES T/2 and C = MODES/2."""


def harmonic(temperature: np.ndarray, shape: tuple[int, ...], rng: np.random.Generator, phi: float = 0.6) -> np.ndarray:
    """Energies (..., temperature, draw), correlated in time: MODES squared AR(1) coordinates."""
    x = ar1(phi, (MODES, *shape), rng)
    return 1.3 + temperature[:, None] * np.sum(x**2, axis=0) / 2


def z_scores(mean: np.ndarray, sem: np.ndarray, truth: np.ndarray | float) -> np.ndarray:
    return np.asarray((mean - truth) / sem)


def looks_normal(z: np.ndarray) -> bool:
    """Mean 0 and spread 1 of a few dozen z-scores whose errors are estimated, each within about 4 standard errors."""
    return bool(abs(z.mean()) < 4 / np.sqrt(z.size) and 0.7 < np.sqrt(np.mean(z**2)) < 1.4)


@pytest.fixture(scope="module")
def harmonic_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    energy = harmonic(LADDER, (3, LADDER.size, 800), np.random.default_rng(21)).reshape(3 * LADDER.size, 800)
    return write_store(tmp_path_factory.mktemp("harmonic") / "run.zarr", LADDER, energy, train_error=0.4 + energy / 10)


def test_harmonic_energies(harmonic_store: Path) -> None:
    data = open_run(harmonic_store).thermodynamics()
    truth = {
        "energy": 1.3 + MODES * LADDER / 2,
        "train_error": 0.53 + MODES * LADDER / 20,
        "heat_capacity": MODES / 2,
        "heat_capacity_derivative": MODES / 2,
    }
    for name, expected in truth.items():
        z = z_scores(*data[name].values.T, expected)
        assert np.abs(z).max() < 4.5, name
    # draws of squared coordinates have the autocorrelation 0.36^t: 1.36/0.64 draws per independent one
    assert data["effective_samples"].values == pytest.approx(3 * 790 * 0.64 / 1.36, rel=0.35)
    assert data["r_hat"].values == pytest.approx(1.0, abs=0.03)
    assert (data["draws"].values + 3 * data["discarded"].values == 3 * 790).all()


def test_errors_of_both_heat_capacities_are_right_and_wrong_ones_are_rejected() -> None:
    rng = np.random.default_rng(22)
    temperature = np.array([1.0, 2.0, 4.0])
    runs = harmonic(temperature, (60, 3, 300), rng)[:, :, None]
    fluctuations = np.array([[heat_capacity(e, t) for e, t in zip(run, temperature, strict=True)] for run in runs])
    assert looks_normal(z_scores(fluctuations[..., 0], fluctuations[..., 1], MODES / 2).ravel())
    uncorrelated = fluctuations[..., 1] * np.sqrt(0.64 / 1.36 / 2)
    assert not looks_normal(z_scores(fluctuations[..., 0], uncorrelated, MODES / 2).ravel())
    one_power_of_t = fluctuations * temperature[:, None]
    assert not looks_normal(z_scores(one_power_of_t[..., 0], one_power_of_t[..., 1], MODES / 2).ravel())


def test_derivative_is_exact_for_a_quadratic_energy() -> None:
    energy = np.stack([1.0 + 3e3 * LADDER - 1e6 * LADDER**2, np.zeros(LADDER.size)], axis=1)
    exact = 3e3 - 2e6 * LADDER
    np.testing.assert_allclose(heat_capacity_derivative(LADDER, energy)[:, 0], exact, rtol=1e-9)
    on_an_even_grid = np.gradient(energy[:, 0], np.diff(LADDER).mean())
    assert np.abs(on_an_even_grid / exact - 1).max() > 0.1


def test_error_of_the_derivative_is_propagated_exactly() -> None:
    rng = np.random.default_rng(23)
    sem = 1e-3 * (1 + np.arange(LADDER.size))
    curves = sem * rng.normal(size=(4_000, LADDER.size))
    slopes = [heat_capacity_derivative(LADDER, np.stack([curve, sem], axis=1)) for curve in curves]
    spread = np.std(slopes, axis=0)[:, 0]
    np.testing.assert_allclose(slopes[0][:, 1], spread, rtol=0.05)
    assert (np.abs(slopes[0][:, 1] / np.sqrt(2) / spread - 1) > 0.2).all()  # an error off by sqrt(2) is seen


def test_derivative_with_few_or_missing_temperatures() -> None:
    energy = np.array([[1.0, 0.1], [3.0, 0.1], [np.nan, np.nan]])
    temperature = np.array([1.0, 2.0, 3.0])
    np.testing.assert_allclose(heat_capacity_derivative(temperature, energy)[:2, 0], 2.0)
    np.testing.assert_allclose(heat_capacity_derivative(temperature, energy)[:2, 1], 0.1 * np.sqrt(2))
    assert np.isnan(heat_capacity_derivative(temperature, energy)[2]).all()
    assert np.isnan(heat_capacity_derivative(temperature[:1], energy[:1])).all()


def planted_capacity(temperature: np.ndarray, peak: float) -> np.ndarray:
    return 400 + 1500 * np.exp(-0.5 * (np.log(temperature / peak) / 0.8) ** 2)


def test_t_star_of_a_planted_peak_and_its_error() -> None:
    rng = np.random.default_rng(24)
    peak, ladder = 9e-5, np.geomspace(1e-5, 1e-3, 11)
    sem = np.full(ladder.size, 60.0)
    found = [
        t_star(ladder, np.stack([planted_capacity(ladder, peak) + sem * rng.normal(size=ladder.size), sem], axis=1))
        for _ in range(100)
    ]
    z = np.array([(best.temperature - peak) / best.sem for best in found])
    assert looks_normal(z)
    assert not looks_normal(z + 10e-6 / np.median([best.sem for best in found]))  # a shift by a ninth is seen
    assert not any(best.at_edge for best in found)


def test_t_star_through_a_store(tmp_path: Path) -> None:
    rng = np.random.default_rng(25)
    ladder, peak, replicas, draws = np.geomspace(1e-5, 1e-3, 9), 1e-4, 2, 2_000
    fine = np.geomspace(1e-7, 1e-3, 4_000)
    heat = np.concatenate([[0], np.cumsum(np.diff(fine) * planted_capacity(fine[1:], peak))])
    mean, deviation = np.interp(ladder, fine, heat), ladder * np.sqrt(planted_capacity(ladder, peak))
    energy = mean[:, None] + deviation[:, None] * ar1(0.5, (replicas, ladder.size, draws), rng)
    data = open_run(write_store(tmp_path / "run.zarr", ladder, energy.reshape(-1, draws))).thermodynamics()
    assert abs(data["t_star"].item() - peak) < 4 * data["t_star_sem"].item() < 4e-5
    assert data["t_star_derivative"].item() == pytest.approx(peak, rel=0.1)
    assert not data["t_star_at_edge"].item()


def test_t_star_at_an_end_of_the_ladder_is_only_a_bound() -> None:
    falling = np.array([[9.0, 0.1], [5.0, 0.1], [2.0, 0.1]])
    best = t_star(np.array([1.0, 2.0, 4.0]), falling)
    assert best.temperature == 1.0
    assert best.sem == pytest.approx(0.0, abs=1e-12)
    assert best.at_edge
    assert np.isnan(t_star(np.array([1.0, 2.0]), falling[:2]).temperature)


@pytest.fixture(scope="module")
def exchanging(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """Temperatures wander among the walkers of each replica; every observable names temperature and walker."""
    rng = np.random.default_rng(26)
    replicas, slots, draws = 2, 4, 60
    slot = np.argsort(rng.random((replicas, slots, draws)), axis=1).reshape(-1, draws)
    walker = np.arange(replicas * slots)[:, None]
    energy = 1.0 + slot + 0.01 * rng.normal(size=slot.shape)
    norm2 = 1785.0 * (1 + np.where(np.arange(draws) == 40, 1e-3 * walker, 0.0))
    path = tmp_path_factory.mktemp("exchange") / "run.zarr"
    at_snapshots = slice(DRAWS_PER_SNAPSHOT - 1, None, DRAWS_PER_SNAPSHOT)
    write_store(path, LADDER[:slots], energy, slot=slot, norm2=norm2, test_energy=10.0 * energy[:, at_snapshots])
    return path, slot


def test_observables_follow_the_temperature_not_the_walker(exchanging: tuple[Path, np.ndarray]) -> None:
    run = open_run(exchanging[0])
    data = run.thermodynamics()
    np.testing.assert_allclose(data["energy"].values[:, 0], [1, 2, 3, 4], atol=0.01)
    np.testing.assert_allclose(data["test_energy"].values[:, 0], [10, 20, 30, 40], atol=0.1)
    by_walker = run.store.read("energy").reshape(2, 4, -1).mean(axis=(0, 2))
    assert np.abs(by_walker - [1, 2, 3, 4]).max() > 0.5


def test_norm_drift_is_that_of_a_walker_at_the_temperature_it_had(exchanging: tuple[Path, np.ndarray]) -> None:
    path, slot = exchanging
    drift = open_run(path).thermodynamics()["norm2_drift"].values
    expected = [max(1e-3 * w for w in range(8) if slot[w, 40] == k) for k in range(4)]
    np.testing.assert_allclose(drift, expected)


def test_burn_in_does_not_count(tmp_path: Path) -> None:
    energy = 1.0 + 0.01 * np.random.default_rng(27).normal(size=(1, 100))
    energy[:, :BURN_IN_DRAWS] += 50.0
    data = open_run(write_store(tmp_path / "run.zarr", LADDER[:1], energy)).thermodynamics()
    assert data["energy"].values[0, 0] == pytest.approx(1.0, abs=0.01)
    assert data["equilibrium_step"].values[0] == RECORD_EVERY * (BURN_IN_DRAWS + 1 + data["discarded"].values[0])


def test_an_observable_of_another_task_has_its_own_name(harmonic_store: Path, tmp_path: Path) -> None:
    energy = np.random.default_rng(28).normal(size=(2, 50))
    data = open_run(write_store(tmp_path / "run.zarr", LADDER[:2], energy, cost=energy / 2)).thermodynamics()
    np.testing.assert_allclose(data["cost"].values, data["energy"].values / 2)
    assert "seconds" not in data
    assert "slot" not in data
