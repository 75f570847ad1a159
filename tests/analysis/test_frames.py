"""Draws as a table and as ArviZ data: every number is that of the store, at its temperature."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from synthetic import LADDER, ar1, write_store

from analysis import open_run
from analysis.statistics.chains import arviz, effective_samples
from protmpi.errors import StoreError

LADDER = LADDER[:3]
REPLICAS, DRAWS = 2, 90


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(91)
    energy = 1.0 + np.arange(6)[:, None] + 0.01 * ar1(0.4, (6, DRAWS), rng)
    return write_store(tmp_path_factory.mktemp("frames") / "run.zarr", LADDER, energy, val_error=10.0 * energy,
                       overlap=-energy)  # fmt: skip


def test_the_table_has_every_draw_at_its_temperature(path: Path) -> None:
    run = open_run(path)
    table = run.draws()
    assert len(table) == 6 * DRAWS
    assert (table["energy"].round() == table["walker"] + 1.0).all()
    np.testing.assert_allclose(table["val_error"], 10.0 * table["energy"])
    for slot, temperature in enumerate(run.temperature):
        here = table[table["temperature"] == temperature]
        assert set(here["walker"]) == {slot, slot + 3}
        assert (here["replica"] == here["walker"] // 3).all()
        first = run.stretches[slot].step
        assert (here["counts"] == (here["step"] >= first)).all()
        assert here["step"].max() == run.steps("draw")[-1]


def test_arviz_takes_the_draws_that_count(path: Path) -> None:
    run = open_run(path)
    found = run.to_arviz(run.temperature[1])
    first = np.searchsorted(run.steps("draw"), run.stretches[1].step)
    rows = run.by_temperature("energy")[:, 1, first:]
    np.testing.assert_array_equal(found.posterior["energy"].values, rows)
    assert set(found.sample_stats.data_vars) == {"overlap", "norm2"}
    assert found.attrs["temperature"] == run.temperature[1]
    samples = arviz().ess(found, method="mean")["energy"].item()
    assert samples == pytest.approx(effective_samples(rows), rel=1e-6)
    with pytest.raises(StoreError, match=r"has no temperature 0\.5; it has"):
        run.to_arviz(0.5)


def test_a_run_says_what_it_is(path: Path) -> None:
    assert "6 walkers" in repr(open_run(path))
    assert f"3 temperatures from {LADDER[0]:g} to {LADDER[2]:g}, {DRAWS} draws" in repr(open_run(path))
