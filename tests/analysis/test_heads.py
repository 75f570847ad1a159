"""Heads that show contacts are found by few labelled proteins; so are the right precision, passes and errors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from planted import PlantedHeads, Potts, random_protein

from analysis.subjects.contacts import heads
from analysis.subjects.contacts.precision import symmetrised
from analysis.subjects.contacts.proteins import CRITERIA, Protein
from analysis.subjects.contacts.single_pass import JACOBIAN, benchmark, bootstrapped, choose_heads
from protmpi.errors import DataError

PROTEINS = [random_protein(60, seed, 120) for seed in range(14)]
GOOD = [2, 7, 11]
HEADS = 16


def planted() -> PlantedHeads:
    return PlantedHeads(PROTEINS, HEADS, GOOD)


@pytest.mark.parametrize("labelled", [10, 3, 1])
def test_planted_heads_are_found_by_few_labels(labelled: int) -> None:
    selection = choose_heads(planted(), PROTEINS[:labelled])
    assert selection is not None
    assert sorted(selection.order[:3].tolist()) == GOOD
    others = np.setdiff1d(np.arange(HEADS), GOOD)
    assert selection.precision[GOOD].min() > 0.8 > 0.3 > selection.precision[others].max()
    weights = np.abs(selection.weights)
    assert weights[GOOD].min() > 20 * weights[others].max()


@pytest.mark.parametrize("broken", ["labels of another protein", "no APC"])
def test_they_are_not_where_a_step_is_left_out(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    labelled = PROTEINS[:3]
    network = planted()
    if broken == "no APC":
        monkeypatch.setattr(heads, "scores", lambda maps, apc: symmetrised(maps))
    else:
        labelled = [replace(p, contacts=o.contacts) for p, o in zip(labelled, PROTEINS[3:], strict=False)]
    selection = choose_heads(network, labelled)
    assert selection is not None
    assert selection.precision.max() < 0.4


def test_ways_to_join_heads() -> None:
    maps = np.random.default_rng(0).random((3, 8, 8))
    selection = heads.Selection(np.array([0.1, 0.9, 0.5]), np.array([1, 2, 0]), np.array([0.0, 2.0, -1.0]))
    found = heads.predictions(maps, selection, 2)
    np.testing.assert_array_equal(found["best head"], maps[1])
    np.testing.assert_allclose(found["top 2 heads"], (maps[1] + maps[2]) / 2)
    np.testing.assert_allclose(found[heads.ATTENTION], maps.mean(0))
    np.testing.assert_allclose(found["regression"], 2 * maps[1] - maps[2])
    assert "top 3 heads" not in heads.predictions(maps, selection, 3), "these are all heads"
    assert list(heads.predictions(maps[:1], selection, 2)) == [heads.ATTENTION], "there is nothing to choose"


def test_benchmark_of_planted_heads() -> None:
    network = planted()
    groups = {"train-like": PROTEINS[3:9], "held-out": PROTEINS[9:], "none": []}
    data = benchmark(network, PROTEINS[:3], groups, top=3)
    for group in ("train-like", "held-out"):
        mean = data["precision"].sel(statistic="mean", criterion="|i-j| >= 24", group=group)
        assert (mean.sel(predictor=["best head", "top 3 heads", "regression"]) > 0.9).all()
        assert (mean.sel(predictor=[heads.ATTENTION, JACOBIAN]) < 0.6).all(), "3 of 16 heads and no logits know"
    assert data["passes"].sel(predictor="best head", group="held-out") == 1
    assert data["passes"].sel(predictor=JACOBIAN, group="held-out") == 19 * 60 + 1
    assert network.asked.count("attention") == 3 + 11, "one pass of each protein"
    assert network.asked.count("logits") == 11 * (19 * 60 + 1)
    assert data["proteins"].sel(criterion="P@L").values.tolist() == [6, 5, 0]
    assert np.isnan(data["precision"].sel(group="none")).all()
    assert data["chance"].sel(group="held-out", criterion="|i-j| >= 6").item() == pytest.approx(120 / 1485)


def test_a_network_without_attention_has_its_jacobian() -> None:
    data = benchmark(Potts(PROTEINS[0], 1), [], {"train-like": PROTEINS[:1]}, top=3)
    assert data["predictor"].values.tolist() == [JACOBIAN]
    assert data["precision"].sel(criterion="P@L", statistic="mean").item() == 1.0
    assert np.isnan(data["precision"].sel(criterion="P@L", statistic="sem").item()), "one protein has no error"


def test_residues_without_coordinates_are_in_no_pair() -> None:
    """The best pair is of a residue that nobody has seen: it neither counts for nor against."""
    whole = random_protein(30, 5, 45)
    native = whole.contacts.astype(float)
    i = int(np.flatnonzero(whole.contacts.any(0))[0])
    resolved = np.arange(30) != i
    contacts = whole.contacts & resolved & resolved[:, np.newaxis]
    protein = replace(whole, contacts=contacts, resolved=resolved)
    native[i] = native[:, i] = 2.0
    assert protein.precisions(native)[0] == 1.0
    broken = Protein(protein.name, protein.tokens, contacts, np.ones(30, dtype=bool))
    assert broken.precisions(native)[0] < 0.1
    assert protein.chance()[0] == pytest.approx(np.triu(contacts).sum() / (29 * 28 // 2))


def test_bootstrap_error_is_that_of_a_mean() -> None:
    values = np.random.default_rng(3).normal(0.4, 0.1, 400)
    mean, sem = bootstrapped(np.append(values, np.nan))
    assert mean == pytest.approx(values.mean())
    assert sem == pytest.approx(0.1 / 20, rel=0.1)
    assert np.isnan(bootstrapped(np.array([np.nan]))).all()


def test_proteins_that_teach_nothing_are_refused() -> None:
    short = random_protein(20, 1, 20)  # has no pair of |i-j| >= 24
    bare = replace(PROTEINS[0], contacts=np.zeros((60, 60), dtype=bool))
    for protein in (short, bare):
        with pytest.raises(DataError, match="heads cannot be ranked by them"):
            choose_heads(PlantedHeads([protein], HEADS, GOOD), [protein])
    assert list(CRITERIA) == ["P@L", "|i-j| >= 6", "|i-j| >= 24"]
