"""Check the lines of a PDB file before gemmi reads them, because gemmi reads an unreadable number as zero."""

from __future__ import annotations

import re

from protmpi.data.residues import PARENTS, STANDARD
from protmpi.errors import DataError

NOWHERE = f"{9999.999:8.3f}" * 3
"""Coordinates that stand for an atom without coordinates."""

BLANK = re.compile(r"[\s*?]*|.*nan.*", re.IGNORECASE)
NUMBER = re.compile(r" *-?\d+|[A-Za-z][0-9A-Za-z]{3}")  # decimal, or hybrid-36


def checked(name: str, text: str) -> str:
    """The file with atoms without coordinates at `NOWHERE`, and four-letter names in the form of the PDB.

    Raises DataError, one line, if columns are shifted. `name` is the name of the file.
    """
    lines = text.split("\n")
    atoms = [number for number, line in enumerate(lines) if line[:6].upper() in ("ATOM  ", "HETATM")]
    four_letters = _names_of_four_letters([lines[number] for number in atoms])
    for number in atoms:
        line = lines[number]
        where = f"{name}: line {number + 1}"
        if "\t" in line:
            raise DataError(f"{where}: has a tab; PDB files have columns of spaces")
        if not NUMBER.fullmatch(line[22:26]):
            raise DataError(f"{where}: {line[22:26]!r} in columns 23 to 26 is not a residue number")
        if line[17:21] in four_letters:
            line = f"{line[:17]}{PARENTS[line[17:21].upper()]} {line[21:]}"
        line = line[:30] + _place(where, line[30:54]) + line[54:]
        # until 1996 columns 73 to 80 held the entry and the line number
        lines[number] = line[:72] if line[76:80].strip().isdigit() else line
    return "\n".join(lines)


def _place(where: str, columns: str) -> str:
    parts = [columns[start : start + 8] for start in (0, 8, 16)]
    if any(BLANK.fullmatch(part) for part in parts):
        return NOWHERE
    try:
        for part in parts:
            float(part)
    except ValueError:
        raise DataError(f"{where}: columns 31 to 54, {columns!r}, are not three coordinates of eight columns") from None
    return columns


def goes_on_after_ter(text: str) -> bool:
    """Whether a chain has a further residue with a Cα after its TER."""
    last = ""
    closed: set[str] = set()
    for line in text.upper().split("\n"):
        if line.startswith("MODEL "):
            closed.clear()
        elif line[:3] == "TER":
            closed.add(last)
        elif line[:6] in ("ATOM  ", "HETATM"):
            last = line[20:22]
            if last in closed and line[:4] == "ATOM" and line[12:16].strip() == "CA":
                return True
    return False


def _names_of_four_letters(lines: list[str]) -> set[str]:
    """Names of a force field in columns 18 to 21. Elsewhere column 21 is the first letter of a chain."""
    names = {line[17:21] for line in lines if line[20:21] != " "}
    chains = {name[3:] for name in names if name[:3].upper() in STANDARD and name.upper() not in PARENTS}
    return {name for name in names if name.upper() in PARENTS and name[3:] not in chains}
