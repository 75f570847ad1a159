"""Proteins with known contacts: chains of structure files, and designed sequences of one structure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from analysis.subjects.contacts.precision import candidates, precision
from protmpi.data.alphabet import decode, encode
from protmpi.errors import DataError

if TYPE_CHECKING:
    from protmpi.data.dataset import FoldingData

CRITERIA = {"P@L": (1, 1), "|i-j| >= 6": (2, 6), "|i-j| >= 24": (2, 24)}
"""Name -> (n, s): fraction of contacts among the L/n best pairs of |i-j| >= s."""


@dataclass(frozen=True)
class Protein:
    """A sequence and its contacts."""

    name: str
    tokens: np.ndarray
    """Residues (L,) uint8 in the order of `AMINO_ACIDS`, 20 if unknown."""
    contacts: np.ndarray
    """Contact map (L, L), bool."""
    resolved: np.ndarray
    """Whether the structure has coordinates of a residue (L,). Pairs with other residues do not count."""

    @property
    def sequence(self) -> str:
        return decode(self.tokens)

    def precisions(self, scores: np.ndarray) -> np.ndarray:
        """Precision of maps of scores (..., L, L) by each of `CRITERIA` (..., criterion); NaN for a chain too short."""
        known = self.resolved[:, np.newaxis] & self.resolved
        last = scores.min(axis=(-1, -2), keepdims=True) - 1.0
        kept, count = np.where(known, scores, last), int(self.resolved.sum())
        found = [precision(kept, self.contacts, count // n, least) for n, least in CRITERIA.values()]
        return np.stack(found, axis=-1)

    def chance(self) -> np.ndarray:
        """Value of each of `CRITERIA` for random scores (criterion,)."""
        shares = []
        for _, least in CRITERIA.values():
            i, j = candidates(len(self.tokens), least)
            pairs = self.contacts[i, j][self.resolved[i] & self.resolved[j]]
            shares.append(pairs.mean() if pairs.size else np.nan)
        return np.array(shares)


@contextmanager
def needs_gemmi(source: Path) -> Iterator[None]:
    """Context for imports that read structures. Raises DataError, one line, if a package is not installed."""
    try:
        yield
    except ImportError as error:
        raise DataError(f"{source}: structures are read by {error.name}, which is missing; "
                        "pip install 'protmpi[plm]'") from None  # fmt: skip


def read_structures(folder: Path, cutoff: float) -> list[Protein]:
    """The first protein chain of every PDB or mmCIF file of a folder, by name; contacts closer than `cutoff` (Å).

    Raises DataError, one line, if there is no such file or one cannot be read.
    """
    with needs_gemmi(folder):
        from protmpi.data.collect import files
        from protmpi.data.contacts import contact_map
    found = []
    for path in files(folder):
        structure = contact_map(path, cutoff=cutoff)
        resolved = np.array([label != "" for label in structure.residues])
        name = str(path.relative_to(folder))
        found.append(Protein(name, encode(structure.sequence), structure.contact_map(), resolved))
    return found


def designed(data: FoldingData, split: int, count: int) -> list[Protein]:
    """The first `count` sequences of a split (0 train, 1 validation, 2 test), all of one structure."""
    chosen = np.flatnonzero(data.split == split)[:count]
    return [_folding(data, f"sequence {index}", data.sequences[index]) for index in chosen.tolist()]


def native(data: FoldingData) -> list[Protein]:
    """The native protein, if the data set has it."""
    return [_folding(data, "native", encode(data.native))] if data.native else []


def _folding(data: FoldingData, name: str, tokens: np.ndarray) -> Protein:
    assert data.contact_map is not None
    return Protein(name, tokens, data.contact_map, np.ones(len(tokens), dtype=bool))
