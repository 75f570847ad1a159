"""Ranks that die under a real mpirun."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import LIMIT, Command, digest, launch, mpi_environment, mpirun_command
from short_run import CONFIG, look

from hpc.stop import EXIT_INTERRUPTED
from protmpi.store import commit


@pytest.mark.parametrize(
    ("rank", "moment", "committed"),
    [(0, "os.rename /store.zarr/commits/.00000001", 1), (1, "open /store.zarr/energy/c/1/", 0)],
)
def test_a_rank_that_is_killed_ends_all_and_nothing_committed_is_lost(
    protmpi: Command, tmp_path: Path, rank: int, moment: str, committed: int
) -> None:
    config, store = tmp_path / "short.toml", tmp_path / "store.zarr"
    config.write_text(CONFIG)
    program = [sys.executable, str(Path(__file__).with_name("killed_run.py")), str(rank), moment]
    killed = launch([*mpirun_command(2), *program, "run", str(config), "--store", str(store)])
    assert killed.returncode != 0
    assert len(commit.record_paths(store)) == committed
    assert look(store)[1] == []
    assert digest(protmpi, config, store, ranks=2) == digest(protmpi, config, tmp_path / "whole.zarr")


def test_a_signal_to_one_rank_ends_all_within_an_estimate(tmp_path: Path) -> None:
    """Three ranks hear of it from the fourth, in the middle of an estimate that would last for hours."""
    config, store = tmp_path / "short.toml", tmp_path / "store.zarr"
    config.write_text(CONFIG.replace("_extractions = 5", "_extractions = 1000000000"))
    program = [str(Path(sys.executable).with_name("protmpi")), "run", str(config), "--store", str(store),
               "--set", "sampler.walkers_per_temperature=2"]  # fmt: skip
    running = subprocess.Popen([*mpirun_command(4), *program], stdout=subprocess.PIPE, env=mpi_environment(), text=True,
                               start_new_session=True)  # fmt: skip
    try:
        deadline = time.monotonic() + LIMIT
        while not (store / "lock.json").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(2.0)
        ranks = [int(pid) for pid in Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()]
        assert len(ranks) == 4
        os.kill(ranks[2], signal.SIGTERM)
        out, _ = running.communicate(timeout=LIMIT)
        assert running.returncode == EXIT_INTERRUPTED, out
        assert "SIGTERM: stopped before the first step" in out
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
