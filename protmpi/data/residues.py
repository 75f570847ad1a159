"""Names of residues and their amino acids, in the PDB and in the files of molecular dynamics programs.

The names of the PDB, including modified residues, are in the tables of gemmi and Biopython. This module has the names
that force fields give to residues in another protonation state or at an end: Amber (also the names of Desmond and of
constant pH), CHARMM, and the GROMACS ports of GROMOS, OPLS and Amber. If a name has both meanings, the meaning of the
force fields holds (GLH, protonated glutamate). The exception is HSE, which is told from homoserine by its ring.
"""

from __future__ import annotations

import gemmi
from Bio.Data.PDBData import protein_letters_3to1, protein_letters_3to1_extended

from protmpi.data.alphabet import AMINO_ACIDS

_STATES = {
    "ARG": "ARN ARGN AR0",
    "ASP": "ASH ASPH ASPP AS4 ASPN",
    "CYS": "CYX CYM CYSH CYS1 CYS2 CYSD CYSN",
    "GLN": "QLN",
    "GLU": "GLH GLUH GLUP GL4 GLUN",
    "HIS": "HID HIE HIP HSD HSE HSP HISA HISB HISD HISE HISH HISP HIS1 HIS2",
    "LYS": "LYN LSN LYP LYSH LYSN LYSP",
    "SER": "SERD",
    "TYR": "TYM TYO TYRU",
    "HOH": "TIP TIP3 TIP4 TIP5 TP3 TP4 SOL SPC SPCE T3P T4P",
}
STANDARD = frozenset(protein_letters_3to1)
"""The twenty amino acids."""

PARENTS = {name: parent for parent, names in _STATES.items() for name in names.split()}
"""Name in a force field -> name in the PDB."""
# the libraries of Amber mark the ends: NALA, CHID
PARENTS |= {end + name: PARENTS.get(name, name) for end in "NC"
            for name in (*STANDARD, "ASH", "CYX", "GLH", "HID", "HIE", "HIP", "LYN")}  # fmt: skip
CAPS = frozenset({"ACE", "FOR", "NH2", "NHE", "NMA", "NME", "NAC"})
"""Caps that close the ends of a chain and are not residues."""

RARE_PARENTS = {"U": "C", "O": "K"}  # selenocysteine and pyrrolysine


def letter(name: str) -> str:
    """One-letter code of a residue or of its parent amino acid, `X` if it has none."""
    found = gemmi.find_tabulated_residue(name).one_letter_code.strip().upper()
    found = found or protein_letters_3to1_extended.get(name.ljust(3), "X")
    found = RARE_PARENTS.get(found, found)
    return found if found in AMINO_ACIDS else "X"


def rename(structure: gemmi.Structure) -> None:
    """Give every residue its name in the PDB, in capitals."""
    for residue in (residue for model in structure for chain in model for residue in chain):
        if residue.name != residue.name.upper():
            residue.name = residue.name.upper()
            for atom in residue:
                atom.name = atom.name.upper()
        if residue.name in PARENTS and not _is_homoserine(residue):
            residue.name = PARENTS[residue.name]
    for entity in structure.entities:
        entity.full_sequence = [name if name == "HSE" else PARENTS.get(name, name) for name in entity.full_sequence]


def _is_homoserine(residue: gemmi.Residue) -> bool:
    """Whether an HSE has a side chain without a ring."""
    carbons = {atom.name for atom in residue if atom.name.startswith("C")} - {"C", "CA", "CB"}
    return residue.name == "HSE" and bool(carbons) and "CG" not in carbons


def is_heavy(residue: str, atom: gemmi.Atom) -> bool:
    """Whether an atom is neither hydrogen nor deuterium.

    In the twenty amino acids the name decides, because HG would be read as mercury in files without elements.
    Pseudoatoms (Q), lone pairs (LP) and Drude particles (D) are not heavy. A is a nitrogen or an oxygen (AD1).
    """
    if residue in STANDARD:
        return atom.name.lstrip("0123456789")[:1] in set("CNOSA")
    return not atom.is_hydrogen()
