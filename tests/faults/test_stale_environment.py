"""What schedulers and launchers have left in the environment of a shell: believed where it can be true, else told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from commands import Command, digest, launch, mpi_environment, mpirun_command
from short_run import CONFIG

from hpc.lock import Lock
from hpc.stop import EXIT_INTERRUPTED, MARGIN
from protmpi.store.reader import Store

PROTMPI = str(Path(sys.executable).with_name("protmpi"))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "short.toml"
    path.write_text(CONFIG)
    return path


def run(config: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [PROTMPI, "run", str(config), "--store", str(config.with_name("store.zarr")), *options]
    return launch(command, environment={**os.environ, **environment})


def one_line(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("end", ["1700000000", "yesterday", "²"])
def test_an_end_of_the_job_that_is_past_or_no_time_is_told_and_not_heeded(config: Path, end: str) -> None:
    done = run(config, SLURM_JOB_END_TIME=end)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "another job left it and it is ignored" in one_line(done.stdout)
    assert "give the same command again" not in one_line(done.stdout)
    assert Store(config.with_name("store.zarr")).status()["step"] == 40


def test_a_time_that_is_too_short_for_any_step_is_not_to_be_tried_again(config: Path) -> None:
    done = run(config, f"--set=execution.wall_time={MARGIN / 2}")
    assert done.returncode == EXIT_INTERRUPTED, done.stdout + done.stderr
    assert "before the first step; the time was too short for one step: raise execution.wall" in one_line(done.stdout)
    assert "same command" not in done.stdout


def test_a_count_of_restarts_that_is_none_is_no_restart(config: Path) -> None:
    done = run(config, SLURM_JOB_ID="7", SLURM_RESTART_COUNT="some")
    assert done.returncode == 0, done.stdout + done.stderr
    lock, _ = Lock.acquire(config.parent, {"SLURM_JOB_ID": "7", "SLURM_RESTART_COUNT": "-1"})
    lock.release()


def test_a_rank_that_a_job_step_has_left_behind_silences_no_error(config: Path) -> None:
    done = run(config, "--set=run.nonsense=1", SLURM_PROCID="3", PMI_RANK="2")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)


def test_prterun_is_a_launcher(config: Path, protmpi: Command) -> None:
    """The plain launcher below Open MPI's mpirun: it tells its processes no size of their world."""
    prterun = Path(mpirun_command(2)[0]).with_name("prterun")
    if not prterun.exists():
        pytest.skip(f"no {prterun}: it comes with Open MPI 5")
    whole, store = digest(protmpi, config, config.with_name("whole.zarr")), config.with_name("store.zarr")
    allowed = dict.fromkeys(("PRTE_ALLOW_RUN_AS_ROOT", "PRTE_ALLOW_RUN_AS_ROOT_CONFIRM"), "1")
    done = launch([str(prterun), "-n", "2", "--map-by", ":oversubscribe", "--bind-to", "none", PROTMPI, "run",
                   str(config), "--store", str(store)], environment={**mpi_environment(), **allowed})  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "on 2 ranks" in one_line(done.stdout)
    assert Store(store).digest() == whole
