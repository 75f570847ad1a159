"""The points task as a user meets it: trained without a second stage, sampled from there on ranks, reported."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from commands import Command, digest

from analysis import distance, open_run
from analysis.report.contents import labels_of, report_of
from analysis.report.writing import write_report
from analysis.subjects.training.measure import read_training
from protmpi import tasks, weights
from protmpi.config import load
from protmpi.plan import Plan
from protmpi.store.reader import Store

CONFIG = """
[data]
task = "points"
points = 3
dimension = 2
rotations = 2
train = 30
val = 20
test = 20
[model]
kind = "encoder"
heads = 2
d = 4
[train]
file = "{folder}/weights.h5"
inits = 2
references = 0
batch = 8
rate = 0.4
warmup = 20
dropout = 0.0
max_epochs = 8
eval_every = 2
[sampler]
kind = "constrained"
temperatures = [1e-6, 1e-5]
walkers_per_temperature = 2
m1 = 0.3
rho = 1e-3
batch = 16
min_extractions = 20
max_extractions = 40
adapt_until = 200
[run]
steps = 1000
record_every = 20
snapshot_every = 100
[execution]
store = "{folder}/store.zarr"
device = "cpu"
"""


@pytest.fixture
def trained(protmpi: Command, tmp_path: Path) -> Path:
    path = tmp_path / "points.toml"
    path.write_text(CONFIG.format(folder=tmp_path))
    done = protmpi("train", path)
    assert done.returncode == 0, done.stderr
    return path


def test_without_a_second_stage_the_early_stopped_runs_are_the_starts(trained: Path) -> None:
    config = load(trained)
    task = tasks.build(config)
    found = weights.load(config.train.file, config, task)
    assert found.es.shape == (2, task.layout.size)
    assert found.ot.shape == (0, task.layout.size)
    plan = Plan.of(config, task, 1)
    np.testing.assert_array_equal(plan.starts.of(0), found.es[0])
    first, second = (np.sum(w.astype(float) ** 2) for w in found.es)
    scaled = found.es[1] * np.float32(np.sqrt(first / second))
    np.testing.assert_array_equal(plan.starts.of(2), scaled)
    assert not any(constant.name.startswith("ot_") for constant in plan.constants())
    training = read_training(config.train.file)
    assert [curve["epoch"].tolist() for curve in training.inits] == [[2, 4, 6, 8]] * 2
    assert training.references == []
    assert training.data["rotations"] == 2
    with h5py.File(config.train.file) as file:
        best = [curve["epoch"][np.argmin(curve["val_energy"])] for curve in training.inits]
        assert file["inits/ES_epoch"][()].tolist() == best


def test_two_ranks_draw_what_one_does_and_the_report_has_the_width(
    protmpi: Command, trained: Path, tmp_path: Path
) -> None:
    whole = digest(protmpi, trained, tmp_path / "whole.zarr")
    assert digest(protmpi, trained, tmp_path / "pieces.zarr", "--set", "run.steps=300") != whole
    assert digest(protmpi, trained, tmp_path / "pieces.zarr", ranks=2) == whole
    store = Store(tmp_path / "whole.zarr")
    assert store.read("pair_attention").shape == (4, 10, 20 * 3 * 2)
    assert store.variables["energy"].unit == store.variables["slot_temperature"].unit == "L1"
    run = open_run(tmp_path / "whole.zarr")
    data = distance(run)
    assert data["width"].dims == ("temperature", "statistic")
    assert data["target_width"].item() == pytest.approx(200)
    write_report([report_of(run, *labels_of([run]))], tmp_path / "report")
    assert "Attention and distance" in (tmp_path / "report" / "index.html").read_text()
    assert (tmp_path / "report" / "distance.png").exists()
    assert (tmp_path / "report" / "distance.csv").exists()


def test_a_learning_rate_of_another_factor_is_another_training(protmpi: Command, trained: Path) -> None:
    for rate, known in (("0.2", "0.2"), ("1.0", "None")):  # at its default the key is in no identity
        done = protmpi("train", trained, "--set", f"train.rate={rate}")
        assert done.returncode == 2
        assert f"belongs to another training: rate 0.4 -> {known}; choose" in done.stderr
