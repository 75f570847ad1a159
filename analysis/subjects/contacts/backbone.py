"""The native structure of a chain: its Cα atoms and its contacts."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from analysis.subjects.contacts.proteins import needs_gemmi
from protmpi.data.structure import Structure
from protmpi.errors import DataError


class Backbone(NamedTuple):
    """A chain to draw. `structure` has its sequence and contacts."""

    structure: Structure
    coordinates: np.ndarray
    """Cα atoms (L, 3) in Å along the principal axes of the chain, longest first; NaN where there is none."""


def read_backbone(path: Path, chain: str | None, cutoff: float, min_separation: int) -> Backbone:
    """A chain of a PDB or mmCIF file (or a PDB id), by default the first protein chain of the first model.

    `cutoff` (Å) and `min_separation` decide what a contact is, as in `protmpi data contacts`. Raises DataError.
    """
    with needs_gemmi(path):
        from protmpi.data.contacts import read_structure
    structure, read = read_structure(path, cutoff=cutoff, min_separation=min_separation, chain=chain)
    coordinates, missing = read.trace()
    coordinates[missing] = np.nan
    known = np.isfinite(coordinates).all(axis=1)
    if known.sum() < 2:
        raise DataError(f"{path}: chain {structure.provenance['chain']} has fewer than two Cα atoms: nothing to draw")
    return Backbone(structure, along_principal_axes(coordinates, known))


def along_principal_axes(coordinates: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Rotate without mirroring, because the mirror image of a protein is another molecule."""
    centred = coordinates - coordinates[known].mean(axis=0)
    axes = np.linalg.svd(centred[known], full_matrices=False)[2]
    if axes.shape[0] < 3:  # two atoms do not span a plane
        return centred
    axes[2] *= np.sign(np.linalg.det(axes))
    return centred @ axes.T
