"""The highest energies in a report."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray
from matplotlib.figure import Figure

from analysis.reading.findings import Findings
from analysis.reading.run import Run
from analysis.show.cells import exponent_form, table_of
from analysis.show.part import Part


def applies(run: Run) -> bool:
    return run.store.config["model"]["kind"] == "transformer"


def highest(findings: Findings) -> xarray.Dataset:
    energy = np.nanmax(findings.run.by_temperature("energy"), axis=(0, 2))
    return xarray.Dataset({"highest": ("temperature", energy)}, {"temperature": findings.run.temperature})


def parts(findings: Findings) -> Iterator[Part]:
    data = findings.of(highest)
    figure = Figure()
    figure.subplots().plot(data["temperature"], data["highest"])
    columns = [("T", [exponent_form(t) for t in data["temperature"].values]),
               ("highest U", [f"{u:.4g}" for u in data["highest"].values])]  # fmt: skip
    yield Part(
        "highest",
        "Highest energies",
        {"highest": (figure, "The highest energy of all walkers.")},
        [("The highest energy at each temperature.", table_of(columns))],
        ["Made up."],
        {"highest": data},
        facts=[("highest energy", f"{data['highest'].max().item():.4g}")],
    )
