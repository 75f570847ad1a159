"""Protein chains of PDB and mmCIF files: their residues in order, and the coordinates of these.

Positions run along the polymer as deposited (SEQRES, or entity_poly_seq in mmCIF): a residue without coordinates keeps
its place. Without such a record the residues found in the chain are numbered one after the other, whatever their author
numbers and insertion codes. Modified residues (MSE, ...) count as their parent amino acid.

Alternate locations: each residue keeps its most occupied name and the most occupied location of this name (mean over
its atoms, the first in the file when tied), together with the atoms that have no alternate.

A molecule ends at another chain or, in a file without SEQRES, at another segment (segid) or TER. Further molecules of
chain A are A-2, A-3 ... A chain without a letter has the name of its segment. Residue numbers that come twice in one
molecule are refused. Amino acids after a ligand are refused too, because they would not be part of the chain.

Atoms without coordinates are left out: coordinates that are not numbers (stars, blanks, `?`), the same number three
times beyond 999 (9999.000), or a point where several atoms of the chain lie, for example 0 0 0.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from http.client import HTTPException
from itertools import groupby, pairwise
from pathlib import Path
from urllib.request import urlopen

import gemmi
import numpy as np

from protmpi.data import pdb_lines
from protmpi.data.residues import CAPS, is_heavy, letter, rename
from protmpi.errors import DataError

MAX_TEXT_BYTES = 1 << 30
NO_ALTERNATE = "\0"
PEPTIDES = (gemmi.PolymerType.PeptideL, gemmi.PolymerType.PeptideD)
BOND = 3.0
"""Å: larger than the distance of any atom from the next one of its residue."""


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
    """The structure in the content of a file. Raises DataError if it is not a structure, truncated or too large."""
    try:
        if content.startswith(b"\x1f\x8b"):
            unzip = zlib.decompressobj(wbits=31)
            content = unzip.decompress(content, MAX_TEXT_BYTES)
            if not unzip.eof:
                raise DataError(f"{name}: truncated, or larger than {MAX_TEXT_BYTES >> 20} MiB when uncompressed")
        # readers do not accept a byte order mark, or lines that end with CR alone
        content = content.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        structure = gemmi.read_structure_string(content)
        if structure.input_format == gemmi.CoorFormat.Pdb:
            text = pdb_lines.checked(name, content.decode("latin-1"))
            cut = not _has_sequences(structure) and pdb_lines.goes_on_after_ter(text)
            structure = gemmi.read_pdb_string(text, split_chain_on_ter=cut)
    except (ValueError, RuntimeError, IndexError, UnicodeDecodeError, zlib.error) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{name}: not a readable PDB or mmCIF file: {reason}") from error
    rename(structure)
    structure.remove_waters()
    _separate(structure)
    structure.setup_entities()
    structure.assign_label_seq_id()
    return structure


def _has_sequences(structure: gemmi.Structure) -> bool:
    return any(entity.full_sequence for entity in structure.entities)


def _separate(structure: gemmi.Structure) -> None:
    """Split a chain into its segments (PDB without SEQRES) or its asymmetric units (mmCIF)."""
    whole = _has_sequences(structure)
    for model in structure:
        chains = [chain.clone() for chain in model]
        while len(model):
            del model[0]
        for chain, following in pairwise(chains):
            if following.name == chain.name:  # cut at TER, which ends a polymer
                for residue in chain:
                    residue.entity_type = gemmi.EntityType.Polymer
        for chain in chains:
            for _, residues in groupby(chain, key=lambda residue: (whole or residue.segment, residue.subchain)):
                part = gemmi.Chain(chain.name)
                part.append_residues(list(residues))
                model.add_chain(part)


@dataclass(frozen=True)
class Placed:
    """A residue with coordinates."""

    position: int
    """Position along the chain, from 0."""

    label: str
    """Author number and insertion code."""

    atoms: list[gemmi.Atom]
    """Heavy atoms of one alternate location with coordinates, at least one."""


@dataclass(frozen=True)
class Chain:
    """One protein chain."""

    sequence: str
    """One-letter codes, `X` for a residue without a parent amino acid."""

    numbering: str
    """The record or numbering that gives the positions."""

    residues: list[Placed]

    placeless: int
    """Number of heavy atoms without coordinates."""

    unknown: tuple[str, ...]
    """Names of the residues without a parent amino acid, each once."""

    def trace(self) -> tuple[np.ndarray, np.ndarray]:
        """Cα atoms (L, 3) in Å, 0 where there is none; and a mask (L,) of the residues without one."""
        coordinates = np.zeros((len(self.sequence), 3))
        missing = np.ones(len(self.sequence), dtype=bool)
        for residue in self.residues:
            for atom in residue.atoms:
                if atom.name == "CA":  # CA of a residue is not calcium; some files leave the element out
                    coordinates[residue.position] = atom.pos.tolist()
                    missing[residue.position] = False
        return coordinates, missing


def proteins(name: str, structure: gemmi.Structure, model: int = 1) -> dict[str, gemmi.ResidueSpan]:
    """The protein chains of a model by name, at least one. `name` is the name of the file, for errors."""
    if not 1 <= model <= len(structure):
        raise DataError(f"{name}: model {model}: the file has models 1 to {len(structure)}")
    found: dict[str, gemmi.ResidueSpan] = {}
    for chain in structure[model - 1]:
        polymer = chain.get_polymer()
        _all_in_the_chain(name, chain, polymer)
        if polymer.check_polymer_type() not in PEPTIDES:
            continue
        key = first = chain.name or polymer[0].segment
        if first in found and all(residue.het_flag == "H" for residue in polymer):
            continue  # an amino acid as a ligand
        molecules = 1
        while key in found:
            molecules += 1
            key = f"{first}-{molecules}"
        found[key] = polymer
    if not found:
        raise DataError(f"{name}: model {model} has no protein chain")
    return found


def _all_in_the_chain(name: str, chain: gemmi.Chain, polymer: gemmi.ResidueSpan) -> None:
    """Raise DataError if amino acids of a chain come after a ligand or an ion, where gemmi ends the chain."""
    backbone = {"N", "CA", "C"}
    apart = [residue for residue in chain
             if residue.het_flag == "A" and residue.entity_type != gemmi.EntityType.Polymer
             and (backbone <= (names := {atom.name for atom in residue}) or ("CA" in names and
                  gemmi.find_tabulated_residue(residue.name).is_amino_acid()))]  # fmt: skip
    if apart:
        raise DataError(f"{name}: chain {chain.name or '(blank)'}: {apart[0].name} {apart[0].seqid} is apart from the "
                        f"chain of {len(polymer)} residues; put ligands and ions after it, or give it another "
                        "chain letter")  # fmt: skip


def read_chain(name: str, structure: gemmi.Structure, polymer: gemmi.ResidueSpan) -> Chain:
    """Sequence and residues of one chain. Raises DataError, one line, if a residue number comes twice."""
    found = [_conformer(name, list(group)) for group in polymer.residue_groups()]
    numbers: set[str] = set()
    for residue, _ in found:
        if str(residue.seqid) in numbers:
            raise _twice(name, residue)
        numbers.add(str(residue.seqid))
    names, labels, numbering = _sequence(structure, polymer, [residue for residue, _ in found])
    first, last = _without_caps(names)
    residues = [
        Placed(label - 1 - first, str(residue.seqid), atoms)
        for (residue, atoms), label in zip(found, labels, strict=True)
        if first < label <= last  # the others are terminal caps
    ]
    placed = _with_places(residues)
    letters = {residue: letter(residue) for residue in names[first:last]}
    return Chain(
        sequence="".join(letters[residue] for residue in names[first:last]),
        numbering=numbering,
        residues=[residue for residue in placed if residue.atoms],
        placeless=sum(len(before.atoms) - len(after.atoms) for before, after in zip(residues, placed, strict=True)),
        unknown=tuple(residue for residue, code in letters.items() if code == "X"),
    )


def _sequence(
    structure: gemmi.Structure, polymer: gemmi.ResidueSpan, found: list[gemmi.Residue]
) -> tuple[list[str], list[int], str]:
    """Names of all residues, the position (from 1) of each residue found, and the numbering used."""
    entity = structure.get_entity_of(polymer)
    names = [gemmi.Entity.first_mon(item) for item in entity.full_sequence] if entity else []
    labels = [residue.label_seq or 0 for residue in found]
    if not all(1 <= label <= len(names) for label in labels):
        return [residue.name for residue in found], list(range(1, len(found) + 1)), "residues found"
    for residue, label in zip(found, labels, strict=True):
        names[label - 1] = residue.name  # of several residues at one position, the one with atoms
    return names, labels, "deposited sequence"


def _without_caps(names: list[str]) -> tuple[int, int]:
    """Range of the residues without acetyl and amide caps at the ends."""
    amino = [index for index, name in enumerate(names) if name not in CAPS]
    return (amino[0], amino[-1] + 1) if amino else (0, 0)


def _conformer(name: str, group: list[gemmi.Residue]) -> tuple[gemmi.Residue, list[gemmi.Atom]]:
    """The residue to keep among those of one number, and its heavy atoms in one alternate location."""
    heavy = [(index, atom) for index, residue in enumerate(group) for atom in residue if is_heavy(residue.name, atom)]
    if len({(atom.name, atom.altloc) for _, atom in heavy}) < len(heavy):
        raise _twice(name, group[0])
    copies = Counter(atom.name for _, atom in heavy)
    occupancies: defaultdict[tuple[int, str], list[float]] = defaultdict(list)
    for index, atom in heavy:
        if atom.altloc != NO_ALTERNATE or copies[atom.name] > 1:
            occupancies[index, atom.altloc].append(atom.occ)
    means = {key: round(float(np.mean(values)), 3) for key, values in occupancies.items()}
    kept = max(range(len(group)), key=lambda index: sum(mean for key, mean in means.items() if key[0] == index))
    locations = [key for key in means if key[0] == kept] or [(kept, NO_ALTERNATE)]
    _, location = max(locations, key=lambda key: means.get(key, 0.0))
    own = [atom for index, atom in heavy if index == kept]
    located = {atom.name for atom in own if atom.altloc == location}
    atoms = [atom for atom in own
             if atom.altloc == location or (atom.altloc == NO_ALTERNATE and atom.name not in located)]  # fmt: skip
    return group[kept], atoms


def _twice(name: str, residue: gemmi.Residue) -> DataError:
    return DataError(f"{name}: {residue.name} {residue.seqid} comes twice in one chain; tell molecules apart by chain "
                     "letters or segments, and inserted residues by insertion codes")  # fmt: skip


def _with_places(residues: list[Placed]) -> list[Placed]:
    """The residues with only their atoms that have coordinates."""
    points = np.array([atom.pos.tolist() for residue in residues for atom in residue.atoms]).reshape(-1, 3)
    owner = np.repeat(np.arange(len(residues)), [len(residue.atoms) for residue in residues])
    _, index, counts = np.unique(points, axis=0, return_inverse=True, return_counts=True)
    size = np.abs(points)
    sentinel = (size.max(axis=1) >= 999) & (size.max(axis=1) == size.min(axis=1))
    somewhere = np.isfinite(points).all(axis=1) & ~sentinel & (counts[index.ravel()] == 1)
    for atom in np.flatnonzero(somewhere & ~points.any(axis=1)):  # for atoms at 0 0 0
        distances = np.linalg.norm(points[somewhere & (owner == owner[atom])], axis=1)
        somewhere[atom] = len(distances) == 1 or np.sort(distances)[1] <= BOND
    kept = iter(somewhere.tolist())
    return [replace(residue, atoms=[atom for atom in residue.atoms if next(kept)]) for residue in residues]
