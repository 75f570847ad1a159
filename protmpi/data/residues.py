"""Names of residues: which amino acid each stands for, in the PDB and in the files of molecular dynamics programs.

The PDB's own names, modified residues among them, are in the tables of gemmi and Biopython. What force fields call a
residue in another state of protonation, or at an end, is here: Amber (also Desmond's and constant-pH names), CHARMM,
and the GROMACS ports of GROMOS, OPLS and Amber. Where a name is in both worlds the force fields win (GLH, protonated
glutamate), but for HSE, which is told from homoserine by its ring.
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
"""Name of a force field -> that of the PDB."""
# Amber's libraries mark the ends: NALA, CHID
PARENTS |= {end + name: PARENTS.get(name, name) for end in "NC"
            for name in (*STANDARD, "ASH", "CYX", "GLH", "HID", "HIE", "HIP", "LYN")}  # fmt: skip
CAPS = frozenset({"ACE", "FOR", "NH2", "NHE", "NMA", "NME", "NAC"})
"""What closes the ends of a chain and is no residue."""

RARE_PARENTS = {"U": "C", "O": "K"}  # selenocysteine and pyrrolysine


def letter(name: str) -> str:
    """One-letter code of a residue or of its parent amino acid, `X` where it has none."""
    found = gemmi.find_tabulated_residue(name).one_letter_code.strip().upper()
    found = found or protein_letters_3to1_extended.get(name.ljust(3), "X")
    found = RARE_PARENTS.get(found, found)
    return found if found in AMINO_ACIDS else "X"


def rename(structure: gemmi.Structure) -> None:
    """Give every residue the name of the PDB, in capitals."""
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
    """Whether an HSE has a side chain, and that has no ring."""
    carbons = {atom.name for atom in residue if atom.name.startswith("C")} - {"C", "CA", "CB"}
    return residue.name == "HSE" and bool(carbons) and "CG" not in carbons


def is_heavy(residue: str, atom: gemmi.Atom) -> bool:
    """Whether an atom is neither hydrogen nor deuterium.

    The name tells in the twenty amino acids, for files without elements may call HG mercury; no pseudoatom (Q), lone
    pair (LP) or Drude particle (D) is heavy either. A is a nitrogen or an oxygen (AD1).
    """
    if residue in STANDARD:
        return atom.name.lstrip("0123456789")[:1] in set("CNOSA")
    return not atom.is_hydrogen()
