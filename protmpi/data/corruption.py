"""Sites of a chain that a network guesses, and the tokens that it sees there (Devlin et al. 2019: 80 / 10 / 10)."""

from __future__ import annotations

import numpy as np

from protmpi.data.alphabet import AMINO_ACIDS, MASK

MASKED, REPLACED = 0.8, 0.1
"""Fractions of chosen sites that show the mask and a random amino acid. The others show the true residue."""


def corrupt(tokens: np.ndarray, chain: np.ndarray, probability: float, random: np.random.Generator
            ) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Chosen sites (S,) bool of chains side by side, and the tokens (S,) that the network sees.

    tokens (S,): true residues, 20 if unknown (never chosen). chain (S,): the chain of each site, increasing. Every
    known site is chosen with `probability`. In a chain without a chosen site, one known site is chosen at random.
    """
    known = tokens < MASK
    chosen = (random.random(len(tokens)) < probability) & known
    draw = np.where(known, random.random(len(tokens)), 2.0)
    first = np.nonzero(np.diff(chain, prepend=-1))[0]
    lowest = np.lexsort((draw, chain))[first]  # for each chain the known site with the smallest draw
    without = ~np.logical_or.reduceat(chosen, first)
    chosen[lowest[without]] = True
    kind = random.random(len(tokens))
    random_residues = random.integers(len(AMINO_ACIDS), size=len(tokens))
    shown = np.where(kind < MASKED, MASK, np.where(kind < MASKED + REPLACED, random_residues, tokens))
    return chosen, np.where(chosen, shown, tokens).astype(tokens.dtype)
