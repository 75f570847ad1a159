"""The program: JSON, CSV, table, figures, messages and exit statuses."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from synthetic import LADDER, ar1, write_store

from analysis import cli, open_run, thermodynamics
from analysis.show import cells
from analysis.subjects.thermodynamics import tables

FILES = {
    "checks.csv", "checks.tex", "thermodynamics.csv", "thermodynamics.tex", "thermodynamics.png",
    "thermodynamics.pdf", "energy_traces.png", "energy_traces.pdf", "index.html",
}  # fmt: skip


def demo_store(
    path: Path, temperature: np.ndarray = LADDER, draws: int = 120, planned_draws: int | None = None
) -> Path:
    """A store like that of the demo, two replicas, with every observable of the folding task."""
    rng = np.random.default_rng(41)
    noise = ar1(0.5, (2, temperature.size, draws), rng)
    energy = (1.3 + temperature[:, None] * (900 + 30 * noise)).reshape(2 * temperature.size, draws)
    return write_store(
        path,
        temperature,
        energy,
        planned_draws=planned_draws,
        references={
            f"{prefix}_{name}": value * np.array([1.0, 1.01, 0.99])
            for prefix, shift in (("es", 0.0), ("ot", 0.1))
            for name, value in (("energy", 1.3), ("val_error", 0.5 + shift), ("test_error", 0.51 + shift))
        },
        train_error=0.3 * energy,
        val_error=0.4 * energy,
        kinetic_ratio=1 + 0.02 * ar1(0.2, energy.shape, rng),
        test_error=0.41 * energy[:, 9::10],
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return demo_store(tmp_path_factory.mktemp("demo") / "run.zarr")


def run_program(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Exit status of `protmpi-analysis ARGUMENTS` in this process."""
    monkeypatch.setattr(sys, "argv", ["protmpi-analysis", *map(str, arguments)])
    with pytest.raises(SystemExit) as exit_info:
        cli.main()
    return int(exit_info.value.code or 0)


def refuse_constant(name: str) -> None:
    raise AssertionError(f"{name} is not strict JSON")


def test_json_form(store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_program(monkeypatch, "thermodynamics", store, "--json") == 0
    tree = json.loads(capsys.readouterr().out, parse_constant=refuse_constant)
    assert tree["temperature"] == LADDER.tolist()
    observables = ["energy", "train_error", "val_error", "test_error", "kinetic_ratio", "norm2"]
    for name in [*observables, "heat_capacity", "heat_capacity_derivative"]:
        assert set(tree[name]) == {"mean", "sem"}
        assert all(len(values) == LADDER.size for values in tree[name].values())
    for name in ("effective_samples", "r_hat", "draws", "discarded", "norm2_drift"):
        assert len(tree[name]) == LADDER.size
    assert tree["not_in_equilibrium"] == [""] * LADDER.size
    assert tree["t_star"] is None
    assert tree["no_t_star"].startswith("var(U)/T² is largest at T = ")  # of one C at all temperatures
    assert tree["state"] == "finished"
    assert np.abs(np.array(tree["energy"]["mean"]) - 1.3 - 900 * LADDER).max() < 0.01


def test_json_says_null_for_what_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_program(monkeypatch, "thermodynamics", demo_store(tmp_path / "run.zarr", LADDER[:1]), "--json")
    tree = json.loads(capsys.readouterr().out, parse_constant=refuse_constant)
    assert tree["t_star"] is None
    assert tree["heat_capacity_derivative"] == {"mean": [None], "sem": [None]}


def check_report(folder: Path, temperatures: int) -> list[dict[str, str]]:
    assert {path.name for path in folder.iterdir()} == FILES
    for name in ("thermodynamics.png", "energy_traces.png"):
        image = imread(folder / name)[..., :3]
        assert image.shape[1] == 2100  # 7 inches at 300 dots per inch
        assert 0.01 < np.mean(image.min(axis=2) < 0.9) < 0.5, "next to nothing, or too much, is drawn"
    assert (folder / "thermodynamics.pdf").read_bytes().startswith(b"%PDF")
    with (folder / "thermodynamics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == temperatures
    return rows


def test_report(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_program(monkeypatch, "report", store, "--out", tmp_path / "new" / "report") == 0
    printed = capsys.readouterr().out
    rows = check_report(tmp_path / "new" / "report", LADDER.size)
    assert [float(row["temperature [nats]"]) for row in rows] == LADDER.tolist()
    for name in ("energy [nats]", "energy_sem [nats]", "heat_capacity [k_B]", "val_error", "val_error_sem"):
        assert all(np.isfinite(float(row[name])) for row in rows)
    lines = printed.splitlines()
    assert max(map(len, lines)) <= 120
    of_tables = [line for line in lines if any(line.split()[:1] == [cells.exponent_form(t)] for t in LADDER)]
    assert len(of_tables) == 16  # two tables
    assert max(map(len, of_tables)) <= cells.TERMINAL
    assert "No T*: " in printed
    assert "unfinished" not in printed


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("temperatures", [1, 2])
def test_report_of_a_short_unfinished_ladder(
    temperatures: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = demo_store(tmp_path / "run.zarr", LADDER[:temperatures], draws=40, planned_draws=100)
    assert run_program(monkeypatch, "report", path, "--out", tmp_path / "report") == 0
    check_report(tmp_path / "report", temperatures)
    printed = capsys.readouterr().out
    assert "fewer than three temperatures" in printed
    assert "The run is unfinished: 4000 of 10000 steps" in printed


def test_mistakes_are_one_line_with_status_2_and_write_nothing(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = demo_store(tmp_path / "empty.zarr", draws=0, planned_draws=10)
    (tmp_path / "a-file").write_text("")
    out = tmp_path / "report"
    for arguments in (
        ("report", tmp_path / "missing.zarr", "--out", out),
        ("report", tmp_path / "a-file", "--out", out),
        ("report", empty, "--out", out),
        ("report", store, "--out", tmp_path / "a-file"),
        ("thermodynamics", empty, "--json"),
    ):
        assert run_program(monkeypatch, *arguments) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("error: ")
        assert captured.err.count("\n") == 1
    assert not out.exists()


BLOCKED = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "mpi4py"}:
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocker())
import analysis
assert not {"zarr", "xarray", "arviz", "matplotlib", "numpy"} & set(sys.modules), "import analysis is not lazy"
from analysis.cli import main
sys.argv = ["protmpi-analysis", "thermodynamics", sys.argv[1]]
main()
"""


def test_works_without_torch_and_mpi(store: Path) -> None:
    done = subprocess.run([sys.executable, "-c", BLOCKED, store], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "No T*: " in done.stdout


@pytest.mark.parametrize(
    ("mean", "sem", "shown"),
    [
        (1.27346, 0.00123, "1.273 ± 0.001"),
        (2143.0, 38.0, "2140 ± 40"),
        (1.0, 0.096, "1.0 ± 0.1"),
        (0.5, float("nan"), "0.5"),
        (float("nan"), float("nan"), "-"),
        (1785.0, 0.0, "1785"),
    ],
)
def test_mean_and_error_are_cut_at_the_first_digit_of_the_error(mean: float, sem: float, shown: str) -> None:
    assert cells.plus_minus(mean, sem) == shown


def test_powers_of_ten() -> None:
    assert cells.exponent_form(4.5e-4) == "4.5e-4"
    assert cells.exponent_plus_minus(9.513e-5, 0.2e-5) == "(9.5 ± 0.2)e-5"
    assert cells.exponent_plus_minus(9.5e-5, float("nan")) == "9.5e-5"


def test_a_maximum_at_an_end_of_the_ladder_is_no_t_star(tmp_path: Path) -> None:
    energy = 1.0 + ar1(0.3, (3, 160), np.random.default_rng(42))  # of one variance, so that C falls as 1/T²
    run = open_run(write_store(tmp_path / "run.zarr", LADDER[:3], energy))
    assert "No T*: var(U)/T² is largest at T = 1e-5, an end of the temperatures in equilibrium." in tables.remarks(
        run, thermodynamics(run)
    )


def test_tables_break_before_they_are_too_wide() -> None:
    first = ("T", ["1e-4", "2.5e-4"])
    columns = [(str(k), ["x" * width] * 2) for k, width in enumerate([30, 30, 20, 90, 5])]
    found = cells.tables_of(first, columns)
    headings = [[str(column.header) for column in table.columns] for table in found]
    assert headings == [["T", "0", "1"], ["T", "2"], ["T", "3"], ["T", "4"]]
