"""Thermodynamics as text: the table on the terminal, JSON for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.show.cells import (
    exponent_form,
    exponent_plus_minus,
    none_for_nan,
    number_or_dash,
    plus_minus,
    table_of,
    tables_of,
    with_errors,
)
from analysis.show.equilibrium import PLUS_MINUS, equilibrium_remarks, temperature_column

if TYPE_CHECKING:
    import xarray
    from rich.table import Table

    from analysis.reading.run import Run


COLUMNS = {
    "energy": ("U ±", ""),
    "heat_capacity": ("C ±\n(var(U)/T²)", ""),
    "heat_capacity_derivative": ("C ±\n(d<U>/dT)", ""),
    "effective_samples": ("ESS", ".0f"),
    "kinetic_ratio": ("T_kin/T ±", ""),
    "norm2_drift": ("|w|²\ndrift", ".0e"),
    "train_error": ("train\nerror ±", ""),
    "val_error": ("val\nerror ±", ""),
    "test_error": ("test\nerror ±", ""),
}
"""Observable -> heading of its column, and form of a number without ±."""


def temperature_tables(data: xarray.Dataset) -> list[Table]:
    """Every observable of the report, one row per temperature, in tables of at most `cells.TERMINAL` columns.

    Observables that the task lacks have no column.
    """
    columns = []
    for name, (heading, form) in COLUMNS.items():
        if name in data:
            values = data[name].values
            columns.append((heading, [number_or_dash(x, form) for x in values] if form else with_errors(values)))
    return tables_of(temperature_column(data), columns)


def remarks(run: Run, data: xarray.Dataset) -> list[str]:
    """Remarks below the table: units, T*, and all warnings, one line each."""
    unit = data["temperature"].attrs["unit"]
    lines = [
        f"T, U in {unit}; C in k_B; ESS: effective samples of U; |w|² drift: max ||w|²/Q - 1|.",
        f"{PLUS_MINUS[0].upper()}{PLUS_MINUS[1:]}.",
        *equilibrium_remarks(data),
        t_star_remark(data),
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
    return lines


def equilibrium_fact(data: xarray.Dataset) -> str:
    """Where the run is in equilibrium, and the first reason why it is not."""
    reasons = data["not_in_equilibrium"].values
    ladder, sound = data["temperature"].values, reasons == ""
    if sound.all():
        return f"at all {sound.size} temperatures"
    first = int(np.flatnonzero(~sound)[0])
    why = f"T = {exponent_form(float(ladder[first]))}: {reasons[first]}"
    if not sound.any():
        return f"at no temperature; {why}"
    known = f"T = {exponent_form(float(ladder[sound].min()))} to {exponent_form(float(ladder[sound].max()))}"
    return f"at {sound.sum()} of {sound.size} temperatures, {known}; not at {why}"


def t_star_remark(data: xarray.Dataset) -> str:
    """T* with its error, or why there is none."""
    if data["no_t_star"].item():
        return f"No T*: {data['no_t_star'].item()}."
    return f"T* = {exponent_plus_minus(data['t_star'].item(), data['t_star_sem'].item())}, maximum of both C."


def _at(data: xarray.Dataset, where: np.ndarray) -> str:
    return "at T = " + ", ".join(exponent_form(t) for t in data["temperature"].values[where])


def shown_temperature(data: xarray.Dataset, slot: int) -> str:
    """The temperature of `thermodynamics.shown_slot`, and the reason for the choice."""
    why = "no T*: the middle of the ladder" if data["no_t_star"].item() else "next to T*"
    return f"T = {exponent_form(data['temperature'].values[slot])} ({why})"


def peaks_table(networks: Sequence[tuple[str, xarray.Dataset]]) -> Table:
    """T* of several networks, and the lowest validation error among their temperatures in equilibrium."""
    columns = [("network", [label for label, _ in networks]), ("T* ±", [_t_star_cell(data) for _, data in networks])]
    if all("val_error" in data for _, data in networks):
        lowest = [_lowest(data) for _, data in networks]
        columns.append(("lowest\nval error ±", [error for error, _ in lowest]))
        columns.append(("at T", [temperature for _, temperature in lowest]))
    return table_of(columns)


def _t_star_cell(data: xarray.Dataset) -> str:
    if data["no_t_star"].item():
        return "no T*"
    return exponent_plus_minus(data["t_star"].item(), data["t_star_sem"].item())


def _lowest(data: xarray.Dataset) -> tuple[str, str]:
    """Lowest validation error and its temperature, as text."""
    means = np.where(data["not_in_equilibrium"].values == "", data["val_error"].values[:, 0], np.nan)
    if not np.isfinite(means).any():
        return "none in equilibrium", "-"
    k = int(np.nanargmin(means))
    return plus_minus(*data["val_error"].values[k]), exponent_form(data["temperature"].values[k])


def to_json(data: xarray.Dataset) -> dict[str, Any]:
    """Plain lists and numbers: {"temperature": [...], "energy": {"mean": [...], "sem": [...]}, ..., "t_star": x}.

    Unknown values are None, so the result is strict JSON. "not_in_equilibrium" says why a temperature has no "sem"
    (empty if it has one), "no_t_star" says why "t_star" is None.
    """
    tree: dict[str, Any] = {
        "temperature": data["temperature"].values.tolist(),
        "not_in_equilibrium": data["not_in_equilibrium"].values.tolist(),
    }
    for name, variable in data.data_vars.items():
        values = none_for_nan(variable.values.T.tolist())
        tree[str(name)] = dict(zip(("mean", "sem"), values, strict=True)) if "statistic" in variable.dims else values
    return {**tree, **data.attrs}
