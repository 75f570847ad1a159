"""Whole runs from the command line: alone, under mpirun, interrupted, continued, refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from commands import Command, digest, launch, mpi_environment, mpirun_command
from conftest import small_data
from problems import FOLDING

from protmpi.data import dataset
from protmpi.store.reader import Store

CONFIG = (
    FOLDING
    + """blocks = 1
d = 6
[train]
file = "{folder}/weights.h5"
inits = 2
references = 2
max_epochs = 8
over_epochs = 40
patience = 4
eval_every = 2
warmup = 20
[sampler]
start = "random"
kind = "constrained"
scheme = "{scheme}"
temperatures = [1e-4, 3e-4]
walkers_per_temperature = 2
rho = 1e-3
batch = 8
min_extractions = 10
max_extractions = 20
min_adj_step = 20
adapt_until = 40
[run]
steps = 120
record_every = 10
snapshot_every = 20
draws_per_chunk = 4
[execution]
store = "{folder}/store.zarr"
device = "cpu"
"""
)


@pytest.fixture
def config(tmp_path: Path, small_data_file: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(CONFIG.format(data=small_data_file, folder=tmp_path, scheme="single"))
    return path


@pytest.mark.parametrize("scheme", ["single", "double"])
def test_any_number_of_ranks_gives_the_same_store(
    protmpi: Command, tmp_path: Path, small_data_file: Path, scheme: str
) -> None:
    config = tmp_path / "small.toml"
    config.write_text(CONFIG.format(data=small_data_file, folder=tmp_path, scheme=scheme))
    serial = digest(protmpi, config, tmp_path / "0.zarr")
    for ranks in (1, 2, 4) if scheme == "single" else (3,):
        assert digest(protmpi, config, tmp_path / f"{ranks}.zarr", ranks=ranks) == serial
    assert digest(protmpi, config, tmp_path / "seed.zarr", "--set", "run.seed=2") != serial


def test_a_run_in_two_pieces_is_the_run_in_one(protmpi: Command, config: Path, tmp_path: Path) -> None:
    """Extended after its end, on another number of ranks: momenta, masses, streams and adaptation are all there."""
    whole = digest(protmpi, config, tmp_path / "whole.zarr")
    short = digest(protmpi, config, tmp_path / "pieces.zarr", "--set", "run.steps=55")
    assert Store(tmp_path / "pieces.zarr").draws == 5
    assert short != whole
    assert digest(protmpi, config, tmp_path / "pieces.zarr", ranks=2) == whole


@pytest.mark.parametrize("ranks", [0, 2])
def test_a_signal_commits_and_the_same_command_continues(
    protmpi: Command, config: Path, tmp_path: Path, ranks: int
) -> None:
    """Sent to one process; under mpirun that is the launcher, which passes it on to the ranks."""
    long = ["--set", "run.steps=800"]
    whole = digest(protmpi, config, tmp_path / "whole.zarr", *long)
    launcher = mpirun_command(ranks) if ranks else []
    command = [*launcher, str(Path(sys.executable).with_name("protmpi")), "run", str(config), *long]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True, env=mpi_environment())
    try:
        deadline = time.monotonic() + 60
        while not list((tmp_path / "store.zarr" / "commits").glob("*.json")) and time.monotonic() < deadline:
            time.sleep(0.02)
        running.send_signal(signal.SIGTERM if not ranks else signal.SIGUSR1)
        assert running.wait(timeout=60) == 75
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
    assert 0 < Store(tmp_path / "store.zarr").draws < 80
    assert digest(protmpi, config, tmp_path / "store.zarr", *long) == whole


def test_the_walkers_stay_on_their_spheres_and_at_temperature(protmpi: Command, config: Path, tmp_path: Path) -> None:
    """At temperatures that forget the random start within the burn-in: while U falls, its energy heats the momenta."""
    equilibrium = ["sampler.temperatures=[3e-3, 1e-2]", "sampler.rho=1e-5", "sampler.min_adj_step=200",
                   "sampler.adapt_until=1000", "run.steps=2500"]  # fmt: skip
    digest(protmpi, config, tmp_path / "s.zarr", *(word for change in equilibrium for word in ("--set", change)))
    store = Store(tmp_path / "s.zarr")
    norm2, parameters = store.read("norm2"), store.read("parameters").astype(np.float64)
    assert np.abs(norm2 / store.read("sphere_norm2")[:, None] - 1).max() < 1e-6
    np.testing.assert_allclose((parameters**2).sum(-1), norm2[:, 1::2], rtol=1e-12)
    # momenta forget within 1/m1² = 100 steps: 15 independent draws of (P - 1)/2 squares for each of 4 walkers
    kinetic = store.read("kinetic_ratio")[:, store.first_measured["draw"] :]
    assert abs(kinetic.mean() - 1) < 4 * np.sqrt(2 / parameters.shape[-1] / (15 * len(kinetic)))


def test_training_gives_starting_weights(protmpi: Command, config: Path, tmp_path: Path) -> None:
    """Trained on two ranks as on one, continued by the same command, used by a run, refused when changed."""
    missing = protmpi("run", config, "--set", "sampler.start=ES")
    assert (missing.returncode, missing.stderr.count("\n")) == (2, 1)
    assert "no such weights file" in missing.stderr
    trained = protmpi("train", config, ranks=2)
    assert trained.returncode == 0, trained.stderr
    other = protmpi("train", config, "--set", f"train.file={tmp_path}/serial.h5")
    assert other.returncode == 0, other.stderr
    import h5py

    with h5py.File(tmp_path / "weights.h5") as one, h5py.File(tmp_path / "serial.h5") as two:
        for mark in ("ES", "OT"):
            np.testing.assert_array_equal(one[f"references/{mark}"][()], two[f"references/{mark}"][()])
        curve = one["references/curves/0/train_energy"][()]
        assert curve[-1] < curve[0]
    assert "ES 2" in protmpi("train", config).stdout
    changed = protmpi("train", config, "--set", "train.batch=7")
    assert changed.returncode == 2
    assert "batch 64 -> 7" in changed.stderr
    digest(protmpi, config, tmp_path / "s.zarr", "--set", "sampler.start=ES")
    store = Store(tmp_path / "s.zarr")
    assert store.read("es_energy").shape == (2,)
    assert store.read("ot_attention").shape == (2, 1, 12, 12)


def test_status_and_digest_are_for_people_and_programs(protmpi: Command, config: Path, tmp_path: Path) -> None:
    expected = digest(protmpi, config, tmp_path / "s.zarr")
    assert protmpi("digest", tmp_path / "s.zarr").stdout.strip() == expected
    found = json.loads(protmpi("status", tmp_path / "s.zarr", "--json").stdout)
    assert (found["state"], found["step"], found["draws"], found["eta_seconds"]) == ("finished", 120, 12, 0)
    assert found["steps_per_second"] > 0
    assert "step 120 of 120 (100 %)" in protmpi("status", tmp_path / "s.zarr").stdout


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("sampler.rhoo=1", "sampler.rhoo: unknown key (did you mean rho?); valid: acceptance, adapt_until"),
        ("run.steps=many", "run.steps: input should be a valid integer"),
        ("sampler.rho=0.34", "sampler.rho: 0.34 is too large: the single scheme with m1 = 0.1 allows at most 0.3356"),
        ("sampler.temperatures=[1e-4, -1]", "sampler.temperatures.1: input should be greater than 0"),
        ("data.file=nowhere.h5", "nowhere.h5"),
        ("execution.store=/proc/s.zarr", "/proc/s.zarr: cannot be written"),
        ("sampler.batch=1000", "sampler.batch: 1000 is above the "),
        ("execution.device=cuda", 'execution.device: "cuda", but rank 0'),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    protmpi: Command, config: Path, tmp_path: Path, change: str, message: str
) -> None:
    before = sorted(tmp_path.rglob("*"))
    done = protmpi("run", config, "--set", change)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert message in done.stderr
    assert sorted(tmp_path.rglob("*")) == before


def test_bad_input_is_told_by_one_rank(protmpi: Command, config: Path, tmp_path: Path) -> None:
    for change, message in (("sampler.rhoo=1", "unknown key"), ("run.walkers_per_block=2", "3 ranks for 2 blocks")):
        done = protmpi("run", config, "--set", change, ranks=3)
        assert done.returncode == 2
        assert done.stderr.count("error: ") == 1
        assert message in done.stderr
    assert not (tmp_path / "store.zarr").exists()


def test_a_store_of_another_run_is_refused_with_the_keys(protmpi: Command, config: Path, tmp_path: Path) -> None:
    before = digest(protmpi, config, tmp_path / "s.zarr")
    done = protmpi("run", config, "--store", tmp_path / "s.zarr", "--set", "sampler.rho=2e-3")
    assert done.returncode == 2
    assert "sampler.rho 0.001 -> 0.002" in done.stderr
    assert Store(tmp_path / "s.zarr").digest() == before


def test_a_data_file_of_another_length_is_refused_by_its_key(protmpi: Command, config: Path, tmp_path: Path) -> None:
    before = digest(protmpi, config, tmp_path / "s.zarr")
    dataset.save(tmp_path / "longer.h5", small_data(length=14))
    done = protmpi("run", config, "--store", tmp_path / "s.zarr", "--set", f"data.file={tmp_path}/longer.h5")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "data.file" in done.stderr
    assert Store(tmp_path / "s.zarr").digest() == before


def test_an_exception_on_one_rank_ends_all(tmp_path: Path) -> None:
    """With its traceback, and without leaving the others waiting in a collective."""
    program = tmp_path / "fails.py"
    program.write_text(
        "from hpc.world import AbortOnException, connect\n"
        "world = connect()\n"
        "with AbortOnException(world):\n"
        "    if world.rank == 1:\n"
        "        raise ValueError('planted')\n"
        "    world.barrier()\n"
    )
    done = launch([*mpirun_command(3), sys.executable, str(program)], 60)
    assert done.returncode != 0
    assert "ValueError: planted" in done.stderr
    assert "rank 1 of 3" in done.stderr


def test_too_large_a_rho_is_named_and_the_others_go_on(protmpi: Command, config: Path, tmp_path: Path) -> None:
    """The hot walkers leave the sphere's reach at once; the cold ones are sampled to the end."""
    hot = ["--set", "sampler.temperatures=[1e-6, 30.0]", "--set", "sampler.rho=0.3"]
    done = protmpi("run", config, *hot)
    assert done.returncode == 0, done.stderr
    assert "walker 1 lost at step" in done.stdout
    assert "negative discriminant" in done.stdout
    energy = Store(tmp_path / "store.zarr").read("energy")
    assert np.isfinite(energy[[0, 2]]).all()
    assert np.isnan(energy[[1, 3], -1]).all()
    everyone = protmpi("run", config, *hot[2:], "--set", "sampler.temperatures=[30.0]", "--store", tmp_path / "t.zarr")
    assert everyone.returncode == 1
    assert "2 of 2 walkers are lost" in everyone.stderr


def test_a_second_run_on_a_live_store_is_refused_and_a_deleted_store_stays_deleted(
    protmpi: Command, config: Path, tmp_path: Path
) -> None:
    """Twice it was seen that a run wrote into the store that its user had deleted and begun anew."""
    store, long = tmp_path / "store.zarr", ["--set", "run.steps=100000"]
    command = [str(Path(sys.executable).with_name("protmpi")), "run", str(config), *long]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=mpi_environment())
    try:
        deadline = time.monotonic() + 60
        while not list((store / "commits").glob("*.json")) and time.monotonic() < deadline:
            time.sleep(0.02)
        second = protmpi("run", config, *long)
        assert second.returncode == 2
        assert second.stderr.startswith("error: ")
        assert "is writing this store" in second.stderr
        store.rename(tmp_path / "deleted")
        _, told = running.communicate(timeout=60)
        assert running.returncode == 2
        assert b"was deleted or taken over" in told
        assert not store.exists()
    finally:
        running.kill()
