"""Overlaps between snapshots: planted values, their decay, error bars, and a bound on memory."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from synthetic import DRAWS_PER_SNAPSHOT, LADDER, RECORD_EVERY, ar1, write_store

from analysis import open_run, overlaps
from analysis.subjects.weights import overlaps as measure
from protmpi.errors import StoreError

GROUPS = {"E": 40_000, "0.Wqk": 20_000}
SNAPSHOTS = 12
BURN_IN = 1  # snapshots: the burn-in of the synthetic stores ends with the first one


def planted(rng: np.random.Generator, walkers: int, common: float, own: float) -> np.ndarray:
    """Parameters (walker, snapshot, P) with squared shares `common` to all and `own` to a walker; the rest is noise.

    So q = common + own within a chain and common between chains.
    """
    size = sum(GROUPS.values())
    everyone, walker = rng.standard_normal(size), rng.standard_normal((walkers, 1, size))
    noise = rng.standard_normal((walkers, SNAPSHOTS, size))
    return np.sqrt(common) * everyone + np.sqrt(own) * walker + np.sqrt(1.0 - common - own) * noise


def store(path: Path, parameters: np.ndarray, temperatures: int, **more: object) -> Path:
    walkers = len(parameters)
    energy = np.random.default_rng(1).standard_normal((walkers, SNAPSHOTS * DRAWS_PER_SNAPSHOT))
    return write_store(path, LADDER[:temperatures], energy, parameters=parameters, layers=GROUPS, **more)


def test_planted_overlaps_within_and_between_chains(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    parameters = planted(rng, 4, common=0.3, own=0.4)
    parameters[:, :, GROUPS["E"] :] = planted(rng, 4, common=0.0, own=0.9)[:, :, GROUPS["E"] :]
    data = overlaps(open_run(store(tmp_path / "run.zarr", parameters, temperatures=2)))
    expected = {"E": (0.7, 0.3), "0.Wqk": (0.9, 0.0), "all": (2 / 3 * 0.7 + 1 / 3 * 0.9, 2 / 3 * 0.3)}
    for group, values in expected.items():
        np.testing.assert_allclose(data["q"].sel(group=group, statistic="mean"), [values] * 2, atol=0.03)
    known = SNAPSHOTS - BURN_IN
    within, between = data["pairs"].sum("q_bin").sel(group="E", temperature=LADDER[0]).values
    dropped = np.sqrt(between)  # equilibration may drop some
    assert dropped == int(dropped) <= known
    assert within == 2 * dropped * (dropped - 1) / 2
    peak = data["q_bin"].values[int(data["pairs"].sel(group="E", relation="within").values[0].argmax())]
    assert abs(peak - 0.7) < 0.03
    mean = (data["pairs"] * data["q_bin"]).sum("q_bin") / data["pairs"].sum("q_bin")
    np.testing.assert_allclose(mean.values, data["q"].sel(statistic="mean").values, atol=5e-4)


def test_every_pair_is_counted_once_whatever_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = Lazy(chain=np.repeat([0, 1, 2], 11), row=np.tile(np.arange(11), 3), size=24)
    groups = {"a": slice(0, 10), "b": slice(10, 24)}
    whole = measure.tally(rows, groups, 24)
    w = rows.read(0, len(rows)).astype(np.float64)
    unit = w[:, :10] / np.linalg.norm(w[:, :10], axis=1, keepdims=True)
    q = unit @ unit.T
    same = np.equal.outer(rows.chain, rows.chain)
    upper = np.triu(np.ones_like(same), 1)
    for relation, pairs in enumerate((same & upper, ~same & upper)):
        np.testing.assert_allclose(whole.partner_sum[0, relation].sum() / 2, q[pairs].sum(), rtol=1e-5)
        assert whole.histogram[0, relation].sum() == pairs.sum()
    for rows_per_block in (1, 4, 7):
        monkeypatch.setattr(measure, "BLOCK_ROWS", rows_per_block)
        parts = measure.tally(rows, groups, 24)
        np.testing.assert_array_equal(parts.histogram.sum(-1), whole.histogram.sum(-1))
        np.testing.assert_allclose(parts.partner_sum, whole.partner_sum, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(parts.decay_sum, whole.decay_sum, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("phi", [0.8, 0.5])
def test_decay_of_an_autoregressive_walk_is_its_autocorrelation(tmp_path: Path, phi: float) -> None:
    series = ar1(phi, (2, sum(GROUPS.values()), SNAPSHOTS), np.random.default_rng(4))
    data = overlaps(open_run(store(tmp_path / "run.zarr", np.moveaxis(series, 2, 1), temperatures=2)))
    decay = data["decay"].sel(group="all").values[:, 1:6]
    np.testing.assert_allclose(decay, np.broadcast_to(phi ** np.arange(1, 6), decay.shape), atol=0.03)
    np.testing.assert_array_equal(data["lag"].values[:3], RECORD_EVERY * DRAWS_PER_SNAPSHOT * np.arange(3))
    other = 0.65  # the broken twin: this autocorrelation is not another one's
    assert np.abs(decay - other ** np.arange(1, 6)).max() > 0.1


def test_error_of_the_mean_overlap_is_its_spread_over_runs() -> None:
    """U-statistic of pairs of one chain: q = x x' with scalar x of mean 0.5, spread 1; planted in two parameters."""
    from analysis.reading.snapshots import pair_estimate

    rng = np.random.default_rng(5)
    means, errors = [], []
    for _ in range(300):
        x = 0.5 + rng.standard_normal(40)
        partners = x * (x.sum() - x) / 39
        found = pair_estimate(partners, np.zeros(40, dtype=int), np.nan)
        means.append(found.mean)
        errors.append(found.sem)
    assert abs(np.mean(means) - 0.25) < 4 * np.std(means) / np.sqrt(300)
    assert 0.75 < np.mean(errors) / np.std(means) < 1.25
    assert np.mean(errors) / 2 / np.std(means) < 0.7, "without the factor of two of a pair the error is too small"


def test_lost_walkers_and_single_snapshots_are_unknown_not_zero(tmp_path: Path) -> None:
    parameters = planted(np.random.default_rng(6), 2, common=0.0, own=0.5)
    parameters[1] = np.nan
    data = overlaps(open_run(store(tmp_path / "run.zarr", parameters, temperatures=2)))
    q = data["q"].sel(group="all", relation="within", statistic="mean").values
    assert np.isfinite(q[0])
    assert np.isnan(q[1])
    assert np.isnan(data["q"].sel(relation="between").values).all()


def test_a_store_without_parameters_is_named(tmp_path: Path) -> None:
    path = write_store(tmp_path / "run.zarr", LADDER[:2], np.random.default_rng(7).standard_normal((2, 100)))
    with pytest.raises(StoreError, match="holds no parameters"):
        overlaps(open_run(path))


class Lazy:
    """Snapshots that are made when they are read, so that no memory but that of the blocks is used."""

    def __init__(self, chain: np.ndarray, row: np.ndarray, size: int) -> None:
        self.chain, self.row, self.size = chain, row, size

    def __len__(self) -> int:
        return int(self.row.size)

    def read(self, first: int, last: int) -> np.ndarray:
        return np.stack([
            np.random.default_rng(index).standard_normal(self.size, dtype=np.float32)
            for index in range(first, min(last, len(self)))
        ])  # fmt: skip


def test_memory_is_that_of_two_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """10 000 snapshots of 169 000 parameters are 6.8 GB in blocks of 0.27 GB; here both are 100 times smaller."""
    rows = Lazy(chain=np.repeat([0, 1], 500), row=np.tile(np.arange(500), 2), size=16_900)
    whole = rows.size * len(rows) * 4
    monkeypatch.setattr(measure, "BLOCK_BYTES", whole // 25)
    groups = {"a": slice(0, 8_000), "b": slice(8_000, 16_900)}
    tracemalloc.start()
    found = measure.tally(rows, groups, rows.size)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.histogram[0].sum() == 1_000 * 999 // 2
    assert peak < 6 * measure.BLOCK_BYTES, f"{peak / 1e6:.0f} MB of {whole / 1e6:.0f} MB"
