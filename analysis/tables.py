"""Thermodynamics as text: the table on the terminal, CSV for spreadsheets, JSON for programs."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.cells import (
    exponent_form,
    exponent_plus_minus,
    none_for_nan,
    number_or_dash,
    plus_minus,
    table_of,
    with_errors,
)
from analysis.chains import FEW_SAMPLES

if TYPE_CHECKING:
    import xarray
    from rich.table import Table

    from analysis.run import Run


def temperature_table(data: xarray.Dataset) -> Table:
    """The table of the report, one row per temperature; observables that the task lacks have no column."""
    columns = [("T", [exponent_form(t) for t in data["temperature"].values])]
    for name, heading in (
        ("energy", "U ±"),
        ("heat_capacity", "C ±\n(fluct.)"),
        ("heat_capacity_derivative", "C ±\n(dU/dT)"),
    ):
        columns.append((heading, with_errors(data[name].values)))
    for name in ("train_error", "val_error", "test_error"):
        if name in data:
            columns.append((name.replace("_", "\n"), [number_or_dash(mean, ".3f") for mean in data[name].values[:, 0]]))
    if "kinetic_ratio" in data:
        columns.append(("T_kin/T ±", with_errors(data["kinetic_ratio"].values)))
    if "norm2_drift" in data:
        columns.append(("|w|²\ndrift", [number_or_dash(drift, ".0e") for drift in data["norm2_drift"].values]))
    columns.append(("ESS", [number_or_dash(samples, ".0f") for samples in data["effective_samples"].values]))

    return table_of(columns)


def remarks(run: Run, data: xarray.Dataset) -> list[str]:
    """What a reader of the table must know besides: units, T*, and every reason for care, one line each."""
    unit = data["temperature"].attrs["unit"]
    lines = [
        f"T, U in {unit}; C in k_B; ± one standard error; |w|² drift: max ||w|²/Q - 1|; ESS: effective samples of U.",
        _peaks(data),
    ]
    dropped = int(data["discarded"].max())
    then = f", then up to {dropped} draws until U is in equilibrium" if dropped else ""
    lines.append(f"Left out: {run.burn_in} steps of burn-in{then}.")
    if run.unfinished:
        lines.append(f"The run is unfinished: {data.attrs['step']} of {data.attrs['steps']} steps, analysed as it is.")
    missing = data["missing"].values
    if missing.any():
        lines.append(
            f"Walkers with missing draws are left out, or end there: {missing.sum()} draws {_at(data, missing > 0)}."
        )
    few = ~(data["effective_samples"].values >= FEW_SAMPLES)
    if few.any():
        lines.append(f"Fewer than {FEW_SAMPLES} effective samples {_at(data, few)}: too short for sound error bars.")
    return lines


def _peaks(data: xarray.Dataset) -> str:
    found = []
    for name, source in (("t_star", "fluctuations"), ("t_star_derivative", "dU/dT")):
        if math.isfinite(data[name].item()):
            if data[f"{name}_at_edge"].item():
                value = f"{exponent_form(data[name].item())} (an end of the ladder: a bound)"
            else:
                value = exponent_plus_minus(data[name].item(), data[f"{name}_sem"].item())
            found.append(f"{value} from {source}")
    if not found:
        return "T*: a maximum of C takes at least three temperatures."
    return f"T* = {', '.join(found)}; ± does not know how coarse the ladder is."


def _at(data: xarray.Dataset, where: np.ndarray) -> str:
    return "at T = " + ", ".join(exponent_form(t) for t in data["temperature"].values[where])


def peaks_table(networks: Sequence[tuple[str, xarray.Dataset]]) -> Table:
    """T* of several networks, both ways, and their lowest validation error."""

    def peak(data: xarray.Dataset, name: str) -> str:
        edge = " (a bound)" if data[f"{name}_at_edge"].item() else ""
        value, sem = data[name].item(), data[f"{name}_sem"].item()
        return exponent_plus_minus(value, np.nan if edge else sem) + edge if math.isfinite(value) else "-"

    columns = [("network", [label for label, _ in networks])]
    for name, heading in (("t_star", "T* ±\n(fluct.)"), ("t_star_derivative", "T* ±\n(dU/dT)")):
        columns.append((heading, [peak(data, name) for _, data in networks]))
    if all("val_error" in data for _, data in networks):
        best = [int(np.nanargmin(data["val_error"].values[:, 0])) for _, data in networks]
        columns.append(
            (
                "lowest\nval error ±",
                [plus_minus(*data["val_error"].values[k]) for k, (_, data) in zip(best, networks, strict=True)],
            )
        )
        columns.append(
            (
                "at T",
                [exponent_form(data["temperature"].values[k]) for k, (_, data) in zip(best, networks, strict=True)],
            )
        )
    return table_of(columns)


def _variables(data: xarray.Dataset) -> list[tuple[str, xarray.DataArray]]:
    return [(str(name), variable) for name, variable in data.data_vars.items()]


def write_csv(data: xarray.Dataset, path: Path) -> None:
    """One row per temperature, every variable with its unit in the header; an empty cell is unknown."""
    header, columns = [], []

    def add(name: str, unit: str, values: np.ndarray) -> None:
        header.append(f"{name} [{unit}]" if unit else name)
        columns.append(["" if value != value else value for value in values.tolist()])

    add("temperature", data["temperature"].attrs["unit"], data["temperature"].values)
    for name, variable in _variables(data):
        unit = variable.attrs["unit"]
        if variable.dims == ("temperature", "statistic"):
            add(name, unit, variable.values[:, 0])
            add(f"{name}_sem", unit, variable.values[:, 1])
        elif variable.dims == ("temperature",):
            add(name, unit, variable.values)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(zip(*columns, strict=True))


def write_long_csv(data: xarray.Dataset, path: Path) -> None:
    """Every value on a line of its own with its coordinates; empty cells are unknown."""
    units = {name: variable.attrs.get("unit") for name, variable in data.variables.items()}
    headings = {name: f"{name} [{unit}]" for name, unit in units.items() if unit}
    data.to_dataframe().reset_index().rename(columns=headings).to_csv(path, index=False)


def to_json(data: xarray.Dataset) -> dict[str, Any]:
    """Plain lists and numbers: {"temperature": [...], "energy": {"mean": [...], "sem": [...]}, ..., "t_star": x}.

    Unknown values are None, so that the result is strict JSON.
    """
    tree: dict[str, Any] = {"temperature": data["temperature"].values.tolist()}
    for name, variable in _variables(data):
        values = none_for_nan(variable.values.T.tolist())
        tree[name] = dict(zip(("mean", "sem"), values, strict=True)) if "statistic" in variable.dims else values
    return {**tree, **data.attrs}
