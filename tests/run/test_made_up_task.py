"""A new task is a module of its own and a line in `protmpi.kinds.TASKS`: nothing else of the program knows it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
from commands import launch

from analysis import open_run, thermodynamics

CONFIG = """
[data]
task = "bowl"
stiffness = 3.0
[model]
kind = "feedforward"
[sampler]
kind = "trajectories"
start = "random"
temperatures = [0.5, 1.0]
batch = 4
min_extractions = 20
trajectory = 10
adapt_until = 1000
[run]
steps = 5000
record_every = 10
snapshot_every = 1000
"""


def program(*arguments: str) -> subprocess.CompletedProcess[str]:
    return launch([sys.executable, str(Path(__file__).parent / "made_up_task" / "program.py"), *arguments])


def test_a_task_from_elsewhere_runs_by_its_line_in_the_table(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(CONFIG)
    store = tmp_path / "a.zarr"
    run = program("run", str(tmp_path / "c.toml"), "--store", str(store))
    assert run.returncode == 0, run.stderr
    energy = thermodynamics(open_run(store))["energy"]
    expected = 2.0 * np.array([0.5, 1.0])  # T/2 for each of four parameters
    deviation = (energy.sel(statistic="mean") - expected) / energy.sel(statistic="sem")
    assert (abs(deviation) < 4.0).all(), energy


def test_its_keys_are_explained_and_refused_as_those_of_any_other(tmp_path: Path) -> None:
    explained = program("config", "--explain")
    assert "data.stiffness" in explained.stdout
    wrong = CONFIG.replace("stiffness", "stifness")
    (tmp_path / "c.toml").write_text(wrong)
    refused = program("config", str(tmp_path / "c.toml"))
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert "data.stifness: unknown key (did you mean stiffness?)" in refused.stderr


def test_without_its_line_it_is_no_task(tmp_path: Path) -> None:
    """The broken twin."""
    (tmp_path / "c.toml").write_text(CONFIG)
    refused = launch([sys.executable, "-c", "from protmpi.cli import main; main()", "config", str(tmp_path / "c.toml")])
    assert refused.returncode == 2
    assert "'bowl' is not a task; choose one of folding, kspin, points, structures" in refused.stderr
