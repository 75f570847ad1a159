"""A native structure as the energy uses it: a sequence, its contact list and their origin, stored as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from protmpi.data.alphabet import AMINO_ACIDS, MAX_LENGTH
from protmpi.errors import DataError

SCHEMA = "protmpi contact map 1"
MAX_FILE_BYTES = 64 << 20


@dataclass(frozen=True)
class Structure:
    """Native sequence and heavy-atom contacts of one chain.

    sequence: one-letter codes (L), `X` if the residue has no parent among the twenty amino acids.
    contacts: pairs (i, j), i < j, counted from 0 along the sequence, sorted.
    residues: label of each position (author number and insertion code), "" if no atom was resolved.
    provenance: file name, sha256, model, chain, cutoff (Å), min_separation, numbering, gemmi version.
    """

    sequence: str
    contacts: tuple[tuple[int, int], ...]
    residues: tuple[str, ...]
    provenance: dict[str, Any]

    @property
    def length(self) -> int:
        return len(self.sequence)

    @property
    def missing(self) -> int:
        """Positions of the sequence without coordinates; they have no contacts."""
        return self.residues.count("")

    def contact_map(self) -> np.ndarray:
        """Symmetric map (L, L) of bool."""
        contact_map = np.zeros((self.length, self.length), dtype=bool)
        if self.contacts:
            i, j = np.array(self.contacts).T
            contact_map[i, j] = contact_map[j, i] = True
        return contact_map

    def at_separation(self, min_separation: int) -> Structure:
        """The structure with only the contacts |i-j| >= min_separation."""
        contacts = tuple((i, j) for i, j in self.contacts if j - i >= min_separation)
        return replace(self, contacts=contacts, provenance={**self.provenance, "min_separation": min_separation})

    def part(self, first: int, last: int) -> Structure:
        """The part of positions `first` to `last`, counted from 1, with the contacts among them.

        Raises DataError if the structure has no such positions.
        """
        if last > self.length:
            raise DataError(f"data.residues: the structure has {self.length} positions, {last} is beyond")
        inside = [(i - first + 1, j - first + 1) for i, j in self.contacts if first - 1 <= i and j < last]
        kept = slice(first - 1, last)
        return replace(self, sequence=self.sequence[kept], residues=self.residues[kept], contacts=tuple(inside),
                       provenance={**self.provenance, "positions": f"{first} to {last}"})  # fmt: skip

    def pairs_by_separation(self, separations: tuple[int, ...] = (1, 2, 3, 4)) -> dict[int, int]:
        """Number of contacts with |i-j| >= s for each s."""
        return {s: sum(j - i >= s for i, j in self.contacts) for s in separations}

    def save(self, path: Path) -> None:
        """Write JSON, one field per line."""
        fields = {
            "schema": SCHEMA,
            "provenance": self.provenance,
            "sequence": self.sequence,
            "residues": self.residues,
            "contacts": self.contacts,
        }
        lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in fields.items())
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{\n" + lines + "\n}\n", encoding="utf-8")


def load(path: Path) -> Structure:
    """Read a contact list written by `protmpi data contacts`. Raises DataError: one line, file and reason."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise DataError(f"{path}: larger than {MAX_FILE_BYTES >> 20} MiB, not a contact list")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as text ({type(error).__name__})") from error
    return parse(text, str(path))


def shipped() -> Structure:
    """Bovine acyl-coenzyme-A binding protein, PDB 1NTI, model 1: L = 86, cutoff 4.5 Å, |i-j| >= 2."""
    text = resources.files("protmpi.data").joinpath("acbp.json").read_text(encoding="utf-8")
    return parse(text, "acbp.json")


def parse(text: str, source: str) -> Structure:
    """Structure from the JSON text of `source`. Everything is checked, because the file may come from any source."""
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{source}: not JSON ({error})") from error
    if not isinstance(fields, dict) or fields.get("schema") != SCHEMA:
        raise DataError(f"{source}: not a contact list; expected schema {SCHEMA!r}")
    sequence, residues = fields.get("sequence"), fields.get("residues")
    if not isinstance(sequence, str) or not 1 <= len(sequence) <= MAX_LENGTH or set(sequence) - set(AMINO_ACIDS + "X"):
        raise DataError(f"{source}: sequence: must be 1 to {MAX_LENGTH} letters of {AMINO_ACIDS} or X")
    if (
        not isinstance(residues, list)
        or len(residues) != len(sequence)
        or not all(isinstance(label, str) for label in residues)
    ):
        raise DataError(f"{source}: residues: must be {len(sequence)} labels, one per letter of the sequence")
    provenance = fields.get("provenance")
    if not isinstance(provenance, dict) or not all(
        isinstance(value, (str, int, float)) for value in provenance.values()
    ):
        raise DataError(f"{source}: provenance: must be an object of texts and numbers")
    return Structure(sequence, _contacts(fields.get("contacts"), len(sequence), source), tuple(residues), provenance)


def _contacts(pairs: Any, length: int, source: str) -> tuple[tuple[int, int], ...]:
    if not isinstance(pairs, list):
        raise DataError(f"{source}: contacts: must be a list of pairs [i, j]")
    for pair in pairs:
        whole = isinstance(pair, list) and len(pair) == 2 and all(type(site) is int for site in pair)
        if not whole or not 0 <= pair[0] < pair[1] < length:
            raise DataError(f"{source}: contacts: {pair!r} is not a pair [i, j] with 0 <= i < j < {length}")
    contacts = tuple((i, j) for i, j in pairs)
    if len(set(contacts)) != len(contacts):
        raise DataError(f"{source}: contacts: a pair is listed twice")
    return contacts
