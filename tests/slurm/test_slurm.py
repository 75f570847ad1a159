"""The batch scripts under a real Slurm: finished, stopped, requeued, in arrays, on GPUs."""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cluster import ROOT, Cluster, wait_for_commit, why_not
from commands import Command, digest
from problems import KSPIN

from protmpi.store.reader import Store

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())

CONFIG = (
    KSPIN
    + """
[sampler]
kind = "constrained"
start = "random"
temperatures = [1e-3, 3e-3]
walkers_per_temperature = 2
rho = 1e-4
m1 = 0.3
batch = 16
min_extractions = 20
max_extractions = 40
min_adj_step = 50
adapt_until = 100
[run]
steps = 1000
record_every = 10
snapshot_every = 100
draws_per_chunk = 5
walkers_per_block = 1
[execution]
device = "cpu"
"""
)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))  # not below pytest's: munge wants a path that all may enter
    found = Cluster(folder)
    try:
        found.start()
        yield found
    finally:
        found.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sweep") / "kspin.toml"
    path.write_text(CONFIG)
    return path


@pytest.fixture(scope="module")
def expected(protmpi: Command, config: Path) -> str:
    """Digest of the run under mpirun, never interrupted."""
    return digest(protmpi, config, config.with_name("mpirun.zarr"), ranks=2)


@pytest.mark.slow
def test_a_sweep_gives_the_store_of_mpirun_and_a_report_follows(
    cluster: Cluster, config: Path, expected: str, tmp_path: Path
) -> None:
    job = cluster.submit("slurm/sweep.sh", config, "--store", tmp_path / "s.zarr")
    report = cluster.submit("--ntasks-per-node=1", f"--dependency=afterok:{job}", "slurm/report.sh",
                            tmp_path / "s.zarr", "--out", tmp_path / "report")  # fmt: skip
    assert cluster.wait(job) == "COMPLETED", cluster.output(job)
    assert len(Store(tmp_path / "s.zarr").attributes["hosts"]) == 2
    assert Store(tmp_path / "s.zarr").digest() == expected
    assert cluster.wait(report) == "COMPLETED", cluster.output(report)
    assert (tmp_path / "report" / "thermodynamics.csv").exists()


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["srun --mpi=pmix", "mpirun --bind-to none"])
def test_a_signal_commits_requeues_and_ends_with_the_same_store(
    cluster: Cluster, config: Path, expected: str, tmp_path: Path, launcher: str
) -> None:
    """The signal that the script asks for before its time limit, sent as soon as something is committed."""
    store = tmp_path / "s.zarr"
    job = cluster.submit("slurm/sweep.sh", config, "--store", store, PROTMPI_LAUNCHER=launcher)
    wait_for_commit(store)
    cluster.call("scancel", "--batch", "--signal=USR1", job)
    cluster.wait(job, "PENDING")
    assert 0 < Store(store).draws < 100
    assert cluster.wait(job) == "COMPLETED", cluster.output(job)
    assert cluster.restarts(job) == 1
    assert "SIGUSR1: committed at step" in cluster.output(job)
    assert "continuing at step" in cluster.output(job)
    assert Store(store).digest() == expected


@pytest.mark.slow
def test_a_step_that_slurm_cannot_launch_is_no_finished_run(cluster: Cluster, config: Path, tmp_path: Path) -> None:
    """srun itself exits 0 then. Here a folder in the way makes its PMIx fail, as a node out of order does."""
    last = int(cluster.submit("--hold", "slurm/sweep.sh", config))
    cluster.call("scancel", last)
    (cluster.folder / "tmp" / f"spmix_appdir_{os.geteuid()}_{last + 1}.0").mkdir()
    job = cluster.submit("slurm/sweep.sh", config, "--store", tmp_path / "s.zarr", PROTMPI_LAUNCHER="srun --mpi=pmix")
    assert job == str(last + 1)
    assert cluster.wait(job) == "FAILED", cluster.output(job)
    assert "srun ended without starting a rank" in cluster.output(job)


@pytest.mark.slow
def test_the_time_limit_commits_and_requeues(cluster: Cluster, config: Path, protmpi: Command, tmp_path: Path) -> None:
    """Slurm itself sends the signal, up to a minute early: what was committed then is what an uninterrupted run has.

    The burn-in is short, because on a crowded machine the signal comes after some dozen steps.
    """
    store, keys = tmp_path / "s.zarr", ["--set", "run.draws_per_chunk=100", "--set", "sampler.adapt_until=20"]
    job = cluster.submit("--time=1", "--signal=B:USR1@40", "slurm/sweep.sh", config, "--store", store, *keys,
                         "--set", "run.steps=1000000")  # fmt: skip
    cluster.wait(job, "RUNNING")
    cluster.wait(job, "PENDING")
    cluster.call("scancel", job)
    assert "goes back into the queue" in cluster.output(job)
    draws = Store(store).draws
    assert draws > 0
    steps = f"run.steps={10 * draws}"
    whole = digest(protmpi, config, tmp_path / "whole.zarr", "--set", steps, *keys)
    if draws % 10 == 0:  # else the last snapshot is of later
        assert Store(store).digest() == whole
    goal = ["--set", f"run.steps={10 * draws + 100}", *keys]
    assert digest(protmpi, config, store, *goal) == digest(protmpi, config, tmp_path / "whole.zarr", *goal)


@pytest.mark.slow
def test_an_operators_requeue_in_mid_run_loses_nothing(
    cluster: Cluster, config: Path, expected: str, tmp_path: Path
) -> None:
    store = tmp_path / "s.zarr"
    job = cluster.submit("slurm/sweep.sh", config, "--store", store)
    wait_for_commit(store)
    cluster.call("scontrol", "requeue", job)
    cluster.wait(job, "PENDING")
    assert cluster.wait(job) == "COMPLETED", cluster.output(job)
    assert cluster.restarts(job) == 1
    assert Store(store).digest() == expected


@pytest.mark.slow
def test_an_array_of_three_seeds_and_one_of_them_requeued(
    cluster: Cluster, config: Path, expected: str, tmp_path: Path
) -> None:
    stores = tmp_path / "seed-%a.zarr"
    job = cluster.submit("--array=0-2", "slurm/array.sh", "run", config, "--set", "run.seed=%a", "--store", stores)
    wait_for_commit(tmp_path / "seed-0.zarr")
    cluster.call("scancel", "--batch", "--signal=USR1", f"{job}_0")
    for task in range(3):
        assert cluster.wait(f"{job}_{task}") == "COMPLETED", cluster.output(f"{job}_{task}")
    assert [cluster.restarts(f"{job}_{task}") for task in range(3)] == [1, 0, 0]
    digests = [Store(tmp_path / f"seed-{seed}.zarr").digest() for seed in range(3)]
    assert len(set(digests)) == 3
    seed = Store(config.with_name("mpirun.zarr")).config["run"]["seed"]
    assert expected == digests[seed]


def test_a_cancelled_job_commits_and_stays_cancelled(cluster: Cluster, config: Path, tmp_path: Path) -> None:
    store = tmp_path / "s.zarr"
    job = cluster.submit("slurm/sweep.sh", config, "--store", store, "--set", "run.steps=1000000")
    wait_for_commit(store)
    cluster.call("scancel", job)
    assert cluster.wait(job) == "CANCELLED"
    cluster_output = cluster.output(job)
    assert "SIGTERM: committed at step" in cluster_output or "SIGUSR1: committed at step" in cluster_output
    assert "goes back into the queue" not in cluster_output


def test_a_launcher_of_another_mpi_is_found_out(cluster: Cluster, config: Path, tmp_path: Path) -> None:
    """PyPI's Open MPI 5 knows no pmi2: each process would be rank 0 of 1, and both would write the store."""
    store = tmp_path / "s.zarr"
    job = cluster.submit("slurm/sweep.sh", config, "--store", store, PROTMPI_LAUNCHER="srun --mpi=pmi2")
    assert cluster.wait(job) == "FAILED"
    assert "the launcher started 2 processes but MPI" in cluster.output(job)
    assert not store.exists()


@pytest.mark.parametrize(
    ("request_for_gpus", "seen"), [("--gpus-per-task=1", {"0 0", "1 1"}), ("--gpus-per-node=2", {"0 0,1", "1 0,1"})]
)
def test_each_rank_is_given_a_gpu(cluster: Cluster, tmp_path: Path, request_for_gpus: str, seen: set[str]) -> None:
    """One of its own by Slurm, or all of the node, of which hpc.devices takes the one of the local rank."""
    program = tmp_path / "bin" / "protmpi"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\necho "sees $SLURM_PROCID $CUDA_VISIBLE_DEVICES"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    job = cluster.submit(request_for_gpus, "slurm/sweep.sh", "any.toml", PROTMPI_VENV=str(tmp_path))
    assert cluster.wait(job) == "COMPLETED", cluster.output(job)
    lines = cluster.output(job).splitlines()
    assert {line.removeprefix("sees ") for line in lines if line.startswith("sees ")} == seen


@pytest.mark.slow
def test_the_demonstration_gives_the_store_of_mpirun(cluster: Cluster, tmp_path: Path) -> None:
    """`sbatch slurm/sweep.sh configs/demo.toml`, as the README has it, beside the first draws that `make demo` left."""
    demo = ROOT / "runs" / "demo" / "store.zarr"
    if not demo.exists() or Store(demo).status()["state"] != "finished":
        pytest.skip("no finished runs/demo/store.zarr: make demo first")
    job = cluster.submit("--time=20", "slurm/sweep.sh", "configs/demo.toml", "--store", tmp_path / "demo.zarr",
                         "--set", "run.steps=4000")  # fmt: skip
    assert cluster.wait(job) == "COMPLETED", cluster.output(job)
    here, whole = Store(tmp_path / "demo.zarr"), Store(demo)
    assert here.draws == 4000 // here.schema.record_every < whole.draws
    for variable in filter(lambda variable: variable.physics, here.schema.variables):
        rows = here.read(variable.name)
        np.testing.assert_array_equal(rows, whole.read(variable.name)[:, : rows.shape[1]], err_msg=variable.name)
    shutil.rmtree(tmp_path / "demo.zarr")


@pytest.mark.slow
def test_launched_jobs_are_requeued_and_end_with_the_stores_of_a_run_by_hand(
    cluster: Cluster, config: Path, protmpi: Command, tmp_path: Path
) -> None:
    """`protmpi launch` as an array, the signal before the time limit, and `protmpi jobs`, without sacct."""
    program, steps = Path(sys.executable).with_name("protmpi"), ["--set", "run.steps=300"]
    cluster.call(program, "launch", config, "--executor", "slurm", "--ranks-per-node=2", "--time=30",
                 "--folder", tmp_path / "launch", "--sweep", "run.seed=1,2", *steps,
                 "--set", f"execution.store={tmp_path}/s.zarr")  # fmt: skip

    def standing() -> list[dict[str, Any]]:
        return list(json.loads(cluster.call(program, "jobs", tmp_path / "launch", "--json")))

    first, second = standing()
    wait_for_commit(Path(first["store"]))
    cluster.call("scancel", "--batch", "--signal=USR2", first["job"])
    for job in (first, second):
        assert cluster.wait(job["job"]) == "COMPLETED", Path(job["log"]).read_text()
    assert [cluster.restarts(job["job"]) for job in (first, second)] == [1, 0]
    assert "SIGUSR1: committed at step" in Path(first["log"]).read_text()
    assert [(row["state"], row["step"]) for row in standing()] == [("finished", 300)] * 2
    by_hand = digest(protmpi, config, tmp_path / "hand.zarr", *steps, "--set", "run.seed=1")
    assert Store(first["store"]).digest() == by_hand != Store(second["store"]).digest()
