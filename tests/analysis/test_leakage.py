"""Sequence identity known by hand, and which proteins count as held out."""

from __future__ import annotations

from dataclasses import replace

import pytest
from planted import random_protein

from analysis.subjects.contacts.leakage import grouped, highest_identity, identity
from analysis.subjects.contacts.proteins import Protein
from protmpi.errors import ProtmpiError

NATIVE = "SQAEFDKAAEEVKHLKTKPADEEMLFIYSHYKQATVGDINTERPGMLDFKGKAKWDAWNELKGTSKEDAMKAYIDKVEELKKKYGI"


def test_identities_known_by_hand() -> None:
    assert identity(NATIVE, NATIVE) == 1.0
    assert identity(NATIVE, NATIVE[10:60]) == 1.0, "a fragment, over its own length"
    assert identity(NATIVE[:40] + NATIVE[43:], NATIVE) == 1.0, "a deletion"
    changed = NATIVE.replace("E", "D")  # eleven of them
    assert identity(changed, NATIVE) == pytest.approx(1 - NATIVE.count("E") / len(NATIVE))
    assert identity(NATIVE[::-1], NATIVE) < 0.3
    assert highest_identity([NATIVE, NATIVE[:20]], [NATIVE[::-1], NATIVE]).tolist() == [1.0, 1.0]
    assert highest_identity([NATIVE], []).tolist() == [0.0]


def relative(protein: Protein, name: str) -> Protein:
    """The same protein with every fifth residue changed."""
    tokens = protein.tokens.copy()
    tokens[::5] = (tokens[::5] + 1) % 20
    return replace(protein, name=name, tokens=tokens)


def test_relatives_of_labelled_proteins_are_train_like() -> None:
    strangers = [random_protein(80, seed) for seed in range(6)]
    families = [*strangers, *(relative(p, f"relative {k}") for k, p in enumerate(strangers))]
    groups = grouped(families, [], 3, 0.5, seed=2)
    labelled = {p.name for p in groups.labelled}
    kin = {p.name: q.name for p, q in zip(families, families[6:] + families[:6], strict=True)}
    assert len(labelled) == 3
    assert {p.name for p in groups.train_like} == {kin[name] for name in labelled} - labelled
    names = [p.name for p in (*groups.labelled, *groups.train_like, *groups.held_out)]
    assert sorted(names) == sorted(p.name for p in families), "each protein is in one group"
    assert not groups.leaks
    assert max(groups.identity[p.name] for p in groups.held_out) < 0.5


def test_leaks_are_told_and_do_not_count_as_held_out() -> None:
    seen = [random_protein(80, seed) for seed in range(5)]
    given = [relative(seen[3], "leak"), random_protein(80, 11), random_protein(80, 12)]
    groups = grouped(seen, given, 2, 0.5, seed=1)
    assert groups.leaks == ["leak"]
    assert [p.name for p in groups.held_out] == ["protein 11", "protein 12"]
    assert len(groups.train_like) == 3 + 1
    assert groups.identity["leak"] == pytest.approx(0.8)
    # without the check the leak would be among them
    assert len(grouped(seen, given, 2, 1.0, seed=1).held_out) == 3


def test_the_drawn_proteins_follow_the_seed() -> None:
    proteins = [random_protein(30, seed) for seed in range(12)]
    drawn = [[p.name for p in grouped(proteins, [], 4, 1.0, seed).labelled] for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize("labelled", [3, 4])
def test_nothing_left_to_test(labelled: int) -> None:
    proteins = [random_protein(30, seed) for seed in range(3)]
    with pytest.raises(ProtmpiError, match=f"--labelled: {labelled} of 3 structures leave none to test; at most 2"):
        grouped(proteins, [], labelled, 0.3, 1)
