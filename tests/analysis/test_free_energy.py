"""Harmonic energies, whose free energy is known, by reweighting and by integration; wrong ladders must show."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from synthetic import BURN_IN_DRAWS, ar1, write_store

from analysis import open_run
from analysis.free_energy import POINTS, Method, Slot, free_energy, means, overlap, reweighted, sem
from analysis.mbar import Mbar
from analysis.run import Run
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
    folder: Path, temperature: np.ndarray, seed: int, draws: int = 600, given: np.ndarray | None = None
) -> Run:
    """Two replicas of correlated harmonic energies; the store says the ladder is `given`."""
    x = ar1(0.7, (MODES, 2, temperature.size, draws + BURN_IN_DRAWS), np.random.default_rng(seed))
    energy = GROUND + temperature[:, None] * np.sum(x**2, axis=0) / 2.0
    ladder = temperature if given is None else given
    return open_run(write_store(folder / f"{seed}.zarr", ladder, energy.reshape(-1, energy.shape[-1])))


def z_scores(data: object, name: str, expected: np.ndarray) -> np.ndarray:
    mean, error = data[name].values.T  # type: ignore[index]
    known = error > 0
    assert np.all(mean[~known] == pytest.approx(expected[~known], abs=1e-9)), "no error, yet wrong"
    return np.asarray((mean - expected)[known] / error[known])


@pytest.mark.parametrize("method", ["mbar", "integration"])
def test_harmonic_curves(tmp_path: Path, method: Method) -> None:
    data = free_energy(harmonic_run(tmp_path, LADDER, 1), method)
    assert set(data["method"].values) == {method}
    assert data["temperature"].values[::POINTS] == pytest.approx(LADDER)
    for name, expected in truth(data["temperature"].values).items():
        assert np.abs(z_scores(data, name, expected)).max() < 3.0, name
    # errors worth having: a percent of the change of F and S, of <U> - U0, a tenth of C
    for name, size in (("free_energy", 28.0), ("entropy", 28.0), ("heat_capacity", 200.0), ("energy", 4e-3)):
        assert data[name].values[:, 1].max() < 0.02 * size, name
    if method == "mbar":
        assert np.abs(data["consistency"].values).max() < 3.0
    else:
        assert np.isnan(data["consistency"].values).all()
