"""A walker's random numbers depend on seed, walker and purpose alone."""

from __future__ import annotations

import numpy as np
import torch

from protmpi.sampling.streams import PURPOSES, Streams

LIKE = torch.zeros(1, 5)


def test_a_walker_draws_the_same_in_any_block() -> None:
    alone, among = Streams(3, [4]), Streams(3, [2, 3, 4])
    for _ in range(3):
        assert torch.equal(alone.normals("momentum", LIKE)[0], among.normals("momentum", LIKE)[2])
        assert np.array_equal(alone.integers("minibatch", 9, 6)[0], among.integers("minibatch", 9, 6)[2])


def test_seeds_walkers_and_purposes_have_streams_of_their_own() -> None:
    first = {
        (seed, walker, purpose): tuple(Streams(seed, [walker]).integers(purpose, 2**62, 4)[0])
        for seed in (1, 2) for walker in (0, 1) for purpose in PURPOSES
    }  # fmt: skip
    assert len(set(first.values())) == len(first)


def test_rows_draw_without_touching_the_others() -> None:
    some, all_rows = Streams(3, [0, 1, 2]), Streams(3, [0, 1, 2])
    some.integers("variance", 9, 6, rows=[1])
    expected = all_rows.integers("variance", 9, 6)
    assert np.array_equal(some.integers("variance", 9, 6, rows=[0, 2]), expected[[0, 2]])


def test_state_restores_every_stream() -> None:
    streams = Streams(3, [0, 7])
    streams.normals("momentum", LIKE)
    streams.integers("minibatch", 3, 1)  # leaves half of a 64-bit word unused
    state = streams.state()
    expected = [streams.normals("momentum", LIKE), streams.integers("minibatch", 1000, 9), streams.uniform("reset", 1)]
    again = Streams(99, [0, 7])
    again.restore(state)
    found = [again.normals("momentum", LIKE), again.integers("minibatch", 1000, 9), again.uniform("reset", 1)]
    assert torch.equal(found[0], expected[0])
    assert np.array_equal(found[1], expected[1])
    assert found[2] == expected[2]


def test_mini_batches_repeat_samples() -> None:
    """Drawn with replacement; an earlier code dropped the repeats through a boolean mask."""
    batch = Streams(1, [0]).integers("minibatch", 20, 64)[0]
    assert len(batch) == 64 > len(set(batch.tolist()))
