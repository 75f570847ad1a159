"""Attention heads that show contacts, learned from a few labelled proteins, and their scores of another protein.

Heads of all layers are joined: maps are (head, L, L). Each is symmetrised and corrected for average products;
heads are ranked by their precision on labelled proteins, or weighed by a logistic regression (Rao et al., "Transformer
protein language models are unsupervised structure learners", ICLR 2021).

Source: docs/method/contacts.md section 2.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from analysis.subjects.contacts.precision import candidates, scores
from analysis.subjects.contacts.proteins import CRITERIA, Protein
from protmpi.errors import DataError

ATTENTION = "mean attention"
"""The method without labels: the mean of all heads."""

RANKED_BY = "|i-j| >= 24"
LEAST = 6
"""Smallest |i-j| of the pairs that the regression learns from."""

PENALTY = 0.15
"""Inverse strength C of the L1 penalty, as Rao et al."""

OTHERS = 20
"""Pairs without a contact per contact in the regression. All pairs would not fit the memory."""


@dataclass(frozen=True)
class Selection:
    """Ranks and weights of the heads of a network from labelled proteins."""

    precision: np.ndarray
    """Mean precision of each head on the labelled proteins (head,)."""
    order: np.ndarray
    """Heads, the best first (head,)."""
    weights: np.ndarray
    """Weight of each head in the logistic regression (head,); NaN if its penalty leaves none."""


def head_scores(attention: np.ndarray) -> np.ndarray:
    """Scores of pairs (head, L, L), float32, from attention maps."""
    return np.stack([scores(one, apc=True).astype(np.float32) for one in attention])


def select(labelled: Iterable[tuple[np.ndarray, Protein]], seed: int = 1) -> Selection:
    """Rank and weigh heads by the scores (head, L, L) of labelled proteins.

    Raises DataError if no labelled protein is long enough, or none has a contact to learn from.
    """
    random = np.random.default_rng(seed)
    precisions, features, labels = [], [], []
    for maps, protein in labelled:
        precisions.append(protein.precisions(maps)[:, list(CRITERIA).index(RANKED_BY)])
        chosen = _pairs(protein, random)
        features.append(maps[:, *chosen].T)
        labels.append(protein.contacts[chosen])
    found, contact = np.array(precisions), np.concatenate(labels)
    found = found[np.isfinite(found).all(1)]
    if not len(found) or contact.all() or not contact.any():
        raise DataError(f"labelled proteins: none has pairs of {RANKED_BY}, or none a contact of |i-j| >= {LEAST}; "
                        "heads cannot be ranked by them")  # fmt: skip
    precision = found.mean(0)
    order = np.argsort(-precision, kind="stable")
    return Selection(precision, order, _regression(np.concatenate(features), contact))


def predictions(maps: np.ndarray, selection: Selection, top: int) -> dict[str, np.ndarray]:
    """Scores (L, L) of each combination of heads, from the maps (head, L, L) of one protein.

    The `top` heads are omitted if there are no more heads than that. With a single head there is no choice.
    """
    if len(maps) == 1:
        return {ATTENTION: maps[0]}
    order = selection.order
    found = {"best head": maps[order[0]]}
    if 1 < top < len(maps):
        found[f"top {top} heads"] = maps[order[:top]].mean(0)
    found[ATTENTION] = maps.mean(0)
    found["regression"] = np.tensordot(selection.weights, maps, axes=1)
    return found


def _pairs(protein: Protein, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """All contacts of |i-j| >= LEAST, and pairs drawn from the others, of residues with coordinates."""
    i, j = candidates(len(protein.tokens), LEAST)
    known = protein.resolved[i] & protein.resolved[j]
    i, j = i[known], j[known]
    contact = protein.contacts[i, j]
    others = random.permutation(np.flatnonzero(~contact))[: OTHERS * max(1, int(contact.sum()))]
    chosen = np.concatenate([np.flatnonzero(contact), others])
    return i[chosen], j[chosen]


def _regression(features: np.ndarray, contact: np.ndarray) -> np.ndarray:
    """Weights of the heads in an L1 logistic regression on standardised scores (pair, head), for unscaled ones."""
    from sklearn.linear_model import LogisticRegression

    spread = features.std(0)
    scale = np.where(spread > 0, spread, 1.0)
    model = LogisticRegression(l1_ratio=1.0, C=PENALTY, solver="liblinear", random_state=0)
    model.fit((features - features.mean(0)) / scale, contact)
    weights = model.coef_[0]
    return np.asarray(weights / scale if weights.any() else np.full_like(weights, np.nan))
