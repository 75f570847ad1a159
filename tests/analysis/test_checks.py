"""Self-checks of energies: a healthy run passes all of them, and each has a broken twin of it that it must fail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from healthy import DRAWS, KINDS, SLOTS, checked, checks_of, failed, healthy, of_kind
from synthetic import BURN_IN_DRAWS, LADDER, ar1, write_store
from test_thermodynamics import MODES, planted_capacity

from analysis.statistics.chains import MINIMUM_DRAWS
from analysis.statistics.significance import SIGNIFICANT
from analysis.subjects.checks.check import Check


def test_a_healthy_run_passes_everything(tmp_path: Path) -> None:
    found = checked(tmp_path, healthy(51))
    assert tuple(dict.fromkeys(check.name for check in found)) == KINDS
    for name in KINDS:
        temperatures = LADDER[:-1] if name == "heat capacity" else LADDER
        assert [check.temperature for check in of_kind(found, name)] == temperatures.tolist()
    assert {(check.verdict, check.advice) for check in found} == {("pass", "")}
    for check in found:
        if np.isfinite(check.sem):
            assert abs(check.value - check.expected) < 6 * check.sem


SHORT = [(1, 30, 0.3), (1, 60, 0.9), (2, 120, 0.9), (2, 300, 0.6)]


@pytest.mark.parametrize(("replicas", "draws", "phi"), SHORT)
def test_short_or_slow_runs_in_equilibrium_raise_no_false_alarm(
    tmp_path: Path, replicas: int, draws: int, phi: float
) -> None:
    few = [checked(tmp_path / str(seed), healthy(seed, replicas, draws, phi)) for seed in range(60, 64)]
    assert [failed(found) for found in few] == [[]] * len(few)
    if draws < 100:
        assert all({c.verdict for c in of_kind(found, "heat capacity")} == {"weak"} for found in few)


# Broken twins of the healthy run


def test_fluctuations_that_do_not_fit_the_slope(tmp_path: Path) -> None:
    for factor, sign in ((np.sqrt(0.5), -1), (np.sqrt(2.0), 1)):
        rows = healthy(54)
        mean = 1.3 + MODES * LADDER[:, None] / 2
        rows["energy"] = mean + factor * (rows["energy"] - mean)
        found = checked(tmp_path / f"{factor:.1f}", rows)
        assert {check.name for check in failed(found)} == {"heat capacity"}
        assert failed(found) == of_kind(found, "heat capacity")
        for check in failed(found):
            assert check.expected == pytest.approx(MODES / 2, rel=0.1)
            assert check.value == pytest.approx(factor**2 * MODES / 2, rel=0.3)
            assert sign * check.z > SIGNIFICANT
            assert f"U fluctuates too {'little' if sign < 0 else 'much'}" in check.advice


def test_a_coarse_ladder_across_a_peak_is_no_failure(tmp_path: Path) -> None:
    """<U> known to a millionth, C from 4000 draws: what is left is the trapezoid."""
    rng = np.random.default_rng(55)
    fine = np.geomspace(1e-7, 1e-3, 4_000)
    heat = np.concatenate([[0], np.cumsum(np.diff(fine) * planted_capacity(fine[1:], 1.2e-4))])
    noise = ar1(0.3, (2, SLOTS, 4_000), rng)
    noise = (noise - noise.mean(axis=-1, keepdims=True)) / noise.std(axis=-1, keepdims=True)
    capacity = planted_capacity(LADDER, 1.2e-4)[:, None]
    energy = np.interp(LADDER, fine, heat)[:, None] + LADDER[:, None] * np.sqrt(capacity) * noise
    found = of_kind(checked(tmp_path, {"energy": energy}), "heat capacity")
    assert failed(found) == []
    assert max(abs(check.value / check.expected - 1) for check in found) > 0.08, "the ladder is too fine to test this"
    assert [check.verdict for check in found[-3:]] == ["pass"] * 3


def test_disagreeing_starts(tmp_path: Path) -> None:
    rows = healthy(56)
    rows["energy"][1, 3] += rows["energy"][1, 3].std()
    found = checked(tmp_path, rows)
    assert {check.name for check in failed(found)} == {"difference of starts", "split R-hat of U"}
    check = of_kind(failed(found), "difference of starts")[0]
    assert check.temperature == LADDER[3]
    assert check.detail in ("ES 1 vs OT", "OT vs ES 3")  # whichever pair is further apart
    assert check.detail in check.advice


@pytest.mark.parametrize(
    ("start", "replicas", "names"),
    [
        (["ES", "OT"], 2, {"ES vs OT"}),
        ("ES", 2, {"ES 1 vs ES 2"}),
        (["ES", "OT"], 3, {"ES 1 vs OT", "ES 1 vs ES 3", "OT vs ES 3"}),
    ],
)
def test_starts_have_names(tmp_path: Path, start: Any, replicas: int, names: set[str]) -> None:
    found = of_kind(checked(tmp_path, healthy(57, replicas, 60), start=start), "difference of starts")
    assert {check.detail for check in found} <= names
    assert len(found) == SLOTS


@pytest.mark.parametrize("sign", [-1, 1])
def test_drifting_energies(tmp_path: Path, sign: int) -> None:
    rows = healthy(58)
    rows["energy"][2, 5] += sign * 1.5 * rows["energy"][2, 5].std() * np.linspace(-1, 1, DRAWS)
    found = checked(tmp_path, rows)
    check = of_kind(failed(found), "drift of U")
    assert [(c.temperature, c.detail, np.sign(c.value)) for c in check] == [(LADDER[5], "replica 3", sign)]
    assert "sampler.adapt_until" in check[0].advice
    assert {c.temperature for c in failed(found)} == {LADDER[5]}


def test_a_drift_in_a_single_short_chain(tmp_path: Path) -> None:
    rows = healthy(59, replicas=1, draws=300)
    rows["energy"][:, 5] += 2.5 * rows["energy"][:, 5].std() * np.linspace(-1, 1, 300)
    assert "drift of U" in {check.name for check in failed(checked(tmp_path, rows))}


@pytest.mark.filterwarnings("error")
def test_stuck_walkers(tmp_path: Path) -> None:
    for case in ("heights", "jump", "still", "all still"):
        rows = healthy(60)
        energy = rows["energy"][:, 1]
        if case == "heights":
            energy[:] = energy.mean() + energy.std() * (np.array([[-1], [0], [1]]) + 0.1 * ar1(0.3, energy.shape, RNG))
        elif case == "jump":
            energy[0, DRAWS // 2 :] += 4 * energy.std()
        else:
            energy[slice(1) if case == "still" else slice(None)] = energy.mean()
        failures = of_kind(failed(checked(tmp_path / case, rows)), "split R-hat of U")
        assert [check.temperature for check in failures] == [LADDER[1]], case
        assert ("stands still" in failures[0].advice) == ("still" in case)


RNG = np.random.default_rng(61)


# Stores of other samplers, short ones, ones with holes


def test_a_sampler_without_momenta_or_sphere(tmp_path: Path) -> None:
    energy = healthy(62, replicas=1)["energy"]
    path = write_store(tmp_path / "run.zarr", LADDER, energy.reshape(SLOTS, -1), sphere=False)
    found = checks_of(path)
    assert {check.name for check in found} == set(KINDS[2:]) - {"difference of starts"}
    assert failed(found) == []
    assert "heat capacity" not in {c.name for c in checked(tmp_path / "2", {"energy": energy[:, :2]}, LADDER[:2])}


@pytest.mark.filterwarnings("error")
def test_too_few_draws_for_anything_are_weak(tmp_path: Path) -> None:
    found = checked(tmp_path, healthy(63, replicas=2, draws=BURN_IN_DRAWS + MINIMUM_DRAWS))
    assert failed(found) == []
    for name in ("split R-hat of U", "effective samples of U"):
        assert {check.verdict for check in of_kind(found, name)} == {"weak"}


@pytest.mark.filterwarnings("error")
def test_lost_walkers(tmp_path: Path) -> None:
    rows = healthy(64, replicas=2)
    for values in rows.values():
        values[0, 0, 400:] = np.nan
        values[:, 1] = np.nan
        values[:, 2, 15:] = np.nan
    found = checked(tmp_path, rows)
    assert failed(found) == []
    unknown = [check for check in found if check.temperature == LADDER[1] and check.name != "heat capacity"]
    assert {check.verdict for check in unknown} == {"weak"}
    assert {check.verdict for check in of_kind(found, "difference of starts") if check.temperature == LADDER[0]} == {
        "pass"
    }


# Heat capacities of a narrow ladder


NARROW = np.geomspace(1e-4, 1.25e-4, SLOTS)


def narrow(path: Path, factor: float = 1.0, moving: float = 0.0) -> list[Check]:
    """Heat capacities of a healthy run whose U at one neighbour differs by little. `factor` scales its fluctuations,
    `moving` lets U at the third temperature drift."""
    rng = np.random.default_rng(71)
    noise = ar1(0.5, (2, SLOTS, 1_500), rng)
    energy = 1.3 + NARROW[:, None] * MODES / 2 + factor * NARROW[:, None] * np.sqrt(MODES / 2) * noise
    energy[:, 2] += moving * np.linspace(0.0, 1.0, 1_500) * energy[:, 2].std()
    return of_kind(checked(path, {"energy": energy}, NARROW), "heat capacity")


def test_intervals_grow_until_a_deviation_would_show(tmp_path: Path) -> None:
    found = narrow(tmp_path)
    assert 2 <= len(found) < SLOTS - 1, "no longer than they need to be"
    assert {check.verdict for check in found} == {"pass"}
    assert found[0].temperature == NARROW[0]
    ends = [check.detail.removeprefix("to ") for check in found]
    assert [float(end) for end in ends] == pytest.approx([*(c.temperature for c in found[1:]), NARROW[-1]], rel=0.01)
    for check in found:
        assert check.expected == pytest.approx(MODES / 2, rel=0.3)


def test_in_grown_intervals_wrong_fluctuations_fail(tmp_path: Path) -> None:
    for factor in (np.sqrt(0.4), np.sqrt(2.5)):
        found = narrow(tmp_path / f"{factor:.1f}", factor)
        assert {check.verdict for check in found} == {"fail"}


def test_no_interval_extends_over_a_temperature_out_of_equilibrium(tmp_path: Path) -> None:
    found = narrow(tmp_path, moving=6.0)
    touching = [check for check in found if NARROW[1] <= check.temperature <= NARROW[2]]
    assert [check.temperature for check in touching] == NARROW[1:3].tolist()
    assert "pass" not in {check.verdict for check in touching}
