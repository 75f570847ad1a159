"""Simulated tempering of springs, whose visits and free energies are known; wrong weights and energies must show."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread
from scipy.special import softmax
from scipy.stats import beta
from synthetic import BURN_IN_DRAWS, RECORD_EVERY, write_store
from test_analysis_cli import refuse_constant, run_program

from analysis import open_run, thermodynamics
from analysis.reading.run import Run
from analysis.statistics.chains import visits as joined
from analysis.statistics.curves import POINTS
from analysis.statistics.significance import SIGNIFICANT
from analysis.subjects.checks.checks import checks
from analysis.subjects.ladder.free_energy import free_energy
from analysis.subjects.ladder.simulated import simulated

SPRINGS, GROUND, KEPT = 40, 1.3, 0.8
"""U - GROUND is Gamma(SPRINGS/2) times T; springs keep the share KEPT of their length from draw to draw."""
LADDER = np.geomspace(1e-4, 2.5e-4, 5)
FREE = GROUND * (1 / LADDER - 1 / LADDER[0]) + SPRINGS / 2 * np.log(LADDER[0] / LADDER)
WEIGHT = FREE + np.array([0.0, 0.4, 0.0, -0.4, 0.0])  # not the best ones, so that the visits are not all alike
SHARE = np.exp(WEIGHT - FREE) / np.exp(WEIGHT - FREE).sum()


def spring_walkers(seed: int, walkers: int = 6, draws: int = 1200) -> dict[str, Any]:
    """Walkers that relax at their temperature and jump after every draw: arguments of `write_store`."""
    rng = np.random.default_rng(seed)
    slot = np.arange(walkers) * LADDER.size // walkers
    length = rng.normal(size=(walkers, SPRINGS)) * np.sqrt(LADDER[slot])[:, None]
    slots, energies = [], []
    for _ in range(draws):
        kicks = rng.normal(size=length.shape) * np.sqrt((1 - KEPT**2) * LADDER[slot])[:, None]
        length = KEPT * length + kicks
        energy = GROUND + (length**2).sum(1) / 2
        slots.append(slot)
        energies.append(energy)
        below = np.cumsum(softmax(WEIGHT - energy[:, None] / LADDER, axis=1), axis=1) < rng.random((walkers, 1))
        slot = np.minimum(below.sum(1), LADDER.size - 1)
    return {
        "temperature": LADDER,
        "energy": np.array(energies).T,
        "slot": np.array(slots).T,
        "log_weight": np.broadcast_to(WEIGHT + 3.0, (walkers, draws, LADDER.size)).copy(),
        "tempering": {"kind": "simulated", "exchange_every": RECORD_EVERY},
    }


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    return spring_walkers(1)


@pytest.fixture(scope="module")
def run(made: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Run:
    return open_run(write_store(tmp_path_factory.mktemp("simulated") / "run.zarr", **made))


def z_of(values: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Deviations of (..., statistic) in standard errors, where there is an error."""
    mean, error = np.moveaxis(values, -1, 0)
    return np.asarray((mean - expected)[error > 0] / error[error > 0])


def test_visits_and_their_free_energies(run: Run, made: dict[str, Any]) -> None:
    data = simulated(run)
    assert np.abs(z_of(data["visits"].values, SHARE)).max() < 3.5
    assert data["visits"].values[:, 1].max() < 0.05
    assert np.abs(z_of(data["free_energy"].values, FREE)).max() < 3.5
    assert data["free_energy"].values[:, 1].max() < 0.3
    assert np.abs(data["consistency"].values).max() < 3
    np.testing.assert_allclose(data["log_weight"].values, WEIGHT - WEIGHT[0])
    assert data["expected_visits"].values == pytest.approx(SHARE, abs=0.05)
    assert data["round_trips"].shape == (6,)
    assert data["round_trips"].values.min() > 0
    assert data["transitions"].values.sum() == 6 * (1200 - BURN_IN_DRAWS - 1)
    assert data["flow"].values[0, [0, -1]].tolist() == [0.0, 1.0]
    ratio = LADDER[0] / LADDER[1]  # swaps of springs: Kofke 2002
    exact = 2 * beta.cdf(ratio / (1 + ratio), SPRINGS / 2, SPRINGS / 2)
    assert data["barrier"].item() == pytest.approx(4 * (1 - exact), rel=0.1)


@pytest.mark.parametrize("broken", ["weights", "energies", "ladder"])
def test_what_does_not_belong_together_fails(tmp_path: Path, made: dict[str, Any], broken: str) -> None:
    wrong = dict(made)
    if broken == "weights":
        wrong["log_weight"] = made["log_weight"] + np.array([0.0, 1.0, 0.0, 0.0, 0.0])
    elif broken == "energies":
        wrong["energy"] = np.roll(made["energy"], 1, axis=0)
    else:
        wrong["temperature"] = LADDER * np.geomspace(1.0, 1.2, LADDER.size)
    data = simulated(open_run(write_store(tmp_path / "run.zarr", **wrong)))
    assert np.abs(data["consistency"].values).max() > SIGNIFICANT
    if broken == "weights":
        assert np.abs(z_of(data["free_energy"].values, FREE)).max() > 5


def test_energies_and_heat_capacities_of_visits(run: Run) -> None:
    data = thermodynamics(run)
    assert np.abs(z_of(data["energy"].values, GROUND + SPRINGS / 2 * LADDER)).max() < 3.5
    assert np.abs(z_of(data["heat_capacity"].values, np.full(LADDER.size, SPRINGS / 2))).max() < 3.5
    assert (data["energy"].values[:, 1] < 0.1 * SPRINGS / 2 * LADDER).all(), "errors worth having"
    assert data["draws"].values.sum() + data["discarded"].values[0] * 6 == 6 * (1200 - BURN_IN_DRAWS)
    assert not [check for check in checks(run, data) if check.verdict == "fail"]


def test_errors_of_visits_are_those_that_repetitions_show(tmp_path: Path) -> None:
    """Springs that last longer than a visit: gaps closed, the error of <U> is that of the walkers, not of the draws."""
    scores = []
    for seed in range(12):
        made = spring_walkers(seed + 10, walkers=2, draws=600)
        data = thermodynamics(open_run(write_store(tmp_path / f"{seed}.zarr", **made)))
        scores.append(z_of(data["energy"].values, GROUND + SPRINGS / 2 * LADDER))
    assert sum(map(len, scores)) > 20
    assert 0.7 < np.sqrt(np.mean(np.square(np.concatenate(scores)))) < 1.4


def test_curves_by_mbar_and_by_visits(run: Run) -> None:
    data = free_energy(run)
    assert set(data["method"].values) == {"mbar"}
    at = data["free_energy"].values[::POINTS]
    assert np.abs(z_of(at, FREE)).max() < 3.5
    assert np.abs(z_of(data["free_energy_of_visits"].values, FREE)).max() < 3.5
    assert np.abs(data["consistency"].values).max() < SIGNIFICANT


def test_a_lost_walker_counts_no_more(tmp_path: Path, made: dict[str, Any]) -> None:
    lost = {**made, "energy": made["energy"].copy()}
    lost["energy"][2, 500:] = np.nan
    lost["slot"] = np.where(np.isnan(lost["energy"]), made["slot"][:, 499:500], made["slot"])
    run = open_run(write_store(tmp_path / "run.zarr", **lost))
    data = simulated(run)
    assert np.abs(z_of(data["visits"].values, SHARE)).max() < 3.5
    assert np.abs(data["consistency"].values).max() < 3
    assert thermodynamics(run)["missing"].values.sum() == 700


def test_visits_are_joined_walker_after_walker() -> None:
    rows = np.array([[1.0, np.nan, 2.0], [np.nan, 3.0, np.nan]])
    assert joined(rows).tolist() == [[1.0, 2.0, 3.0]]


def test_program(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    store = run.store.path
    assert run_program(monkeypatch, "tempering", store, "--json") == 0
    tree = json.loads(capsys.readouterr().out, parse_constant=refuse_constant)
    assert tree["kind"] == "simulated"
    assert tree["ladder"] == LADDER.tolist()
    assert len(tree["round_trips"]) == 6
    assert len(tree["visits"]) == len(tree["visits_sem"]) == len(tree["log_weight"]) == LADDER.size
    assert len(tree["log_weight_history"]) == 1200
    assert run_program(monkeypatch, "tempering", store, "--out", tmp_path / "new") == 0
    assert run_program(monkeypatch, "free-energy", store, "--out", tmp_path / "new") == 0
    assert run_program(monkeypatch, "report", store, "--out", tmp_path / "new") == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in lines if not line.startswith("wrote ")) <= 120
    for name in ("trajectories", "overlap", "flow", "visits", "free_energy", "energy_traces"):
        image = imread(tmp_path / "new" / f"{name}.png")[..., :3]
        assert 0.01 < np.mean(image.min(axis=2) < 0.9) < 0.5, f"{name}: next to nothing, or too much, is drawn"
