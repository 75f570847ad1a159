"""The energy of a sequence on a structure, E(s) = sum over i < j of J[s_i, s_j] C_ij.

Source: docs/method/data.md section 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

LETTERS = 20


def draw_couplings(law: str, random: np.random.Generator) -> np.ndarray:
    """Symmetric couplings J (20, 20) of mean 0 and variance 1: `gaussian`, or `uniform` on ±sqrt(3)."""
    shape = (LETTERS, LETTERS)
    raw = random.standard_normal(shape) if law == "gaussian" else random.uniform(-math.sqrt(3), math.sqrt(3), shape)
    upper = np.triu(raw)
    return upper + np.triu(raw, 1).T


def energies(sequences: np.ndarray, couplings: np.ndarray, contact_map: np.ndarray) -> np.ndarray:
    """E (N,) of sequences (N, L) with couplings J (20, 20) and contact map C (L, L), in units of the std of J."""
    total = np.zeros(len(sequences))
    for i, j in zip(*np.nonzero(np.triu(contact_map, 1)), strict=True):
        total += couplings[sequences[:, i], sequences[:, j]]
    return total


@dataclass(frozen=True)
class FoldingEnergy:
    """A folding problem: couplings J (A, A), contact map C (L, L), the native sequence (L,) and the kind of moves.

    With moves = "swap" every sequence keeps the native composition. With "mutate" any of the A letters may be at any
    site.
    """

    couplings: np.ndarray
    contact_map: np.ndarray
    native: np.ndarray
    moves: str

    @property
    def length(self) -> int:
        return len(self.native)

    @cached_property
    def degrees(self) -> np.ndarray:
        """Contacts of each site (L,)."""
        return self.contact_map.sum(axis=1)

    @cached_property
    def neighbours(self) -> np.ndarray:
        """Contacts of each site (L, max degree) uint32, the first `degrees` of a row."""
        neighbours = np.zeros((self.length, max(1, self.degrees.max())), dtype=np.uint32)
        for site, row in enumerate(self.contact_map):
            neighbours[site, : self.degrees[site]] = np.nonzero(row)[0]
        return neighbours

    @property
    def entropy(self) -> float:
        """Logarithm of the number of sequences."""
        if self.moves == "mutate":
            return self.length * math.log(len(self.couplings))
        composition = np.bincount(self.native)
        return math.lgamma(self.length + 1) - sum(math.lgamma(count + 1) for count in composition)

    @property
    def freezing_temperature(self) -> float:
        """Freezing temperature sqrt(variance / (2 entropy)) of a random-energy model of this variance and entropy."""
        variance = self.contact_map.sum() / 2 * self.couplings.var()
        return math.sqrt(variance / (2 * self.entropy))

    def random_sequences(self, count: int, random: np.random.Generator) -> np.ndarray:
        """Sequences (count, L) uint8 at infinite temperature."""
        if self.moves == "mutate":
            return random.integers(len(self.couplings), size=(count, self.length), dtype=np.uint8)
        return random.permuted(np.tile(self.native.astype(np.uint8), (count, 1)), axis=1)
