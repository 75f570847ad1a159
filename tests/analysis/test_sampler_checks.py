"""Self-checks of trajectories: a healthy store passes, and each has a broken twin that it must not pass."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from synthetic import ar1, write_store
from test_thermodynamics import harmonic

from analysis import open_run, thermodynamics
from analysis.subjects.checks.check import Check, severity
from analysis.subjects.checks.checks import checks

TEMPERATURES = np.array([1e-4, 2e-4, 3e-4])
WALKERS, DRAWS, EACH = 2, 400, 3
"""Walkers at each temperature, draws, trajectories between two draws."""


VARIANCES = (0.3, 0.6, 0.9)


def trajectories(
    rng: np.random.Generator, bias: float = 0.0, variances: tuple[float, ...] = VARIANCES, limit: float = 3.0
) -> dict[str, np.ndarray]:
    """What draws record of trajectories whose ΔH/T is N(v/2 + bias, v), v another at each temperature; bias 0 is exact.

    One in two hundred cannot be reversed. Those of |ΔH/T| < `limit` enter the mean of exp(-ΔH/T).
    """
    variance = np.array(variances)[:, None, None]
    shape = (WALKERS, TEMPERATURES.size, DRAWS, EACH)
    error = 0.5 * variance + bias + np.sqrt(variance) * rng.standard_normal(shape)
    reversible = (rng.random(shape) > 0.005).astype(float)
    factor, window = np.exp(-error) * reversible, (np.abs(error) < limit) * reversible
    return {
        "boltzmann_factor": (factor * window).mean(-1),
        "boltzmann_window": window.mean(-1),
        "acceptance": np.minimum(factor, 1.0).mean(-1),
        "reversible": reversible.mean(-1),
    }


def checked(path: Path, changes: dict[str, np.ndarray], bias: float = 0.0) -> dict[str, list[Check]]:
    rng = np.random.default_rng(5)
    energy = harmonic(TEMPERATURES, (WALKERS, TEMPERATURES.size, DRAWS), rng, 0.5)
    rows = {"energy": energy, **trajectories(rng, bias), **changes}
    walkers = {name: values.reshape(-1, *values.shape[2:]) for name, values in rows.items()}
    store = write_store(path / "run.zarr", TEMPERATURES, sampler={"start": ["ES"], "acceptance": 0.7}, **walkers)
    run = open_run(store)
    found = checks(run, thermodynamics(run))
    return {name: [check for check in found if check.name == name] for name in {check.name for check in found}}


def verdicts(found: list[Check]) -> list[str]:
    return [check.verdict for check in found]


def test_a_healthy_run_passes(tmp_path: Path) -> None:
    found = checked(tmp_path, {})
    for name in ("<exp(-ΔH/T)>", "acceptance, worst walker", "reversible trajectories"):
        assert verdicts(found[name]) == ["pass"] * 3
    for check in found["<exp(-ΔH/T)>"]:
        assert check.expected == 1.0
        assert 0 < check.sem < 0.1
    assert not any(check.verdict == "fail" for kind in found.values() for check in kind)


@pytest.mark.parametrize("bias", [0.4, -0.4])
def test_energies_that_do_not_belong_to_the_forces_fail(tmp_path: Path, bias: float) -> None:
    found = checked(tmp_path, {}, bias)["<exp(-ΔH/T)>"]
    assert verdicts(found) == ["fail"] * 3
    np.testing.assert_allclose([check.value for check in found], np.exp(-bias), atol=0.12)


@pytest.mark.parametrize(("limit", "verdict"), [(3.0, "pass"), (np.inf, "weak")])
def test_steep_trajectories_do_not_count_as_a_wrong_law(tmp_path: Path, limit: float, verdict: str) -> None:
    """ΔH/T has variance 6, as after a burn-in that ended too early. Half of the unlimited mean is of ΔH/T < -3, which
    seven trajectories in a thousand have."""
    rows = trajectories(np.random.default_rng(8), 0.0, (6.0,) * 3, limit)
    assert verdicts(checked(tmp_path, rows)["<exp(-ΔH/T)>"]) == [verdict] * 3


def test_rejected_trajectories_do_not_count_as_a_wrong_law(tmp_path: Path) -> None:
    """Half of the trajectories cannot be reversed: the factor is 0.5, and so is the share that it is held against."""
    rng = np.random.default_rng(6)
    rows = trajectories(rng)
    kept = (rng.random(rows["reversible"].shape) > 0.5).astype(float)
    found = checked(tmp_path, {name: values * kept for name, values in rows.items()})
    assert verdicts(found["<exp(-ΔH/T)>"]) == ["pass"] * 3
    assert verdicts(found["reversible trajectories"]) == ["weak"] * 3


def test_the_walker_that_hardly_moves_is_the_one_that_counts(tmp_path: Path) -> None:
    accepted = np.full((WALKERS, TEMPERATURES.size, DRAWS), 0.7)
    accepted[1, 0], accepted[0, 2] = 0.05, 0.2
    found = checked(tmp_path, {"acceptance": accepted + 0.01 * ar1(0.1, accepted.shape, np.random.default_rng(7))})
    assert verdicts(found["acceptance, worst walker"]) == ["fail", "pass", "weak"]
    assert "5 % of its trajectories" in found["acceptance, worst walker"][0].advice
    assert max(found["acceptance, worst walker"], key=severity).temperature == TEMPERATURES[0]


def test_of_passed_temperatures_the_lowest_acceptance_is_the_worst(tmp_path: Path) -> None:
    accepted = np.full((WALKERS, TEMPERATURES.size, DRAWS), 0.7)
    accepted[:, 0], accepted[1, 1] = 0.9, 0.5
    rng = np.random.default_rng(9)
    found = checked(tmp_path, {"acceptance": accepted + 0.01 * ar1(0.1, accepted.shape, rng)})
    worst = max(found["acceptance, worst walker"], key=severity)
    assert (worst.verdict, worst.temperature) == ("pass", TEMPERATURES[1])
