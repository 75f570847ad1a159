"""Autocorrelation times and decays of the overlap against chains whose memory is planted; wrong twins must fail."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.signal import lfilter

from protmpi.bench import correlation as product
from protmpi.bench.correlation import correlation, decay, drift

LENGTHS = (4_000, 2_500, 700)  # walkers of unequal lengths
REPEATS = 100


def planted(phi: float, length: int, random: np.random.Generator) -> np.ndarray:
    """AR(1) of mean 0 and variance 1, in equilibrium from its first draw: tau = (1 + phi)/(1 - phi)."""
    noise = random.standard_normal(length) * math.sqrt(1.0 - phi**2)
    noise[0] = random.standard_normal()
    return np.asarray(lfilter([1.0], [1.0, -phi], noise))


def many(phi: float, lengths: tuple[int, ...] = LENGTHS, repeats: int = REPEATS) -> list[product.Correlation]:
    random = np.random.default_rng(1)
    return [correlation([planted(phi, n, random) for n in lengths]) for _ in range(repeats)]


def off(phi: float, found: list[product.Correlation]) -> float:
    """Relative error of the mean autocorrelation time."""
    return float(np.mean([each.time for each in found])) / ((1.0 + phi) / (1.0 - phi)) - 1.0


def noise(phi: float, found: list[product.Correlation]) -> float:
    """What that error is by chance, one standard error."""
    return float(np.std([each.time for each in found])) / ((1.0 + phi) / (1.0 - phi)) / math.sqrt(REPEATS)


@pytest.mark.parametrize("phi", [0.0, 0.6, 0.9, -0.2])
def test_the_autocorrelation_time_is_the_planted_one(phi: float) -> None:
    found = many(phi)
    assert abs(off(phi, found)) < 3.0 * noise(phi, found) < 0.06
    assert all(each.known for each in found)


@pytest.mark.parametrize("phi", [0.6, 0.9])
def test_the_errors_are_those_that_are_made(phi: float) -> None:
    found = many(phi)
    spread, said = np.std([each.time for each in found]), np.mean([each.time_error for each in found])
    assert 0.8 < said / spread < 1.8  # the larger of two errors, each with one of its own
    z = np.array([each.mean / each.sem for each in found])
    assert abs(z.std() - 1.0) < 0.25
    assert abs(z.mean()) < 0.4


@pytest.mark.parametrize("lengths", [(430, 290, 240), (230, 150, 120)])
def test_few_effective_samples_do_not_look_like_more(lengths: tuple[int, ...]) -> None:
    """Fifty and twenty-six effective samples; a tenth is what the mean of so few takes from the autocorrelation."""
    found = many(0.9, lengths, repeats=600)
    assert abs(off(0.9, found)) < 0.1
    z = np.array([each.mean / each.sem for each in found if each.known])
    assert 0.85 < z.std() < 1.3


@pytest.mark.parametrize(("window", "phi"), [(0.3, 0.9), (30.0, 0.9)])
def test_a_wrong_window_fails(window: float, phi: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(product, "WINDOW", window)
    found = many(phi)
    assert not abs(off(phi, found)) < 3.0 * noise(phi, found) < 0.06


def stuck(random: np.random.Generator) -> list[np.ndarray]:
    """Walkers that are fast around means of their own, which are as far apart as they fluctuate."""
    return [planted(0.5, n, random) + mean for n, mean in zip(LENGTHS, (-1.0, 0.2, 1.5), strict=True)]


def test_walkers_that_disagree_have_few_effective_samples() -> None:
    found = correlation(stuck(np.random.default_rng(3)))
    assert not found.known
    assert found.effective < len(LENGTHS) + 1


def test_the_variance_within_walkers_would_hide_that_they_disagree() -> None:
    """The twin: each chain about its own mean."""
    chains = [chain - chain.mean() for chain in stuck(np.random.default_rng(3))]
    assert correlation(chains).effective > 1_000


def test_a_walker_that_does_not_move_knows_nothing() -> None:
    found = correlation([np.full(50, 2.0), np.full(30, 2.0)])
    assert not found.known
    assert math.isinf(found.time)


def test_a_drift_is_seen_and_equilibrium_has_none() -> None:
    random = np.random.default_rng(4)
    z = [drift(chains, correlation(chains).sem)
         for chains in ([planted(0.8, n, random) for n in LENGTHS] for _ in range(60))]  # fmt: skip
    assert 0.7 < np.std(z) < 1.3
    drifting = [planted(0.8, n, random) + np.linspace(0.0, 1.0, n) for n in LENGTHS]
    assert drift(drifting, 0.05) > 3.0


def rotating(efold: float, draws: int, random: np.random.Generator, size: int = 5_000) -> np.ndarray:
    """Weights (draw, P) whose overlap falls as exp(-t/efold)."""
    kept = math.exp(-1.0 / efold)
    w = np.empty((draws, size), dtype=np.float32)
    w[0] = random.standard_normal(size)
    for i in range(1, draws):
        w[i] = kept * w[i - 1] + math.sqrt(1.0 - kept**2) * random.standard_normal(size)
    return w


@pytest.mark.parametrize(
    ("efold", "kind"), [(4.0, "measured"), (13.0, "measured"), (90.0, "extrapolated"), (1_000.0, "bound")]
)
def test_the_efold_of_the_overlap_is_the_planted_one(efold: float, kind: str) -> None:
    random = np.random.default_rng(5)
    found = decay([rotating(efold, 60, random), 3.0 * rotating(efold, 35, random)])
    assert found.kind == kind
    assert found.time == pytest.approx(efold, rel=0.12)
    assert found.seen == pytest.approx(min(1.0, 39.0 / efold), rel=0.12)
    assert found.error < 0.3 * efold


def test_a_bound_lies_below_where_the_decay_slows_down() -> None:
    """A fifth of the parameters is a hundred times as fast as the rest."""
    random = np.random.default_rng(6)
    slow, fast = 4_000.0, 40.0
    w = [np.hstack([rotating(fast, n, random, 1_000), rotating(slow, n, random, 4_000)]) for n in (13, 21)]
    times = np.linspace(0.0, 2.0 * slow, 100_000)
    whole = times[np.argmax(0.2 * np.exp(-times / fast) + 0.8 * np.exp(-times / slow) < math.exp(-1.0))]
    found = decay(w)
    assert found.kind in ("bound", "extrapolated")
    assert 0.0 < found.time < whole


def test_two_snapshots_are_enough_for_a_bound_and_a_walker_at_rest_is_one() -> None:
    random = np.random.default_rng(7)
    assert decay([rotating(50.0, 2, random), rotating(50.0, 2, random)]).time == pytest.approx(50.0, rel=0.2)
    still = decay([np.ones((9, 4), dtype=np.float32)])
    assert still.kind == "bound"
    assert still.time == pytest.approx(5.0)


def test_origins_of_another_stride_fail() -> None:
    """The twin: every second snapshot taken for each."""
    random = np.random.default_rng(8)
    assert decay([rotating(13.0, 60, random)[::2]]).time < 0.6 * 13.0
