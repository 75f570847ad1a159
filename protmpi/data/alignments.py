"""A user's own sequences, brought to one length.

The format is recognised by its start: FASTA (aligned, A3M, A2M), PIR, Stockholm, Clustal, PHYLIP. Otherwise every line
is a sequence, or a name and a sequence (SELEX, PSI). Lines with `#` before the first sequence are comments; in the last
format they may be anywhere. The secondary structure that HH-suite puts before an A3M is skipped.

- Lowercase letters and `.` are insertions (A3M, A2M) and are dropped if only then the sequences have one length, or
  if both occur. Otherwise lowercase letters are residues (soft-masked FASTA) and `.` is a gap.
- Gaps (`-`, `.`), ambiguous or rare letters (B J O U X Z) and `*` are unknown sites. The sequence has the mask
  token there, and the site is never predicted. A `*` that ends every sequence is a stop and dropped.
- Any other character is an error. So are sequences that do not end up with one length.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from dataclasses import dataclass
from io import StringIO
from itertools import groupby
from pathlib import Path

import numpy as np
from Bio import AlignIO
from Bio.SeqIO.FastaIO import SimpleFastaParser

from protmpi.data.alphabet import AMINO_ACIDS, MASK, MAX_LENGTH, encode
from protmpi.errors import DataError

UNKNOWN = "BJOUXZ*"
MAX_FILE_BYTES = 1 << 30
FORMS = {
    r"\d+\s+\d+\s*\n": ("phylip-relaxed", "phylip", "phylip-sequential"),
    r">[A-Z][A-Z0-9];": ("pir",),
}
"""Start of a file -> the names of its format in Biopython, tried in this order."""
CLUSTAL = r"CLUSTAL|MUSCLE|PROBCONS|MSAPROBS|Kalign"
ANNOTATION = re.compile(r"(ss|sa)_(dssp|pred|conf)\b")
PIECE = re.compile(r"[A-Z*.-]+")
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
    records = _records(path, text)
    if not records:
        raise DataError(f"{path}: no sequences in it")
    names, rows = (list(column) for column in zip(*records, strict=True))
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
                f"{path}: {name}: {min(strange)!r} is not an amino acid; allowed are {AMINO_ACIDS}, "
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
    if b"\0" in content:
        raise DataError(f"{path}: not plain text: it has bytes of zero; save it as UTF-8")
    # the letters must be ASCII, which is checked later; names need not
    text = content.removeprefix(b"\xef\xbb\xbf").decode("utf-8", errors="replace")
    return text.replace("\r\n", "\n").replace("\r", "\n"), sha256


def _records(path: Path, text: str) -> list[tuple[str, str]]:
    """Name and letters of each sequence. Raises DataError if the format is none of the above."""
    start = text.lstrip()
    for pattern, forms in FORMS.items():
        if re.match(pattern, start):
            return _parsed(path, start, forms)
    if re.match(CLUSTAL, start):
        # marks of conserved columns may follow a block, a count of residues may follow a line
        rows = [re.sub(r"\s+\d+$", "", line) for line in start.split("\n")[1:] if line[:1] != " "]
        return _lines(path, "\n".join(rows), named=True)
    if start.startswith("# STOCKHOLM"):
        alignment, _, more = start.partition("\n//")
        if more.strip():
            raise DataError(f"{path}: has more than one alignment")
        return _lines(path, alignment, named=True)
    plain = re.sub(r"\A(?:#.*\n|\s+)*", "", text)
    if not plain.startswith(">"):
        return _lines(path, text)
    records = SimpleFastaParser(StringIO(plain))
    return [(f"sequence {number} ({' '.join(name.split())[:40]})", "".join(letters.split()))
            for number, (name, letters) in enumerate(records, start=1) if not ANNOTATION.match(name)]  # fmt: skip


def _parsed(path: Path, text: str, forms: tuple[str, ...]) -> list[tuple[str, str]]:
    """Parse with the first format of Biopython that fits."""
    reasons = []
    for form in forms:
        try:
            records = AlignIO.read(StringIO(text + "\n\n"), form)
            size = f"{len(records)} {records.get_alignment_length()}"
            if form.startswith("phylip") and text.split("\n")[0].split() != size.split():
                raise ValueError(f"{size} is not the size in the first line")
            return [(f"sequence {number} ({record.id})", str(record.seq)) for number, record in enumerate(records, 1)]
        except (ValueError, IndexError, AssertionError) as error:
            reasons.append(f"{form}: {' '.join(str(error).split())}")
    raise DataError(f"{path}: cannot be read as {reasons[0]}")


def _lines(path: Path, text: str, named: bool = False) -> list[tuple[str, str]]:
    """One sequence per line, or a name and a sequence per line, also in blocks separated by blank lines."""
    lines = [(number, line.split()) for number, line in enumerate(text.split("\n"), start=1) if line[:1] != "#"]
    filled = [(number, words) for number, words in lines if words]
    words_in_line = {len(words) for _, words in filled}
    if words_in_line <= {1} and not named:
        return [(f"line {number}", words[0]) for number, words in filled]
    # first words of letters and of one length may be parts of a sequence
    groups = len({len(words[0]) for _, words in filled}) == 1 and all(PIECE.fullmatch(words[0]) for _, words in filled)
    if words_in_line != {2} or (groups and not named):
        raise DataError(f"{path}: line {filled[0][0]}: is neither one sequence nor a name and a sequence; give one "
                        "sequence per line without blanks, or FASTA")  # fmt: skip
    blocks = [[words for _, words in block] for some, block in groupby(lines, key=lambda line: bool(line[1])) if some]
    names = [name for name, _ in blocks[0]]
    if any([name for name, _ in block] != names for block in blocks):
        raise DataError(f"{path}: its blocks name different sequences")
    return [(f"sequence {number} ({name})", "".join(block[number - 1][1] for block in blocks))
            for number, name in enumerate(names, start=1)]  # fmt: skip


def _without_insertions(rows: list[str]) -> tuple[list[str], int]:
    """Rows without insertions, in capitals, and the number of dropped letters."""
    columns = [row.translate(_INSERTIONS) for row in rows]
    both = any("." in row for row in rows) and any(row != row.upper() for row in rows)
    one_length_before, one_length_after = (len({len(row) for row in group}) == 1 for group in (rows, columns))
    if one_length_after and (both or not one_length_before):
        return columns, sum(len(row.replace(".", "")) for row in rows) - sum(len(row) for row in columns)
    return [row.upper() for row in rows], 0
