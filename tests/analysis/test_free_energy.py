"""Harmonic energies, whose free energy is known, by reweighting and by integration; wrong ladders must show."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import xarray
from matplotlib.image import imread
from synthetic import BURN_IN_DRAWS, ar1, write_store
from test_analysis_cli import refuse_constant, run_program

from analysis import open_run
from analysis.reading.run import Run
from analysis.statistics.curves import POINTS, reweighted, sem
from analysis.statistics.histograms import ENOUGH_OVERLAP, ENOUGH_SHARED, Slot
from analysis.statistics.significance import SIGNIFICANT
from analysis.subjects.ladder.free_energy import Method, free_energy
from analysis.subjects.thermodynamics.compare import compare
from protmpi.errors import ProtmpiError

MODES = 40
"""U - GROUND is Gamma(MODES/2) times T: <U> = GROUND + MODES T/2, C = MODES/2, β F = β GROUND + MODES/2 ln β."""
GROUND = 1.3
LADDER = np.geomspace(1e-4, 4e-4, 6)
FAR = np.array([1e-5, 1e-4, 1e-3])


def truth(temperature: np.ndarray) -> dict[str, np.ndarray]:
    beta, half = 1.0 / temperature, MODES / 2.0
    free = GROUND * (beta - beta[0]) + half * np.log(beta / beta[0])
    return {
        "energy": GROUND + half / beta,
        "heat_capacity": np.full(beta.size, half),
        "free_energy": free,
        "entropy": -half * np.log(beta / beta[0]),
    }


def harmonic_run(
    folder: Path,
    temperature: np.ndarray,
    seed: int,
    draws: int = 600,
    given: np.ndarray | None = None,
    replicas: int = 2,
) -> Run:
    """Replicas of correlated harmonic energies; the store says the ladder is `given`."""
    x = ar1(0.7, (MODES, replicas, temperature.size, draws + BURN_IN_DRAWS), np.random.default_rng(seed))
    energy = GROUND + temperature[:, None] * np.sum(x**2, axis=0) / 2.0
    ladder = temperature if given is None else given
    return open_run(write_store(folder / f"{seed}.zarr", ladder, energy.reshape(-1, energy.shape[-1])))


def z_scores(data: xarray.Dataset, name: str, expected: np.ndarray) -> np.ndarray:
    mean, error = data[name].values.T
    known = error > 0
    assert np.all(mean[~known] == pytest.approx(expected[~known], abs=1e-9)), "no error, yet wrong"
    return np.asarray((mean - expected)[known] / error[known])


@pytest.mark.parametrize("method", ["mbar", "integration"])
def test_harmonic_curves(tmp_path: Path, method: Method) -> None:
    data = free_energy(harmonic_run(tmp_path, LADDER, 1, draws=240, replicas=5), method)
    assert set(data["method"].values) == {method}
    assert data["temperature"].values[::POINTS] == pytest.approx(LADDER)
    for name, expected in truth(data["temperature"].values).items():
        assert np.abs(z_scores(data, name, expected)).max() < 3.0, name
    # errors worth having
    for name, size in (("free_energy", 28.0), ("entropy", 28.0), ("heat_capacity", 200.0), ("energy", 4e-3)):
        assert data[name].values[:, 1].max() < 0.03 * size, name
    assert np.abs(data["consistency"].values).max() < 3.0


def test_responses_give_the_covariances_of_pymbar() -> None:
    """Free energies between the sampled slots and <U> in between, for energies of very different numbers of draws."""
    import pymbar

    rng, ladder = np.random.default_rng(2), []
    for temperature, draws in ((1.0, 4000), (1.3, 1000), (1.8, 3000)):
        energies = temperature * rng.gamma(MODES / 2, size=draws)
        ladder.append(Slot(temperature, energies, float(draws)))
    grid = np.array([1.0, 1.15, 1.3, 1.8])
    free, energy, _ = reweighted(ladder, 0, 2, grid)
    reduced = np.concatenate([s.energies for s in ladder]) / np.array([[s.temperature] for s in ladder])
    other = pymbar.MBAR(reduced, [s.draws for s in ladder])
    known = other.compute_free_energy_differences()
    np.testing.assert_allclose(free[[0, 2, 3], 0], known["Delta_f"][0], atol=1e-6)
    np.testing.assert_allclose(sem(free[[2, 3]], ladder), known["dDelta_f"][0, 1:], rtol=0.05)
    for result, temperature in zip(energy, grid, strict=True):
        found = other.compute_expectations(reduced[0], u_kn=reduced[0] / temperature)
        assert result[0] == pytest.approx(found["mu"].item(), rel=1e-6)
        assert sem(result, ladder) == pytest.approx(found["sigma"].item(), rel=0.05)


def test_far_temperatures_are_integrated_and_mbar_is_refused(tmp_path: Path) -> None:
    run = harmonic_run(tmp_path, FAR, 3)
    data = free_energy(run)
    assert data["method"].values.tolist() == ["integration"] * 2
    assert np.isnan(data["histogram_ratio"].values).all()
    for name, expected in truth(data["temperature"].values).items():
        assert np.abs(z_scores(data, name, expected)).max() < 3.0, name
    with pytest.raises(ProtmpiError, match=r"MBAR is refused between T = 1e-5 and 1e-4: swap acceptance"):
        free_energy(run, "mbar")


def test_each_interval_has_its_own_method(tmp_path: Path) -> None:
    ladder = np.array([1e-5, 1.3e-5, 1e-4, 1.3e-4, 1.7e-4, 1e-3])
    data = free_energy(harmonic_run(tmp_path, ladder, 4))
    assert data["method"].values.tolist() == ["mbar", "integration", "mbar", "mbar", "integration"]
    for name, expected in truth(data["temperature"].values).items():
        assert np.abs(z_scores(data, name, expected)).max() < 3.0, name


def test_few_draws_are_not_reweighted(tmp_path: Path) -> None:
    data = free_energy(harmonic_run(tmp_path, LADDER, 5, draws=25))
    assert (data["overlap"].values > ENOUGH_OVERLAP).all()
    assert (data["shared"].values < ENOUGH_SHARED).any()
    assert "integration" in data["method"].values


@pytest.mark.parametrize("method", ["mbar", "integration"])
def test_a_wrong_ladder_fails(tmp_path: Path, method: Method) -> None:
    given = LADDER.copy()
    given[3] *= 1.2
    data = free_energy(harmonic_run(tmp_path, LADDER, 6, given=given), method)
    for name, expected in truth(data["temperature"].values).items():
        if name != "heat_capacity":
            assert np.abs(z_scores(data, name, expected)).max() > 4.0, name
    assert np.abs(data["consistency"].values).max() > 3.0  # and the store itself says so


def test_a_ladder_in_another_unit_shows_in_the_ratio_of_histograms(tmp_path: Path) -> None:
    for factor in (1.0, 1.5):
        data = free_energy(harmonic_run(tmp_path / f"{factor}", LADDER, 7, given=factor * LADDER))
        ratio, error = data["histogram_ratio"].values.T
        assert np.abs((ratio - factor) / error).max() < 3.5
        assert (np.abs(data["consistency"].values).max() > SIGNIFICANT) == (factor > 1)


def test_ladders_that_abut_join_at_the_temperature_of_both(tmp_path: Path) -> None:
    """β F of the upper ladder goes on where the lower one ends; a top that is not the other's bottom shows there."""
    lower, upper = np.geomspace(1e-4, 2e-4, 4), np.geomspace(2e-4, 5e-4, 5)
    first, second = harmonic_run(tmp_path, lower, 11), harmonic_run(tmp_path, upper, 12)
    assert [d.verdict for d in compare(first, second)] == ["equal"] * 2  # energy and heat capacity at 2e-4 alone
    (below, error), (above, more) = (free_energy(run)["free_energy"].values[-1] for run in (first, second))
    expected = truth(np.array([1e-4, 5e-4]))["free_energy"][-1]
    assert abs(below + above - expected) < 3.0 * np.hypot(error, more) < 0.01 * abs(expected)
    hotter = harmonic_run(tmp_path, 1.2 * upper, 13, given=upper)
    assert "differ" in [d.verdict for d in compare(first, hotter)]


def test_one_temperature_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProtmpiError, match="takes two temperatures"):
        free_energy(harmonic_run(tmp_path, LADDER[:1], 8, draws=50))


def test_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    store = harmonic_run(tmp_path, np.array([1e-4, 1.3e-4, 5e-4]), 9).store.path
    assert run_program(monkeypatch, "free-energy", store, "--json") == 0
    tree = json.loads(capsys.readouterr().out, parse_constant=refuse_constant)
    assert tree["ladder"] == [1e-4, 1.3e-4, 5e-4]
    assert tree["method"] == ["mbar", "integration"]
    assert len(tree["entropy"]["sem"]) == len(tree["temperature"]) == 2 * POINTS + 1
    assert run_program(monkeypatch, "free-energy", store, "--out", tmp_path / "new") == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in lines if not line.startswith("wrote ")) <= 120
    image = imread(tmp_path / "new" / "free_energy.png")[..., :3]
    assert 0.01 < np.mean(image.min(axis=2) < 0.9) < 0.5, "next to nothing, or too much, is drawn"
    for arguments in (("--method", "mbar"), ("--method", "guess")):
        assert run_program(monkeypatch, "free-energy", store, *arguments) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("error: ")
        assert captured.err.count("\n") == 1
