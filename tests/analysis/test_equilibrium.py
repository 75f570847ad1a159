"""Chains that are not in equilibrium have no errors, wherever numbers are shown; healthy ones keep theirs."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from rich.console import Console
from synthetic import EXCHANGE, LADDER, ar1, exchange_slots, write_store
from test_analysis_cli import refuse_constant, run_program
from test_simulated import spring_walkers

from analysis import open_run, thermodynamics
from analysis.statistics.curves import POINTS
from analysis.statistics.equilibrium import disequilibrium, samples_needed
from analysis.subjects.checks.checks import checks
from analysis.subjects.ladder.free_energy import free_energy
from analysis.subjects.thermodynamics.compare import compare
from analysis.subjects.thermodynamics.figures import thermodynamics_figure
from analysis.subjects.thermodynamics.watch import picture

TEMPERATURES = LADDER[2:7]
BROKEN, DRAWS, REPLICAS = 1, 610, 3
"""Slot at which a fault is planted."""
FAULTS = ("healthy", "drift", "common drift", "few", "disagree", "still", "lost")
REASONS = {"drift": "U drifts", "common drift": "U drifts", "few": "fewer than 30 effective samples",
           "disagree": "walkers disagree", "still": "a walker stands still"}  # fmt: skip


def energies(fault: str, seed: int = 101) -> np.ndarray:
    """U (replica, slot, draw): T (900 + 30 x), x of variance 1, except for the fault."""
    rng = np.random.default_rng(seed)
    x = ar1(0.5, (REPLICAS, TEMPERATURES.size, DRAWS), rng)
    time = np.linspace(-1, 1, DRAWS)
    if fault == "drift":
        x[2, BROKEN] += 0.9 * time
    if fault == "common drift":
        x[:, BROKEN] += 0.35 * time  # too little to show in one walker
    if fault == "few":
        x[:, BROKEN] = ar1(0.99, (REPLICAS, DRAWS), rng)
    if fault == "disagree":
        x[0, BROKEN] += 0.8
    if fault == "still":
        x[1, BROKEN] = 0.3
    if fault == "lost":
        x[1, BROKEN, 200:] = np.nan
    return np.asarray(TEMPERATURES[:, None] * (900 + 30 * x))


def store_of(path: Path, fault: str, seed: int = 101, **settings: Any) -> Path:
    flat = energies(fault, seed).reshape(-1, DRAWS)
    noise = np.random.default_rng(seed + 1).normal(size=flat.shape)
    return write_store(path, TEMPERATURES, flat, train_error=3 * flat, val_error=0.4 * flat + 1e-3 * noise,
                       test_error=4 * flat[:, 9::10], kinetic_ratio=1 + 0.01 * noise, layers={"W": 50},
                       **settings)  # fmt: skip


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("stores")
    return {fault: store_of(folder / f"{fault}.zarr", fault) for fault in FAULTS}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_verdict_names_the_fault_and_only_its_temperature(stores: dict[str, Path], fault: str) -> None:
    data = thermodynamics(open_run(stores[fault]))
    reasons = data["not_in_equilibrium"].values.tolist()
    assert reasons[BROKEN] == REASONS.get(fault, "")
    assert reasons[:BROKEN] + reasons[BROKEN + 1 :] == [""] * (TEMPERATURES.size - 1)
    for name in ("energy", "train_error", "val_error", "test_error", "kinetic_ratio", "norm2", "heat_capacity"):
        mean, sem = data[name].values.T
        assert np.isfinite(mean).all(), name
        assert np.isfinite(sem).tolist() == [not reason for reason in reasons], name
    known = np.isfinite(data["heat_capacity_derivative"].values[:, 1]).tolist()
    assert known == ([False, False, False, True, True] if fault in REASONS else [True] * 5)  # with neighbours


@pytest.mark.parametrize("fault", ["common drift", "few", "disagree"])
def test_nothing_that_is_written_has_an_error_there(
    stores: dict[str, Path],
    fault: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_program(monkeypatch, "thermodynamics", stores[fault], "--json") == 0
    tree = json.loads(capsys.readouterr().out, parse_constant=refuse_constant)
    assert tree["not_in_equilibrium"] == ["", REASONS[fault], "", "", ""]
    with_sem = [value for value in tree.values() if isinstance(value, dict)]
    assert len(with_sem) > 6
    assert {value["sem"][BROKEN] for value in with_sem} == {None}
    assert run_program(monkeypatch, "report", stores[fault], "--out", tmp_path) == 0
    printed = capsys.readouterr().out.splitlines()
    of_tables = [line for line in printed if line.split()[:1] and line.split()[0].rstrip("*") in ("2e-4", "3e-4")]
    assert [("±" in line, "*" in line) for line in of_tables] == [(False, True), (True, False)] * 2
    remark = f"* Not in equilibrium, values without ±: {REASONS[fault]} at T = 2e-4."
    assert remark in printed
    assert remark in (tmp_path / "index.html").read_text().replace("&#39;", "'")
    with (tmp_path / "thermodynamics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["not_in_equilibrium"] for row in rows] == tree["not_in_equilibrium"]
    empty = [[name for name, value in row.items() if "sem" in name and not value] for row in rows]
    assert len(empty[BROKEN]) == len(with_sem)
    assert empty[3] == []
    assert all(rows[BROKEN][name.replace("_sem", "")] for name in empty[BROKEN])


def open_symbols(axes: Axes) -> int:
    return sum(np.size(line.get_xdata()) for line in axes.lines if line.get_markerfacecolor() == "white")


def test_figures_have_open_symbols_without_bars(stores: dict[str, Path]) -> None:
    for fault, expected in (("healthy", 0), ("few", 1)):
        run = open_run(stores[fault])
        figure = thermodynamics_figure(run, thermodynamics(run))
        energy, _, errors, thermostat = figure.axes[:4]
        assert [open_symbols(axes) for axes in (energy, errors, thermostat)] == [expected, 3 * expected, expected]
        bars = energy.containers[0].lines[2][0].get_segments()
        assert len(bars) == TEMPERATURES.size - expected
        assert bool(figure.legends) == bool(expected)


def test_checks_cannot_pass_where_nothing_is_known(stores: dict[str, Path]) -> None:
    for fault in REASONS:
        run = open_run(stores[fault])
        there = [c for c in checks(run, thermodynamics(run)) if c.temperature == TEMPERATURES[BROKEN]]
        assert "pass" not in {c.verdict for c in there}, fault
        assert np.isnan([c.sem for c in there]).all(), fault
    elsewhere = [c for c in checks(run, thermodynamics(run)) if c.temperature == TEMPERATURES[3]]
    assert {c.verdict for c in elsewhere} == {"pass"}


def test_compare_says_nothing_where_nothing_is_known(
    stores: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = store_of(tmp_path / "other.zarr", "healthy", seed=105)
    found = compare(open_run(stores["few"]), open_run(other))
    assert {d.verdict for d in found if d.temperature == TEMPERATURES[BROKEN]} == {"weak"}
    assert {d.verdict for d in found if d.temperature != TEMPERATURES[BROKEN]} == {"equal"}
    assert run_program(monkeypatch, "compare", stores["few"], other) == 0
    printed = capsys.readouterr().out
    assert "No significant difference in 24 numbers." in printed
    assert "weak: no ± in one of the runs, not in equilibrium or too short: T = 2e-4." in printed
    few = store_of(tmp_path / "drift.zarr", "few", seed=106)
    of_one = [d for d in compare(open_run(stores["few"]), open_run(few)) if d.temperature == TEMPERATURES[BROKEN]]
    assert np.isnan([(d.first.sem, d.second.sem, d.z) for d in of_one]).all()


def test_the_watched_run_is_marked_too(stores: dict[str, Path]) -> None:
    console = Console(width=120, file=io.StringIO())
    with console.capture() as capture:
        console.print(picture(open_run(stores["disagree"])))
    lines = capture.get().splitlines()
    assert [("±" in line) for line in lines if line.split()[:1] == ["2e-4*"]] == [False]
    assert "* Not in equilibrium, values without ±: walkers disagree at T = 2e-4." in lines


def test_free_energies_have_an_error_only_where_they_rest_on_equilibrium(stores: dict[str, Path]) -> None:
    healthy = free_energy(open_run(stores["healthy"]), "integration")
    assert np.isfinite(healthy["energy"].values).all()
    data = free_energy(open_run(stores["few"]), "integration")
    sem = {name: data[name].values[::POINTS, 1] for name in ("energy", "free_energy")}
    assert np.isfinite(sem["energy"]).tolist() == [True, False, True, True, True]
    assert np.isfinite(sem["free_energy"]).tolist() == [True, False, False, False, False]  # all from the lowest T
    assert np.isfinite(data["free_energy"].values[:, 0]).all()


def test_an_observable_slower_than_the_energy_has_no_error(tmp_path: Path) -> None:
    flat = energies("healthy").reshape(-1, DRAWS)
    slow = np.cumsum(np.random.default_rng(107).normal(size=flat.shape), axis=1)
    data = thermodynamics(open_run(write_store(tmp_path / "run.zarr", TEMPERATURES, flat, distance=slow)))
    assert (data["not_in_equilibrium"] == "").all()
    assert np.isnan(data["distance"].values[:, 1]).all()
    assert np.isfinite(data["energy"].values).all()


@pytest.mark.parametrize(("walkers", "draws", "phi"), [(1, 300, 0.7), (2, 181, 0.6), (5, 250, 0.7), (9, 400, 0.8)])
def test_healthy_walkers_are_in_equilibrium(walkers: int, draws: int, phi: float) -> None:
    """Of 60 sets no more than 3 are given up, which chance does with 1 % of a hundred such tests."""
    samples = walkers * draws * (1 - phi) / (1 + phi)
    rng = np.random.default_rng(108)
    reasons = [
        disequilibrium(list(ar1(phi, (walkers, draws), rng)), samples, samples_needed(walkers)) for _ in range(60)
    ]
    assert samples > 1.5 * samples_needed(walkers)
    assert sum(reason != "" for reason in reasons) <= 3


def test_series_of_unequal_length_are_judged_together() -> None:
    rng = np.random.default_rng(109)
    ragged = [ar1(0.5, (draws,), rng) for draws in (700, 90, 300)]
    assert disequilibrium(ragged, 360.0, 30) == ""
    assert disequilibrium([ragged[0], ragged[1] + 2.0, ragged[2]], 360.0, 30) == "walkers disagree"
    assert disequilibrium([ragged[0], ragged[1], np.zeros(0)], 360.0, 30) == ""
    assert disequilibrium([np.zeros(0)], np.nan, 20) == "no draws"


def test_exchanged_walkers_that_keep_their_energy_have_too_few_samples(tmp_path: Path) -> None:
    """A series at one temperature forgets its walkers within a few draws; the five of them do not."""
    rng, draws = np.random.default_rng(110), 1_200
    slot = exchange_slots(lambda draw, at: 0.9, 1, 5, draws, rng)
    for kept, sound in ((0.0, True), (3.0, False)):
        x = rng.normal(size=(5, draws)) + kept * np.array([[-1.0], [0.2], [0.1], [0.9], [-0.6]])
        energy = TEMPERATURES[slot] * (900 + 20 * x)
        path = write_store(tmp_path / f"{kept}.zarr", TEMPERATURES, energy, slot=slot, tempering=EXCHANGE)
        reasons = thermodynamics(open_run(path))["not_in_equilibrium"].values
        assert (reasons == ("" if sound else "fewer than 20 effective samples")).all()


def test_walkers_that_jump_alone_must_agree(tmp_path: Path) -> None:
    made = spring_walkers(112, walkers=4, draws=900)
    healthy = thermodynamics(open_run(write_store(tmp_path / "a.zarr", **made)))
    assert (healthy["not_in_equilibrium"] == "").all()
    made["energy"] = made["energy"] + np.array([[0.0], [0.0], [2e-3], [0.0]])  # one fell into another valley
    apart = thermodynamics(open_run(write_store(tmp_path / "b.zarr", **made)))
    assert (apart["not_in_equilibrium"] != "").all()
    assert np.isnan(apart["energy"].values[:, 1]).all()


# Ensembles


def test_walkers_on_different_spheres_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    norms = np.full(REPLICAS * TEMPERATURES.size, 1785.0)
    norms[7] *= 1 + 1e-4
    apart = store_of(tmp_path / "apart.zarr", "healthy", sphere_norm2=norms)
    for command, *options in (["thermodynamics"], ["report", "--out", tmp_path / "out"], ["watch", "--once"]):
        assert run_program(monkeypatch, command, apart, *options) == 2
        message = capsys.readouterr()
        assert message.out == ""
        assert message.err.count("\n") == 1
        assert "different spheres are not pooled: |w|² = 1785 (walker 0) and 1785.1785 (walker 7)" in message.err
    assert not (tmp_path / "out").exists()
    norms[7] = 1785.0 * (1 + 1e-8)
    together = open_run(store_of(tmp_path / "one.zarr", "healthy", sphere_norm2=norms))
    assert together.sphere_norm2 == pytest.approx(1785.0)


def test_runs_on_different_spheres_are_named(
    stores: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    larger = store_of(tmp_path / "larger.zarr", "healthy", seed=112, sphere_norm2=1799.0)
    free = store_of(tmp_path / "free.zarr", "healthy", seed=113, sphere=False)
    line = "Different ensembles, |w|² = Q is not the same: "
    assert run_program(monkeypatch, "compare", stores["healthy"], larger) == 0
    assert f"{line}first 1785, second 1799." in capsys.readouterr().out
    assert run_program(monkeypatch, "compare", stores["healthy"], stores["lost"]) == 0
    assert line not in capsys.readouterr().out
    assert run_program(monkeypatch, "report", stores["healthy"], larger, free, "--out", tmp_path / "out") == 0
    assert line in capsys.readouterr().out
    page = (tmp_path / "out" / "index.html").read_text()
    assert line in page
    assert "(free) free." in page
    assert "against T, because there is no T* of " in page
