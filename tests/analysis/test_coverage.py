"""± holds the true mean as often as it says, over many healthy runs; without Student's t or the walkers it does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from synthetic import LADDER, ar1, write_store

from analysis import open_run, thermodynamics
from analysis.statistics import chains
from analysis.statistics.chains import COVERAGE, between_walkers, effective_samples, equilibration, estimate

SETS = 600
"""Their share within ± is known to 2 %."""


def share(found: list[tuple[float, float]]) -> float:
    """Share of (mean, error) whose interval holds the true mean, which is 0."""
    mean, error = np.array(found).T
    return float(np.mean(np.abs(mean) < error))


@pytest.mark.parametrize("walkers", [2, 3, 6])
def test_between_walkers_students_t_is_exact(walkers: int) -> None:
    rng, draws = np.random.default_rng(121), 5
    labels = np.repeat(np.arange(walkers), draws)
    sets = rng.normal(size=(4_000, walkers, 1)) + 0.1 * rng.normal(size=(4_000, walkers, draws))
    errors = [between_walkers(one.ravel(), labels) for one in sets]
    means = sets.mean(axis=(1, 2))
    scatter = 4 * np.sqrt(COVERAGE * (1 - COVERAGE) / len(sets))
    sound = share([(m, e.half_width) for m, e in zip(means, errors, strict=True)])
    bare = share([(m, e.size) for m, e in zip(means, errors, strict=True)])
    assert sound == pytest.approx(COVERAGE, abs=scatter)
    assert bare < COVERAGE - (0.03 if walkers == 6 else 0.09)


@pytest.mark.parametrize(("samples", "low"), [(35, 0.56), (150, 0.63)])
def test_one_chain(samples: int, low: float) -> None:
    """Low, because the autocorrelation of short chains is seen too short; all of the analysis of one temperature."""
    phi, rng, found, blind = 0.8, np.random.default_rng(122), [], []
    for one in ar1(phi, (SETS, int(samples * (1 + phi) / (1 - phi))), rng):
        kept = one[np.newaxis, equilibration(one[np.newaxis]) :]
        if effective_samples(kept) >= chains.FEW_SAMPLES:
            found.append(estimate(kept))
            blind.append((found[-1].mean, kept.std() / np.sqrt(kept.size)))
    assert low < share(found) < 0.75
    assert share(blind) < 0.4


@pytest.mark.parametrize(("walkers", "most"), [(2, 0.87), (4, 0.82), (9, 0.78)])
def test_several_walkers(walkers: int, most: float) -> None:
    """Never less than it says; more with few walkers, since the larger of two errors counts."""
    rng = np.random.default_rng(123)
    found = [estimate(one) for one in ar1(0.6, (SETS, walkers, 200), rng)]
    assert COVERAGE - 0.05 < share(found) < most


def test_walkers_that_keep_something_need_students_t(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three walkers take turns at a temperature, unequally often: their series shows nothing of what each keeps."""
    rng = np.random.default_rng(124)
    walkers = rng.permutation(np.repeat(np.arange(3), (150, 130, 170)))[np.newaxis]
    sets = [rng.normal(size=walkers.shape) + rng.normal(size=3)[walkers] for _ in range(SETS)]
    assert share([estimate(one, walkers=walkers) for one in sets]) == pytest.approx(COVERAGE, abs=0.06)
    assert share([estimate(one) for one in sets]) < 0.2
    monkeypatch.setattr(chains, "t_factor", lambda freedom: 1.0)
    assert share([estimate(one, walkers=walkers) for one in sets]) < COVERAGE - 0.06


def test_a_whole_run(tmp_path: Path) -> None:
    """Every temperature of some stores, walkers lost midway among them: <U> and an observable of snapshots."""
    temperature = np.repeat(LADDER[:4], 6) * np.tile(np.geomspace(1.0, 1.4, 6), 4)
    temperature.sort()
    found: dict[str, list[tuple[float, float]]] = {"energy": [], "test_error": []}
    for seed in range(4):
        x = ar1(0.6, (3, temperature.size, 260), np.random.default_rng(130 + seed))
        x[1, ::5, 150:] = np.nan
        flat = x.reshape(-1, 260)
        run = open_run(write_store(tmp_path / f"{seed}.zarr", temperature, flat, test_error=flat[:, 9::10]))
        data = thermodynamics(run)
        for name, values in found.items():
            values += [tuple(row) for row in data[name].values.tolist() if np.isfinite(row[1])]
    for values in found.values():
        assert len(values) > 85
        assert 0.6 < share(values) < 0.9
