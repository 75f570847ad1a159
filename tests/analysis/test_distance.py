"""The Gaussian of the distance: planted widths come back, and what is no Gaussian is told from one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from synthetic import BURN_IN_DRAWS, DRAWS_PER_SNAPSHOT, LADDER, write_store

from analysis import distance, open_run
from analysis.subjects.distance.figures import distance_figure
from analysis.subjects.distance.measure import fit_gaussian
from analysis.subjects.distance.tables import distance_remarks, distance_table
from analysis.subjects.weights.compact import compact
from protmpi.errors import StoreError

RANDOM = np.random.default_rng(8)
DISTANCE = RANDOM.uniform(5.0, 340.0, 600)


def gaussian(amplitude: float, width: float, exponent: float = 2.0) -> np.ndarray:
    return amplitude * np.exp(-((DISTANCE / width) ** exponent))


@pytest.mark.parametrize(("amplitude", "width"), [(1.0, 200.0), (0.3, 40.0), (2.0, 900.0)])
def test_a_planted_gaussian_comes_back(amplitude: float, width: float) -> None:
    found = fit_gaussian(DISTANCE, gaussian(amplitude, width))
    assert found == pytest.approx((amplitude, width, 0.0), rel=1e-6, abs=1e-8)


def test_the_width_has_the_unit_of_the_distance() -> None:
    metres = fit_gaussian(DISTANCE, gaussian(1.0, 200.0))
    millimetres = fit_gaussian(1000 * DISTANCE, gaussian(1.0, 200.0))
    assert millimetres.width == pytest.approx(1000 * metres.width)


def test_noise_is_what_is_left_over() -> None:
    noisy = gaussian(1.0, 200.0) + 0.01 * RANDOM.standard_normal(DISTANCE.size)
    found = fit_gaussian(DISTANCE, noisy)
    assert found.residual == pytest.approx(0.01, rel=0.1)
    assert found.width == pytest.approx(200.0, abs=2.0)


@pytest.mark.parametrize("exponent", [1.0, 4.0])
def test_another_exponent_leaves_more_over(exponent: float) -> None:
    assert fit_gaussian(DISTANCE, gaussian(1.0, 200.0, exponent)).residual > 0.03


@pytest.mark.parametrize("attention", [np.full(600, 0.5), np.full(600, np.nan), DISTANCE / 340.0])
def test_attention_that_does_not_fall_has_no_width(attention: np.ndarray) -> None:
    assert np.isnan(fit_gaussian(DISTANCE, attention).width)


def planted_store(path: Path, **pairs: np.ndarray) -> Path:
    """Two replicas at three temperatures, widths 150, 200, 250 ± 3 from snapshot to snapshot; other before burn-in."""
    temperature, draws = LADDER[1:4], 200
    snapshots = draws // DRAWS_PER_SNAPSHOT
    width = np.tile([150.0, 200.0, 250.0], 2)[:, None] + 3.0 * RANDOM.standard_normal((6, snapshots))
    width[:, : BURN_IN_DRAWS // DRAWS_PER_SNAPSHOT] = 20.0
    attention = 0.9 * np.exp(-((DISTANCE / width[..., None]) ** 2))
    energy = 1.0 + 0.01 * RANDOM.standard_normal((6, draws))
    references = {"es_pair_attention": np.stack([gaussian(1.0, 195.0), gaussian(1.0, 205.0)])}
    return write_store(path, temperature, energy, pair_attention=attention, references=references, pairs=pairs,
                       model={"kind": "encoder"})  # fmt: skip


def test_width_against_temperature(tmp_path: Path) -> None:
    run = open_run(planted_store(tmp_path / "store.zarr", pair_distance=DISTANCE, pair_target=gaussian(1.0, 200.0)))
    data = distance(run)
    mean, sem = data["width"].values.T
    assert (np.abs(mean - [150, 200, 250]) < 4 * sem).all()
    within = 3 / np.sqrt(2 * 19)
    assert (sem > 0.4 * within).all()
    assert (sem < 6 * within).all()  # between two replicas: Student's t of one degree
    np.testing.assert_allclose(data["amplitude"].sel(statistic="mean"), 0.9, rtol=1e-5)
    np.testing.assert_allclose(data["reference_width"].sel(weights="ES"), [195, 205])
    assert data["target_width"].item() == pytest.approx(200.0)
    curve = data["curve"].isel(temperature=1).values
    np.testing.assert_allclose(curve, 0.9 * np.exp(-((data["distance"].values / 200) ** 2)), atol=0.02)
    assert distance_remarks(data)[0] == "Width to learn: 200."
    assert "200 ± 7" in distance_remarks(data)[1]
    assert distance_table(data).row_count == 3
    assert len(distance_figure(data).axes) >= 4


def test_a_store_without_distances_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="has no attention at known distances"):
        distance(open_run(planted_store(tmp_path / "store.zarr")))


def test_an_encoder_is_not_made_compact(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="gains do not tell which elements of an encoder are useless"):
        compact(open_run(planted_store(tmp_path / "store.zarr")))
