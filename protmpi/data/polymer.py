"""Protein chains of PDB and mmCIF files: which residues they have, in which order, and where these are.

Positions run along the polymer as deposited (SEQRES, or entity_poly_seq in mmCIF): a residue without coordinates keeps
its place. Without such a record the residues found in the chain are numbered one after the other, whatever their author
numbers and insertion codes. Modified residues (MSE, ...) count as their parent amino acid.

Alternate locations: each residue keeps the one location (and with it the residue name) of highest summed occupancy, the
first in the file when tied, together with the atoms that have no alternate.
"""

from __future__ import annotations

import re
import zlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.request import urlopen

import gemmi
import numpy as np

from protmpi.data.alphabet import AMINO_ACIDS
from protmpi.errors import DataError

MAX_TEXT_BYTES = 1 << 30
RARE_PARENTS = {"U": "C", "O": "K"}  # selenocysteine and pyrrolysine


def fetch(pdb_id: str) -> bytes:
    """The gzipped mmCIF file of a PDB entry, from RCSB."""
    with urlopen(f"https://files.rcsb.org/download/{pdb_id.upper()}.cif.gz", timeout=30) as response:
        content: bytes = response.read(MAX_TEXT_BYTES)
    return content


def read(source: str) -> tuple[str, bytes]:
    """Name and content of a .pdb or .cif file (also .gz), or of a PDB id. Raises DataError, one line."""
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


def parse(name: str, content: bytes) -> gemmi.Structure:
    """The structure in the content of a file. Raises DataError where it is none, truncated or too large."""
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


@dataclass(frozen=True)
class Placed:
    """A residue with coordinates."""

    position: int
    """Along the chain, from 0."""

    label: str
    """Author number and insertion code."""

    atoms: list[gemmi.Atom]
    """Of one alternate location."""


@dataclass(frozen=True)
class Chain:
    """One protein chain."""

    sequence: str
    """One-letter codes, `X` for a residue without a parent amino acid."""

    numbering: str
    """What positions follow."""

    residues: list[Placed]

    def trace(self) -> tuple[np.ndarray, np.ndarray]:
        """Cα atoms (L, 3) in Å, 0 where there is none, and where that is (L,) bool."""
        coordinates = np.zeros((len(self.sequence), 3))
        missing = np.ones(len(self.sequence), dtype=bool)
        for residue in self.residues:
            for atom in residue.atoms:
                if atom.name == "CA":  # of a residue, so no calcium; some files leave the element out
                    coordinates[residue.position] = atom.pos.tolist()
                    missing[residue.position] = False
        return coordinates, missing


def proteins(name: str, structure: gemmi.Structure, model: int = 1) -> dict[str, gemmi.ResidueSpan]:
    """The protein chains of a model by author name, at least one. `name` is that of the file, for errors."""
    if not 1 <= model <= len(structure):
        raise DataError(f"{name}: model {model}: the file has models 1 to {len(structure)}")
    peptides = (gemmi.PolymerType.PeptideL, gemmi.PolymerType.PeptideD)
    polymers = {found.name: found.get_polymer() for found in structure[model - 1]}
    found = {key: polymer for key, polymer in polymers.items() if polymer.check_polymer_type() in peptides}
    if not found:
        raise DataError(f"{name}: model {model} has no protein chain")
    return found


def read_chain(structure: gemmi.Structure, polymer: gemmi.ResidueSpan) -> Chain:
    """Sequence and residues of one chain."""
    sequence, positions, numbering = _sequence(structure, polymer)
    residues = []
    for residue, location in _residues(polymer):
        position = positions[str(residue.seqid)]
        if 0 <= position < len(sequence):  # the others are terminal caps
            atoms = [atom for atom in residue if atom.altloc in ("\0", location)]
            residues.append(Placed(position, str(residue.seqid), atoms))
    return Chain(sequence, numbering, residues)


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
