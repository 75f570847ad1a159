"""Precision of contacts in a map of scores. Maps are (..., L, L), a contact map is boolean (L, L)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_dilation

RANGES = {"short": (6, 11), "medium": (12, 23), "long": (24, None)}
"""Separations |i-j| of the classes of contacts, both ends included, as in CASP."""


@dataclass(frozen=True)
class Options:
    """Settings of scores and precision."""

    separation: int = 6
    """P'@L: only pairs with |i-j| above this."""
    tolerance: int = 1
    """P'@L: largest distance of a pair from a contact, in residues along each axis."""
    apc: bool = False
    """Subtract the average product of rows and columns first."""


def symmetrised(maps: np.ndarray) -> np.ndarray:
    """(A + Aᵀ)/2."""
    return np.asarray((maps + np.swapaxes(maps, -1, -2)) / 2.0)


def average_product_corrected(maps: np.ndarray) -> np.ndarray:
    """A_ij - R_i C_j / S with the sums R over rows, C over columns and S over all elements; A need not be symmetric.

    Dunn, Wahl and Gloor, Bioinformatics 24 (2008) 333. A product of factors of sites, u_i v_j, vanishes.
    """
    row, column = maps.sum(-1, keepdims=True), maps.sum(-2, keepdims=True)
    total = row.sum(-2, keepdims=True)
    return np.asarray(maps - row * column / np.where(total == 0.0, 1.0, total))  # 0: an empty map


def scores(maps: np.ndarray, apc: bool = False) -> np.ndarray:
    """Symmetric scores of pairs: symmetrised maps, APC, zero diagonal (docs/method/contacts.md section 2)."""
    found = symmetrised(np.asarray(maps, dtype=np.float64))
    if apc:
        found = average_product_corrected(found)
    return np.where(np.eye(found.shape[-1], dtype=bool), 0.0, found)


def candidates(length: int, least: int = 1, most: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Pairs i < j with |i-j| from `least` to `most`, as two index arrays."""
    i, j = np.triu_indices(length, least)
    kept = j - i <= (length if most is None else most)
    return i[kept], j[kept]


def precision(
    scores: np.ndarray, contacts: np.ndarray, count: int, least: int = 1, most: int | None = None
) -> np.ndarray:
    """Fraction of contacts in the `count` pairs of highest score, |i-j| from `least` to `most`; (...,) of (..., L, L).

    P@L of the study has count = L and all pairs. NaN if a map is not finite, or too small to have such pairs.
    """
    i, j = candidates(scores.shape[-1], least, most)
    values = scores[..., i, j]
    if not i.size:
        return np.full(values.shape[:-1], np.nan)
    best = np.argsort(-values, axis=-1, kind="stable")[..., :count]
    hit = contacts.astype(bool)[i, j][best]
    return np.where(np.isfinite(values).all(-1), hit.mean(-1), np.nan)


def chance_precision(contacts: np.ndarray, least: int = 1, most: int | None = None) -> float:
    """Precision of random scores: the fraction of contacts among the candidates."""
    pairs = contacts.astype(bool)[candidates(len(contacts), least, most)]
    return float(pairs.mean()) if pairs.size else np.nan


def near_contacts(contacts: np.ndarray, tolerance: int) -> np.ndarray:
    """Pairs with a contact at most `tolerance` away along each axis (docs/method/contacts.md section 1)."""
    if not tolerance:
        return contacts.astype(bool)
    return np.asarray(binary_dilation(contacts.astype(bool), np.ones((2 * tolerance + 1, 2 * tolerance + 1))))


def tolerant_precision(scores: np.ndarray, contacts: np.ndarray, count: int, separation: int, tolerance: int
                       ) -> np.ndarray:  # fmt: skip
    """P'@L: `precision` over the pairs with |i-j| > separation. A near miss within `tolerance` counts as a hit."""
    return precision(scores, near_contacts(contacts, tolerance), count, separation + 1)
