"""Ranks that die under a real mpirun."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from commands import Command, digest, launch, mpirun_command
from short_run import CONFIG, look

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
