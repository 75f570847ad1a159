"""Masks and split: their statistics, and that the seed decides them."""

import numpy as np
import pytest

from protmpi.data.masking import draw_masks, draw_split
from protmpi.errors import DataError


def test_masks_are_binomial_and_never_empty():
    masked = draw_masks(np.ones((4_000, 86), dtype=bool), 0.15, np.random.default_rng(1))
    count = masked.sum(axis=1)
    error = np.sqrt(86 * 0.15 * 0.85 / len(count))
    assert abs(count.mean() - 0.15 * 86) < 4 * error
    assert count.std() == pytest.approx(np.sqrt(86 * 0.15 * 0.85), rel=0.05)
    assert np.allclose(masked.mean(axis=0), 0.15, atol=0.03)


def test_empty_masks_are_drawn_again():
    masked = draw_masks(np.ones((2_000, 4), dtype=bool), 0.15, np.random.default_rng(1))
    assert masked.any(axis=1).all()
    # given that one site at least is masked
    assert masked.sum(axis=1).mean() == pytest.approx(4 * 0.15 / (1 - 0.85**4), rel=0.05)


def test_unknown_sites_are_never_masked():
    known = np.random.default_rng(2).random((500, 30)) < 0.3
    known[:, 7] = True
    masked = draw_masks(known, 0.5, np.random.default_rng(1))
    assert not (masked & ~known).any()
    assert masked.any(axis=1).all()


def test_nothing_to_mask():
    known = np.ones((3, 5), dtype=bool)
    known[1] = False
    with pytest.raises(DataError, match="sequence 2 has no known"):
        draw_masks(known, 0.15, np.random.default_rng(1))
    with pytest.raises(DataError, match="mask_probability"):
        draw_masks(np.ones((3, 5), dtype=bool), 1e-9, np.random.default_rng(1))


def test_split_counts_and_seed():
    split = draw_split(100, 30, 20, np.random.default_rng(1))
    assert np.bincount(split).tolist() == [30, 20, 50]
    assert np.array_equal(split, draw_split(100, 30, 20, np.random.default_rng(1)))
    assert not np.array_equal(split, draw_split(100, 30, 20, np.random.default_rng(2)))


def test_split_must_leave_a_test_set():
    with pytest.raises(DataError, match=r"data\.train \+ data\.val = 50 leaves no test set among 50 .* at most 49"):
        draw_split(50, 30, 20, np.random.default_rng(1))
