"""The contact head on embeddings from which contacts can, and cannot, be told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from folds import walk

from protmpi.errors import DataError
from protmpi.probes import contacts
from protmpi.probes.embeddings import Embedded


def planted(count: int, seed: int) -> list[Embedded]:
    """Folds whose embeddings are turned coordinates beside noise: |h_i - h_j|² knows the distance, no site does."""
    random = np.random.default_rng(seed)
    chains = []
    for n in range(count):
        x = walk(30, random)
        known = random.random(30) > 0.1
        h = np.concatenate([x / 8.0, random.normal(size=(30, 3))], axis=1)
        chains.append(Embedded(f"c{n}", h.astype(np.float32), x, known))
    return chains


def measured(train: list[Embedded], test: list[Embedded]) -> contacts.Precision:
    return contacts.measure(contacts.fit(train, len(train), np.random.default_rng(1)), test, np.random.default_rng(2))


def test_planted_contacts_are_found() -> None:
    found = measured(planted(30, 3), planted(10, 4))
    assert found.features == 12
    assert found.average[0] > 0.98
    assert found.at_fifth[0] == 1.0
    assert found.average[1] < 0.02


def test_embeddings_of_other_sites_tell_nothing() -> None:
    """The broken twin: the same embeddings, one site off in a circle of chains."""
    random = np.random.default_rng(5)
    train, test = ([replace(c, h=random.permutation(c.h)) for c in planted(n, s)] for n, s in ((30, 3), (10, 4)))
    found = measured(train, test)
    assert found.average[0] < found.chance + 0.1
    assert found.chance < 0.5


def test_pairs_are_apart_known_and_closer_than_the_cutoff() -> None:
    x = np.zeros((8, 3))
    x[6:, 0] = 7.9, 8.1
    known = np.arange(8) != 1
    i, j, touching = contacts.pairs(Embedded("c", np.zeros((8, 1)), x, known))
    assert list(zip(i, j, touching, strict=True)) == [(0, 6, True), (0, 7, False)]


def test_features_do_not_know_which_site_comes_first() -> None:
    h = np.random.default_rng(6).normal(size=(5, 3))
    i, j = np.array([0, 2]), np.array([4, 3])
    assert np.array_equal(contacts.features(h, i, j), contacts.features(h, j, i))


def test_nothing_to_learn_is_one_line() -> None:
    far = [replace(chain, x=100.0 * chain.x) for chain in planted(2, 7)]
    with pytest.raises(DataError, match="0 contacts"):
        contacts.fit(far, 2, np.random.default_rng(1))
    head = contacts.fit(planted(3, 7), 3, np.random.default_rng(1))
    with pytest.raises(DataError, match="no test chain has a contact"):
        contacts.measure(head, far, np.random.default_rng(1))
