"""Heavy-atom contact map of a protein chain, from a PDB or mmCIF file or a PDB id.

Two residues touch when two of their heavy atoms are closer than the cutoff. Hydrogens, deuterium, waters, ligands and
other chains do not count. Positions are those of `polymer`: a residue without coordinates keeps its place in |i-j| and
in the sequence, and has no contacts.
"""

from __future__ import annotations

import hashlib
import re
from importlib.metadata import version
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from protmpi.data import polymer
from protmpi.data.alphabet import MAX_LENGTH
from protmpi.data.structure import Structure
from protmpi.errors import DataError

MOLECULE = re.compile(r"-\d+$")


def contact_map(
    source: str | Path, *, cutoff: float = 4.5, min_separation: int = 2, chain: str | None = None, model: int = 1
) -> Structure:
    """Contacts of one chain.

    source: a .pdb or .cif file (also .gz), or a PDB id, which is fetched from RCSB. cutoff: Å. min_separation: smallest
    |i-j|. chain: author name; the first protein chain if None. model: counted from 1.
    Raises DataError: one line naming the file, what is wrong and what is allowed.
    """
    return read_structure(source, cutoff=cutoff, min_separation=min_separation, chain=chain, model=model)[0]


def read_structure(
    source: str | Path, *, cutoff: float, min_separation: int, chain: str | None, model: int = 1
) -> tuple[Structure, polymer.Chain]:
    """The same, and the chain with its atoms."""
    name, content = polymer.read(str(source))
    structure = polymer.parse(name, content)
    proteins = polymer.proteins(name, structure, model)
    chosen = next(iter(proteins)) if chain is None else chain
    if chosen not in proteins:
        raise DataError(f"{name}: chain {chosen}: not a protein chain of model {model}; choose {', '.join(proteins)}")
    found = polymer.read_chain(name, structure, proteins[chosen])
    length = len(found.sequence)
    if not 2 <= length <= MAX_LENGTH:
        raise DataError(f"{name}: chain {chosen} has {length} residues; 2 to {MAX_LENGTH} are allowed")
    residues = [""] * length
    heavy_atoms: list[list[float]] = []
    owners: list[int] = []
    for residue in found.residues:
        residues[residue.position] = residue.label
        heavy_atoms += [atom.pos.tolist() for atom in residue.atoms]
        owners += [residue.position] * len(residue.atoms)
    contacts = _contacts(np.array(heavy_atoms).reshape(-1, 3), np.array(owners, dtype=int), cutoff, min_separation)
    provenance = {
        "file": name,
        "sha256": hashlib.sha256(content).hexdigest(),
        "model": model,
        "chain": chosen,
        "cutoff": cutoff,
        "min_separation": min_separation,
        "numbering": found.numbering,
        "gemmi": version("gemmi"),
    }
    molecules = [key for key in proteins if MOLECULE.sub("", key) == MOLECULE.sub("", chosen)]
    notes = {
        "unknown_residues": " ".join(found.unknown),
        "atoms_without_place": found.placeless,
        "molecules_of_chain": " ".join(molecules) if len(molecules) > 1 else "",
    }
    provenance |= {key: value for key, value in notes.items() if value}
    return Structure(found.sequence, contacts, tuple(residues), provenance), found


def _contacts(
    heavy_atoms: np.ndarray, owners: np.ndarray, cutoff: float, min_separation: int
) -> tuple[tuple[int, int], ...]:
    """Pairs of positions with two atoms (A, 3) closer than the cutoff."""
    if not len(heavy_atoms):
        return ()
    a, b = cKDTree(heavy_atoms).query_pairs(cutoff, output_type="ndarray").T
    closer = np.linalg.norm(heavy_atoms[a] - heavy_atoms[b], axis=1) < cutoff
    pairs = np.sort(np.stack([owners[a], owners[b]], axis=1)[closer], axis=1)
    pairs = pairs[pairs[:, 1] - pairs[:, 0] >= max(min_separation, 1)]
    return tuple((int(i), int(j)) for i, j in np.unique(pairs, axis=0))
