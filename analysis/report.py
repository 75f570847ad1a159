"""The files of a report: everything that is drawn also as numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from protmpi.errors import ProtmpiError

if TYPE_CHECKING:
    import xarray

    from analysis.checks import Check
    from analysis.run import Run


def write_report(run: Run, data: xarray.Dataset, checks: Sequence[Check], folder: Path) -> list[Path]:
    """Write thermodynamics.csv, .png, .pdf, energy_traces.png and checks.csv; returns their paths.

    Raises ProtmpiError when the folder cannot be made.
    """
    from analysis import tables
    from analysis.figures.style import save
    from analysis.figures.thermodynamics import energy_traces_figure, thermodynamics_figure

    thermodynamics = thermodynamics_figure(run, data)
    traces = energy_traces_figure(run, data)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ProtmpiError(f"{folder}: no report can be written here: {error.strerror}") from None
    paths = [
        folder / name
        for name in (
            "thermodynamics.csv",
            "thermodynamics.png",
            "thermodynamics.pdf",
            "energy_traces.png",
            "checks.csv",
        )
    ]
    tables.write_csv(data, paths[0])
    save(thermodynamics, paths[1])
    save(thermodynamics, paths[2])
    save(traces, paths[3])
    tables.write_checks_csv(checks, paths[4])
    return paths
