"""Stores that are short, damaged, unfinished or have holes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from synthetic import BURN_IN_DRAWS, LADDER, write_store

from analysis import open_run, thermodynamics
from analysis.statistics.chains import MINIMUM_DRAWS
from protmpi.errors import StoreError

ENOUGH = BURN_IN_DRAWS + MINIMUM_DRAWS


def energies(walkers: int, draws: int) -> np.ndarray:
    return 1.0 + np.random.default_rng(31).normal(size=(walkers, draws))


@pytest.mark.parametrize("draws", [0, 3, ENOUGH - 1])
def test_too_few_draws_say_how_many_there_are_and_are_needed(tmp_path: Path, draws: int) -> None:
    run = open_run(write_store(tmp_path / "run.zarr", LADDER[:2], energies(2, draws), planned_draws=500))
    measured = max(0, draws - BURN_IN_DRAWS)
    message = rf"{draws} committed draws, {measured} of them after .* needs {MINIMUM_DRAWS}: .* reach step 1800"
    with pytest.raises(StoreError, match=message):
        thermodynamics(run)


def test_just_enough_draws(tmp_path: Path) -> None:
    data = thermodynamics(open_run(write_store(tmp_path / "run.zarr", LADDER[:1], energies(1, ENOUGH))))
    assert np.isfinite(data["energy"].values[:, 0]).all()
    assert np.isnan(data["energy"].values[:, 1]).all(), "too few for an error"
    assert np.isnan(data["t_star"].item())


def test_a_lost_walker_is_left_out_or_ends_early(tmp_path: Path) -> None:
    energy = energies(4, 100)
    energy[2, 40:] = np.nan  # replica 1, slot 0
    lost = thermodynamics(open_run(write_store(tmp_path / "two.zarr", LADDER[:2], energy)))
    np.testing.assert_array_equal(lost["missing"].values, [90, 0])
    assert lost["energy"].values[0, 0] == pytest.approx(energy[0, BURN_IN_DRAWS:].mean(), abs=0.2)

    energy[0, 50:] = np.nan
    both_lost = thermodynamics(open_run(write_store(tmp_path / "both.zarr", LADDER[:2], energy)))
    assert both_lost["draws"].values[0] + both_lost["discarded"].values[0] == 40
    assert np.isfinite(both_lost["energy"].values).all()


def test_a_temperature_without_any_draw_is_unknown_and_the_others_are_not(tmp_path: Path) -> None:
    energy = energies(3, 100)
    energy[1] = np.nan
    slot = np.broadcast_to(np.array([[0], [-1], [2]]), energy.shape)
    for name, slots in (("kept", None), ("missing", slot)):
        path = write_store(tmp_path / f"{name}.zarr", LADDER[:3], energy, slot=slots)
        data = thermodynamics(open_run(path))
        for variable in ("energy", "heat_capacity", "heat_capacity_derivative"):
            np.testing.assert_array_equal(np.isfinite(data[variable].values[:, 0]), [True, False, True])
        assert data["draws"].values[1] == 0


def test_no_snapshot_yet(tmp_path: Path) -> None:
    path = write_store(tmp_path / "run.zarr", LADDER[:2], energies(2, 50), test_error=np.empty((2, 0)))
    assert np.isnan(thermodynamics(open_run(path))["test_error"].values).all()


def test_unfinished(tmp_path: Path) -> None:
    run = open_run(write_store(tmp_path / "run.zarr", LADDER[:2], energies(2, 50), planned_draws=80))
    assert run.unfinished
    assert run.by_temperature("energy").shape == (1, 2, 50)
    assert thermodynamics(run).attrs["state"] == "unfinished"


def test_two_walkers_at_one_temperature_are_refused(tmp_path: Path) -> None:
    slot = np.zeros((2, 50), dtype=int)
    run = open_run(write_store(tmp_path / "run.zarr", LADDER[:2], energies(2, 50), slot=slot))
    with pytest.raises(StoreError, match="two walkers of one replica"):
        thermodynamics(run)


def test_incomplete_ladders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="3 walkers do not fill whole ladders of 2 slots"):
        open_run(write_store(tmp_path / "run.zarr", LADDER[:2], energies(3, 50)))


def test_references_by_label(tmp_path: Path) -> None:
    references = {"es_energy": np.array([1.2, 1.3])}
    run = open_run(write_store(tmp_path / "run.zarr", LADDER[:2], energies(2, 50), references=references))
    np.testing.assert_array_equal(run.references("energy")["ES"], [1.2, 1.3])
    assert run.references("test_error") == {}
