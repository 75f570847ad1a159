"""The function head: Fmax of CAFA by hand, planted labels, and labels that nothing tells."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from protmpi.errors import DataError
from protmpi.probes.embeddings import Embedded
from protmpi.probes.functions import f_max, probe, read_labels


def test_f_max_of_two_chains_by_hand() -> None:
    """Chain 1 has terms a, b; chain 2 has c; a third has none and does not count.

    t <= 0.3: chain 1 is given a, b, c (pr 2/3, rc 1), chain 2 is given c, a (1/2, 1): F = 2 (7/12) / (19/12) = 14/19.
    0.3 < t <= 0.6: chain 1 a, b (1, 1), chain 2 a (0, 0): pr 1/2, rc 1/2.
    0.6 < t <= 0.9: chain 1 a (1, 1/2), chain 2 nothing: pr 1 over one chain, rc 1/4 over two: F = 2/5.
    """
    truth = np.array([[1, 1, 0], [0, 0, 1], [0, 0, 0]], dtype=bool)
    probability = np.array([[0.9, 0.6, 0.3], [0.6, 0.0, 0.3], [1.0, 1.0, 1.0]])
    best, threshold = f_max(truth, probability)
    assert best == pytest.approx(14 / 19)
    assert threshold == pytest.approx(0.01)
    # broken twins: chains without an annotation counted, and precision over chains that are given nothing
    assert f_max(truth[:2], probability[:2])[0] == best
    assert f_max(truth, np.where(probability == 0.3, 0.0, probability))[0] == pytest.approx(0.5)


def test_perfect_and_hopeless_scores() -> None:
    truth = np.random.default_rng(1).random((20, 6)) < 0.3
    truth[:, 0] = True
    assert f_max(truth, truth.astype(float))[0] == 1.0
    assert f_max(truth, np.zeros(truth.shape))[0] == 0.0


def chains(count: int, prefix: str, seed: int) -> list[Embedded]:
    random = np.random.default_rng(seed)
    bias = random.normal(size=(count, 1, 5))
    return [
        Embedded(
            f"{prefix}{n}", (b + random.normal(0, 0.3, (12, 5))).astype(np.float32), np.zeros((12, 3)), np.ones(12)
        )
        for n, b in enumerate(bias)
    ]


def write(path: Path, labelled: list[Embedded], truth: np.ndarray) -> Path:
    rows = [f"{c.name}\tGO:{t}" for c, has in zip(labelled, truth, strict=True) for t in np.nonzero(has)[0]]
    path.write_text("\n".join(["chain\tterm", *rows]) + "\n")
    return path


def test_planted_labels_are_found_and_shuffled_ones_are_not(tmp_path: Path) -> None:
    """A chain has term t where element t of its mean embedding is positive; the last term is too rare to learn."""
    train, test = chains(200, "train", 2), chains(60, "test", 3)
    everyone = [*train, *test]
    truth = np.stack([c.h.mean(0) > 0 for c in everyone])
    truth[:, 4] = np.arange(len(everyone)) < 3
    found = probe(read_labels(write(tmp_path / "go.tsv", everyone, truth)), train, test)
    assert found.terms == 4
    assert found.chains <= 60
    assert found.f_max > 0.95
    assert min(found.aupr_micro, found.aupr_macro) > 0.98
    shuffled = np.random.default_rng(4).permutation(truth[:, :4])
    lost = probe(read_labels(write(tmp_path / "no.tsv", everyone, shuffled)), train, test)
    assert lost.aupr_micro < lost.chance + 0.12


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("chain,term\n", "has no label"),
        ("chain,function\na,b\n", "must have one column 'term'"),
        ("chain,term\nother,GO:1\n", "no label for any chain of a split, for example train29"),
        ("chain,term\ntrain0,GO:1\ntest0,GO:1\n", "no term that at least 5 of 1 training chains"),
    ],
)
def test_bad_tables_are_one_line(tmp_path: Path, table: str, said: str) -> None:
    path = tmp_path / "go.csv"
    path.write_text(table)
    with pytest.raises(DataError, match=r"go\.csv") as caught:
        probe(read_labels(path), chains(30, "train", 5), chains(5, "test", 6))
    assert said in str(caught.value)
