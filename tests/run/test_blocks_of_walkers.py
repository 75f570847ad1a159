"""How many walkers go through the network together."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import Command, digest
from test_run import CONFIG

from protmpi.blocks import block_size, fastest
from protmpi.config import parse
from protmpi.store.reader import Store


class Clockwork:
    """A task whose gradients take `fixed` seconds, and `each` for every walker, on a clock of its own."""

    device, train_size = torch.device("cpu"), 10

    def __init__(self, fixed: float, each: float) -> None:
        self.fixed, self.each, self.now = fixed, each, 0.0

    def initial(self, random: np.random.Generator) -> np.ndarray:
        return np.zeros(3)

    def gradient(self, w: torch.Tensor, indices: np.ndarray) -> None:
        assert len(w) == len(indices)
        self.now += self.fixed + self.each * len(w)


@pytest.mark.parametrize(
    ("fixed", "each", "most", "size"),
    [(0.004, 0.0, 64, 64), (0.004, 0.0, 5, 5), (0.0, 0.004, 8, 1), (0.004, 0.0, 1, 1)],
)
def test_blocks_grow_while_that_makes_a_walker_cheaper(
    monkeypatch: pytest.MonkeyPatch, fixed: float, each: float, most: int, size: int
) -> None:
    task = Clockwork(fixed, each)
    monkeypatch.setattr(time, "perf_counter", lambda: task.now)
    assert fastest(task, 4, most) == size  # type: ignore[arg-type]


def test_the_size_of_a_block_changes_no_bit_of_a_transformer_on_a_cpu(
    protmpi: Command, tmp_path: Path, small_data_file: Path
) -> None:
    config = tmp_path / "small.toml"
    config.write_text(CONFIG.format(data=small_data_file, folder=tmp_path, scheme="single"))
    found = {size: digest(protmpi, config, tmp_path / f"{size}.zarr", "--set", f"run.walkers_per_block={size}")
             for size in (1, 3)}  # fmt: skip
    assert len(set(found.values())) == 1
    store = Store(tmp_path / "3.zarr")
    assert store.schema.walkers_per_block == 3
    files = {name: len(list((store.path / name / "c").glob("*/0*"))) for name in ("energy", "parameters")}
    assert files == {"energy": -(-store.schema.walkers // 3), "parameters": store.schema.walkers}


def test_a_store_keeps_the_size_of_its_blocks(protmpi: Command, tmp_path: Path, small_data_file: Path) -> None:
    """In pieces and on other ranks: a chunk has one writer."""
    config = tmp_path / "small.toml"
    config.write_text(CONFIG.format(data=small_data_file, folder=tmp_path, scheme="single"))
    twos = ("--set", "run.walkers_per_block=2")
    whole = digest(protmpi, config, tmp_path / "whole.zarr", *twos)
    pieces = tmp_path / "pieces.zarr"
    half = Store(tmp_path / "whole.zarr").schema.steps // 2
    digest(protmpi, config, pieces, *twos, "--set", f"run.steps={half}")
    refused = protmpi("run", config, "--store", pieces, "--set", "run.walkers_per_block=1")
    assert refused.returncode == 2
    assert "run.walkers_per_block 2 -> 1" in " ".join(refused.stderr.split())
    assert digest(protmpi, config, pieces, *twos, ranks=2) == whole
    assert protmpi("verify", pieces).returncode == 0


def test_auto_takes_walkers_one_by_one_on_a_cpu() -> None:
    """The answer of `fastest` depends on the moment and on the number of ranks; here bits must not."""
    assert block_size(parse({"sampler": {"walkers_per_temperature": 8}}, "test"), Clockwork(0.004, 0.0), 1) == 1  # type: ignore[arg-type]
