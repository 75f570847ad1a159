"""Ranks: who owns what, what a wrong launch looks like, devices and threads."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from hpc.devices import bind, cpu_threads, gpu_index
from hpc.world import (
    OneRank,
    connect,
    launched_rank,
    launched_size,
    local_position,
    my_blocks,
    owner_of_block,
    together,
)
from protmpi.errors import ConfigError, WorldError


class Rank(OneRank):
    """One of several ranks, with what the others say given beforehand."""

    def __init__(self, rank: int, size: int, said: list[Any] | None = None) -> None:
        self.rank, self.size, self.said = rank, size, said

    def allgather(self, item: Any) -> list[Any]:
        return self.said if self.said is not None else [item] * self.size


@pytest.mark.parametrize("ranks", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("blocks", [7, 8, 24])
def test_every_block_has_one_owner_and_ranks_are_contiguous(blocks: int, ranks: int) -> None:
    dealt = [my_blocks(blocks, Rank(rank, ranks)) for rank in range(ranks)]
    assert [block for mine in dealt for block in mine] == list(range(blocks))
    assert max(map(len, dealt)) - min(map(len, dealt)) <= 1
    assert all(owner_of_block(b, blocks, ranks) == rank for rank, mine in enumerate(dealt) for b in mine)


def test_more_ranks_than_blocks_are_refused() -> None:
    with pytest.raises(WorldError, match="5 ranks for 4 blocks of walkers: start at most 4 ranks"):
        my_blocks(4, Rank(0, 5))


@pytest.mark.parametrize(
    ("environment", "size"),
    [
        ({}, None),
        ({"OMPI_COMM_WORLD_SIZE": "4"}, 4),
        ({"PMI_SIZE": "2"}, 2),
        ({"SLURM_NTASKS": "8"}, None),  # the batch script itself
        ({"SLURM_STEP_NUM_TASKS": "8", "SLURM_PROCID": "3"}, 8),
        ({"OMPI_COMM_WORLD_SIZE": "²", "PMI_SIZE": "two", "MV2_COMM_WORLD_SIZE": "9" * 5000}, None),
        ({"PMIX_RANK": "1"}, None),  # of prterun, which does not say it
    ],
)
def test_the_launcher_says_how_many_ranks_it_started(environment: dict[str, str], size: int | None) -> None:
    told = launched_size(environment)
    assert (told[1] if told else None) == size


@pytest.mark.parametrize(
    ("environment", "rank"),
    [
        ({}, 0),
        ({"SLURM_PROCID": "3"}, 0),  # of a shell that a job step has left behind: no rank of this process
        ({"PMI_RANK": "2", "OMPI_COMM_WORLD_RANK": "1"}, 0),
        ({"SLURM_STEP_NUM_TASKS": "8", "SLURM_PROCID": "3"}, 3),
        ({"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1", "SLURM_PROCID": "5"}, 1),
        ({"MV2_COMM_WORLD_SIZE": "4", "MV2_COMM_WORLD_RANK": "2"}, 2),
        ({"PMIX_RANK": "1"}, 1),
        ({"PMI_SIZE": "2", "PMI_RANK": "one"}, 0),
    ],
)
def test_a_rank_is_one_of_a_world_that_was_launched(environment: dict[str, str], rank: int) -> None:
    assert launched_rank(environment) == rank


def test_a_launcher_that_does_not_say_how_many_it_started_is_believed_where_there_are_several() -> None:
    with pytest.raises(WorldError, match=r"prterun .* MPI \(.*\) sees a world of 1"):
        connect({"PMIX_RANK": "0"})


def test_a_launcher_of_another_mpi_is_found_out() -> None:
    """Each process believes it is rank 0 of 1: all would write the same store."""
    with pytest.raises(WorldError, match=r"started 3 processes but MPI .* sees a world of 1"):
        connect({"OMPI_COMM_WORLD_SIZE": "3"})


def test_an_error_of_one_rank_is_raised_on_all() -> None:
    error = ConfigError("rank 1 has no such file")
    with pytest.raises(ConfigError, match="rank 1 has no such file"):
        together(Rank(0, 2, [None, error]), lambda: 1)
    assert together(Rank(0, 2), lambda: 1) == 1


def test_local_ranks_count_within_a_machine() -> None:
    assert local_position(Rank(2, 4, ["a", "b", "a", "a"])) == (1, 3)


def test_each_local_rank_takes_its_own_gpu() -> None:
    assert [gpu_index(local, 4, 4) for local in range(4)] == [0, 1, 2, 3]
    assert gpu_index(3, 4, 1) == 0  # the launcher has bound one already
    with pytest.raises(WorldError, match=r"4 ranks on .* for 2 GPUs"):
        gpu_index(1, 4, 2)


def test_cores_are_divided_among_local_ranks() -> None:
    assert [cpu_threads("divide", ranks, 8) for ranks in (1, 2, 3, 16)] == [8, 4, 2, 1]
    assert cpu_threads(1, 2, 8) == 1


@pytest.mark.parametrize("asked", [False, True])
def test_tf32_is_what_was_asked_for(asked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    card = SimpleNamespace(name="pretended", uuid="GPU-1")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "set_device", lambda index: None)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: card)
    monkeypatch.setattr(torch.backends.cuda, "matmul", SimpleNamespace(allow_tf32=not asked))
    assert bind(OneRank(), "cuda", 1, asked).device == "cuda:0"
    assert torch.backends.cuda.matmul.allow_tf32 is asked
