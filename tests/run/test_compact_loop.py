"""From gains with a peak at zero to the smaller network, trained, sampled and reported beside the larger one."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
from commands import Command
from problems import FOLDING
from typer.testing import CliRunner

from analysis import open_run
from analysis.cli import app
from protmpi import tasks
from protmpi.config import load

CONFIG = (
    FOLDING
    + """blocks = 2
d = 16
[train]
file = "{folder}/w.h5"
inits = 1
references = 1
batch = 10
warmup = 5
eval_every = 1
max_epochs = 4
over_epochs = 20
[sampler]
kind = "constrained"
temperatures = [1e-9, 2e-9]
rho = 1e-4
batch = 10
min_extractions = 10
max_extractions = 10
adapt_until = 10
[run]
steps = 50
record_every = 5
snapshot_every = 5
draws_per_chunk = 5
[execution]
store = "{folder}/s.zarr"
"""
)
D = 16
USELESS = {"0.LN1": 10, "0.LN2": 0, "1.LN1": 8, "1.LN2": 5}
KEPT = 11
"""What remains of the larger of the two layer norms of the last block."""


def plant(config: Path) -> None:
    """Take what `USELESS` elements of each layer norm carry out of the trained weights."""
    loaded = load(config)
    columns = {e.name: e.slice for e in tasks.build(loaded).layout.entries}
    random = np.random.default_rng(1)
    with h5py.File(loaded.train.file, "r+") as file:
        for name in ("references/ES", "references/OT"):
            weights = file[name][()]
            for layer, useless in USELESS.items():
                for kind in ("gain", "bias"):
                    first = columns[f"{layer}.{kind}"].start
                    weights[:, first : first + useless] = 0.02 * random.standard_normal((len(weights), useless))
            file[name][...] = weights
        file["norm2"][...] = (file["references/ES"][()].astype(np.float64) ** 2).sum(1).min()  # what it was is gone


def test_the_compact_network_is_trained_sampled_and_reported(
    protmpi: Command, small_data_file: Path, tmp_path: Path
) -> None:
    config = tmp_path / "c.toml"
    config.write_text(CONFIG.format(data=small_data_file, folder=tmp_path))
    for command in ("train", "run"):
        if command == "run":
            plant(config)
        assert (done := protmpi(command, config)).returncode == 0, done.stderr
    small = tmp_path / "small.toml"
    assert (done := protmpi("compact", tmp_path / "s.zarr", "--out", small)).returncode == 0, done.stderr
    model = load(small).model
    assert (model.blocks, model.d, model.m) == (2, KEPT, 4 * KEPT)
    for command in ("train", "run"):
        assert (done := protmpi(command, small)).returncode == 0, done.stderr
    stores = [tmp_path / "s.zarr", tmp_path / "s-compact.zarr"]
    assert open_run(stores[1]).store.config["model"]["d"] == KEPT
    for arguments in (["report", *stores, "--out", tmp_path / "report"], ["compare", *stores]):
        shown = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert shown.exit_code == 0, shown.output
    page = (tmp_path / "report" / "index.html").read_text()
    assert f"transformer-2-{KEPT}" in page
    assert f"transformer-2-{D}" in page
