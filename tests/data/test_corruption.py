"""80 / 10 / 10: the shares, who may be chosen, and that every chain has something to guess."""

from __future__ import annotations

import numpy as np
import pytest

from protmpi.data.alphabet import MASK
from protmpi.data.corruption import corrupt


def test_the_shares_are_those_of_bert() -> None:
    random = np.random.default_rng(3)
    tokens = random.integers(20, size=200_000)
    chosen, shown = corrupt(tokens, np.repeat(np.arange(2_000), 100), 0.15, random)
    assert chosen.mean() == pytest.approx(0.15, abs=0.004)
    assert (shown[chosen] == MASK).mean() == pytest.approx(0.8, abs=0.01)
    # of the tenth that is drawn at random, one in twenty is right by chance
    assert (shown[chosen] == tokens[chosen]).mean() == pytest.approx(0.1 + 0.1 / 20, abs=0.01)
    assert np.array_equal(shown[~chosen], tokens[~chosen])


def test_unknown_residues_are_never_asked_for() -> None:
    random = np.random.default_rng(4)
    tokens = np.where(random.random(5_000) < 0.5, MASK, random.integers(20, size=5_000))
    chosen, shown = corrupt(tokens, np.repeat(np.arange(50), 100), 0.5, random)
    assert not chosen[tokens == MASK].any()
    assert (shown[tokens == MASK] == MASK).all()


def test_every_chain_has_one_site_at_least_and_any_of_its_known_sites() -> None:
    random = np.random.default_rng(5)
    chain = np.repeat(np.arange(3_000), 4)
    tokens = np.tile([MASK, 3, 5, 7], 3_000)
    chosen, _ = corrupt(tokens, chain, 1e-9, random)
    assert np.bincount(chain[chosen], minlength=3_000).tolist() == [1] * 3_000
    assert np.bincount(np.arange(12_000)[chosen] % 4, minlength=4) == pytest.approx([0, 1_000, 1_000, 1_000], abs=120)
