"""Shared by all tests: the command line and a small data set."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import LIMIT, PROGRAM, Command, alone, launch, mpirun_command

torch.set_num_threads(1)  # small arrays: threads would only wait for each other


@pytest.fixture(scope="session")
def protmpi() -> Command:
    """`protmpi(*arguments, ranks=0)`: the command line, alone or under mpirun."""

    def call(*arguments: object, ranks: int = 0, limit: float = LIMIT) -> subprocess.CompletedProcess[str]:
        words = [*map(str, arguments)]
        if not ranks:
            return alone(words, limit)
        return launch([*mpirun_command(ranks), PROGRAM, *words], limit)

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


@pytest.fixture
def folder() -> Iterator[Path]:
    """A place for stores of runs that are killed, in memory where there is one: a kill needs no disk."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as made:
        yield Path(made)
