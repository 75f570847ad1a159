"""Self-checks: a healthy run passes all of them, and each has a broken twin of that run that it must fail."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic import BURN_IN_DRAWS, LADDER, ar1, write_store
from test_analysis_cli import run_program
from test_thermodynamics import MODES, harmonic, planted_capacity

from analysis import check_tables, open_run
from analysis.chains import MINIMUM_DRAWS
from analysis.check import Check
from analysis.checks import checks
from analysis.significance import SIGNIFICANT, Mean

LAYERS = {"E": 546, "0.W1": 2704, "0.b1": 104, "0.W2": 2704, "0.LN.gain": 26}
PARAMETERS = sum(LAYERS.values())
REPLICAS, DRAWS, SLOTS = 3, 800, LADDER.size
KINDS = (
    "kinetic temperature",
    "kinetic temperature by layer",
    "heat capacity",
    "split R-hat of U",
    "effective samples of U",
    "difference of starts",
    "drift of U",
)
STARTS: dict[str, Any] = {"start": ["ES", "OT"], "rho": 1e-3}

Rows = dict[str, np.ndarray]


def healthy(
    seed: int, replicas: int = REPLICAS, draws: int = DRAWS, phi: float = 0.6, temperature: np.ndarray = LADDER
) -> Rows:
    """Rows (replica, slot, draw, ...) of a harmonic run in equilibrium, with momenta at their temperature."""
    rng = np.random.default_rng(seed)
    shape = (replicas, temperature.size, draws)
    of_layers = [1 + np.sqrt(2 / n) * ar1(0.2, shape, rng) for n in LAYERS.values()]
    return {
        "energy": harmonic(temperature, shape, rng, phi),
        "kinetic_ratio": 1 + np.sqrt(2 / PARAMETERS) * ar1(0.2, shape, rng),
        "kinetic_ratio_layer": np.stack(of_layers, axis=-1),
    }


def store_of(path: Path, rows: Rows, temperature: np.ndarray = LADDER, **settings: Any) -> Path:
    walkers = {name: values.reshape(-1, *values.shape[2:]) for name, values in rows.items()}
    return write_store(path, temperature, sampler=STARTS | settings, layers=LAYERS, **walkers)


def checked(path: Path, rows: Rows, temperature: np.ndarray = LADDER, **settings: Any) -> list[Check]:
    return checks_of(store_of(path / "run.zarr", rows, temperature, **settings))


def checks_of(store: Path) -> list[Check]:
    run = open_run(store)
    return checks(run, run.thermodynamics())


def failed(found: list[Check]) -> list[Check]:
    return [check for check in found if check.verdict == "fail"]


def of_kind(found: list[Check], name: str) -> list[Check]:
    return [check for check in found if check.name == name]


def only_failure(found: list[Check], name: str, slot: int) -> Check:
    """The one failed check, which must be of this name and at this temperature."""
    assert [(check.name, check.temperature) for check in failed(found)] == [(name, LADDER[slot])]
    return failed(found)[0]


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


def test_hot_momenta(tmp_path: Path) -> None:
    rows = healthy(52)
    rows["kinetic_ratio"][:, 2] *= 1.031 / rows["kinetic_ratio"][:, 2, BURN_IN_DRAWS:].mean()
    check = only_failure(checked(tmp_path, rows), "kinetic temperature", 2)
    assert check.z > 20
    assert check.advice == "kinetic temperature 3.1 % above T at T = 1e-4: take sampler.rho = 3e-4"


def test_hot_momenta_of_an_automatic_step_and_cold_ones_get_no_number(tmp_path: Path) -> None:
    rows = healthy(52)
    rows["kinetic_ratio"][:, 2] *= 1.031 / rows["kinetic_ratio"][:, 2, BURN_IN_DRAWS:].mean()
    automatic = only_failure(checked(tmp_path / "auto", rows, rho="auto"), "kinetic temperature", 2)
    assert automatic.advice.endswith("take a smaller sampler.rho")
    rows["kinetic_ratio"][:, 2] *= 0.98 / 1.031
    cold = only_failure(checked(tmp_path / "cold", rows), "kinetic temperature", 2)
    assert "2.0 % below T at T = 1e-4" in cold.advice
    assert "rho" not in cold.advice


def test_an_excess_below_the_tolerance_is_left_alone(tmp_path: Path) -> None:
    rows = healthy(52)
    rows["kinetic_ratio"] *= 1.007
    found = of_kind(checked(tmp_path, rows), "kinetic temperature")
    assert min(check.z for check in found) > 5
    assert {check.verdict for check in found} == {"pass"}


@pytest.mark.parametrize("layer", ["0.W2", "E"])
def test_one_hot_layer(tmp_path: Path, layer: str) -> None:
    rows = healthy(53)
    rows["kinetic_ratio_layer"][:, 4, :, list(LAYERS).index(layer)] *= 1.03
    check = only_failure(checked(tmp_path, rows), "kinetic temperature by layer", 4)
    assert check.detail == layer
    assert check.advice.startswith(f"kinetic temperature of {layer} ")
    assert "above T at T = 3e-4: take sampler.rho = " in check.advice


def test_a_hot_layer_is_not_hidden_by_one_that_is_more_significant_but_within_the_tolerance(tmp_path: Path) -> None:
    rows = healthy(53)
    rows["kinetic_ratio_layer"][:, 4, :, 1] *= 1.0095
    rows["kinetic_ratio_layer"][:, 4, :, 2] *= 1.025
    check = only_failure(checked(tmp_path, rows), "kinetic temperature by layer", 4)
    assert check.detail == "0.b1"
    assert check.z < Mean.of(rows["kinetic_ratio_layer"][:, 4, BURN_IN_DRAWS:, 1]).z(1.0, len(LAYERS))


def test_fluctuations_that_do_not_fit_the_slope(tmp_path: Path) -> None:
    for factor, sign in ((np.sqrt(0.5), -1), (np.sqrt(2.0), 1)):
        rows = healthy(54)
        mean = 1.3 + MODES * LADDER[:, None] / 2
        rows["energy"] = mean + factor * (rows["energy"] - mean)
        found = checked(tmp_path / f"{factor:.1f}", rows)
        assert {check.name for check in failed(found)} == {"heat capacity"}
        assert len(failed(found)) == SLOTS - 1
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


# What is printed, written and returned


@pytest.fixture(scope="module")
def hot_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = healthy(65)
    rows["kinetic_ratio"] *= 1.0075  # significant, but left alone
    rows["kinetic_ratio"][:, 6] += 0.009 + 0.06 * RNG.normal(size=(REPLICAS, DRAWS))  # worse, but less significant
    return store_of(tmp_path_factory.mktemp("hot") / "run.zarr", rows)


@pytest.fixture(scope="module")
def good_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return store_of(tmp_path_factory.mktemp("good") / "run.zarr", healthy(51))


def test_table_has_one_line_per_kind_and_hides_no_failure(
    hot_store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = checks_of(hot_store)
    failures = failed(found)
    assert max(check.z for check in of_kind(found, "kinetic temperature")) > failures[0].z
    assert [(check.name, check.temperature) for check in failures] == [("kinetic temperature", LADDER[6])]
    assert run_program(monkeypatch, "thermodynamics", hot_store) == 0
    lines = capsys.readouterr().out.splitlines()
    of_table = [line for line in lines if line.startswith(KINDS)]
    assert len(of_table) == len(KINDS)
    assert all(len(line) <= 100 for line in of_table)
    assert "6e-4" in of_table[0]
    assert of_table[0].rstrip().endswith("fail 1 of 8")
    assert all(line.rstrip().endswith("pass") for line in of_table[1:])
    assert f"FAIL {failures[0].advice}." in lines


def check(verdict: Any, z: float, temperature: float) -> Check:
    advice = {"pass": "", "weak": "", "fail": f"mend it at {temperature}"}[verdict]
    return Check("drift of U", temperature, "", 1.0, 0.0, 1.0, z, verdict, advice)


def test_grouping_shows_the_worst_verdict_first_and_names_every_other_failure() -> None:
    rows = [check("pass", -9.0, 1e-5), check("fail", 4.1, 2e-5), check("weak", 3.9, 3e-5), check("fail", -5.0, 4e-5)]
    ((worst, group),) = check_tables.worst_checks(rows)
    assert (worst, group) == (rows[3], rows)
    assert check_tables.checks_remarks(rows)[1:] == ["FAIL mend it at 4e-05 (fails too at 2e-5)."]
    assert check_tables.worst_checks([rows[0], rows[2]])[0][0].verdict == "weak"
    assert check_tables.worst_checks([rows[0], check("weak", np.nan, 5e-5)])[0][0].verdict == "weak"


def test_verdicts_are_coloured() -> None:
    from rich.console import Console

    for verdict, code in (("pass", "32"), ("weak", "33"), ("fail", "31")):
        console = Console(width=120, force_terminal=True, color_system="standard")
        with console.capture() as capture:
            console.print(check_tables.checks_table([check(verdict, 1.0, 1e-5)]))
        assert f"\x1b[{code}m{verdict}" in capture.get()


def test_json_and_csv_hold_every_check(
    hot_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_program(monkeypatch, "thermodynamics", hot_store, "--json") == 0
    of_json = json.loads(capsys.readouterr().out)["checks"]
    found = checks_of(hot_store)
    assert [tuple(row) for row in of_json] == [Check._fields] * len(found)
    assert [(row["name"], row["temperature"], row["verdict"]) for row in of_json] == [
        (check.name, check.temperature, check.verdict) for check in found
    ]
    assert {row["z"] for row in of_json if row["name"] == "effective samples of U"} == {None}
    assert run_program(monkeypatch, "report", hot_store, "--out", tmp_path / "report") == 0
    with (tmp_path / "report" / "checks.csv").open() as file:
        of_csv = list(csv.DictReader(file))
    assert [{key: "" if value is None else str(value) for key, value in row.items()} for row in of_json] == of_csv


def test_strict_is_status_1_on_failure_only_after_everything_is_written(
    hot_store: Path,
    good_store: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    weak_store = store_of(tmp_path / "weak.zarr", healthy(66, replicas=1, draws=40))
    assert {check.verdict for check in checks_of(weak_store)} == {"pass", "weak"}
    for store, status, form in (
        (good_store, 0, []),
        (weak_store, 0, []),
        (hot_store, 1, []),
        (hot_store, 1, ["--json"]),
    ):
        assert run_program(monkeypatch, "thermodynamics", store, "--strict", *form) == status
        assert "kinetic temperature" in capsys.readouterr().out
    assert run_program(monkeypatch, "report", hot_store, "--out", tmp_path / "report", "--strict") == 1
    captured = capsys.readouterr()
    assert captured.err == ""
    assert f"wrote {tmp_path / 'report' / 'index.html'}" in captured.out
    assert {"index.html", "checks.csv", "thermodynamics.csv"} <= {path.name for path in (tmp_path / "report").iterdir()}


@pytest.mark.parametrize(("rho", "verdict"), [(1e-3, "pass"), (3e-3, "weak"), (1e-2, "fail")])
def test_correlated_noise_is_told_by_its_size(tmp_path: Path, rho: float, verdict: str) -> None:
    """An excess of 100 rho along the directions of the noise, which no trace shows."""
    energy = 1.5 + LADDER[:, None] * ar1(0.3, (LADDER.size, 400), np.random.default_rng(1))
    store = write_store(
        tmp_path / "store.zarr", LADDER, energy,
        rho=np.full(energy.shape, rho), collective_excess=np.full(energy.shape, 100 * rho),
    )  # fmt: skip
    run = open_run(store)
    found = [check for check in checks(run, run.thermodynamics()) if check.name == "collective kinetic temp."]
    assert [check.verdict for check in found] == [verdict] * LADDER.size
    np.testing.assert_allclose([check.value for check in found], 1 + 100 * rho)
    assert all(("sampler.rho = 1.1e-3" in check.advice) == (verdict != "pass") for check in found)
