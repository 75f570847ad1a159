"""Shared by all tests: a small data set and commands with a time limit, so that no hung rank can hang the suite."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

torch.set_num_threads(1)  # small arrays: threads would only wait for each other

LIMIT = 180.0  # seconds: far above what any command here needs

Command = Callable[..., subprocess.CompletedProcess[str]]


def launch(arguments: list[str], limit: float = LIMIT, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a process group of its own and kill the whole group when it takes too long."""
    process = subprocess.Popen(
        arguments, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        env={**os.environ, **environment},
    )  # fmt: skip
    try:
        out, err = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        pytest.fail(f"{' '.join(arguments)} took more than {limit} s\n{out}\n{err}")
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def mpirun_command(ranks: int) -> list[str]:
    """mpirun as the Makefile calls it, with more ranks than cores allowed."""
    found = os.environ.get("MPIRUN") or str(Path(sys.executable).with_name("mpirun"))
    if shutil.which(found) is None:
        pytest.skip(f"no mpirun at {found}; make setup installs one")
    return [found, "-n", str(ranks), "--bind-to", "none", "--oversubscribe"]


@pytest.fixture(scope="session")
def protmpi() -> Command:
    """`protmpi(*arguments, ranks=0)`: the command line, alone or under mpirun."""

    def call(*arguments: object, ranks: int = 0, limit: float = LIMIT) -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).with_name("protmpi")), *map(str, arguments)]
        as_root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
                   "OMPI_MCA_mpi_yield_when_idle": "1"}  # fmt: skip
        return launch([*(mpirun_command(ranks) if ranks else []), *command], limit, **as_root)

    return call


def small_data(length: int = 12, sequences: int = 60, seed: int = 5) -> object:
    """A data set that takes no time: sites with a preferred residue, every tenth contact set."""
    from protmpi.data.dataset import FoldingData

    random = np.random.default_rng(seed)
    preferred = random.integers(0, 20, size=length)
    residues = np.where(
        random.random((sequences, length)) < 0.6, preferred, random.integers(0, 20, (sequences, length))
    )
    masked = random.random((sequences, length)) < 0.2
    masked[np.arange(sequences), random.integers(0, length, sequences)] = True
    split = np.repeat([0, 1, 2], [sequences // 2, sequences // 4, sequences - sequences // 2 - sequences // 4])
    separation = np.abs(np.subtract.outer(np.arange(length), np.arange(length)))
    return FoldingData(residues.astype(np.uint8), masked, split.astype(np.uint8), contact_map=separation == 3)


@pytest.fixture(scope="session")
def small_data_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of `small_data`."""
    from protmpi.data import dataset

    path = tmp_path_factory.mktemp("data") / "small.h5"
    dataset.save(path, small_data())
    return path
