"""Gains of the layer norms: planted peaks are found and counted, one peak is left whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from synthetic import DRAWS_PER_SNAPSHOT, LADDER, write_store

from analysis import gains, open_run
from analysis.subjects.weights.gains import bimodality, deciding, last_block, split, unimodal
from protmpi.errors import StoreError

D, SNAPSHOTS = 64, 12


def two_peaks(rng: np.random.Generator, useless: int, snapshots: int = SNAPSHOTS) -> np.ndarray:
    """Gains (snapshot, element): the first `useless` about zero, the others about ± 1."""
    values = rng.choice([-1.0, 1.0], D) * (1.0 + 0.15 * rng.standard_normal((snapshots, D)))
    values[:, :useless] = 0.05 * rng.standard_normal((snapshots, useless))
    return values


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("useless", [10, 20, 38, 50])
def test_planted_peaks_are_counted_exactly(useless: int, seed: int) -> None:
    """One layer norm of 64: 16 %, 31 %, 59 % and 78 % useless, the last two as in the study."""
    gains = two_peaks(np.random.default_rng([useless, seed]), useless)
    chance, threshold = split(gains)
    assert chance < 0.05
    np.testing.assert_array_equal((np.abs(gains) < threshold).sum(1), useless)


def test_the_fitted_law_has_one_peak_and_is_close() -> None:
    for seed in range(20):
        random = np.random.default_rng(seed)
        values = np.sort(np.concatenate([random.standard_normal(30), 3.0 + random.standard_normal(seed)]))
        quantile, probability, dip = unimodal(values)
        assert (quantile[0], quantile[-1], probability[0], probability[-1]) == (values[0], values[-1], 0.0, 1.0)
        slope = np.diff(probability) / np.diff(quantile)
        top = int(slope.argmax())
        assert (np.diff(slope[: top + 1]) > 0).all()
        assert (np.diff(slope[top:]) < 0).all()
        away = np.interp(values, quantile, probability) - np.linspace(0.0, 1.0, values.size)
        assert np.abs(away).max() <= 2.0 * dip + 1.0 / values.size


@pytest.mark.parametrize("law", ["normal", "half-normal", "uniform", "exponential", "spike and plateau"])
def test_chance_of_the_dip_keeps_its_level(law: str) -> None:
    """One snapshot of a law of one peak: a chance below 5 % in at most 5 % of the cases."""
    random = np.random.default_rng(sum(map(ord, law)))
    draws = {
        "normal": lambda: random.normal(1.0, 0.2, D),
        "half-normal": lambda: random.standard_normal(D),
        "uniform": lambda: random.random(D),
        "exponential": lambda: random.exponential(size=D),
        "spike and plateau": lambda: np.where(random.random(D) < 0.7, 0.05 * random.random(D), random.random(D)),
    }
    rejected = sum(bimodality(draws[law]()[np.newaxis]) < 0.1 for _ in range(200))  # 2 median(p) of one p
    assert rejected <= 20  # 10 expected at most, 20 has a chance below 1e-3


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


USELESS = {"0.LN1": 50, "0.LN2": 10, "1.LN1": 38, "1.LN2": 30}
"""Useless elements of the layer norms of two blocks."""
LOUDER = {"0.LN1": 10.0}
"""Layer norms whose gains are all larger: the useless ones lie where other layer norms have their useful ones."""


def store(path: Path, useless: dict[str, int]) -> Path:
    rng = np.random.default_rng(10)
    layers = {"E": 30} | {f"{layer}.{kind}": D for layer in useless for kind in ("gain", "bias")}
    parameters = rng.standard_normal((4, SNAPSHOTS, sum(layers.values())))
    es = np.zeros((2, parameters.shape[2]))
    for index, (layer, count) in enumerate(useless.items()):
        where = slice(30 + 2 * D * index, 30 + 2 * D * index + D)
        for walker in range(4):
            parameters[walker, :, where] = LOUDER.get(layer, 1.0) * two_peaks(rng, count)
        es[:, where] = two_peaks(rng, max(0, count - 5), 1)
    energy = rng.standard_normal((4, SNAPSHOTS * DRAWS_PER_SNAPSHOT))
    return write_store(path, LADDER[:2], energy, parameters=parameters, layers=layers,
                       references={"es_parameters": es})  # fmt: skip


def test_what_remains_of_a_store(tmp_path: Path) -> None:
    """Four different counts: no layer norm lends its threshold to another."""
    data = gains(open_run(store(tmp_path / "run.zarr", USELESS)))
    assert data["layer"].values.tolist() == list(USELESS)
    np.testing.assert_allclose(data["remaining"].sel(statistic="mean"), [[D - n] * 2 for n in USELESS.values()])
    assert (data["remaining"].sel(statistic="sem") < 0.5).all()
    found = data["reference_remaining"].sel(weights="ES", statistic="mean", layer=["0.LN1", "1.LN1", "1.LN2"])
    np.testing.assert_allclose(found, [D - 45, D - 33, D - 25])
    assert data["threshold"].sel(layer="0.LN1").values == pytest.approx(2.5, rel=0.3)
    assert data["threshold"].sel(layer="1.LN2").values == pytest.approx(0.25, rel=0.3)
    assert last_block(data) == deciding(data, D) == ["1.LN1", "1.LN2"]
    counted = data["histogram"].sel(kind="gain").sum("value").values
    assert (counted == counted.flat[0]).all()
    assert counted.flat[0] % (2 * D) == 0
    peak = data["histogram"].sel(kind="gain", layer="0.LN2", temperature=LADDER[0])
    near_zero = np.abs(data["value"]) < 0.4
    assert peak.where(near_zero).sum() / peak.sum() == pytest.approx(10 / D, abs=0.01)


def test_one_layer_norm_with_two_peaks_says_nothing_of_the_other(tmp_path: Path) -> None:
    data = gains(open_run(store(tmp_path / "run.zarr", {"0.LN1": 38, "0.LN2": 0})))
    np.testing.assert_allclose(data["remaining"].sel(statistic="mean"), [[D - 38] * 2, [D] * 2])
    assert (data["bimodality"].sel(layer="0.LN1") < 0.05).all()
    assert (data["bimodality"].sel(layer="0.LN2") > 0.05).all()


def test_a_network_without_layer_norm_is_named(tmp_path: Path) -> None:
    energy = np.random.default_rng(11).standard_normal((2, 120))
    path = write_store(tmp_path / "run.zarr", LADDER[:2], energy, layers={"W0": 4}, model={"kind": "feedforward"},
                       parameters=np.ones((2, 12, 4)))  # fmt: skip
    with pytest.raises(StoreError, match="a feedforward network has no layer norm"):
        gains(open_run(path))
