"""The categorical Jacobian of pairwise models: their couplings come back, without its corrections they do not."""

from __future__ import annotations

import math

import numpy as np
import pytest
from planted import Potts, random_protein

from analysis.subjects.contacts import jacobian
from analysis.subjects.contacts.precision import precision, symmetrised
from protmpi.data.energy import draw_couplings, energies

L = 40
PROTEIN = random_protein(L, 3)


def at_l(scores: np.ndarray) -> float:
    """P@L."""
    return float(precision(scores, PROTEIN.contacts, L))


def test_it_is_the_couplings_less_those_of_the_native_residue() -> None:
    model = Potts(PROTEIN, 1)
    found = jacobian.categorical_jacobian(model.logits, PROTEIN.tokens)
    native = model.couplings[np.arange(L), PROTEIN.tokens]
    np.testing.assert_allclose(found, model.couplings - native[:, np.newaxis], atol=1e-5)
    centred = jacobian.centred(found)
    for axis in range(4):
        np.testing.assert_allclose(centred.mean(axis), 0.0, atol=1e-5)


def test_passes() -> None:
    model = Potts(PROTEIN, 1)
    jacobian.categorical_jacobian(model.logits, PROTEIN.tokens)
    assert model.sequences == 19 * L + 1 == jacobian.sequences_needed(PROTEIN.tokens)
    unknown = PROTEIN.tokens.copy()
    unknown[4] = 20  # all twenty are substitutions there
    assert jacobian.sequences_needed(unknown) == 19 * L + 2


def test_couplings_come_back_with_precision_one() -> None:
    model = Potts(PROTEIN, 2, background=0.16, single=3.0)
    scores = jacobian.pair_scores(jacobian.categorical_jacobian(model.logits, PROTEIN.tokens))
    np.testing.assert_array_equal(scores, scores.T)
    assert at_l(scores) == 1.0


def published(jacobian: np.ndarray) -> np.ndarray:
    """The definition of docs/method/contacts.md section 3 in float64, element by element."""
    length = len(jacobian)
    strength = [[0.0] * length for _ in range(length)]
    less = jacobian.astype(np.float64)
    for axis in range(4):
        less = less - np.expand_dims(np.sum(less, axis) / less.shape[axis], axis)
    for i in range(length):
        for j in range(length):
            if i != j:
                strength[i][j] = math.sqrt(sum(less[i, a, j, b] ** 2 for a in range(20) for b in range(20)))
    row = [sum(strength[i][j] for j in range(length)) for i in range(length)]
    column = [sum(strength[i][j] for i in range(length)) for j in range(length)]
    corrected = [[strength[i][j] - row[i] * column[j] / sum(row) for j in range(length)] for i in range(length)]
    return np.array([[(corrected[i][j] + corrected[j][i]) / 2 for j in range(length)] for i in range(length)])


def test_scores_are_those_of_the_published_definition() -> None:
    """A Jacobian of which nothing is symmetric; the broken twin takes the rows for the columns as well."""
    random = np.random.default_rng(5)
    site = np.exp(0.5 * random.standard_normal((2, 9)))
    found = site[0][:, None, None, None] * site[1][:, None] * random.standard_normal((9, 20, 9, 20))
    np.testing.assert_allclose(jacobian.pair_scores(found), published(found), rtol=0, atol=1e-12)
    np.testing.assert_allclose(jacobian.pair_scores(found.astype(np.float32)), published(found), rtol=0, atol=1e-4)
    strength = np.sqrt(np.square(jacobian.centred(found)).sum((1, 3))) * (1 - np.eye(9))
    row = strength.sum(1)
    broken = symmetrised(strength - np.multiply.outer(row, row) / row.sum())
    assert np.abs(broken - published(found)).max() > 0.1


@pytest.mark.parametrize("seed", range(5))
def test_gains_of_sites_do_not_hide_couplings(seed: int) -> None:
    """Site j answers g_j times as loudly: correction by row and column knows it, by the rows alone it does not."""
    model = Potts(PROTEIN, seed, background=0.3, single=3.0, gain=0.3)
    found = jacobian.categorical_jacobian(model.logits, PROTEIN.tokens)
    assert at_l(jacobian.pair_scores(found)) > 0.9
    strength = np.sqrt(np.square(jacobian.centred(found)).sum((1, 3))) * (1 - np.eye(L))
    row = strength.sum(1)
    assert at_l(symmetrised(strength - np.multiply.outer(row, row) / row.sum())) < 0.6


@pytest.mark.parametrize("broken", ["not centred", "no APC", "permuted"])
def test_without_a_step_they_do_not(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Potts(PROTEIN, 2, background=0.16, single=3.0)
    found = jacobian.categorical_jacobian(model.logits, PROTEIN.tokens)
    if broken == "not centred":
        monkeypatch.setattr(jacobian, "centred", lambda whole: whole)
    elif broken == "no APC":
        monkeypatch.setattr(jacobian, "average_product_corrected", lambda maps: maps)
    else:
        found = found[:, :, np.random.default_rng(0).permutation(L)]
    assert at_l(jacobian.pair_scores(found)) < 0.9


def test_the_energy_that_sequences_are_drawn_by() -> None:
    """Conditional law of a site under E(s) = Σ J[s_i, s_j] C_ij: logits -E/T of its twenty letters."""
    random = np.random.default_rng(4)
    couplings = draw_couplings("gaussian", random)

    def logits(tokens: np.ndarray) -> np.ndarray:
        return np.asarray(-np.einsum("ij,bja->bia", PROTEIN.contacts, couplings[tokens]) / 0.74)

    # the logits are those of the energy: differences of two letters at a site are differences of E
    mutants = np.tile(PROTEIN.tokens, (2, 1))
    mutants[1, 7] = (mutants[0, 7] + 3) % 20
    change = logits(mutants[:1])[0, 7] * 0.74
    energy = energies(mutants, couplings, PROTEIN.contacts)
    assert energy[1] - energy[0] == pytest.approx(change[mutants[0, 7]] - change[mutants[1, 7]])
    scores = jacobian.pair_scores(jacobian.categorical_jacobian(logits, PROTEIN.tokens))
    long_range = np.triu(PROTEIN.contacts, 24).sum() / (L // 2)  # fewer contacts than pairs that are asked for
    assert PROTEIN.precisions(scores).tolist() == [1.0, 1.0, long_range]
