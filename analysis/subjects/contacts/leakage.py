"""Sequence identity: a protein is not a valid test if the network has seen a relative of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from analysis.subjects.contacts.proteins import Protein
from protmpi.errors import ProtmpiError

if TYPE_CHECKING:
    from Bio.Align import PairwiseAligner


@lru_cache(maxsize=1)
def _aligner() -> PairwiseAligner:
    """Global alignment with the scores of BLASTP, gaps at the ends for nothing."""
    from Bio.Align import PairwiseAligner

    aligner = PairwiseAligner(scoring="blastp")
    aligner.end_gap_score = 0.0
    return aligner


def identity(first: str, second: str) -> float:
    """Identical residues in the best alignment, over the length of the shorter sequence (as CD-HIT counts)."""
    alignment = _aligner().align(first, second)[0]
    return float(alignment.counts().identities / min(len(first), len(second)))


def highest_identity(sequences: Sequence[str], against: Sequence[str]) -> np.ndarray:
    """Highest identity of each sequence with any of `against` (sequence,); 0 if `against` is empty."""
    return np.array([max((identity(one, other) for other in against), default=0.0) for one in sequences])


@dataclass(frozen=True)
class Groups:
    """Groups of proteins: labelled (heads are chosen by them), train-like, and held out."""

    labelled: list[Protein]
    train_like: list[Protein]
    held_out: list[Protein]
    identity: dict[str, float]
    """Highest identity with a seen protein, for each candidate to be held out, by name."""
    leaks: list[str]
    """Names of proteins that were given as held out but count as train-like."""


def grouped(
    structures: Sequence[Protein], given: Sequence[Protein], labelled: int, limit: float, seed: int
) -> Groups:  # fmt: skip
    """Draw the labelled proteins from `structures`, and separate train-like from held-out proteins.

    If proteins to hold out are `given`, all `structures` count as seen; else the labelled ones do. A protein is held
    out if it was given (else: was not drawn) and has an identity below `limit` with every seen protein. Raises
    ProtmpiError, one line, if no protein is left to test.
    """
    left = len(structures) + len(given) - labelled
    if labelled > len(structures) or not left:
        raise ProtmpiError(f"--labelled: {labelled} of {len(structures)} structures leave none to test; "
                           f"at most {len(structures) - (not given)}")  # fmt: skip
    order = np.random.default_rng(seed).permutation(len(structures)).tolist()
    chosen, others = ([structures[i] for i in sorted(part)] for part in (order[:labelled], order[labelled:]))
    seen = [protein.sequence for protein in (structures if given else chosen)]
    candidates = given or others
    highest = highest_identity([protein.sequence for protein in candidates], seen)
    alike = [p for p, found in zip(candidates, highest, strict=True) if found >= limit]
    return Groups(
        chosen,
        [*(others if given else ()), *alike],
        [p for p, found in zip(candidates, highest, strict=True) if found < limit],
        {p.name: float(found) for p, found in zip(candidates, highest, strict=True)},
        [p.name for p in alike] if given else [],
    )
