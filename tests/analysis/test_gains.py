"""Gains of the layer norms: planted peaks are found and counted, one peak is left whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from synthetic import DRAWS_PER_SNAPSHOT, LADDER, write_store

from analysis import open_run
from analysis.gains import bimodality, remaining_dimension, split
from protmpi.errors import StoreError

D, SNAPSHOTS = 64, 12


def two_peaks(rng: np.random.Generator, useless: int, snapshots: int = SNAPSHOTS) -> np.ndarray:
    """Gains (snapshot, element): the first `useless` about zero, the others about ± 1."""
    values = rng.choice([-1.0, 1.0], D) * (1.0 + 0.15 * rng.standard_normal((snapshots, D)))
    values[:, :useless] = 0.05 * rng.standard_normal((snapshots, useless))
    return values


@pytest.mark.parametrize("useless", [20, 38, 50])
def test_planted_peaks_are_counted_exactly(useless: int) -> None:
    """Two layer norms of 64: 31 %, 59 % and 78 % useless, the last two as in the study."""
    rng = np.random.default_rng(useless)
    gains = np.hstack([two_peaks(rng, useless), two_peaks(rng, useless)])
    chance, threshold = split(gains)
    assert chance < 0.05
    np.testing.assert_array_equal((np.abs(gains) < threshold).sum(1), 2 * useless)


@pytest.mark.parametrize("seed", range(8))
def test_few_gains_that_hardly_move_are_counted(seed: int) -> None:
    """A small network at a low temperature: snapshots are nearly the same, so that each gain is a peak of its own."""
    rng = np.random.default_rng(seed)
    one = np.concatenate([0.015 * rng.standard_normal(10), rng.uniform(0.5, 1.2, 14)])
    gains = one + 1e-4 * rng.standard_normal((SNAPSHOTS, one.size))
    _, threshold = split(gains)
    np.testing.assert_array_equal((np.abs(gains) < threshold).sum(1), 10)


@pytest.mark.parametrize("seed", range(5))
def test_one_peak_is_left_whole(seed: int) -> None:
    """The broken twin: no elements may be useless where the gains have a single peak, wherever it is."""
    rng = np.random.default_rng(seed)
    for middle, width in ((1.0, 0.2), (0.0, 0.3)):
        assert split(middle + width * rng.standard_normal((SNAPSHOTS, D))).threshold == 0.0


def test_two_peaks_of_which_none_is_at_zero_leave_all_elements() -> None:
    rng = np.random.default_rng(8)
    gains = np.where(np.arange(D) < 30, 0.6, 1.6) + 0.05 * rng.standard_normal((SNAPSHOTS, D))
    found = split(gains)
    assert found.chance < 0.05
    assert found.threshold == 0.0


def test_chance_of_the_dip_keeps_its_level_in_correlated_snapshots() -> None:
    """Snapshots that hardly change: 2 median(p) rejects one peak in at most 5 % of the networks."""
    rng = np.random.default_rng(9)
    rejected = 0
    for _ in range(200):
        frozen = 1.0 + 0.2 * rng.standard_normal(D)
        rejected += bimodality(frozen + 0.01 * rng.standard_normal((5, D))) < 0.05
    assert rejected <= 20  # 10 expected at most, 20 has a chance below 1e-3


def store(path: Path, useless: int) -> Path:
    rng = np.random.default_rng(10)
    layers = {"E": 30, "0.LN1.gain": D, "0.LN1.bias": D, "0.LN2.gain": D, "0.LN2.bias": D}
    parameters = rng.standard_normal((4, SNAPSHOTS, sum(layers.values())))
    for walker in range(4):
        parameters[walker, :, 30 : 30 + D] = two_peaks(rng, useless)
        parameters[walker, :, 30 + 2 * D : 30 + 3 * D] = two_peaks(rng, useless + 10)
    es = np.concatenate([np.zeros(30), two_peaks(rng, 25, 1)[0], np.zeros(D), two_peaks(rng, 12, 1)[0], np.zeros(D)])
    energy = rng.standard_normal((4, SNAPSHOTS * DRAWS_PER_SNAPSHOT))
    return write_store(path, LADDER[:2], energy, parameters=parameters, layers=layers,
                       references={"es_parameters": np.stack([es, es])})  # fmt: skip


def test_what_remains_of_a_store(tmp_path: Path) -> None:
    data = open_run(store(tmp_path / "run.zarr", useless=30)).gains()
    assert data["layer"].values.tolist() == ["0.LN1", "0.LN2"]
    np.testing.assert_allclose(data["remaining"].sel(statistic="mean"), [[34.0, 34.0], [24.0, 24.0]], atol=0.2)
    assert (data["remaining"].sel(statistic="sem") < 0.5).all()
    np.testing.assert_allclose(data["reference_remaining"].sel(weights="ES", statistic="mean"), [39.0, 52.0])
    np.testing.assert_allclose(remaining_dimension(data, D)[:, 0], 29.0, atol=0.2)
    counted = data["histogram"].sel(kind="gain").sum("value").values
    assert (counted == counted.flat[0]).all()
    assert counted.flat[0] % (2 * D) == 0
    peak = data["histogram"].sel(kind="gain", layer="0.LN1", temperature=LADDER[0])
    near_zero = np.abs(data["value"]) < 0.3
    assert peak.where(near_zero).sum() / peak.sum() == pytest.approx(30 / D, abs=0.01)


def test_a_network_without_layer_norm_is_named(tmp_path: Path) -> None:
    energy = np.random.default_rng(11).standard_normal((2, 120))
    path = write_store(tmp_path / "run.zarr", LADDER[:2], energy, layers={"W0": 4}, model={"kind": "feedforward"},
                       parameters=np.ones((2, 12, 4)))  # fmt: skip
    with pytest.raises(StoreError, match="a feedforward network has no layer norm"):
        open_run(path).gains()
