"""The files of a report: everything that is drawn also as numbers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from protmpi.errors import ProtmpiError

if TYPE_CHECKING:
    import xarray

    from analysis.run import Run


def write_report(run: Run, data: xarray.Dataset, folder: Path) -> list[Path]:
    """Write thermodynamics.csv, .png, .pdf and energy_traces.png; returns their paths.

    Raises ProtmpiError when the folder cannot be made.
    """
    from analysis import figures, tables

    thermodynamics = figures.thermodynamics_figure(run, data)
    traces = figures.energy_traces_figure(run, data)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ProtmpiError(f"{folder}: no report can be written here: {error.strerror}") from None
    paths = [
        folder / name
        for name in ("thermodynamics.csv", "thermodynamics.png", "thermodynamics.pdf", "energy_traces.png")
    ]
    tables.write_csv(data, paths[0])
    figures.save(thermodynamics, paths[1])
    figures.save(thermodynamics, paths[2])
    figures.save(traces, paths[3])
    return paths
