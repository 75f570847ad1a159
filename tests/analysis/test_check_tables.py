"""Self-checks as they are printed, written and returned."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from healthy import DRAWS, KINDS, REPLICAS, checks_of, failed, healthy, of_kind, store_of
from synthetic import LADDER
from test_analysis_cli import run_program

from analysis.subjects.checks import tables as check_tables
from analysis.subjects.checks.check import Check

RNG = np.random.default_rng(61)


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
    assert all(len(line.rstrip()) <= 106 for line in of_table), max(of_table, key=len)
    assert "6e-4" in of_table[0]
    assert of_table[0].rstrip().endswith("fail 1 of 8")
    assert all(line.rstrip().endswith("pass") for line in of_table[1:])
    assert f"FAIL {failures[0].advice}." in lines


def check(verdict: Any, z: float, temperature: float) -> Check:
    advice = {"pass": "", "weak": "", "fail": f"mend it at {temperature}"}[verdict]
    return Check("drift of U", temperature, "", 1.0, 0.0, 1.0, z, 0.02, verdict, advice)


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
