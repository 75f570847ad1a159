"""Heavy-atom contact map of a protein chain, from a PDB or mmCIF file or a PDB id.

Two residues touch when two of their heavy atoms are closer than the cutoff. Hydrogens, deuterium, waters, ligands and
other chains do not count; modified residues (MSE, ...) count as their parent amino acid.

Positions run along the polymer as deposited (SEQRES, or entity_poly_seq in mmCIF): a residue without coordinates keeps
its place in |i-j| and in the sequence, and has no contacts. Without such a record the residues found in the chain are
numbered one after the other, whatever their author numbers and insertion codes.

Alternate locations: each residue keeps the one location (and with it the residue name) of highest summed occupancy, the
first in the file when tied, together with the atoms that have no alternate.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections import defaultdict
from collections.abc import Iterator
from http.client import HTTPException
from importlib.metadata import version
from pathlib import Path
from urllib.request import urlopen

import gemmi
import numpy as np
from scipy.spatial import cKDTree

from protmpi.data.alphabet import AMINO_ACIDS, MAX_LENGTH
from protmpi.data.structure import Structure
from protmpi.errors import DataError

MAX_TEXT_BYTES = 1 << 30
RARE_PARENTS = {"U": "C", "O": "K"}  # selenocysteine and pyrrolysine


def contact_map(
    source: str | Path, *, cutoff: float = 4.5, min_separation: int = 2, chain: str | None = None, model: int = 1
) -> Structure:
    """Contacts of one chain.

    source: a .pdb or .cif file (also .gz), or a PDB id, which is fetched from RCSB. cutoff: Å. min_separation: smallest
    |i-j|. chain: author name; the first protein chain if None. model: counted from 1.
    Raises DataError: one line naming the file, what is wrong and what is allowed.
    """
    name, content = _read(str(source))
    structure = _parse(name, content)
    chain, polymer = _polymer(name, structure, chain, model)
    sequence, positions, numbering = _sequence(structure, polymer)
    if not 2 <= len(sequence) <= MAX_LENGTH:
        raise DataError(f"{name}: chain {chain} has {len(sequence)} residues; 2 to {MAX_LENGTH} are allowed")
    residues = [""] * len(sequence)
    heavy_atoms: list[list[float]] = []
    owners: list[int] = []
    for residue, location in _residues(polymer):
        position = positions[str(residue.seqid)]
        if not 0 <= position < len(sequence):  # a terminal cap
            continue
        residues[position] = str(residue.seqid)
        kept = [atom for atom in residue if atom.altloc in ("\0", location) and not atom.is_hydrogen()]
        heavy_atoms += [atom.pos.tolist() for atom in kept]
        owners += [position] * len(kept)
    contacts = _contacts(np.array(heavy_atoms).reshape(-1, 3), np.array(owners, dtype=int), cutoff, min_separation)
    provenance = {
        "file": name,
        "sha256": hashlib.sha256(content).hexdigest(),
        "model": model,
        "chain": chain,
        "cutoff": cutoff,
        "min_separation": min_separation,
        "numbering": numbering,
        "gemmi": version("gemmi"),
    }
    return Structure(sequence, contacts, tuple(residues), provenance)


def fetch(pdb_id: str) -> bytes:
    """The gzipped mmCIF file of a PDB entry, from RCSB."""
    with urlopen(f"https://files.rcsb.org/download/{pdb_id.upper()}.cif.gz", timeout=30) as response:
        content: bytes = response.read(MAX_TEXT_BYTES)
    return content


def _read(source: str) -> tuple[str, bytes]:
    path = Path(source)
    try:
        if path.is_file():
            if path.stat().st_size > MAX_TEXT_BYTES:
                raise DataError(f"{source}: larger than {MAX_TEXT_BYTES >> 20} MiB")
            return path.name, path.read_bytes()
        if re.fullmatch(r"[1-9][A-Za-z0-9]{3}", source):
            return f"{source.upper()}.cif.gz", fetch(source)
    except (OSError, HTTPException) as error:
        reason = str(getattr(error, "reason", None) or error).replace("\n", " ")
        raise DataError(
            f"{source}: cannot be read: {reason}; give a PDB or mmCIF file, or a PDB id with a network "
            "connection to files.rcsb.org"
        ) from error
    raise DataError(f"{source}: no such file, and not a PDB id (a digit and three letters or digits)")


def _parse(name: str, content: bytes) -> gemmi.Structure:
    try:
        if content.startswith(b"\x1f\x8b"):
            unzip = zlib.decompressobj(wbits=31)
            content = unzip.decompress(content, MAX_TEXT_BYTES)
            if not unzip.eof:
                raise DataError(f"{name}: truncated, or larger than {MAX_TEXT_BYTES >> 20} MiB when uncompressed")
        structure = gemmi.read_structure_string(content)
    except (ValueError, RuntimeError, IndexError, UnicodeDecodeError, zlib.error) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{name}: not a readable PDB or mmCIF file: {reason}") from error
    structure.setup_entities()
    structure.assign_label_seq_id()
    return structure


def _polymer(name: str, structure: gemmi.Structure, chain: str | None, model: int) -> tuple[str, gemmi.ResidueSpan]:
    """Name and residues of the chosen chain, or of the first protein chain."""
    if not 1 <= model <= len(structure):
        raise DataError(f"{name}: model {model}: the file has models 1 to {len(structure)}")
    peptides = (gemmi.PolymerType.PeptideL, gemmi.PolymerType.PeptideD)
    polymers = {found.name: found.get_polymer() for found in structure[model - 1]}
    proteins = {key: polymer for key, polymer in polymers.items() if polymer.check_polymer_type() in peptides}
    if not proteins:
        raise DataError(f"{name}: model {model} has no protein chain")
    chosen = next(iter(proteins)) if chain is None else chain
    if chosen not in proteins:
        raise DataError(f"{name}: chain {chosen}: not a protein chain of model {model}; choose {', '.join(proteins)}")
    return chosen, proteins[chosen]


def _sequence(structure: gemmi.Structure, polymer: gemmi.ResidueSpan) -> tuple[str, dict[str, int], str]:
    """One-letter sequence, position of each residue by its author number and insertion code, and the numbering used."""
    groups = [group[0] for group in polymer.residue_groups()]
    entity = structure.get_entity_of(polymer)
    deposited = [gemmi.Entity.first_mon(item) for item in entity.full_sequence] if entity else []
    numbering = "deposited sequence"
    labels = [residue.label_seq or 0 for residue in groups]
    if not all(1 <= label <= len(deposited) for label in labels):
        numbering = "residues found"
        deposited = [residue.name for residue, _ in _residues(polymer)]
        labels = list(range(1, len(groups) + 1))
    first, last = _without_caps(deposited)
    sequence = "".join(_letter(residue) for residue in deposited[first:last])
    positions = {str(residue.seqid): label - 1 - first for residue, label in zip(groups, labels, strict=True)}
    return sequence, positions, numbering


def _without_caps(names: list[str]) -> tuple[int, int]:
    """Range of the residues proper: acetyl and amide caps at the ends are no residues."""
    amino = [index for index, name in enumerate(names) if name not in ("ACE", "NH2", "NME", "FOR")]
    return (amino[0], amino[-1] + 1) if amino else (0, 0)


def _letter(residue: str) -> str:
    letter = gemmi.find_tabulated_residue(residue).one_letter_code.upper()
    letter = RARE_PARENTS.get(letter, letter)
    return letter if letter in AMINO_ACIDS else "X"


def _residues(polymer: gemmi.ResidueSpan) -> Iterator[tuple[gemmi.Residue, str]]:
    """One residue for each position, with the alternate location that it keeps ("" if it has none)."""
    for group in polymer.residue_groups():
        occupancy: defaultdict[tuple[int, str], float] = defaultdict(float)
        for index, residue in enumerate(group):
            for atom in residue:
                if atom.altloc != "\0":
                    occupancy[index, atom.altloc] += atom.occ
        index, location = max(occupancy, key=lambda key: occupancy[key]) if occupancy else (0, "")
        yield group[index], location


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
