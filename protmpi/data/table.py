"""Tables of a user with a header line: comma-separated, or tab-separated if the header has a tab."""

from __future__ import annotations

import csv
from pathlib import Path

from protmpi.errors import DataError

MAX_FILE_BYTES = 1 << 30


def read(path: Path, required: tuple[str, ...], optional: tuple[str, ...] = ()) -> list[dict[str, str]]:
    """The requested columns of all rows of a table. Raises DataError: one line naming the file and what is wrong."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise DataError(f"{path}: larger than {MAX_FILE_BYTES >> 20} MiB")
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as text ({type(error).__name__})") from None
    header = lines[0] if lines else ""
    try:
        rows = list(csv.reader(lines, delimiter="\t" if "\t" in header else ",", strict=True))
    except csv.Error as error:
        raise DataError(f"{path}: not a table: {error}") from None
    columns = [name.strip() for name in rows[0]] if rows else []
    for name in required:
        if columns.count(name) != 1:
            raise DataError(f"{path}: must have one column {name!r}; the first line names {', '.join(columns) or '-'}")
    for name in optional:
        if columns.count(name) > 1:
            raise DataError(f"{path}: has {columns.count(name)} columns {name!r}; one is allowed")
    found = []
    for number, row in enumerate(rows[1:], start=2):
        if not row:
            continue
        if len(row) != len(columns):
            raise DataError(f"{path}: line {number} has {len(row)} columns, the first line names {len(columns)}")
        cells = {name: cell.strip() for name, cell in zip(columns, row, strict=True)}
        found.append({name: cells[name] for name in (*required, *optional) if name in cells})
        if not all(found[-1].values()):
            raise DataError(f"{path}: line {number} has an empty cell")
    return found
