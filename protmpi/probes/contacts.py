"""A contact head on frozen embeddings: logistic regression on products and differences of two sites.

Two sites touch when their Cα are closer than 8 Å; pairs count from |i-j| = 6 on. Features of a pair are h_i h_j and
(h_i - h_j)², element by element, so the head does not know which site comes first. Precision P@L is the fraction of
contacts among the L pairs of a chain (L/5 for P@L/5) with the highest scores, averaged over chains.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from protmpi.errors import DataError
from protmpi.probes.embeddings import Embedded

CUTOFF, SEPARATION = 8.0, 6
NEGATIVES = 5  # pairs without contact drawn per contact of the training chains
MOST_PAIRS = 200_000  # most contacts of all training chains together
BOOTSTRAPS = 1_000


@dataclass(frozen=True)
class Precision:
    """Means over test chains with their bootstrap errors over chains."""

    at_length: tuple[float, float]
    at_fifth: tuple[float, float]
    average: tuple[float, float]
    """Average precision: area under the curve of precision against recall."""

    chance: float
    """The value for random scores."""

    chains: int
    features: int


def pairs(chain: Embedded) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sites i < j of the pairs that count, and whether they touch."""
    i, j = np.triu_indices(len(chain.h), SEPARATION)
    both = chain.known[i] & chain.known[j]
    i, j = i[both], j[both]
    return i, j, np.linalg.norm(chain.x[i] - chain.x[j], axis=1) < CUTOFF


def features(h: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """(pairs, 2 d) of embeddings h (L, d)."""
    return np.concatenate([h[i] * h[j], (h[i] - h[j]) ** 2], axis=1)


def fit(chains: Iterable[Embedded], count: int, random: np.random.Generator) -> Pipeline:
    """The head, from the contacts of `count` chains and NEGATIVES times as many other pairs, or some of them."""
    x, y = [], []
    for chain in chains:
        i, j, touching = pairs(chain)
        others = np.nonzero(~touching)[0]
        drawn = random.choice(others, min(len(others), NEGATIVES * int(touching.sum())), replace=False)
        kept = random.permutation(np.concatenate([np.nonzero(touching)[0], drawn]))[: max(1, MOST_PAIRS // count)]
        x.append(features(chain.h, i[kept], j[kept]))
        y.append(touching[kept])
    target = np.concatenate(y)
    if not 0 < target.sum() < len(target):
        raise DataError(f"the training chains have {target.sum()} contacts among {len(target)} pairs: nothing to learn")
    head = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1_000, class_weight="balanced"))
    return head.fit(np.concatenate(x), target)


def measure(head: Pipeline, chains: Iterable[Embedded], random: np.random.Generator) -> Precision:
    """Precision on chains that the head has not seen. Chains without a contact do not count."""
    rows, chance = [], []
    for chain in chains:
        i, j, touching = pairs(chain)
        if not touching.any():
            continue
        score = head.decision_function(features(chain.h, i, j))
        best = touching[np.argsort(-score, kind="stable")]
        length = len(chain.h)
        rows.append(
            (best[:length].mean(), best[: max(1, length // 5)].mean(), average_precision_score(touching, score))
        )
        chance.append(touching.mean())
    if not rows:
        raise DataError("no test chain has a contact")
    found = np.array(rows)
    means = found[random.integers(len(found), size=(BOOTSTRAPS, len(found)))].mean(1)
    both = [(float(mean), float(sem)) for mean, sem in zip(found.mean(0), means.std(0), strict=True)]
    return Precision(both[0], both[1], both[2], float(np.mean(chance)), len(found), head.n_features_in_)
