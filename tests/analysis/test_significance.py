"""Errors and z-scores of the self-checks: Student's t, the worst of many, and what a series can tell."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from synthetic import ar1

from analysis.statistics.significance import SAMPLES_PER_FREEDOM, Halves, Mean, combined, drift, normal_deviate


def test_z_is_the_normal_deviate_of_students_t() -> None:
    many = Mean(1.03, 0.01, 1e9)
    assert many.z(1.0) == pytest.approx(3.0)
    assert many.z(1.06) == pytest.approx(-3.0)
    few = Mean(1.03, 0.01, 10 * SAMPLES_PER_FREEDOM)
    assert stats.norm.sf(few.z(1.0)) == pytest.approx(stats.t.sf(3.0, 10))
    assert Mean(2.0, 0.0, 9.0).z(1.0) < np.inf
    assert Mean(1.0, 0.0, 9.0).z(1.0) == 0.0
    assert np.isnan(Mean(1.0, np.nan, np.nan).z(2.0))


def test_z_of_the_worst_of_many_is_corrected() -> None:
    worst = np.abs(np.random.default_rng(67).normal(size=(4_000, 30))).max(axis=1)
    corrected = np.array([normal_deviate(2 * stats.norm.sf(z), 30) for z in worst])
    for threshold in (1.0, 2.0, 3.0):
        chance = 2 * stats.norm.sf(threshold)
        assert np.mean(corrected > threshold) == pytest.approx(chance, abs=5 * np.sqrt(chance / 4_000))
    assert np.mean(worst > 3.0) > 10 * np.mean(corrected > 3.0)
    assert normal_deviate(1e-80, 30) == pytest.approx(normal_deviate(30e-80), rel=1e-6)


@pytest.mark.parametrize("tries", [1, 30])
def test_resolution_is_where_z_becomes_significant(tries: int) -> None:
    mean = Mean(1.0, 0.02, 60.0)
    chance = 2.0 * stats.norm.sf(3.4)
    assert mean.z(1.0 - mean.resolution(chance, tries), tries) == pytest.approx(3.4)


def test_halves_are_significant_where_their_resolution_says() -> None:
    rng = np.random.default_rng(70)
    halves = Halves.of([rng.standard_normal(120), rng.standard_normal(80) + 0.2])
    assert halves.freedom[0] == 3
    chance = 2.0 * stats.norm.sf(2.5)
    wider = halves._replace(spread=halves.resolution(chance))
    assert wider.z == pytest.approx(2.5, abs=1e-6)


def test_errors_combine_as_welch_has_it() -> None:
    sem, samples = combined(np.array([3.0, 4.0]), np.array([50.0, 50.0]))
    assert (sem, samples) == pytest.approx((5.0, 625 / (81 + 256) * 50))
    assert combined(np.array([3.0, 0.0]), np.array([50.0, 7.0])) == pytest.approx((3.0, 50.0))
    assert Mean(3.0, 3.0, 50.0).minus(Mean(1.0, 4.0, 50.0)) == pytest.approx((2.0, sem, samples))


def test_short_series_never_count_for_more_than_their_draws() -> None:
    alternating = 1.0 + 0.1 * np.where(np.arange(40) % 2, 1, -1) + 0.01 * np.random.default_rng(68).normal(size=(1, 40))
    mean = Mean.of(alternating)
    assert mean.samples == 40
    assert mean.sem == pytest.approx(0.1 / np.sqrt(40), rel=0.05)


@pytest.mark.parametrize("slope", [0.0, 3.0])
def test_drift_has_the_error_of_the_rest(slope: float) -> None:
    """z of the drift about its true value is normal, whether there is one or not."""
    series = ar1(0.5, (200, 300), np.random.default_rng(69)) + slope * np.linspace(-1, 1, 300)
    drifts = np.array([drift(x) for x in series])
    z = (drifts[:, 0] - slope * 2 * 200 / 299) / drifts[:, 1]
    assert abs(z.mean()) < 4 / np.sqrt(200)
    assert 0.85 < z.std() < 1.2
