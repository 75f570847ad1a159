"""One part of a report: the tables, figures and numbers of a subject for one run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure
    from rich.table import Table


@dataclass
class Part:
    """A section of the page, and the files beside the page."""

    name: str
    """The anchor of the section."""
    title: str
    figures: dict[str, tuple[Figure, str]] = field(default_factory=dict)
    """Name -> figure and caption."""
    tables: list[tuple[str, Table]] = field(default_factory=list)
    """Caption and table."""
    remarks: list[str] = field(default_factory=list)
    numbers: dict[str, xarray.Dataset] = field(default_factory=dict)
    """Name -> all plotted data, written as long CSV."""
    files: dict[str, Callable[[Path], None]] = field(default_factory=dict)
    """Name of a file -> function that writes it, for numbers with their own format."""
    facts: list[tuple[str, str]] = field(default_factory=list)
    """Name and value of entries in the summary of the run."""
