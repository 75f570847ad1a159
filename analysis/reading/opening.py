"""Opening of a store. This module is quick to import: zarr takes a second and is imported with the first store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from analysis.reading.run import Run


def open_run(path: Path | str) -> Run:
    """Open the store of a run, finished or still growing. Raises StoreError if it is missing or damaged."""
    from analysis.reading.run import Run

    return Run(path)
