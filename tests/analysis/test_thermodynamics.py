"""Harmonic energies, planted peaks and swapped temperatures: thermodynamics whose answer is known."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import xarray
from synthetic import BURN_IN_DRAWS, DRAWS_PER_SNAPSHOT, LADDER, RECORD_EVERY, ar1, write_store

from analysis import open_run, thermodynamics
from analysis.subjects.thermodynamics.measure import heat_capacity, heat_capacity_derivative, maximum, t_star

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
    data = thermodynamics(open_run(harmonic_store))
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


def test_an_energy_without_an_error_leaves_none_to_the_slopes_that_it_is_part_of() -> None:
    temperature = np.array([1.0, 2.0, 4.0, 5.0, 7.0])
    energy = np.stack([temperature**2, [np.nan, 0.1, 0.1, 0.1, 0.1]], axis=1)
    slope = heat_capacity_derivative(temperature, energy)
    np.testing.assert_allclose(slope[:, 0], 2 * temperature)
    assert np.isfinite(slope[:, 1]).tolist() == [False, False, True, True, True]


def planted_capacity(temperature: np.ndarray, peak: float) -> np.ndarray:
    return 400 + 1500 * np.exp(-0.5 * (np.log(temperature / peak) / 0.8) ** 2)


UNEVEN = np.array([1e-5, 2.2e-5, 4e-5, 6e-5, 9.5e-5, 1.6e-4, 2.3e-4, 4.5e-4, 1e-3])


def curve(temperature: np.ndarray, values: np.ndarray, sem: float = 60.0, seed: int = 0) -> np.ndarray:
    """A heat capacity (temperature, statistic) measured with an error."""
    noisy = values + sem * np.random.default_rng(seed).normal(size=temperature.size)
    return np.stack([noisy, np.full(temperature.size, sem)], axis=1)


@pytest.mark.parametrize("sem", [10.0, 150.0])
def test_a_planted_maximum_lies_within_its_error_and_no_closer_than_the_ladder_tells(sem: float) -> None:
    for peak in (7.2e-5, 1.2e-4):
        found = [maximum("C", UNEVEN, curve(UNEVEN, planted_capacity(UNEVEN, peak), sem, seed)) for seed in range(100)]
        assert {one.reason for one in found} == {""}
        missed = np.array([abs(one.temperature - peak) / one.sem for one in found])
        assert np.mean(missed < 1.0) > 0.68
        for one in found:
            k = int(np.argmin(np.abs(np.log(UNEVEN / one.temperature))))
            assert one.sem >= np.diff(UNEVEN)[k - 1 : k + 1].min() / 2.0
    scatter = np.std([one.temperature for one in found])
    the_ladder_decides = np.median([one.sem for one in found]) > 3 * scatter
    assert the_ladder_decides == (sem == 10.0)


def test_t_star_takes_both_estimates() -> None:
    planted, elsewhere = (planted_capacity(UNEVEN, peak) for peak in (9e-5, 2.5e-4))
    flat, rising, falling = np.full(UNEVEN.size, 800.0), 3e6 * UNEVEN, 2.0 / UNEVEN**0.5
    both = t_star(UNEVEN, curve(UNEVEN, planted, seed=1), curve(UNEVEN, planted, 20.0, seed=2))
    assert both.reason == ""
    assert abs(both.temperature - 9e-5) < both.sem < 4e-5
    for first, second, why in (
        (planted, elsewhere, "the maxima of var(U)/T² and d<U>/dT, .* do not agree"),
        (planted, flat, "d<U>/dT is largest at T = .*, not above both ends|an end"),
        (flat, planted, "var.U./T² is largest at T = .*, not above both ends|an end"),
        (planted, rising, "d<U>/dT is largest at T = 1e-3, an end of the temperatures in equilibrium"),
        (falling, planted, "var.U./T² is largest at T = 1e-5, an end of the temperatures in equilibrium"),
    ):
        found = t_star(UNEVEN, curve(UNEVEN, first, 5.0), curve(UNEVEN, second, 5.0))
        assert np.isnan([found.temperature, found.sem]).all()
        assert re.search(why.replace("(U)", ".U."), found.reason), found.reason


def test_a_maximum_is_looked_for_where_there_are_errors_only() -> None:
    planted = curve(UNEVEN, planted_capacity(UNEVEN, 9e-5), 20.0)
    drifting = planted.copy()
    drifting[:2] = [[9e3, np.nan], [7e3, np.nan]]
    found = maximum("C", UNEVEN, drifting)
    assert (found.temperature, found.reason) == (pytest.approx(9e-5, rel=0.1), "")
    beside = planted.copy()
    beside[3, 1] = np.nan
    assert maximum("C", UNEVEN, beside).reason.endswith("beside a temperature that is not in equilibrium")
    hidden = planted.copy()
    hidden[3:, 1] = np.nan
    assert maximum("C", UNEVEN, hidden).reason.endswith("an end of the temperatures in equilibrium")
    hidden[1:, 1] = np.nan
    assert maximum("C", UNEVEN, hidden).reason == "C has an error at fewer than three temperatures (1)"


@pytest.mark.parametrize("slots", [5, 8, 14])
def test_a_flat_heat_capacity_has_no_maximum(slots: int) -> None:
    """The largest of some noisy values is not a transition."""
    ladder = np.geomspace(1e-5, 1e-3, slots)
    found = [maximum("C", ladder, curve(ladder, np.full(slots, 500.0), seed=seed)) for seed in range(200)]
    assert np.mean([one.reason == "" for one in found]) < 0.05


def peaked_energies(peak: float, seed: int, draws: int = 2_000, replicas: int = 2) -> np.ndarray:
    """Energies (replica, slot, draw) on UNEVEN whose heat capacity is `planted_capacity`."""
    fine = np.geomspace(1e-7, 1e-3, 4_000)
    heat = np.concatenate([[0], np.cumsum(np.diff(fine) * planted_capacity(fine[1:], peak))])
    mean, deviation = np.interp(UNEVEN, fine, heat), UNEVEN * np.sqrt(planted_capacity(UNEVEN, peak))
    noise = ar1(0.5, (replicas, UNEVEN.size, draws), np.random.default_rng(seed))
    return np.asarray(1.0 + mean[:, None] + deviation[:, None] * noise)


def t_star_of(path: Path, energy: np.ndarray) -> xarray.Dataset:
    return thermodynamics(open_run(write_store(path, UNEVEN, energy.reshape(-1, energy.shape[-1]))))


def test_t_star_through_a_store(tmp_path: Path) -> None:
    data = t_star_of(tmp_path / "run.zarr", peaked_energies(1e-4, 25))
    assert data["no_t_star"].item() == ""
    assert abs(data["t_star"].item() - 1e-4) < data["t_star_sem"].item() < 4e-5


def test_drift_of_the_cold_chains_is_no_transition(tmp_path: Path) -> None:
    """Fluctuations that are drift have the largest var(U)/T² at a cold temperature, where there is no maximum."""
    energy = peaked_energies(1e-4, 26)
    width = energy[:, :3].std(axis=(0, 2), keepdims=True)
    energy[:, :3] += 8 * width * np.linspace(0.5, -0.5, energy.shape[-1])
    data = t_star_of(tmp_path / "cold.zarr", energy)
    capacity = data["heat_capacity"].values[:, 0]
    assert int(np.nanargmax(capacity)) < 3, "the drift is too small to test anything"
    assert (data["not_in_equilibrium"].values[:3] != "").all()
    assert not 0 < data["t_star"].item() < 6e-5
    energy[:, 3:] += 8 * energy[:, 3:].std(axis=(0, 2), keepdims=True) * np.linspace(0.5, -0.5, energy.shape[-1])
    data = t_star_of(tmp_path / "all.zarr", energy)
    assert np.isnan(data["t_star"].item())
    assert data["no_t_star"].item() == "var(U)/T² has an error at fewer than three temperatures (0)"


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
    data = thermodynamics(run)
    np.testing.assert_allclose(data["energy"].values[:, 0], [1, 2, 3, 4], atol=0.01)
    np.testing.assert_allclose(data["test_energy"].values[:, 0], [10, 20, 30, 40], atol=0.1)
    by_walker = run.store.read("energy").reshape(2, 4, -1).mean(axis=(0, 2))
    assert np.abs(by_walker - [1, 2, 3, 4]).max() > 0.5


def test_norm_drift_is_that_of_a_walker_at_the_temperature_it_had(exchanging: tuple[Path, np.ndarray]) -> None:
    path, slot = exchanging
    drift = thermodynamics(open_run(path))["norm2_drift"].values
    expected = [max(1e-3 * w for w in range(8) if slot[w, 40] == k) for k in range(4)]
    np.testing.assert_allclose(drift, expected)


def test_burn_in_does_not_count(tmp_path: Path) -> None:
    energy = 1.0 + 0.01 * np.random.default_rng(27).normal(size=(1, 100))
    energy[:, :BURN_IN_DRAWS] += 50.0
    data = thermodynamics(open_run(write_store(tmp_path / "run.zarr", LADDER[:1], energy)))
    assert data["energy"].values[0, 0] == pytest.approx(1.0, abs=0.01)
    assert data["equilibrium_step"].values[0] == RECORD_EVERY * (BURN_IN_DRAWS + 1 + data["discarded"].values[0])


def test_an_observable_of_another_task_has_its_own_name(harmonic_store: Path, tmp_path: Path) -> None:
    energy = np.random.default_rng(28).normal(size=(2, 50))
    data = thermodynamics(open_run(write_store(tmp_path / "run.zarr", LADDER[:2], energy, cost=energy / 2)))
    np.testing.assert_allclose(data["cost"].values, data["energy"].values / 2)
    assert "seconds" not in data
    assert "slot" not in data
