"""A walker's random numbers depend on seed, walker and purpose alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from protmpi.sampling.streams import PURPOSES, Streams, device_generator


def likes(walkers: int, size: int = 40) -> torch.Tensor:
    return torch.zeros(walkers, size)


def test_a_walker_draws_the_same_in_any_block() -> None:
    alone, among = Streams(3, [4]), Streams(3, [2, 3, 4])
    for _ in range(3):
        assert torch.equal(alone.step_normals(likes(1))[0], among.step_normals(likes(3))[2])
        assert torch.equal(alone.normals("reset", likes(1), [0])[0], among.normals("reset", likes(1), [2])[0])
        assert np.array_equal(alone.integers("minibatch", 9, 6)[0], among.integers("minibatch", 9, 6)[2])


def test_seeds_walkers_and_purposes_have_streams_of_their_own() -> None:
    first = {
        (seed, walker, purpose): tuple(Streams(seed, [walker]).integers(purpose, 2**62, 4)[0])
        for seed in (1, 2) for walker in (0, 1) for purpose in PURPOSES
    }  # fmt: skip
    assert len(set(first.values())) == len(first)


def test_normals_of_a_step_have_streams_of_their_own() -> None:
    first = {(seed, walker): float(Streams(seed, [walker]).step_normals(likes(1))[0, 0])
             for seed in (1, 2) for walker in range(20)}  # fmt: skip
    assert len(set(first.values())) == len(first)


def test_device_generator_is_the_twister_that_numpy_seeds() -> None:
    """Pins the layout of torch's state: torch.rand takes the low 24 bits of each word."""
    stream = device_generator("cpu", 7, 3, 1)
    twister = np.random.MT19937(np.random.SeedSequence(7, spawn_key=(3, 1)))
    twister.random_raw(1)  # numpy takes one word more of the seed block before the first turn
    expected = (twister.random_raw(2_000) & (2**24 - 1)) / 2.0**24
    assert np.array_equal(torch.rand(2_000, generator=stream).double().numpy(), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_normals_of_a_step_are_normal(dtype: torch.dtype) -> None:
    """Kolmogorov-Smirnov on 100 draws of 2 walkers with 5 000 parameters, moments, and no correlation between draws."""
    streams, draws = Streams(11, [0, 1]), []
    for _ in range(100):
        draws.append(streams.step_normals(torch.zeros(2, 5_000, dtype=dtype)).double().numpy())
    x = np.stack(draws)
    assert kstest(x.ravel(), "norm").pvalue > 1e-3
    assert abs((x**4).mean() - 3.0) < 4.0 * np.sqrt(96.0 / x.size)
    for a, b in ((x[1:], x[:-1]), (x[:, :1], x[:, 1:]), (x[..., 1:], x[..., :-1])):
        assert abs((a * b).mean()) * np.sqrt(a.size) < 4.0


def test_rows_draw_without_touching_the_others() -> None:
    some, all_rows = Streams(3, [0, 1, 2]), Streams(3, [0, 1, 2])
    some.integers("variance", 9, 6, rows=[1])
    expected = all_rows.integers("variance", 9, 6)
    assert np.array_equal(some.integers("variance", 9, 6, rows=[0, 2]), expected[[0, 2]])


def test_state_restores_every_stream() -> None:
    streams = Streams(3, [0, 7])
    streams.step_normals(likes(2))
    streams.step_normals(likes(2, 3))  # too few for a vector: one of a pair is kept for later
    streams.integers("minibatch", 3, 1)  # leaves half of a 64-bit word unused
    state = streams.state()
    expected = [streams.step_normals(likes(2, 3)), streams.integers("minibatch", 1000, 9), streams.uniform("reset", 1)]
    again = Streams(99, [0, 7])
    again.restore(state)
    found = [again.step_normals(likes(2, 3)), again.integers("minibatch", 1000, 9), again.uniform("reset", 1)]
    assert torch.equal(found[0], expected[0])
    assert np.array_equal(found[1], expected[1])
    assert found[2] == expected[2]


def test_mini_batches_repeat_samples() -> None:
    """Drawn with replacement; an earlier code dropped the repeats through a boolean mask."""
    batch = Streams(1, [0]).integers("minibatch", 20, 64)[0]
    assert len(batch) == 64 > len(set(batch.tolist()))
