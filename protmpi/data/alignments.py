"""A user's own sequences, brought to one length: FASTA, aligned FASTA, A3M, or one sequence per line.

The form is recognised: a first character `>` means FASTA, otherwise every line is a sequence. White space and blank
lines do not count; lines of one-per-line files that start with `#` are comments.

- Lowercase letters and `.` are insertions (A3M, A2M) and are dropped, if the sequences then have one length and had
  not before, or if both occur. Otherwise lowercase letters are residues (soft-masked FASTA) and `.` is a gap.
- Gaps (`-`, `.`), ambiguous or rare letters (B J O U X Z) and `*` are unknown sites: the sequence carries the mask
  token there, and the site is never among those to predict. A `*` that ends every sequence is a stop and dropped.
- Any other character is an error. So are sequences that do not end up with one length.
"""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from protmpi.data.alphabet import AMINO_ACIDS, MASK, MAX_LENGTH, encode
from protmpi.errors import DataError

UNKNOWN = "BJOUXZ*"
MAX_FILE_BYTES = 1 << 30
_INSERTIONS = str.maketrans("", "", "abcdefghijklmnopqrstuvwxyz.")


@dataclass(frozen=True)
class Alignment:
    """Sequences (N, L) uint8, with 20 at unknown sites; counts of what was read; sha256 of the file."""

    sequences: np.ndarray
    counts: dict[str, int]
    sha256: str

    @property
    def known(self) -> np.ndarray:
        """Sites (N, L) whose amino acid is known."""
        return self.sequences < MASK


def read(path: Path) -> Alignment:
    """Read sequences. Raises DataError: one line naming the file, the sequence and what is allowed."""
    text, sha256 = _text(path)
    names, rows = _fasta(text) if text.lstrip().startswith(">") else _lines(text)
    if not rows:
        raise DataError(f"{path}: no sequences in it")
    if all(row.endswith("*") for row in rows):
        rows = [row[:-1] for row in rows]
    rows, insertions = _without_insertions(rows)
    lengths = {len(row) for row in rows}
    if len(lengths) > 1:
        odd = next(index for index, row in enumerate(rows) if len(row) != len(rows[0]))
        raise DataError(
            f"{path}: {names[odd]} has {len(rows[odd])} sites, {names[0]} has {len(rows[0])}; "
            "align the sequences to one length"
        )
    if not 2 <= len(rows[0]) <= MAX_LENGTH:
        raise DataError(f"{path}: sequences of length {len(rows[0])}; 2 to {MAX_LENGTH} are allowed")
    counts = {"sequences": len(rows), "insertions": insertions, "gaps": 0, "unknown": 0}
    for name, row in zip(names, rows, strict=True):
        strange = set(row) - set(AMINO_ACIDS + UNKNOWN + "-.")
        if strange:
            raise DataError(
                f"{path}: {name}: {min(strange)!r} is no amino acid; allowed are {AMINO_ACIDS}, "
                f"{UNKNOWN} (unknown), - and . (gaps)"
            )
        counts["gaps"] += row.count("-") + row.count(".")
        counts["unknown"] += sum(row.count(letter) for letter in UNKNOWN)
    return Alignment(np.stack([encode(row) for row in rows]), counts, sha256)


def _text(path: Path) -> tuple[str, str]:
    try:
        content = path.read_bytes() if path.stat().st_size <= MAX_FILE_BYTES else b""
        sha256 = hashlib.sha256(content).hexdigest()
        if content.startswith(b"\x1f\x8b"):
            with gzip.open(path) as file:
                content = file.read(MAX_FILE_BYTES + 1)
    except (OSError, EOFError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    if not 0 < len(content) <= MAX_FILE_BYTES:
        raise DataError(f"{path}: must have 1 to {MAX_FILE_BYTES} bytes")
    try:
        return content.decode("ascii"), sha256
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not plain text: byte {error.start} is no ASCII character") from error


def _fasta(text: str) -> tuple[list[str], list[str]]:
    names: list[str] = []
    rows = []
    for record in text.lstrip().removeprefix(">").split("\n>"):
        header, _, body = record.partition("\n")
        names.append(f"sequence {len(names) + 1} ({' '.join(header.split())[:40]})")
        rows.append("".join(body.split()))
    return names, rows


def _lines(text: str) -> tuple[list[str], list[str]]:
    names: list[str] = []
    rows = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip() and not line.startswith("#"):
            names.append(f"line {number}")
            rows.append("".join(line.split()))
    return names, rows


def _without_insertions(rows: list[str]) -> tuple[list[str], int]:
    """Rows without insertions, in capitals, and how many letters were dropped."""
    columns = [row.translate(_INSERTIONS) for row in rows]
    both = any("." in row for row in rows) and any(row != row.upper() for row in rows)
    one_length_before, one_length_after = (len({len(row) for row in group}) == 1 for group in (rows, columns))
    if one_length_after and (both or not one_length_before):
        return columns, sum(len(row.replace(".", "")) for row in rows) - sum(len(row) for row in columns)
    return [row.upper() for row in rows], 0
