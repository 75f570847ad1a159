"""Categorical Jacobian: the response of the logits at one site to a substitution at another.

Source: docs/method/contacts.md section 3.

    J[i, a, j, b] = logits(x with i -> a)[j, b] - logits(x)[j, b]

Zhang et al., "Protein language models learn evolutionary statistics of interacting sequence motifs", PNAS 121 (2024)
e2406285121. For logits that are sums over pairs, J holds the couplings of the pairs (`pair_scores` finds where).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from analysis.subjects.contacts.precision import average_product_corrected, symmetrised
from protmpi.data.alphabet import AMINO_ACIDS

Logits = Callable[[np.ndarray], np.ndarray]
"""Logits (B, L, 20) of sequences (B, L), residues 0 to 19 in the order of `AMINO_ACIDS`, 20 where one is unknown."""

LETTERS = len(AMINO_ACIDS)


def sequences_needed(tokens: np.ndarray) -> int:
    """Sequences that `categorical_jacobian` passes to the network: 19 L + 1 where every residue is known."""
    return 1 + sum(LETTERS - (token < LETTERS) for token in tokens.tolist())


def categorical_jacobian(logits: Logits, tokens: np.ndarray) -> np.ndarray:
    """J (L, 20, L, 20) of a sequence (L,), float32; the native residue of a site has J = 0."""
    length = len(tokens)
    jacobian = np.zeros((length, LETTERS, length, LETTERS), dtype=np.float32)
    native = logits(tokens[np.newaxis])[0]
    for site in range(length):
        others = np.flatnonzero(np.arange(LETTERS) != tokens[site])
        mutants = np.tile(tokens, (others.size, 1))
        mutants[:, site] = others
        jacobian[site, others] = logits(mutants) - native
    return jacobian


def centred(jacobian: np.ndarray) -> np.ndarray:
    """J minus its mean along each of the four axes. This removes contributions of single sites and letters."""
    for axis in range(4):
        jacobian = jacobian - jacobian.mean(axis, keepdims=True)
    return jacobian


def pair_scores(jacobian: np.ndarray) -> np.ndarray:
    """Scores of pairs (L, L): centred, Frobenius norm over letters, zero diagonal, APC, symmetrised.

    APC comes before symmetrisation, because the effect of i on j differs from that of j on i. A site with a strong
    response raises its column but not its row, so rows and columns have different backgrounds.
    """
    strength = np.sqrt(np.square(centred(jacobian)).sum((1, 3), dtype=np.float64))
    np.fill_diagonal(strength, 0.0)
    return symmetrised(average_product_corrected(strength))
