"""A function head on frozen embeddings: one logistic regression per label on the mean embedding of a chain.

Labels are GO terms or any others, from a table with the columns `chain` and `term`, one row for each pair. Measured by
Fmax of CAFA (Radivojac et al., Nature Methods 10 (2013) 221) and the area under precision against recall.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from protmpi.data import table
from protmpi.errors import DataError
from protmpi.probes.embeddings import Embedded

LEAST = 5  # least training chains with, and least without, a term that is learned
THRESHOLDS = np.arange(1, 101) / 100.0  # thresholds of CAFA


@dataclass(frozen=True)
class Labels:
    """Terms of each chain: truth (chains, terms), bool. `source` is the file, for errors."""

    source: str
    names: tuple[str, ...]
    terms: tuple[str, ...]
    truth: np.ndarray

    def of(self, chains: Iterable[Embedded]) -> tuple[np.ndarray, np.ndarray]:
        """Mean embeddings (n, d) and truth (n, terms) of the chains that the table names."""
        row = {name: n for n, name in enumerate(self.names)}
        means, rows, name = [], [], ""
        for chain in chains:
            name = chain.name
            if name in row:
                means.append(chain.h.mean(0))
                rows.append(row[name])
        if not rows:
            raise DataError(f"{self.source}: no label for any chain of a split, for example {name}")
        return np.stack(means), self.truth[rows]


@dataclass(frozen=True)
class Quality:
    """Results on chains that the head has not seen."""

    f_max: float
    threshold: float
    aupr_micro: float
    """AUPR over all pairs of chain and term together."""

    aupr_macro: float
    """Mean AUPR over the terms that some chains have."""

    chance: float
    """Micro-averaged AUPR of random scores: the fraction of pairs that are true."""

    chains: int
    terms: int


def read_labels(path: Path) -> Labels:
    """Read the table. Raises DataError: one line naming the file and what is wrong."""
    rows = [(row["chain"], row["term"]) for row in table.read(path, ("chain", "term"))]
    if not rows:
        raise DataError(f"{path}: has no label")
    names, chain = np.unique([name for name, _ in rows], return_inverse=True)
    terms, term = np.unique([term for _, term in rows], return_inverse=True)
    truth = np.zeros((len(names), len(terms)), dtype=bool)
    truth[chain, term] = True
    return Labels(str(path), tuple(names.tolist()), tuple(terms.tolist()), truth)


def probe(labels: Labels, train: Iterable[Embedded], test: Iterable[Embedded]) -> Quality:
    """Train the head on some chains and measure it on others, for the terms that can be learned.

    Raises DataError if no term can be learned, or no chain to measure has such a term.
    """
    (x, y), (x_test, y_test) = labels.of(train), labels.of(test)
    learnable = np.minimum(y.sum(0), (~y).sum(0)) >= LEAST
    if not learnable.any():
        raise DataError(f"{labels.source}: no term that at least {LEAST} of {len(y)} training chains have and lack")
    truth = y_test[:, learnable]
    if not truth.any():
        raise DataError(f"{labels.source}: none of {len(truth)} test chains has a term that can be learned")
    heads = [make_pipeline(StandardScaler(), LogisticRegression(max_iter=1_000)).fit(x, y[:, term])
             for term in np.nonzero(learnable)[0]]  # fmt: skip
    probability = np.stack([head.predict_proba(x_test)[:, 1] for head in heads], axis=1)
    best, threshold = f_max(truth, probability)
    had = truth.any(0)
    return Quality(
        best,
        threshold,
        float(average_precision_score(truth, probability, average="micro")),
        float(average_precision_score(truth[:, had], probability[:, had], average="macro")),
        float(truth.mean()),
        *truth.shape,
    )


def f_max(truth: np.ndarray, probability: np.ndarray) -> tuple[float, float]:
    """Largest F(t) = 2 pr rc / (pr + rc) over thresholds t, and its t. truth and probability are (chains, terms).

    At t a chain gets the terms of probability >= t. Precision pr is a mean over the chains that get a term,
    recall rc over all chains that have one (protein-centric, CAFA).
    """
    kept = truth.any(1)
    truth, probability = truth[kept], probability[kept]
    best, where = 0.0, float(THRESHOLDS[0])
    for threshold in THRESHOLDS:
        given = probability >= threshold
        hits, said = (given & truth).sum(1), given.sum(1)
        if not hits.any():
            continue
        precision, recall = (hits[said > 0] / said[said > 0]).mean(), (hits / truth.sum(1)).mean()
        f = 2.0 * precision * recall / (precision + recall)
        if f > best:
            best, where = float(f), float(threshold)
    return best, where
