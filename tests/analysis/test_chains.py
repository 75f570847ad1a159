"""Correlated series with exactly known errors. Each exact test also rejects an estimator that is wrong on purpose."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from synthetic import ar1, ar1_error

from analysis.statistics.chains import (
    MINIMUM_DRAWS,
    between_walkers,
    effective_samples,
    equilibration,
    estimate,
    r_hat,
    samples_of_walkers,
    whole_chains,
    within_chains,
)

PHI, DRAWS, SERIES = 0.8, 500, 300


def spread_of_z(errors: np.ndarray, means: np.ndarray) -> float:
    """Root mean square of means (true value 0) in units of their errors: 1 when the errors are right."""
    return float(np.sqrt(np.mean((means / errors) ** 2)))


def agrees_with_one(spread: float) -> bool:
    """With 300 series the root mean square is known to 4 %; errors that are themselves estimated add up to 10 %."""
    return 0.88 < spread < 1.22


@pytest.fixture(scope="module")
def series() -> np.ndarray:
    return ar1(PHI, (SERIES, DRAWS), np.random.default_rng(11))


def test_error_of_the_mean_covers_a_correlated_series(series: np.ndarray) -> None:
    means, errors = np.array([estimate(x[None]) for x in series]).T
    assert agrees_with_one(spread_of_z(errors, means))
    assert np.median(errors) == pytest.approx(ar1_error(PHI, DRAWS), rel=0.1)


def test_error_that_ignores_autocorrelation_is_rejected(series: np.ndarray) -> None:
    naive = series.std(axis=1, ddof=1) / np.sqrt(DRAWS)
    assert not agrees_with_one(spread_of_z(naive, series.mean(axis=1)))


def test_error_is_exact_for_independent_draws() -> None:
    x = np.random.default_rng(12).normal(3.0, 0.2, size=(1, 10_000))
    mean, sem = estimate(x)
    assert mean == pytest.approx(x.mean())
    assert sem == pytest.approx(0.2 / np.sqrt(x.size), rel=0.1)


def test_estimate_follows_shift_and_scale(series: np.ndarray) -> None:
    mean, sem = estimate(series[:3])
    assert estimate(7.0 - 2.0 * series[:3]) == pytest.approx((7.0 - 2.0 * mean, 2.0 * sem))


@pytest.fixture(scope="module")
def disagreeing() -> np.ndarray:
    """Sets of five replicas, each stuck at a height of its own (set, chain, draw)."""
    rng = np.random.default_rng(13)
    return rng.normal(size=(SERIES, 5, 1)) + 0.05 * rng.normal(size=(SERIES, 5, 100))


def test_spread_between_replicas_enters_the_error(disagreeing: np.ndarray) -> None:
    means, errors = np.array([estimate(chains) for chains in disagreeing]).T
    # five heights alone: their mean follows Student's t with 4 degrees of freedom, of variance 2
    assert 0.8 < spread_of_z(errors, means) < np.sqrt(2) * 1.2


def test_error_within_replicas_alone_is_rejected(disagreeing: np.ndarray) -> None:
    within = disagreeing.std(axis=2, ddof=1).mean(axis=1) / np.sqrt(500)
    assert spread_of_z(within, disagreeing.mean(axis=(1, 2))) > 10


def test_effective_samples_of_ar1() -> None:
    x = ar1(PHI, (4, 20_000), np.random.default_rng(14))
    assert effective_samples(x) == pytest.approx(x.size * (1 - PHI) / (1 + PHI), rel=0.1)


def test_short_series_borrow_the_effective_samples_of_the_energy() -> None:
    x = np.random.default_rng(15).normal(size=(1, MINIMUM_DRAWS - 1))
    assert np.isnan(effective_samples(x))
    assert np.isnan(estimate(x).sem)
    four, all_of_them = (within_chains(x, independent) for independent in (4.0, 1e6))
    assert four == pytest.approx((x.std(ddof=1) / 2, 4 / 5))
    assert all_of_them == pytest.approx((x.std(ddof=1) / np.sqrt(x.size), x.size / 5))
    assert estimate(x, independent=4.0).sem == pytest.approx(four.size * stats.t.ppf(0.84135, 4 / 5), rel=1e-4)
    assert np.isnan(estimate(x[:, :1]).sem)
    assert np.isnan(estimate(x[:, :0]).mean)


def test_r_hat_tells_agreement_from_disagreement(series: np.ndarray, disagreeing: np.ndarray) -> None:
    assert r_hat(series[:4]) == pytest.approx(1.0, abs=0.03)
    assert r_hat(series[:1]) == pytest.approx(1.0, abs=0.05)
    assert r_hat(disagreeing[0]) > 1.5
    drifting = series[:1] + np.linspace(-3, 3, DRAWS)
    assert r_hat(drifting) > 1.5
    assert np.isnan(r_hat(series[:1, : MINIMUM_DRAWS - 1]))


TRANSIENT = 60  # draws after which the planted transient below is small


def with_transient(chains: np.ndarray) -> np.ndarray:
    return chains + 6.0 * np.exp(-np.arange(chains.shape[-1]) / (TRANSIENT / 4))


@pytest.mark.parametrize("chains", [1, 3])
def test_equilibration_drops_a_planted_transient(series: np.ndarray, chains: int) -> None:
    for start in range(0, 30, chains):
        x = with_transient(series[start : start + chains])
        dropped = equilibration(x)
        assert 0.2 * TRANSIENT < dropped <= DRAWS // 2
        assert abs(estimate(x[:, dropped:]).mean - estimate(series[start : start + chains]).mean) < 0.5
    mean_of_all = with_transient(series[:200]).mean()
    assert mean_of_all > 3 * ar1_error(PHI, 200 * DRAWS), "the transient is too small to test anything"


def test_equilibration_keeps_a_stationary_series(series: np.ndarray) -> None:
    dropped = np.array([equilibration(x[None]) for x in series[:60]])
    assert dropped.mean() < 0.1 * DRAWS
    assert equilibration(series[:1, : 2 * MINIMUM_DRAWS - 2]) == 0


def test_error_still_covers_after_equilibration(series: np.ndarray) -> None:
    kept = [x[None, equilibration(x[None]) :] for x in series]
    means, errors = np.array([estimate(x) for x in kept]).T
    assert spread_of_z(errors, means) < 1.4


def test_chains_with_missing_draws_are_left_out_while_others_remain() -> None:
    x = np.arange(12.0).reshape(3, 4)
    x[1, 2:] = np.nan
    np.testing.assert_array_equal(whole_chains(x), x[[0, 2]])
    np.testing.assert_array_equal(whole_chains(x[1:2]), [[4.0, 5.0]])
    assert whole_chains(np.full((2, 4), np.nan)).size == 0


WALKERS, VISITS, KEPT = 12, 200, 0.5
"""Walkers that take turns at a temperature, draws of each, and the spread of what each keeps (that of draws is 1)."""


def taking_turns(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Independent draws and who drew them; each walker has an offset of its own in all of its draws."""
    walkers = rng.permutation(np.repeat(np.arange(WALKERS), VISITS))
    return rng.normal(size=walkers.size) + KEPT * rng.normal(size=WALKERS)[walkers], walkers


def test_what_a_walker_keeps_shows_between_walkers() -> None:
    """Error of the mean over many stores: the planted one, sqrt(spread²/12 + 1/2400), which autocorrelation misses."""
    rng, expected = np.random.default_rng(81), np.sqrt(KEPT**2 / WALKERS + 1 / (WALKERS * VISITS))
    errors, blind, means = [], [], []
    for _ in range(300):
        values, walkers = taking_turns(rng)
        means.append(values.mean())
        errors.append(values.var() / samples_of_walkers(values, walkers))
        blind.append(estimate(values[None]).sem ** 2)
    assert np.std(means) == pytest.approx(expected, rel=0.15)
    assert np.sqrt(np.mean(errors)) == pytest.approx(expected, rel=0.05)
    assert np.sqrt(np.mean(blind)) < 0.3 * expected, "the series alone does not tell"


def test_walkers_that_keep_nothing_cost_nothing() -> None:
    rng = np.random.default_rng(82)
    walkers = rng.permutation(np.repeat(np.arange(WALKERS), VISITS))
    ratios = [samples_of_walkers(rng.normal(size=walkers.size), walkers) / walkers.size for _ in range(300)]
    assert np.mean(1.0 / np.array(ratios)) == pytest.approx(1.0, rel=0.1)
    values = rng.normal(size=walkers.size)
    gap = np.append(values, np.nan)
    assert samples_of_walkers(gap, np.append(walkers, 3)) == pytest.approx(samples_of_walkers(values, walkers))
    assert np.isnan(samples_of_walkers(values, np.zeros(values.size, dtype=int))), "one walker does not tell"


def test_the_jackknife_over_equal_walkers_is_the_spread_of_their_means() -> None:
    x = np.random.default_rng(83).normal(size=(5, 7))
    error = between_walkers(x, np.repeat(np.arange(5), 7).reshape(x.shape))
    assert error == pytest.approx((x.mean(axis=1).std(ddof=1) / np.sqrt(5), 4.0))


def test_the_error_is_never_smaller_than_between_nor_within() -> None:
    """Walkers that agree better than chance, or worse; and a joined chain whose draws say who made them."""
    noise = ar1(0.5, (3, 300), np.random.default_rng(84))
    noise -= noise.mean(axis=1, keepdims=True)
    for heights, larger in ((np.zeros(3), "within"), (np.array([-0.5, 0.0, 0.6]), "between")):
        chains = noise + heights[:, np.newaxis]
        between = chains.mean(axis=1).std(ddof=1) / np.sqrt(3) * 1.3213  # Student's t, two degrees, 68.27 %
        within = within_chains(chains).half_width
        assert (between > within) == (larger == "between")
        assert estimate(chains).sem == pytest.approx(max(between, within), rel=1e-4)
    joined, walkers = chains.reshape(1, -1), np.repeat(np.arange(3), 300)[np.newaxis]
    assert estimate(joined, walkers=walkers).sem >= between * 0.9999
    alike = joined[:, np.random.default_rng(85).permutation(900)]
    assert estimate(alike, walkers=walkers).sem < 0.5 * between, "who made the draws does not matter"
