"""Output of the program: tables with remarks, or JSON."""

from __future__ import annotations

from collections.abc import Sequence
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

def print_json(tree: dict[str, Any]) -> None:
    print(dumps(tree, allow_nan=False))


def print_table(table: Table, remarks: Sequence[str], written: Sequence[Path]) -> None:
    """Print a table, its remarks, and the files that were written."""
    from protmpi.terminal import terminal

    console = terminal()
    console.print(table, end="\n\n")
    for line in [*remarks, *(f"wrote {path}" for path in written)]:
        console.print(line, markup=False, soft_wrap=line.startswith("wrote "))
