"""Ranks that share mini-batches: the weights of one rank, bit for bit, also when stopped and started again."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import Command
from problems import FOLDING

from hpc.stop import Interrupted, Stop
from hpc.world import OneRank
from protmpi import config as configuration
from protmpi import references, tasks, weights
from protmpi.errors import WorldError
from protmpi.models.layers import Dropout
from protmpi.shards import Shards

CONFIG = (
    FOLDING
    + """d = 6
[train]
file = "{file}"
warmup = 20
inits = 1
references = 1
batch = 10
max_epochs = 6
over_epochs = 8
patience = 4
eval_every = 2
shards = 4
"""
)


class Rank(OneRank):
    """One of `size` ranks that are threads."""

    def __init__(self, rank: int, size: int, table: list[object], meeting: threading.Barrier) -> None:
        self.rank, self.size, self._table, self._meeting = rank, size, table, meeting

    def allgather(self, item):
        self._table[self.rank] = item
        self._meeting.wait(20)
        gathered = list(self._table)
        self._meeting.wait(20)
        return gathered


def on_ranks(size: int, act) -> list:
    """What act(world) returns on each rank."""
    table, meeting, results = [None] * size, threading.Barrier(size), [None] * size

    def work(rank: int) -> None:
        results[rank] = act(Rank(rank, size, table, meeting))

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return results


def write(folder: Path, data: Path, name: str = "weights.h5") -> Path:
    path = folder / f"{name}.toml"
    path.write_text(CONFIG.format(data=data, file=folder / name))
    return path


@pytest.fixture
def problem(tmp_path: Path, small_data_file: Path):
    task = tasks.build(configuration.load(write(tmp_path, small_data_file)))
    w = torch.tensor(task.initial(np.random.default_rng(1)), dtype=torch.float32).unsqueeze(0)
    return task, w, np.arange(11)[None]


def drop(shard: int) -> Dropout:
    return Dropout(0.1, torch.Generator().manual_seed(shard))


@pytest.mark.parametrize("size", [2, 3, 4])
def test_the_gradient_has_the_bits_of_one_rank(problem, size: int) -> None:
    task, w, indices = problem
    alone = Shards(OneRank(), 4, lambda: False).gradient(task, w, indices, drop)
    for found in on_ranks(size, lambda world: Shards(world, 4, lambda: False).gradient(task, w, indices, drop)):
        assert torch.equal(found, alone)


def test_without_dropout_it_is_the_gradient_of_the_mini_batch(problem) -> None:
    task, w, indices = problem
    found = Shards(OneRank(), 4, lambda: False).gradient(task, w, indices, lambda shard: None)
    whole = task.gradient(w, indices)[1]
    assert torch.allclose(found, whole, atol=1e-6)
    # broken twin: shards of 3, 3, 3 and 2 samples are not alike, their plain mean is another gradient
    parts = [task.gradient(w, part)[1] for part in np.array_split(indices, 4, axis=1)]
    assert not torch.allclose(sum(parts) / 4, whole, atol=1e-6)


def test_a_stream_of_each_rank_would_not_do(problem) -> None:
    """The broken twin: dropout drawn by rank instead of by shard."""
    task, w, indices = problem

    def by_rank(world):
        mine = drop(world.rank)
        return Shards(world, 4, lambda: False).gradient(task, w, indices, lambda shard: mine)

    assert not torch.equal(on_ranks(2, by_rank)[0], on_ranks(4, by_rank)[0])


def test_all_ranks_stop_at_the_gradient_at_which_one_is_told(problem) -> None:
    task, w, indices = problem

    def steps(world) -> int:
        asked = itertools.count()
        shards = Shards(world, 4, lambda: world.rank == 1 and next(asked) == 3)
        for step in itertools.count():
            try:
                shards.gradient(task, w, indices, drop)
            except Interrupted:
                return step
        raise AssertionError

    assert on_ranks(3, steps) == [3, 3, 3]


def test_evaluation_is_dealt_out_and_told_to_all(problem) -> None:
    task, w, _ = problem
    alone = [task.evaluate(w, split) for split in ("train", "val", "test")]
    for size in (1, 2, 4):
        act = lambda world: Shards(world, 4, lambda: False).evaluate(task, w, ("train", "val", "test"))  # noqa: E731
        for found in on_ranks(size, act):
            assert np.array_equal(found, alone)


def test_more_ranks_than_shards_are_refused() -> None:
    one_of_five = Rank(0, 5, [], threading.Barrier(5))
    with pytest.raises(WorldError, match=r"5 ranks for train\.shards = 4: start at most 4"):
        Shards.of(one_of_five, 4, lambda: False)


class ToldAfter(Stop):
    """Told to stop when it has been asked `questions` times."""

    def __init__(self, questions: int) -> None:
        super().__init__(OneRank())
        self.left = questions

    def listen(self) -> bool:
        self.left -= 1
        if self.left < 0:
            self.received = "SIGTERM"
        return super().listen()


def test_stopped_training_goes_on_bit_for_bit(tmp_path: Path, small_data_file: Path) -> None:
    found = []
    for name, questions in (("whole.h5", 10_000), ("pieces.h5", 12)):
        config = configuration.load(write(tmp_path, small_data_file, name))
        stops = 0
        while not references.train(config, tasks.build(config), OneRank(), ToldAfter(questions), "cpu", str):
            stops += 1
            assert stops < 20
        found.append(weights.load(config.train.file, config, tasks.build(config)).content_hash())
    assert stops > 1
    assert found[0] == found[1]


def test_weights_are_the_same_on_1_2_and_4_ranks(tmp_path: Path, small_data_file: Path, protmpi: Command) -> None:
    hashes = {}
    for ranks in (0, 2, 4):
        config = write(tmp_path, small_data_file, f"ranks{ranks}.h5")
        done = protmpi("train", config, ranks=ranks)
        assert done.returncode == 0, done.stderr
        loaded = configuration.load(config)
        hashes[ranks] = weights.load(loaded.train.file, loaded, tasks.build(loaded)).content_hash()
    assert len(set(hashes.values())) == 1, hashes
