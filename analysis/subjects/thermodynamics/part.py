"""Thermodynamics in a report."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from analysis.reading.findings import Findings
from analysis.reading.run import Run
from analysis.show.csv import write_csv
from analysis.show.part import Part
from analysis.subjects.thermodynamics import tables
from analysis.subjects.thermodynamics.measure import shown_slot, thermodynamics

if TYPE_CHECKING:
    import xarray


def applies(run: Run) -> bool:
    return True


def measured(findings: Findings) -> xarray.Dataset:
    return thermodynamics(findings.run)


def shown(findings: Findings) -> tuple[int, str]:
    """The slot whose distributions are drawn, and its temperature as text with the reason for the choice."""
    data = findings.of(measured)
    slot = shown_slot(data)
    return slot, tables.shown_temperature(data, slot)


def parts(findings: Findings) -> Iterator[Part]:
    from analysis.subjects.thermodynamics.figures import energy_traces_figure, thermodynamics_figure

    run, data = findings.run, findings.of(measured)
    yield Part(
        "thermodynamics",
        "Thermodynamics",
        {
            "thermodynamics": (
                thermodynamics_figure(run, data),
                "(a) mean loss, (b) heat capacity from fluctuations and from the slope of the mean loss, dashed, where "
                "both have the same maximum: T* with its error, (c) errors, (d) acceptance or kinetic temperature, "
                "open where walkers differ too much for an error; at the side the early-stopped (ES) and over-trained "
                "(OT) weights, bars: their spread.",
            ),
            "energy_traces": (
                energy_traces_figure(run, data),
                "Loss of every walker; pale: burn-in and the draws after it that are not counted.",
            ),
        },
        [("Observables against temperature.", table) for table in tables.temperature_tables(data)],
        tables.remarks(run, data),
        files={"thermodynamics.csv": partial(write_csv, data)},
        facts=[("equilibrium", tables.equilibrium_fact(data)), ("temperature T*", tables.t_star_remark(data))],
    )
