"""Masked sites, and the split into training, validation and test set (docs/method/data.md section 3)."""

from __future__ import annotations

import numpy as np

from protmpi.errors import DataError

TRAIN, VAL, TEST = 0, 1, 2
FEWEST_MASKED = 0.01  # least expected number of masked sites of a sequence; with fewer, redrawing takes too long


def draw_masks(known: np.ndarray, probability: float, random: np.random.Generator) -> np.ndarray:
    """Masked sites (N, L) bool: every known site with `probability`. A sequence without a masked site is drawn again.

    known: (N, L) bool, sites whose amino acid is known; only these are masked. Raises DataError if a sequence has
    no known site.
    """
    empty = np.nonzero(~known.any(axis=1))[0]
    if len(empty):
        raise DataError(f"sequence {empty[0] + 1} has no known amino acid, so no site can be masked; remove it")
    fewest = int(known.sum(axis=1).min())
    if probability * fewest < FEWEST_MASKED:
        raise DataError(
            f"data.mask_probability: {probability:g} masks hardly any of {fewest} sites; "
            f"at least {FEWEST_MASKED / fewest:.2g} is needed"
        )
    masked = (random.random(known.shape) < probability) & known
    while len(again := np.nonzero(~masked.any(axis=1))[0]):
        masked[again] = (random.random((len(again), known.shape[1])) < probability) & known[again]
    return masked


def draw_split(sequences: int, train: int, val: int, random: np.random.Generator) -> np.ndarray:
    """Split (N,) uint8 at random: 0 train, 1 validation, 2 test.

    Raises DataError if the counts leave no test sequence.
    """
    if train + val >= sequences:
        raise DataError(
            f"data.train + data.val = {train + val} leaves no test set among {sequences} sequences; "
            f"set both so that their sum is at most {sequences - 1}"
        )
    split = np.full(sequences, TEST, dtype=np.uint8)
    order = random.permutation(sequences)
    split[order[:train]] = TRAIN
    split[order[train : train + val]] = VAL
    return split
