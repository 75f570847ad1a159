"""Output that fits the terminal: a table that is too wide breaks into tables that each begin with its first column."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from rich.console import Console
from rich.table import Column, Table

WIDTH = 120
"""Characters of a line if the output is not a terminal."""


class Terminal(Console):
    """A console whose tables lose no number on a narrow terminal."""

    def __init__(self, width: int | None = None, **settings: Any) -> None:
        super().__init__(width=width, **{"highlight": False, **settings})

    def print(self, *objects: Any, **settings: Any) -> None:
        whole = [part for one in objects for part in (fitting(one, self) if isinstance(one, Table) else [one])]
        if len(whole) == len(objects):
            return super().print(*whole, **settings)
        for part in whole[:-1]:
            super().print(part)
            if isinstance(part, Table):
                super().print()
        return super().print(whole[-1], **settings)


def terminal(wide: int = WIDTH) -> Terminal:
    """The console of this process. Text that is not for a terminal is plain and `wide`."""
    return Terminal(None if sys.stdout.isatty() else wide)


def fitting(table: Table, console: Console) -> Iterator[Table]:
    """The table itself if it fits the console, else tables of some of its columns."""
    gap = table.padding[1] + table.padding[3] + (1 if table.box else 0)
    found = blocks([_width(column, console) for column in table.columns], gap, console.width)
    if len(found) == 1:
        return iter([table])
    return (_with_columns(table, [table.columns[index] for index in block]) for block in found)


def blocks(widths: Sequence[int], gap: int, most: int) -> list[list[int]]:
    """Columns of these widths, by index, in blocks at most `most` wide. Each begins with the first column."""
    found, width = [[0]], widths[0]
    for index, each in enumerate(widths[1:], start=1):
        width += gap + each
        if width > most and len(found[-1]) > 1:
            found.append([0])
            width = widths[0] + gap + each
        found[-1].append(index)
    return found


def _width(column: Column, console: Console) -> int:
    """Of its longest line, or of its longest word if its lines may be broken."""
    sizes = [console.measure(cell) for cell in (column.header, *column.cells)]
    return max(size.maximum if column.no_wrap else size.minimum for size in sizes)


def _with_columns(table: Table, columns: list[Column]) -> Table:
    part = copy.copy(table)
    part.columns = [replace(column, _index=index) for index, column in enumerate(columns)]
    return part
